//! Which colour a name has, by `LS_COLORS`, and GNU ls' own colours where that is not set.

use berth_common::entry::{Entry, EntryKind};
use lscolors::{Indicator, LsColors, Style};

/// The colours of names.
#[derive(Debug)]
pub(crate) struct Colours(Option<LsColors>);

impl Colours {
    /// Those of the environment, or none.
    pub(crate) fn new(coloured: bool) -> Self {
        Self(coloured.then(|| LsColors::from_env().unwrap_or_default()))
    }

    /// An escaped name of this entry in its colour.
    pub(crate) fn paint(&self, entry: &Entry, shown: &str) -> String {
        let Some(style) = self.0.as_ref().and_then(|colours| style(colours, entry)) else {
            return shown.to_owned();
        };
        let style = style.to_nu_ansi_term_style();
        format!("{}{shown}{}", style.prefix(), style.suffix())
    }
}

fn style<'a>(colours: &'a LsColors, entry: &Entry) -> Option<&'a Style> {
    let is_executable = entry.mode & 0o111 != 0;
    match entry.kind {
        EntryKind::Directory => colours.style_for_indicator(Indicator::Directory),
        EntryKind::Symlink => colours.style_for_indicator(Indicator::SymbolicLink),
        EntryKind::File
            if is_executable && colours.has_explicit_style_for(Indicator::ExecutableFile) =>
        {
            colours.style_for_indicator(Indicator::ExecutableFile)
        }
        EntryKind::File => colours
            .style_for_str(&entry.name)
            .or_else(|| colours.style_for_indicator(Indicator::RegularFile)),
        // Which of them it is is not told.
        EntryKind::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(colours: Option<&str>, name: &str, kind: EntryKind, mode: u16) -> String {
        let colours = Colours(colours.map(LsColors::from_string));
        let entry =
            Entry { name: name.into(), kind, size: 0, mtime_ns: 0, mode, digest: None, note: None };
        colours.paint(&entry, name)
    }

    #[test]
    fn names_have_the_colours_of_the_environment() {
        use EntryKind::{Directory, File, Other, Symlink};
        let own = Some("di=35:*.png=01;31:fi=32");
        let table = [
            (own, "d", Directory, 0o755, "\x1b[35md\x1b[0m"),
            (own, "a.png", File, 0o644, "\x1b[1;31ma.png\x1b[0m"),
            (own, "a.txt", File, 0o644, "\x1b[32ma.txt\x1b[0m"),
            (own, "a.png", File, 0o755, "\x1b[1;32ma.png\x1b[0m"),
            (own, "x", Other, 0o644, "x"),
            (Some("ex="), "run", File, 0o755, "run"),
            (Some(""), "l", Symlink, 0o777, "\x1b[1;36ml\x1b[0m"),
            (Some(""), "f", File, 0o644, "f"),
            (None, "d", Directory, 0o755, "d"),
        ];
        for (colours, name, kind, mode, expected) in table {
            assert_eq!(painted(colours, name, kind, mode), expected, "{colours:?} {name}");
        }
    }
}

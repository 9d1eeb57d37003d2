//! What the screen is: how wide, whether it takes colours, whether it shows more than ASCII.

use std::env;
use std::ffi::OsStr;

use rustix::termios::tcgetwinsize;

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set or TERM is `dumb`.
    #[default]
    Auto,
    /// Always; names are escaped as on a terminal then.
    Always,
    /// Never.
    Never,
}

impl Colour {
    /// Whether standard output gets colours.
    pub(crate) fn is_on(self, terminal: bool) -> bool {
        self.decide(terminal, env::var_os("NO_COLOR").as_deref(), env::var_os("TERM").as_deref())
    }

    fn decide(self, terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                terminal && no_color.is_none_or(OsStr::is_empty) && term != Some("dumb".as_ref())
            }
        }
    }
}

/// The columns of the terminal that is standard output; COLUMNS where it does not tell, else 80.
pub(crate) fn width() -> usize {
    let told = tcgetwinsize(std::io::stdout()).map_or(0, |size| size.ws_col);
    if told > 0 {
        return told.into();
    }
    let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns.filter(|columns| *columns > 0).unwrap_or(80)
}

/// Whether the locale says that text is UTF-8.
pub(crate) fn is_utf8() -> bool {
    let variable = |name| env::var(name).ok();
    names_utf8(["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable))
}

/// The first that is set counts.
fn names_utf8(mut locales: impl Iterator<Item = String>) -> bool {
    let locale = locales.find(|locale| !locale.is_empty()).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_whose_user_wants_them() {
        let os = |text: &'static str| Some(OsStr::new(text));
        let table = [
            (Colour::Auto, true, None, os("xterm"), true),
            (Colour::Auto, true, None, None, true),
            (Colour::Auto, false, None, os("xterm"), false),
            (Colour::Auto, true, os("1"), os("xterm"), false),
            (Colour::Auto, true, os(""), os("xterm"), true),
            (Colour::Auto, true, None, os("dumb"), false),
            (Colour::Always, false, os("1"), os("dumb"), true),
            (Colour::Never, true, None, os("xterm"), false),
        ];
        for (when, terminal, no_color, term, expected) in table {
            let decided = when.decide(terminal, no_color, term);
            assert_eq!(decided, expected, "{when:?} {terminal} {no_color:?} {term:?}");
        }
    }

    #[test]
    fn the_first_locale_that_is_set_counts() {
        let table: [(&[&str], bool); 6] = [
            (&["de_DE.UTF-8"], true),
            (&["", "", "en_US.utf8"], true),
            (&["C.UTF-8"], true),
            (&["C", "", "en_US.UTF-8"], false),
            (&["de_DE@euro"], false),
            (&[], false),
        ];
        for (locales, expected) in table {
            let found = names_utf8(locales.iter().map(|&locale| locale.to_owned()));
            assert_eq!(found, expected, "{locales:?}");
        }
    }
}

//! berthd.toml(5) out of the example that has every key: its head becomes the description, and each group of
//! comment and keys an entry. So the two cannot differ.

use clap_mangen::roff::{Roff, bold, roman};

/// The whole page, in roff, with `more` as its last sections.
pub(crate) fn render(example: &str, date: &str, more: &str) -> String {
    let mut groups = example.split("\n\n").map(Group::new);
    let head = groups.next().unwrap_or_default();
    let mut roff = Roff::default();
    let source = concat!("Berth ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["BERTHD.TOML", "5", date, source, "Berth"]);
    roff.control("SH", ["NAME"]).text([roman("berthd.toml - configuration of berthd")]);
    roff.control("SH", ["DESCRIPTION"]);
    for line in head.comment {
        roff.text([roman(line)]);
    }
    roff.control("SH", ["KEYS"]);
    for group in groups {
        for (number, Key { name, value, is_set }) in group.keys.iter().enumerate() {
            // One explanation for all of them.
            roff.control(if number == 0 { "TP" } else { "TQ" }, []);
            let remark = if *is_set { "" } else { " (not set by default)" };
            roff.text([bold(*name), roman(format!(" = {value}{remark}"))]);
        }
        for line in group.comment {
            roff.text([roman(line)]);
        }
    }
    roff.to_roff() + more.trim_start()
}

/// Lines of the example up to an empty one.
#[derive(Default)]
struct Group<'a> {
    /// Without the `#` and the space.
    comment: Vec<&'a str>,
    keys: Vec<Key<'a>>,
}

/// A key as the example assigns it.
struct Key<'a> {
    name: &'a str,
    value: &'a str,
    /// Whether it is not commented out.
    is_set: bool,
}

impl<'a> Group<'a> {
    fn new(text: &'a str) -> Self {
        let mut group = Self::default();
        for line in text.lines() {
            match line.strip_prefix("# ") {
                Some(sentence) => group.comment.push(sentence),
                None => group.keys.extend(Key::new(line)),
            }
        }
        group
    }
}

impl<'a> Key<'a> {
    fn new(line: &'a str) -> Option<Self> {
        let (name, value) = line.trim_start_matches('#').split_once(" = ")?;
        Some(Self { name, value, is_set: !line.starts_with('#') })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_explained_together_stand_together() {
        let page = render(
            "# Head.\n\n# Both.\na = 1\n#b = \"x\"\n\n# Last.\nc = 2\n",
            "2026-11-21",
            ".SH END\n",
        );
        let keys = page.split(".SH KEYS\n").nth(1).unwrap();
        assert_eq!(
            keys,
            ".TP\n\\fBa\\fR = 1\n.TQ\n\\fBb\\fR = \"x\" (not set by default)\nBoth.\n.TP\n\\fBc\\fR = 2\nLast.\n.SH END\n"
        );
    }
}

//! Whether what was seen is what stands in the document, and what may differ.

use std::sync::LazyLock;

use regex::Regex;

/// What cannot be the same in two runs: how it looks, and what stands for it. In this order.
const VARYING: [(&str, &str); 8] = [
    // A bar in the middle of its way, of which the size stays.
    (r" +=*>? *\d+% \d+(\.\d+)? ([KM]i)?B/(\S+ MiB) \d+(\.\d+)? ([KMG]i)?B/s ETA \w+", " ‹bar›/$3"),
    (r"resumed at \d+%", "resumed at ‹percent›"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?\b", "‹time›"),
    // What has arrived of an unfinished upload, and its size, which stays.
    (r" +\d+\.\d MiB +(\d+\.\d MiB) +\d+% ‹time›", " ‹received› $1 ‹percent› ‹time›"),
    (r"\b\d+(\.\d+)? ([KMG]i)?B/s", "‹rate›"),
    (r"\b(\d+ min )?\d+(\.\d+)? (ms|s)\b", "‹duration›"),
    (r"/join/[A-Za-z0-9_-]{60,}", "/join/‹code›"),
    // Of a device, an invitation, an upload; or an MD5.
    (r"\b([0-9a-f]{16}){1,2}\b", "‹digits›"),
];

/// What is known once it was seen: from then on it is as good as any other text.
const REMEMBERED: [&str; 2] = [r"/join/[A-Za-z0-9_-]{60,}", r"\b(?:[0-9a-f]{16}){1,2}\b"];

/// Lines of files that move at the same time, which come in the order in which they are done, and of what is left
/// out meanwhile.
const UNORDERED: [&str; 2] = [" -> ", ": skipped, "];

static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    VARYING.map(|(pattern, mark)| (Regex::new(pattern).unwrap(), mark)).into_iter().collect()
});

/// A line with marks in the places of what varies.
fn marked(line: &str) -> String {
    RULES
        .iter()
        .fold(line.to_owned(), |line, (rule, mark)| rule.replace_all(&line, *mark).into_owned())
}

/// Lines with marks; those without an order are sorted where they stand together.
fn comparable(lines: &[String], names: &Names) -> Vec<String> {
    let lines = lines.iter().map(|line| marked(&names.sealed(line)));
    let mut lines: Vec<String> = lines.collect();
    let is_unordered = |line: &String| UNORDERED.iter().any(|part| line.contains(part));
    for together in lines.chunk_by_mut(|one, other| is_unordered(one) && is_unordered(other)) {
        together.sort();
    }
    lines
}

/// What differs, told by the first line that does; `None` when nothing does.
pub(crate) fn difference(document: &[String], seen: &[String], names: &Names) -> Option<String> {
    let (document, seen) = (comparable(document, names), comparable(seen, names));
    (0..document.len().max(seen.len())).find_map(|index| {
        let (stands, seen) = (document.get(index), seen.get(index));
        let shown = |line: Option<&String>| line.map_or("nothing".to_owned(), |l| format!("{l:?}"));
        (stands != seen).then(|| {
            format!("line {}: {} stands there, {} is seen", index + 1, shown(stands), shown(seen))
        })
    })
}

/// What was seen, but in the document's words where a line of it is as good.
pub(crate) fn kept(document: &[String], seen: &[String]) -> Vec<String> {
    let mut old = document.iter();
    let keep = |line: &String| {
        let same = old.clone().position(|stands| marked(stands) == marked(line));
        match same {
            Some(index) => old.nth(index).unwrap_or(line).clone(),
            None => line.clone(),
        }
    };
    seen.iter().map(keep).collect()
}

/// Words of the document and what stands for them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    given: Vec<(String, String)>,
    /// By what was seen.
    learned: Vec<(String, String)>,
}

impl Names {
    /// One more name. Of several things with one name the first is meant; longer things come first.
    pub(crate) fn add(&mut self, document: &str, real: &str) {
        self.given.push((document.to_owned(), real.to_owned()));
    }

    fn all(&self) -> impl Iterator<Item = &(String, String)> {
        self.given.iter().chain(&self.learned)
    }

    /// A text of the document, as it has to be typed.
    pub(crate) fn real(&self, text: &str) -> String {
        self.all().fold(text.to_owned(), |text, (name, real)| text.replace(name, real))
    }

    /// What was seen, as the document says it.
    pub(crate) fn document(&self, text: &str) -> String {
        self.all().fold(text.to_owned(), |text, (name, real)| text.replace(real, name))
    }

    /// A line of the document's words in which what is known looks like nothing that varies.
    fn sealed(&self, line: &str) -> String {
        self.learned.iter().fold(line.to_owned(), |line, (name, _)| {
            let (first, last) = name.split_at(8);
            line.replace(name, &format!("{first}·{last}"))
        })
    }

    /// Remembers what is seen where the document has a code or an ID.
    pub(crate) fn learn(&mut self, document: &[String], seen: &[String]) {
        let alike = document.iter().zip(seen).filter(|(one, other)| marked(one) == marked(other));
        for (stands, seen) in alike {
            for pattern in REMEMBERED.map(|pattern| Regex::new(pattern).unwrap()) {
                for (name, real) in pattern.find_iter(stands).zip(pattern.find_iter(seen)) {
                    let (name, real) = (name.as_str().to_owned(), real.as_str().to_owned());
                    let known = |(one, other): &(String, String)| *one == name || *other == real;
                    if !self.learned.iter().any(known) {
                        self.learned.push((name, real));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn differ(document: &str, seen: &str) -> Option<String> {
        difference(&lines(document), &lines(seen), &Names::default())
    }

    #[test]
    fn a_line_that_was_changed_is_found() {
        let stands = "a.txt -> /a.txt: 2.0 MiB in 31 ms (64.5 MiB/s), replaced\nnote: 80% is used";
        assert_eq!(differ(stands, stands), None);
        for (from, to) in [
            ("/a.txt", "/b.txt"),
            ("2.0 MiB", "2.1 MiB"),
            (", replaced", ""),
            ("note", "warning"),
            ("80%", "81%"),
            ("used", "used."),
            ("\nnote: 80% is used", ""),
            (" (64.5 MiB/s)", ""),
        ] {
            let changed = stands.replacen(from, to, 1);
            assert!(differ(stands, &changed).is_some(), "{changed}");
            assert!(differ(&changed, stands).is_some(), "{changed}");
        }
        assert!(differ("a\nb", "b\na").is_some());
        assert!(differ("a", "a\na").unwrap().contains("line 2: nothing stands there"));
    }

    #[test]
    fn what_cannot_be_the_same_twice_may_differ_in_its_value_alone() {
        for (one, other, unlike) in [
            ("1.0 MiB in 31 ms (64.5 MiB/s)", "1.0 MiB in 1.2 s (9 KiB/s)", "1.0 MiB in 31 ms"),
            ("at 2026-03-01 12:00:59", "at 1970-01-01 00:00:00", "at 2026-03-01"),
            ("* 0123456789abcdef x", "* fedcba9876543210 x", "* 0123456789abcde x"),
            ("a: resumed at 3%", "a: resumed at 99%", "b: resumed at 3%"),
            (
                "f   19.0 MiB   70.0 MiB   27% 2026-11-29 13:39:59",
                "f    8.0 MiB   70.0 MiB    9% 2026-11-29 13:39:59",
                "f   19.0 MiB   71.0 MiB   27% 2026-11-29 13:39:59",
            ),
            (
                "f >  0% 0 B/9.00 MiB 0 B/s ETA 0s",
                "f   1% 2 MiB/9.00 MiB 2 MiB/s ETA 1s",
                "g > 0% 0 B/9.00 MiB 0 B/s ETA 0s",
            ),
            (
                "f ==>    40% 1.00 MiB/9.00 MiB 2 MiB/s ETA 2s",
                "f =>    9% 3 KiB/9.00 MiB 2.1 KiB/s ETA 1m",
                "f ==>    40% 1.00 MiB/9.10 MiB 2 MiB/s ETA 2s",
            ),
        ] {
            assert_eq!(differ(one, other), None);
            assert!(differ(one, unlike).is_some(), "{unlike}");
        }
    }

    #[test]
    fn an_id_stands_for_what_was_seen_in_its_place() {
        let mut names = Names::default();
        names.add("host", "127.0.0.1:5");
        names.learn(&lines("id 0000000000000001"), &lines("id fedcba9876543210"));
        assert_eq!(names.real("rm 0000000000000001 host"), "rm fedcba9876543210 127.0.0.1:5");
        assert_eq!(names.document("127.0.0.1:5 fedcba9876543210"), "host 0000000000000001");
        let differ = |one: &str, other: &str| difference(&lines(one), &lines(other), &names);
        assert_eq!(differ("0000000000000001", "0000000000000001"), None);
        assert_eq!(differ("0000000000000002", "ffffffffffffffff"), None, "neither is known");
        assert!(differ("0000000000000001", "ffffffffffffffff").is_some());
        assert!(differ("0000000000000002", "0000000000000001").is_some());
    }

    #[test]
    fn files_that_move_together_may_come_in_any_order_and_nothing_else_may() {
        assert_eq!(differ("a -> /a: x\nb -> /b: x\nend", "b -> /b: x\na -> /a: x\nend"), None);
        assert!(differ("a -> /a: x\nend\nb -> /b: x", "b -> /b: x\nend\na -> /a: x").is_some());
        assert!(differ("a -> /a: x\nb -> /b: x", "b -> /b: x\nb -> /b: x").is_some());
    }

    #[test]
    fn lines_that_are_as_good_stay_when_the_document_is_written() {
        let seen = kept(&lines("a 1 s\nold\nb 2 s"), &lines("new\na 5 s\nb 9 s"));
        assert_eq!(seen, ["new", "a 1 s", "b 2 s"]);
    }
}

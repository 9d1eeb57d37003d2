//! The lines that `berth tree` draws before names.

/// What a branch is drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pen {
    /// Below a directory that has more to come.
    beside: &'static str,
    /// Below one that was the last.
    below: &'static str,
    entry: &'static str,
    last: &'static str,
}

impl Pen {
    /// Box characters, or ASCII for a locale that has none.
    pub(crate) fn new(utf8: bool) -> Self {
        if utf8 {
            Self { beside: "│   ", below: "    ", entry: "├── ", last: "└── " }
        } else {
            Self { beside: "|   ", below: "    ", entry: "|-- ", last: "`-- " }
        }
    }
}

/// The branches down to the entry that is drawn.
#[derive(Debug)]
pub(crate) struct Branches {
    pen: Pen,
    /// Of each directory on the way, whether it was the last in its own.
    way: Vec<bool>,
}

impl Branches {
    pub(crate) fn new(pen: Pen) -> Self {
        Self { pen, way: Vec::new() }
    }

    /// What stands before the name of an entry: one in a directory at this depth, from 0 on, the last there or not.
    pub(crate) fn before(&mut self, depth: usize, last: bool) -> String {
        self.way.truncate(depth);
        let mut line = String::with_capacity((depth + 1) * self.pen.beside.len());
        for was_last in &self.way {
            line.push_str(if *was_last { self.pen.below } else { self.pen.beside });
        }
        line.push_str(if last { self.pen.last } else { self.pen.entry });
        // Of no meaning for what is not entered.
        self.way.push(last);
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_end_at_the_last_entry() {
        let entries = [
            ("a", 0, false),
            ("b", 1, false),
            ("c", 2, true),
            ("d", 1, true),
            ("e", 2, true),
            ("f", 0, true),
            ("g", 1, true),
        ];
        let draw = |utf8| {
            let mut branches = Branches::new(Pen::new(utf8));
            entries.map(|(name, depth, last)| branches.before(depth, last) + name)
        };
        assert_eq!(
            draw(true),
            [
                "├── a",
                "│   ├── b",
                "│   │   └── c",
                "│   └── d",
                "│       └── e",
                "└── f",
                "    └── g"
            ]
        );
        assert_eq!(draw(false)[2], "|   |   `-- c");
    }
}

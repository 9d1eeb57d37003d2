//! A Markdown document as commands with what follows them, directions, and lines of no concern.

/// Begins a block of commands.
const CONSOLE: &str = "```console";

const DIRECTION: &str = "<!-- tutorial: ";

/// Who types a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    User,
    Administrator,
}

impl Who {
    fn prompt(self) -> &'static str {
        match self {
            Self::User => "$ ",
            Self::Administrator => "# ",
        }
    }
}

/// A command and what can be seen when it was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) who: Who,
    pub(crate) command: String,
    pub(crate) output: Vec<String>,
    /// Where it stands, from 1.
    pub(crate) line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// What is only read.
    Line(String),
    /// Something that happens without a command.
    Direction(String),
    Step(Step),
}

#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) items: Vec<Item>,
}

impl Document {
    /// # Panics
    /// When a block of commands begins with something else.
    pub(crate) fn parse(text: &str) -> Self {
        let mut items = Vec::new();
        let mut inside = false;
        for (index, line) in text.lines().enumerate() {
            if inside && line != "```" {
                let step = [Who::User, Who::Administrator].into_iter().find_map(|who| {
                    let command = line.strip_prefix(who.prompt())?.to_owned();
                    Some(Step { who, command, output: Vec::new(), line: index + 1 })
                });
                match (step, items.last_mut()) {
                    (Some(step), _) => items.push(Item::Step(step)),
                    (None, Some(Item::Step(step))) => step.output.push(line.to_owned()),
                    (None, _) => panic!("line {}: a command is expected", index + 1),
                }
                continue;
            }
            inside = line == CONSOLE;
            let direction = line.strip_prefix(DIRECTION).and_then(|l| l.strip_suffix(" -->"));
            items.push(direction.map_or_else(
                || Item::Line(line.to_owned()),
                |direction| Item::Direction(direction.to_owned()),
            ));
        }
        Self { items }
    }

    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        let mut line = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        for item in &self.items {
            match item {
                Item::Line(read) => line(read),
                Item::Direction(direction) => line(&format!("{DIRECTION}{direction} -->")),
                Item::Step(step) => {
                    line(&format!("{}{}", step.who.prompt(), step.command));
                    step.output.iter().for_each(|seen| line(seen));
                }
            }
        }
        text
    }
}

#[test]
fn commands_are_found_with_what_follows_them() {
    let text = "Text\n$ no command\n```console\n$ a b\none\n\ntwo\n# c\n```\n\
                <!-- tutorial: the moon rises -->\n```\n$ none either\n```\n";
    let document = Document::parse(text);
    assert_eq!(document.render(), text);
    let steps = document.items.iter().filter_map(|item| match item {
        Item::Step(step) => {
            Some((step.who, step.command.as_str(), step.output.join("|"), step.line))
        }
        _ => None,
    });
    let expected =
        [(Who::User, "a b", "one||two".to_owned(), 4), (Who::Administrator, "c", String::new(), 8)];
    assert_eq!(steps.collect::<Vec<_>>(), expected);
    assert!(document.items.contains(&Item::Direction("the moon rises".to_owned())));
}

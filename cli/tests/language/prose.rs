//! No sentence for people stands outside a message.
//!
//! A text counts as said to people when it reads like prose, two words with a space between, wherever it stands; and
//! when it is a word at all, where messages are made. What is neither for people nor a sentence is excused below, by
//! the macro, call or attribute that it stands in, or by itself with the reason.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::help::paragraphs;
use crate::sources::{Stands, Text, texts, texts_of};

/// Where what stands there is said to people, so that one word is enough.
const SAYS: [&str; 17] = [
    "#[error]",
    "usage",
    "complain",
    "note",
    "say",
    "secret",
    "ask_new",
    "question",
    "of",
    "line",
    "print",
    "waiting",
    "set_message",
    "set_prefix",
    "left",
    "right",
    "table",
];

/// Where nothing is said to people: attributes whose texts `help` looks after, or that the compiler reads; what
/// programs read; and what only who wrote it can cause.
const SILENT: [&str; 14] = [
    "#[arg]",
    "#[command]",
    "arg",
    "command",
    "#[doc]",
    "#[allow]",
    "allow",
    "#[expect]",
    "json!",
    "expect",
    "debug_struct",
    "env!",
    "concat!",
    "matches!",
];

/// Texts that look like messages and are none.
const EXCUSED: [(&str, &str); 13] = [
    ("XDG_CONFIG_HOME", "a variable's name"),
    ("XDG_STATE_HOME", "a variable's name"),
    (".config", "a directory's name"),
    (".local/state", "a directory's name"),
    ("{minutes} min {} s", "units are the same in every language"),
    ("{hours} h {} min", "units are the same in every language"),
    (" (os error ", "what Rust puts behind a text of the system's"),
    ("a machine without a short name", "a name that the server keeps"),
    ("error: ", "what clap has said already"),
    ("\nUsage: ", "what clap has said already"),
    ("For more information, try '--help'.", "what clap has said already"),
    ("as a value", "what clap has said already"),
    (" is not in ", "what clap has said already"),
];

fn is_excused(text: &str) -> bool {
    EXCUSED.iter().any(|(excused, _)| *excused == text)
}

/// Whether it is a part of the help, which another test looks after.
fn is_help(text: &str) -> bool {
    static HELP: LazyLock<BTreeSet<String>> = LazyLock::new(paragraphs);
    text.split("\n\n").all(|paragraph| HELP.contains(paragraph))
}

/// The words of a text: what is between spaces, without what stands for values.
fn words(text: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, value)) = rest.split_once('{') {
        plain.push_str(before);
        plain.push(' ');
        rest = value.split_once('}').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    let is_word = |word: &&str| {
        word.as_bytes().windows(2).any(|pair| pair.iter().all(u8::is_ascii_alphabetic))
    };
    plain.split_whitespace().filter(is_word).map(str::to_owned).collect()
}

/// Whether the text is a command as it is typed, which has no translation: `put`, `devices revoke`.
fn is_command(words: &[String]) -> bool {
    fn is_known(command: &clap::Command, word: &str) -> bool {
        command.get_subcommands().any(|inner| inner.get_name() == word || is_known(inner, word))
    }
    let lines = berth_cli::language::command_lines();
    words.iter().all(|word| {
        word == "berth:"
            || word.starts_with("--")
            || lines.iter().any(|line| is_known(line, word.trim_end_matches(':')))
    })
}

/// Why a text should be a message, if it should.
fn complaint(text: &Text) -> Option<String> {
    let Stands::In(within) = &text.stands else {
        return None;
    };
    if SILENT.contains(&within.as_str()) || is_excused(&text.text) || is_help(&text.text) {
        return None;
    }
    let words = words(&text.text);
    let says = SAYS.contains(&within.as_str());
    let has_small_letters =
        words.iter().any(|word| word.contains(|it: char| it.is_ascii_lowercase()));
    let is_prose = text.text.contains(' ') && has_small_letters;
    let is_said = (says && !words.is_empty()) || is_prose;
    (is_said && !is_command(&words))
        .then(|| format!("{}: {:?} (in {within})", text.place, text.text))
}

#[test]
fn no_sentence_stands_outside_a_message() {
    let wrong: Vec<_> = texts().iter().filter_map(complaint).collect();
    assert!(
        wrong.is_empty(),
        "said to people, and neither in t! nor in message!; see CONTRIBUTING.md:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_forgotten_message_is_found() {
    let found = |source: &str| {
        let source = format!("fn f() {{ {source} }}");
        texts_of(&source, "x").iter().filter_map(complaint).count()
    };
    let forgotten = [
        "Failure::usage(\"nothing to do\")",
        "Failure::new(Exit::Failure, format!(\"cannot read {path}\"))",
        "output.note(\"done\")",
        "complain(&format!(\"{name}: skipped\"))",
        "let question = \"Really go on? \";",
        "match x { 1 => \"one file\", _ => \"more files\" }",
        "#[error(\"broken\")] struct E;",
        "Err(\"not a number\".to_owned())",
    ];
    for source in forgotten {
        assert!(found(source) > 0, "{source}");
    }
    let fine = [
        "Failure::usage(t!(\"nothing to do\"))",
        "failure.of(format_args!(\"put {local}\"))",
        "json!({ \"two words\": 1 })",
        "format!(\"{a}: {b}\")",
        "path.join(\"client.key\")",
        "std::env::var(\"HOME\")",
    ];
    for source in fine {
        assert_eq!(found(source), 0, "{source}");
    }
}

//! Every message has a translation with the same values, and every translation a message.

use std::collections::BTreeSet;
use std::io;

use crate::help;
use crate::sources::{Stands, texts};
use crate::tables::{SYSTEM, placeholders, translations};

/// The errors that Linux has; the last one is EHWPOISON.
const LAST_ERRNO: i32 = 133;

/// What the operating system says of each error.
fn system() -> BTreeSet<String> {
    let text = |number| {
        let text = io::Error::from_raw_os_error(number).to_string();
        text.rsplit_once(" (os error ").unwrap().0.to_owned()
    };
    (1..=LAST_ERRNO).map(text).filter(|text| !text.starts_with("Unknown error")).collect()
}

#[test]
fn every_message_is_translated_with_all_its_values() {
    let translations = translations();
    let mut wrong = Vec::new();
    for text in texts() {
        let values = match &text.stands {
            Stands::Translated(values) => Some(values),
            Stands::Marked => None,
            Stands::In(_) => continue,
        };
        let (place, message) = (&text.place, &text.text);
        let wanted = placeholders(message);
        if let Some(values) = values {
            let mut given: Vec<&str> = values.iter().map(String::as_str).collect();
            given.sort_unstable();
            if given != wanted {
                wrong.push(format!("{place}: {message:?} is given {given:?}"));
            }
        }
        match translations.get(message) {
            None => wrong.push(format!("{place}: no translation in cli/locales of {message:?}")),
            Some(found) if found.text.trim().is_empty() => {
                wrong.push(format!("{}: an empty translation of {message:?}", found.file));
            }
            Some(found) if placeholders(&found.text) != wanted => {
                wrong.push(format!("{}: other values than in {message:?}", found.file));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_operating_system_says_is_translated() {
    let translations = translations();
    let missing: Vec<_> =
        system().into_iter().filter(|text| !translations.contains_key(text)).collect();
    assert!(missing.is_empty(), "no translation in cli/locales/{SYSTEM} of\n{missing:#?}");
}

#[test]
fn no_translation_is_of_a_message_that_nobody_tells() {
    let mut told = help::paragraphs();
    let messages = texts().into_iter().filter(|text| !matches!(text.stands, Stands::In(_)));
    told.extend(messages.map(|text| text.text));
    let unused: Vec<_> = translations()
        .into_iter()
        .filter(|(message, found)| found.file != SYSTEM && !told.contains(message))
        .map(|(message, found)| format!("{}: {message:?}", found.file))
        .collect();
    assert!(unused.is_empty(), "nobody tells\n{}", unused.join("\n"));
}

#[test]
fn chinese_is_written_as_chinese() {
    let is_han = |letter: char| ('\u{4e00}'..='\u{9fff}').contains(&letter);
    let mut wrong = Vec::new();
    for (message, found) in translations() {
        let letters: Vec<char> = found.text.chars().collect();
        for pair in letters.windows(2) {
            let half_width = is_han(pair[0]) && matches!(pair[1], ',' | ';' | '!' | '?');
            let glued = is_han(pair[0]) && pair[1].is_ascii_alphanumeric()
                || pair[0].is_ascii_alphanumeric() && is_han(pair[1]);
            if half_width || glued {
                wrong.push(format!(
                    "{}: {}{} in {:?} of {message:?}",
                    found.file, pair[0], pair[1], found.text
                ));
                break;
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "half-width punctuation, or no space between scripts:\n{}",
        wrong.join("\n")
    );
}

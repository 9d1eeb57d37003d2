//! The translations, as they stand in `cli/locales`: each on two lines, `? "MESSAGE"` and `: "TRANSLATION"`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The table of what the operating system says, whose keys stand in no source of ours.
pub(crate) const SYSTEM: &str = "system.zh-CN.yml";

/// A translation and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Translation {
    /// In Chinese.
    pub(crate) text: String,
    /// Which file has it.
    pub(crate) file: String,
}

/// All translations by their messages.
pub(crate) fn translations() -> BTreeMap<String, Translation> {
    let mut all: BTreeMap<String, Translation> = BTreeMap::new();
    for path in files() {
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let is_entry = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let mut lines = text.lines().filter(is_entry);
        while let Some(line) = lines.next() {
            let message = quoted(line, "? ", &file);
            let text = quoted(lines.next().unwrap_or_default(), ": ", &file);
            let translation = Translation { text, file: file.clone() };
            if let Some(other) = all.insert(message.clone(), translation) {
                panic!("{file}: {message:?} stands in {} too", other.file);
            }
        }
    }
    all
}

/// The text on a line, which is written as in JSON.
fn quoted(line: &str, begins: &str, file: &str) -> String {
    let text = line.strip_prefix(begins).and_then(|text| serde_json::from_str(text).ok());
    text.unwrap_or_else(|| panic!("{file}: not {begins:?} and a text in quotes: {line}"))
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("locales");
    let mut files: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        assert!(file.to_str().unwrap().ends_with(".zh-CN.yml"), "{}", file.display());
    }
    files
}

/// What stands for values in a text, sorted: `%{name}`.
pub(crate) fn placeholders(text: &str) -> Vec<&str> {
    let mut names: Vec<&str> =
        text.split("%{").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn the_program_has_what_stands_in_the_files() {
    let built = berth_cli::language::table("zh-CN");
    let files = translations();
    assert_eq!(built.len(), files.len());
    for (message, text) in built {
        assert_eq!(files[&message].text, text, "{message:?}; is the program of before?");
    }
}

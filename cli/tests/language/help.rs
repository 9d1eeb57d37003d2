//! Every help text of `berth`, `berthctl` and the shell has a translation.

use std::collections::BTreeSet;

use berth_cli::exit::exit_codes;
use clap::Command;
use unicode_width::UnicodeWidthStr as _;

use crate::tables::translations;

/// The paragraphs of all help texts.
pub(crate) fn paragraphs() -> BTreeSet<String> {
    fn collect(command: &Command, all: &mut BTreeSet<String>) {
        all.extend(berth_cli::language::paragraphs_of(command));
        for inner in command.get_subcommands() {
            collect(inner, all);
        }
    }
    let mut all = BTreeSet::new();
    for command in &berth_cli::language::command_lines() {
        collect(command, &mut all);
    }
    // Its lines are messages themselves.
    all.retain(|paragraph| !paragraph.trim().is_empty() && *paragraph != exit_codes());
    all
}

#[test]
fn every_help_text_is_translated() {
    let translations = translations();
    let missing: Vec<_> =
        paragraphs().into_iter().filter(|text| !translations.contains_key(text)).collect();
    assert!(missing.is_empty(), "no translation in cli/locales of the help\n{missing:#?}");
}

#[test]
fn what_is_laid_out_by_hand_fits_the_screen() {
    for (message, found) in translations() {
        let lines = found.text.lines().filter(|line| line.starts_with("  "));
        for line in lines.filter(|_| found.file.starts_with("help")) {
            assert!(line.width() <= 100, "{line}\nof {message:?}");
        }
    }
}

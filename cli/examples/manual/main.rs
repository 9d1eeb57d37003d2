//! Writes the manual pages berth(1), berthctl(8) and berthd.toml(5), and completions for bash, fish and zsh:
//! `cargo run --example manual DIRECTORY DATE`, with the date of the release.
//!
//! Called when packages are built, and never shipped. The commands' pages come from the definitions of their
//! command lines and from `sections.rs`, which has what clap does not know of; that of the configuration from
//! `systemd/berthd.toml`. berthd(8) is written by hand, in `docs/man`: no crate may depend on the daemon's.

mod keys;
mod page;
mod sections;

use std::path::Path;
use std::process::ExitCode;
use std::{fs, io};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use crate::page::Page;

/// The shells that packages have completions for, and what comes before and after the command's name in the
/// name of its file.
const SHELLS: [(Shell, &str, &str); 3] =
    [(Shell::Bash, "", ""), (Shell::Fish, "", ".fish"), (Shell::Zsh, "_", "")];

/// The configuration with every key, its default and what it means.
const CONFIGURATION: &str = include_str!("../../../systemd/berthd.toml");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, date] = arguments.as_slice() else {
        eprintln!("manual: name the directory to write to, and the date of the release");
        return ExitCode::from(2);
    };
    match write(Path::new(directory), date) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual: {directory}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `berth` with the section and the hand-written part of its page.
fn berth(date: &str) -> Page {
    let command = berth_cli::args::Args::command();
    Page { command, section: 1, date: date.to_owned(), more: sections::BERTH }
}

/// The same for `berthctl`.
fn berthctl(date: &str) -> Page {
    let command = berth_cli::admin::Arguments::command();
    Page { command, section: 8, date: date.to_owned(), more: sections::BERTHCTL }
}

fn write(directory: &Path, date: &str) -> io::Result<()> {
    let manual = directory.join("manual");
    fs::create_dir_all(&manual)?;
    for page in [berth(date), berthctl(date)] {
        let name = page.command.get_name().to_owned();
        fs::write(manual.join(format!("{name}.{}", page.section)), page.render()?)?;
        complete(page.command, &name, &directory.join("completions").join(&name))?;
    }
    let page = keys::render(CONFIGURATION, date, sections::BERTHD_TOML);
    fs::write(manual.join("berthd.toml.5"), page)
}

/// Writes `DIRECTORY/SHELL/FILE` for each shell.
fn complete(mut command: Command, name: &str, directory: &Path) -> io::Result<()> {
    for (shell, before, after) in SHELLS {
        let directory = directory.join(shell.to_string());
        fs::create_dir_all(&directory)?;
        let mut completions = fs::File::create(directory.join(format!("{before}{name}{after}")))?;
        clap_complete::generate(shell, &mut command, name, &mut completions);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "2026-11-21";

    fn text(page: fn(&str) -> Page) -> String {
        page(DATE).render().unwrap()
    }

    /// Asserts that a page has every visible option and command below `command`.
    fn assert_has_all_of(page: &str, command: &Command) {
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            if let Some(long) = argument.get_long() {
                let option = format!("--{long}").replace('-', "\\-");
                assert!(page.contains(&option), "{} {long}", command.get_name());
            }
        }
        for inner in command.get_subcommands() {
            assert!(
                page.contains(&format!(" {}\"\n", inner.get_name())) || inner.has_subcommands()
            );
            assert_has_all_of(page, inner);
        }
    }

    #[test]
    fn a_page_has_every_option_and_every_command() {
        for page in [berth, berthctl] {
            let command = page(DATE).command;
            assert!(command.has_subcommands());
            assert_has_all_of(&text(page), &command);
        }
    }

    #[test]
    fn the_sections_of_a_page_come_in_the_usual_order() {
        let sections = |page: &str| -> Vec<String> {
            page.lines().filter_map(|line| line.strip_prefix(".SH ")).map(str::to_owned).collect()
        };
        assert_eq!(
            sections(&text(berth)),
            [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "COMMANDS",
                "OPTIONS",
                "CONNECTION",
                "\"GENERAL OPTIONS\"",
                "PATHS",
                "OUTPUT",
                "LOSSES",
                "\"SIGNING IN\"",
                "TRUST",
                "ENVIRONMENT",
                "EXAMPLES",
                "\"EXIT STATUS\"",
                "FILES",
                "\"SEE ALSO\"",
            ]
        );
        assert_eq!(
            sections(&text(berthctl)),
            [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "COMMANDS",
                "OPTIONS",
                "\"EXIT STATUS\"",
                "ENVIRONMENT",
                "FILES",
                "EXAMPLES",
                "\"SEE ALSO\"",
            ]
        );
    }

    #[test]
    fn options_of_all_commands_are_told_once() {
        let page = text(berth);
        assert_eq!(page.matches("\n\\fB\\-\\-fingerprint\\fR").count(), 1);
    }

    #[test]
    fn every_shell_has_completions_for_both_programs() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), DATE).unwrap();
        for file in ["bash/berth", "zsh/_berth", "fish/berth.fish"] {
            let text = fs::read_to_string(directory.path().join("completions/berth").join(file));
            assert!(text.unwrap().contains("fingerprint"), "{file}");
        }
        assert!(directory.path().join("completions/berthctl/bash/berthctl").exists());
        assert!(directory.path().join("manual/berthctl.8").exists());
    }

    #[test]
    fn the_configurations_page_has_every_key_of_the_example_with_its_default() {
        let page = keys::render(CONFIGURATION, DATE, sections::BERTHD_TOML);
        let assigned = |line: &str| {
            let line = line.trim_start_matches('#');
            let (key, value) = line.split_once(" = ")?;
            key.bytes()
                .all(|b| b == b'_' || b.is_ascii_lowercase())
                .then(|| (key.to_owned(), value.to_owned()))
        };
        let keys: Vec<_> = CONFIGURATION.lines().filter_map(assigned).collect();
        assert!(keys.len() > 20);
        for (key, value) in keys {
            let line = format!("\n\\fB{key}\\fR = {}", value.replace('-', "\\-"));
            assert!(page.contains(&line), "{line:?}");
        }
    }
}

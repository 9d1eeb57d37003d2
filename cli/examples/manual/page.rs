//! One manual page out of a clap command: its own sections as `clap_mangen` writes them, every subcommand as
//! a subsection of COMMANDS, the text after the long help as sections, and a hand-written end.
//!
//! A page for each subcommand would be the other way; there are many small ones, and who reads about `put`
//! wants to search for what a path is.

use std::io;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// A page to be written.
pub(crate) struct Page {
    /// As its program defines it.
    pub(crate) command: Command,
    /// Of the manual.
    pub(crate) section: u8,
    /// Of the release, as YYYY-MM-DD.
    pub(crate) date: String,
    /// The last sections, in roff.
    pub(crate) more: &'static str,
}

impl Page {
    /// The whole page, in roff.
    ///
    /// # Errors
    /// Writing to memory does not fail.
    pub(crate) fn render(&self) -> io::Result<String> {
        let command = &self.command;
        let version = command.get_version().unwrap_or_default();
        let usage = format!("{} [OPTIONS] COMMAND [ARGUMENTS]", command.get_name());
        let man = Man::new(command.clone().override_usage(usage))
            .title(command.get_name().to_uppercase())
            .section(self.section.to_string())
            .date(&self.date)
            .source(format!("Berth {version}"))
            .manual("Berth");
        let mut page = rendered(|out| man.render_title(out))?;
        page += &body(|out| man.render_name_section(out))?;
        page += &body(|out| man.render_synopsis_section(out))?;
        page += &body(|out| man.render_description_section(out))?;
        page += ".SH COMMANDS\n";
        commands(command, command.get_name(), &mut page)?;
        page += &body(|out| man.render_options_section(out))?;
        let after = command.get_after_long_help().or_else(|| command.get_after_help());
        page += &after.map_or_else(String::new, |text| sections(&text.to_string()));
        page += self.more.trim_start();
        Ok(page)
    }
}

/// Every command below `command` that does something, by its whole name.
fn commands(command: &Command, name: &str, page: &mut String) -> io::Result<()> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        let name = format!("{name} {}", inner.get_name());
        if inner.has_subcommands() {
            commands(inner, &name, page)?;
            continue;
        }
        // The options of all commands are told once, since what is taken out before it is built lacks them.
        let mut inner = inner.clone().bin_name(&name).disable_help_flag(true);
        let usage = inner.render_usage().to_string().replace("Usage: ", "");
        let man = Man::new(inner.override_usage(usage));
        *page += &format!(".SS \"{name}\"\n");
        *page += &without_heading(&body(|out| man.render_synopsis_section(out))?);
        *page += ".PP\n";
        *page += &without_heading(&body(|out| man.render_description_section(out))?);
        *page += &without_heading(&body(|out| man.render_options_section(out))?);
    }
    Ok(())
}

fn rendered(render: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> io::Result<String> {
    let mut out = Vec::new();
    render(&mut out)?;
    String::from_utf8(out).map_err(io::Error::other)
}

/// A part without the definition of the apostrophe, which the title has brought.
fn body(render: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> io::Result<String> {
    let part = rendered(render)?;
    let is_definition = |line: &str| line.contains(".ds Aq ");
    Ok(part.lines().filter(|line| !is_definition(line)).map(|line| format!("{line}\n")).collect())
}

fn without_heading(part: &str) -> String {
    let lines = part.lines().filter(|line| !line.starts_with(".SH "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// What clap prints after the long help: headings that end with a colon, and below them, indented by two,
/// sentences, or a table whose columns stand where they stand.
fn sections(text: &str) -> String {
    let mut roff = Roff::default();
    let lines: Vec<&str> = text.lines().collect();
    let mut rest = lines.as_slice();
    while let [line, below @ ..] = rest {
        rest = below;
        if line.starts_with(' ') || line.is_empty() {
            continue;
        }
        let Some((heading, sentence)) = line.split_once(':') else {
            roff.control("PP", []).text([roman(*line)]);
            continue;
        };
        roff.control("SH", [title(heading).as_str()]);
        if !sentence.is_empty() {
            roff.text([roman(sentence.trim())]);
        }
        let indented = rest.iter().take_while(|line| line.starts_with("  ")).count();
        let (inside, below) = rest.split_at(indented);
        rest = below;
        block(inside, &mut roff);
    }
    let text = roff.render();
    text.lines().filter(|line| !line.contains(".ds Aq ")).map(|line| format!("{line}\n")).collect()
}

fn block(lines: &[&str], roff: &mut Roff) {
    let lines: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("  ")).collect();
    let is_table = lines.iter().any(|line| line.contains("  "));
    if is_table {
        roff.control("nf", []);
    }
    for line in lines {
        roff.text([roman(line)]);
    }
    if is_table {
        roff.control("fi", []);
    }
}

/// The manual's word for a heading of the help.
fn title(heading: &str) -> String {
    match heading {
        "Exit codes" => "EXIT STATUS".to_owned(),
        other => other.to_uppercase(),
    }
}

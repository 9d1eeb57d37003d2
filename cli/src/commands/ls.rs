//! `berth ls`: directories, sorted where they are small enough, else printed as they come.

use berth::session::RequestError;
use berth_common::entry::Entry;
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;
use rust_i18n::t;

use super::{Context, Problem, show};
use crate::args::LsArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::looking::colours::Colours;
use crate::looking::columns::{self, Cell};
use crate::looking::order::{Gathered, MOST_SORTED, Order};
use crate::looking::screen;

/// How wide columns are.
#[derive(Clone, Copy)]
struct Widths {
    sizes: usize,
    /// That of names, where notes follow them.
    names: usize,
}

impl Widths {
    /// Where not all entries are known.
    const UNKNOWN: Self = Self { sizes: 14, names: 24 };
    /// Of a single entry.
    const NONE: Self = Self { sizes: 0, names: 0 };
}

pub(super) async fn run(context: &Context, args: &LsArgs) -> Result<Exit, Failure> {
    let here = [".".to_owned()];
    let paths = if args.paths.is_empty() { &here[..] } else { &args.paths };
    let style = context.output.style();
    let printer = Printer { context, args, colours: Colours::new(style.coloured) };
    let mut first = true;
    context
        .for_each("ls", paths, async |path| {
            let heading = paths.len() > 1 && !style.json;
            let listing = match args.notes {
                true => context.session.list_with_notes(path).await,
                false => context.session.list(path).await,
            };
            let mut listing = listing?;
            let mut part = match listing.next_part().await {
                Ok(part) => part,
                Err(RequestError::Server(ErrorCode::NotADirectory)) => {
                    let mut entry = context.session.stat(path).await?;
                    // As in a listing.
                    entry.note = entry.note.filter(|_| args.notes);
                    let shown = path.to_string();
                    return printer.print(&shown, &shown, &entry, Widths::NONE);
                }
                Err(error) => return Err(error.into()),
            };
            if heading {
                let gap = if std::mem::take(&mut first) { "" } else { "\n" };
                context
                    .output
                    .line(&format!("{gap}{}:", context.output.name(&path.to_string())))?;
            }
            let mut gathered = Gathered::default();
            let mut noted = args.order() == Order::default();
            while let Some(entries) = part {
                let unsorted = gathered.add(entries);
                if !unsorted.is_empty() && !std::mem::replace(&mut noted, true) {
                    context.output.flush()?;
                    context.output.note(&t!(
                        "ls %{path}: not sorted, since it has more than %{most_sorted} entries",
                        path = path,
                        most_sorted = MOST_SORTED
                    ));
                }
                printer.print_each(path, &unsorted, Widths::UNKNOWN)?;
                part = listing.next_part().await?;
            }
            printer.print_all(path, &gathered.sorted(args.order()))
        })
        .await
}

/// How entries are printed.
struct Printer<'a> {
    context: &'a Context,
    args: &'a LsArgs,
    colours: Colours,
}

impl Printer<'_> {
    /// A directory's entries that were sorted.
    fn print_all(&self, directory: &RelPath, entries: &[Entry]) -> Result<(), Problem> {
        let style = self.context.output.style();
        let a_line_each = self.args.long || self.args.one_a_line || self.args.notes;
        if a_line_each || style.json || !style.terminal {
            let sizes = entries.iter().map(|entry| self.size(entry).len()).max();
            let names = entries.iter().map(|entry| self.width_of_name(&entry.name)).max();
            let (sizes, names) = (sizes.unwrap_or(0), names.unwrap_or(0));
            return self.print_each(directory, entries, Widths { sizes, names });
        }
        let cells: Vec<Cell> = entries.iter().map(|entry| self.cell(entry)).collect();
        for line in columns::lines(&cells, screen::width()) {
            self.context.output.line(&line)?;
        }
        Ok(())
    }

    fn cell(&self, entry: &Entry) -> Cell {
        let name = self.context.output.name(&entry.name);
        Cell::new(name.to_string()).shown_as(self.colours.paint(entry, &name))
    }

    fn print_each(
        &self,
        directory: &RelPath,
        entries: &[Entry],
        widths: Widths,
    ) -> Result<(), Problem> {
        for entry in entries {
            // A name that cannot be addressed is shown all the same.
            let slash = if directory.is_root() { "" } else { "/" };
            let path = format!("{directory}{slash}{}", entry.name);
            self.print(&path, &entry.name, entry, widths)?;
        }
        Ok(())
    }

    fn print(&self, path: &str, name: &str, entry: &Entry, widths: Widths) -> Result<(), Problem> {
        let output = &self.context.output;
        if output.style().json {
            return Ok(output.json(&show::entry(path, entry))?);
        }
        let mut line = String::new();
        if self.args.long {
            let (mode, time) = (show::mode(entry), show::local_time(entry.mtime_ns));
            line = format!("{mode} {:>width$} {time} ", self.size(entry), width = widths.sizes);
        }
        line.push_str(&self.colours.paint(entry, &output.name(name)));
        if let Some(note) = &entry.note {
            let padding = widths.names.saturating_sub(self.width_of_name(name));
            line.extend(std::iter::repeat_n(' ', padding));
            line.push_str(&format!("  {}", output.name(note.as_str())));
        }
        Ok(output.line(&line)?)
    }

    fn width_of_name(&self, name: &str) -> usize {
        columns::width(&self.context.output.name(name))
    }

    fn size(&self, entry: &Entry) -> String {
        show::size(entry.size, self.args.human)
    }
}

//! `berth tree`: a directory with all that is in it, drawn as it is listed.

use berth::session::RequestError;
use berth_common::entry::{Entry, EntryKind};
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;
use rust_i18n::t;
use serde_json::json;

use super::descent::{Descent, DescentError, Visit, is_directory, spool_failure};
use super::{Context, failed, show};
use crate::args::TreeArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Failures};
use crate::human;
use crate::language::message;
use crate::looking::branches::{Branches, Pen};
use crate::looking::colours::Colours;
use crate::looking::screen;
use crate::wording::InWords;

/// How wide the column of sizes is, as it is for tree(1).
const WIDTH_OF_SIZES: usize = 11;

pub(super) async fn run(context: &Context, args: &TreeArgs) -> Result<Exit, Failure> {
    let typed = args.path.as_deref().unwrap_or(".");
    let top = context.resolve(typed)?;
    let of_top = |failure: Failure| failure.of(format_args!("tree {top}")).at(&top);
    let entry = context.session.stat(&top).await.map_err(|error| of_top(failed(&error)))?;
    if !is_directory(&entry) {
        return Err(of_top(Failure::of_server(&ErrorCode::NotADirectory)));
    }
    let mut drawing = Drawing {
        context,
        args,
        colours: Colours::new(context.output.style().coloured),
        branches: Branches::new(Pen::new(screen::is_utf8())),
        failures: Failures::new(context.output.style()),
        directories: 0,
        files: 0,
    };
    drawing.heading(&top, &entry)?;
    let mut descent = Descent::new(context.session.clone());
    drawing.enter(&mut descent, top, 0).await?;
    loop {
        match descent.next() {
            Ok(None) => return drawing.end(),
            Ok(Some(Visit::Left { .. })) => {}
            Ok(Some(Visit::Entry { entry, path, depth, last })) => {
                let shown = path.as_ref().map_or_else(|_| entry.name.clone(), RelPath::to_string);
                drawing.entry(&entry, &shown, depth, last)?;
                let goes_down = args.levels.is_none_or(|levels| depth + 1 < levels as usize);
                match path {
                    _ if !is_directory(&entry) || !goes_down => {}
                    Ok(path) => drawing.enter(&mut descent, path, depth + 1).await?,
                    Err(error) => {
                        let sentence = t!(
                            "the name %{name} is refused: %{error}",
                            name = format_args!("{:?}", entry.name),
                            error = error.in_words()
                        );
                        drawing.failed(&Failure::new(Exit::Failure, sentence).of("tree"))?;
                    }
                }
            }
            Err(error) => drawing.failed(&spool_failure(&error).of("tree"))?,
        }
    }
}

/// What was drawn so far.
struct Drawing<'a> {
    context: &'a Context,
    args: &'a TreeArgs,
    colours: Colours,
    branches: Branches,
    failures: Failures,
    directories: usize,
    files: usize,
}

impl Drawing<'_> {
    /// Goes into a directory of this depth. That it cannot be listed is told, and the rest goes on.
    async fn enter(
        &mut self,
        descent: &mut Descent<()>,
        path: RelPath,
        depth: usize,
    ) -> Result<(), Failure> {
        let deeper = self.args.levels.is_none_or(|levels| depth + 1 < levels as usize);
        let all = !self.args.directories;
        let entered =
            descent.enter(path.clone(), (), deeper, |entry| all || is_directory(entry)).await;
        let of_path = |failure: Failure| failure.of(format_args!("tree {path}")).at(&path);
        match entered {
            Ok(()) => Ok(()),
            Err(DescentError::Request(error @ RequestError::Connection(_))) => {
                Err(of_path(failed(&error)))
            }
            Err(DescentError::Request(error)) => self.failed(&of_path(failed(&error))),
            Err(DescentError::Spool(error)) => self.failed(&of_path(spool_failure(&error))),
        }
    }

    fn heading(&self, top: &RelPath, entry: &Entry) -> Result<(), Failure> {
        let output = &self.context.output;
        if !output.style().json {
            let name = top.to_string();
            output.line(&self.colours.paint(entry, &output.name(&name)))?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        entry: &Entry,
        path: &str,
        depth: usize,
        last: bool,
    ) -> Result<(), Failure> {
        match entry.kind {
            EntryKind::Directory => self.directories += 1,
            EntryKind::File | EntryKind::Symlink | EntryKind::Other => self.files += 1,
        }
        let output = &self.context.output;
        if output.style().json {
            return Ok(output.json(&show::entry(path, entry))?);
        }
        let mut line = self.branches.before(depth, last);
        if self.args.sizes || self.args.human {
            let size = match entry.kind {
                EntryKind::File => show::size(entry.size, self.args.human),
                EntryKind::Directory | EntryKind::Symlink | EntryKind::Other => "-".to_owned(),
            };
            line.push_str(&format!("[{size:>WIDTH_OF_SIZES$}]  "));
        }
        line.push_str(&self.colours.paint(entry, &output.name(&entry.name)));
        Ok(output.line(&line)?)
    }

    fn failed(&mut self, failure: &Failure) -> Result<(), Failure> {
        // What comes before it on standard output is shown before it.
        self.context.output.flush()?;
        self.failures.tell(failure);
        Ok(())
    }

    fn end(self) -> Result<Exit, Failure> {
        let output = &self.context.output;
        if output.style().json {
            let (directories, files) = (self.directories, self.files);
            output.json(&json!({ "summary": { "directories": directories, "files": files } }))?;
        } else {
            let mut line = human::count(
                self.directories,
                message!("%{number} directory"),
                message!("%{number} directories"),
            );
            if !self.args.directories {
                let files = human::count(
                    self.files,
                    message!("%{number} file"),
                    message!("%{number} files"),
                );
                line.push_str(&t!(", %{more}", more = files));
            }
            output.line(&format!("\n{line}"))?;
        }
        Ok(self.failures.exit())
    }
}

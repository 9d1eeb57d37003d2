//! `berth du`: the sizes of files, summed by directory.

use std::ops::AddAssign;

use berth::session::RequestError;
use berth_common::entry::{Entry, EntryKind};
use berth_common::rel_path::RelPath;
use rust_i18n::t;
use serde_json::json;

use super::descent::{Descent, DescentError, Visit, is_directory, spool_failure};
use super::{Context, Problem, failed, show};
use crate::args::DuArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Failures};
use crate::wording::InWords;

pub(super) async fn run(context: &Context, args: &DuArgs) -> Result<Exit, Failure> {
    let here = [".".to_owned()];
    let paths = if args.paths.is_empty() { &here[..] } else { &args.paths };
    let mut within = Failures::new(context.output.style());
    let exit = context
        .for_each("du", paths, async |path| {
            let entry = context.session.stat(path).await?;
            let mut summing = Summing { context, args, failures: &mut within };
            if is_directory(&entry) {
                return summing.tree(path).await;
            }
            let mut sum = Sum::default();
            sum.count(&entry);
            summing.print(path, sum)
        })
        .await?;
    Ok(if exit == Exit::Success { within.exit() } else { exit })
}

/// What is below a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    bytes: u64,
    files: u64,
    directories: u64,
}

impl Sum {
    fn count(&mut self, entry: &Entry) {
        match entry.kind {
            EntryKind::File => {
                self.bytes = self.bytes.saturating_add(entry.size);
                self.files += 1;
            }
            EntryKind::Directory => self.directories += 1,
            EntryKind::Symlink | EntryKind::Other => {}
        }
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.files += other.files;
        self.directories += other.directories;
    }
}

struct Summing<'a> {
    context: &'a Context,
    args: &'a DuArgs,
    failures: &'a mut Failures,
}

impl Summing<'_> {
    async fn tree(&mut self, top: &RelPath) -> Result<(), Problem> {
        let mut descent = Descent::new(self.context.session.clone());
        // Of the directories that are entered, from the top down.
        let mut deep = 0;
        self.enter(&mut descent, top.clone(), &mut deep).await?;
        loop {
            match descent.next() {
                Ok(None) => return Ok(()),
                Ok(Some(Visit::Entry { path: Ok(path), .. })) => {
                    self.enter(&mut descent, path, &mut deep).await?;
                }
                Ok(Some(Visit::Entry { path: Err(error), entry, .. })) => {
                    let sentence = t!(
                        "the name %{name} is refused: %{error}",
                        name = format_args!("{:?}", entry.name),
                        error = error.in_words()
                    );
                    self.failed(&Failure::new(Exit::Failure, sentence).of("du"))?;
                }
                Ok(Some(Visit::Left { path, note: sum })) => {
                    deep -= 1;
                    if let Some(above) = descent.note() {
                        *above += sum;
                    }
                    if deep <= self.args.deepest() {
                        self.print(&path, sum)?;
                    }
                }
                Err(error) => {
                    deep -= 1;
                    self.failed(&spool_failure(&error).of("du"))?;
                }
            }
        }
    }

    /// Goes into a directory and counts what is in it; only its directories are kept. One that cannot be listed is
    /// told of, and the rest goes on.
    async fn enter(
        &mut self,
        descent: &mut Descent<Sum>,
        path: RelPath,
        deep: &mut usize,
    ) -> Result<(), Problem> {
        let mut sum = Sum::default();
        let entered = descent.enter(path.clone(), Sum::default(), true, |entry| {
            sum.count(entry);
            is_directory(entry)
        });
        let of_path = |failure: Failure| failure.of(format_args!("du {path}")).at(&path);
        let entered = match entered.await {
            Err(DescentError::Request(error @ RequestError::Connection(_))) => {
                return Err(error.into());
            }
            Err(DescentError::Request(error)) => {
                return self.failed(&of_path(failed(&error)));
            }
            Err(DescentError::Spool(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        *deep += 1;
        if let Some(note) = descent.note() {
            *note = sum;
        }
        match entered {
            Ok(()) => Ok(()),
            Err(error) => self.failed(&of_path(spool_failure(&error))),
        }
    }

    fn failed(&mut self, failure: &Failure) -> Result<(), Problem> {
        // What comes before it on standard output is shown before it.
        self.context.output.flush()?;
        self.failures.tell(failure);
        Ok(())
    }

    fn print(&self, path: &RelPath, sum: Sum) -> Result<(), Problem> {
        let output = &self.context.output;
        let path = path.to_string();
        if output.style().json {
            let Sum { bytes, files, directories } = sum;
            return Ok(output.json(&json!({
                "path": path, "bytes": bytes, "files": files, "directories": directories,
            }))?);
        }
        let size = show::size(sum.bytes, self.args.human);
        Ok(output.line(&format!("{size}\t{}", output.name(&path)))?)
    }
}

//! Lists the trees of a `get -r` ahead of the transfers, and makes the local directories.
//!
//! Each listing is taken off the line as fast as it comes, because the transfers share that line.

use std::io;
use std::path::PathBuf;

use berth::session::{RequestError, Session};
use berth_common::entry::{Entry, EntryKind};
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;
use rust_i18n::t;
use tokio::sync::mpsc;

use super::Root;
use super::ahead::Ahead;
use crate::commands::descent::spool_failure;
use crate::commands::failed;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::trees::{Listed, Piece, Sieve, make_directory};
use crate::wording::InWords;

/// What was found.
pub(super) enum Step {
    /// A directory, which is here too, unless nothing is made.
    Directory(PathBuf),
    File {
        remote: RelPath,
        local: PathBuf,
        size: u64,
        mtime_ns: i64,
    },
    Skipped(PathBuf, String),
    Failed(Failure),
    /// What was found has to be in place before what follows begins.
    Settle,
    /// The session is over.
    Lost(Failure),
    /// All was listed. Without it something is missing.
    End,
}

/// Why nothing more is listed: nobody takes it, or the session is over, which was told.
struct Over;

/// Lists the trees, one directory after the other.
pub(super) struct Lister {
    session: Session,
    listed: Listed,
    makes: bool,
    ahead: Ahead,
    steps: mpsc::Sender<Step>,
}

impl Lister {
    /// One whose pieces go there. Where nothing is made, directories are only told.
    pub(super) fn new(
        session: Session,
        sieve: Sieve,
        makes: bool,
        steps: mpsc::Sender<Step>,
    ) -> Self {
        let ahead = Ahead::new(session.clone());
        Self { session, listed: Listed::without(sieve), makes, ahead, steps }
    }

    /// Lists these trees until nobody takes the pieces any more.
    pub(super) async fn list(mut self, roots: Vec<Root>) {
        for root in roots {
            if let Err(Over) = self.root(root).await {
                return;
            }
        }
        let _ = self.step(Step::End).await;
    }

    async fn root(&mut self, Root { remote, local }: Root) -> Result<(), Over> {
        self.listed.begin(remote.clone());
        let entry = match self.session.stat(&remote).await {
            Ok(entry) => entry,
            Err(error) => return self.refused(&remote, &error).await,
        };
        match entry.kind {
            EntryKind::Directory => self.enter(remote, local).await?,
            EntryKind::File => {
                let Entry { size, mtime_ns, .. } = entry;
                self.step(Step::File { remote, local, size, mtime_ns }).await?;
            }
            // It was named, so leaving it out is not enough.
            EntryKind::Symlink | EntryKind::Other => {
                self.refused(&remote, &ErrorCode::NotServed.into()).await?;
            }
        }
        loop {
            let piece = self.listed.next_piece();
            match piece {
                Ok(None) => return Ok(()),
                Ok(Some(Piece::Directory { remote, local })) => self.enter(remote, local).await?,
                Ok(Some(Piece::File { remote, local, size, mtime_ns })) => {
                    self.step(Step::File { remote, local, size, mtime_ns }).await?;
                }
                Ok(Some(Piece::Skipped { remote, local, kind })) => {
                    let sentence = match kind {
                        EntryKind::Symlink => {
                            t!("%{path}: skipped, it is a symbolic link", path = remote)
                        }
                        EntryKind::File | EntryKind::Directory | EntryKind::Other => {
                            t!("%{path}: skipped, it is no file that is served", path = remote)
                        }
                    };
                    let sentence = sentence.into_owned();
                    self.step(Step::Skipped(local, sentence)).await?;
                }
                Ok(Some(Piece::Refused { within, name, error })) => {
                    let sentence = t!(
                        "the name %{name} is refused: %{error}",
                        name = format_args!("{name:?}"),
                        error = error.in_words()
                    );
                    let failure = Failure::new(Exit::Failure, sentence);
                    let failure = failure.of(format_args!("get {within}")).at(&within);
                    self.step(Step::Failed(failure)).await?;
                }
                Ok(Some(Piece::Settle)) => self.step(Step::Settle).await?,
                Err(error) => {
                    self.step(Step::Failed(spool_failure(&error))).await?;
                    self.listed.leave();
                }
            }
        }
    }

    /// Makes a directory here and asks what is in it. All of the answer is taken before anything waits.
    async fn enter(&mut self, remote: RelPath, local: PathBuf) -> Result<(), Over> {
        let (path, makes) = (local.clone(), self.makes);
        let make = move || if makes { make_directory(&path) } else { Ok(()) };
        let made = tokio::task::spawn_blocking(make).await;
        match made {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let failure = Failure::new(error.exit(), error).of(format_args!("get {remote}"));
                let failure = failure.at(&remote).locally(local.display());
                return self.step(Step::Failed(failure)).await;
            }
            // The runtime is going down.
            Err(_) => return Err(Over),
        }
        self.listed.enter(remote.clone(), local.clone());
        let kept = match self.take_listing(&remote).await {
            Ok(kept) => kept,
            Err(error) => {
                self.listed.leave();
                return self.refused(&remote, &error).await;
            }
        };
        if let Err(error) = kept {
            let failure = spool_failure(&error).of(format_args!("get {remote}")).at(&remote);
            self.step(Step::Failed(failure)).await?;
        }
        self.step(Step::Directory(local)).await
    }

    /// Keeps a listing; of what cannot be kept the rest is left where it is.
    async fn take_listing(&mut self, remote: &RelPath) -> Result<io::Result<()>, RequestError> {
        let came = self.ahead.take(remote).await;
        let behind = self.ahead.enter();
        if let Some(entries) = came {
            self.ahead.found(&behind, remote, &entries);
            return Ok(self.listed.add(&entries));
        }
        let mut listing = self.session.list(remote).await?;
        while let Some(entries) = listing.next_part().await? {
            self.ahead.found(&behind, remote, &entries);
            if let Err(error) = self.listed.add(&entries) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    async fn refused(&mut self, remote: &RelPath, error: &RequestError) -> Result<(), Over> {
        let failure = failed(error).of(format_args!("get {remote}")).at(remote);
        match error {
            RequestError::Server(_) => self.step(Step::Failed(failure)).await,
            RequestError::Connection(_) => {
                self.step(Step::Lost(failure)).await?;
                Err(Over)
            }
        }
    }

    async fn step(&self, step: Step) -> Result<(), Over> {
        self.steps.send(step).await.map_err(|_| Over)
    }
}

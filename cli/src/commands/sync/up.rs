//! `berth sync SRC :DST`: a local directory into the home.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use berth::session::RequestError;
use berth::transfer::Place;
use berth_common::entry::EntryKind;
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;
use rust_i18n::t;

use super::{Would, check_not_empty, deleted, end, may_delete, would};
use crate::args::{PutArgs, SyncArgs};
use crate::commands::descent::{Descent, DescentError, Visit, is_directory, spool_failure};
use crate::commands::manifest::{Manifest, Seen, preflight};
use crate::commands::put_tree::send_trees;
use crate::commands::telling::Telling;
use crate::commands::{Context, failed};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::language::message;
use crate::transfer_failures::local;
use crate::trees::{Comparing, Local, Paths, Root, Sieve, Told, beneath};

pub(super) async fn run(
    context: &Context,
    args: &SyncArgs,
    from: PathBuf,
    to: RelPath,
) -> Result<Exit, Failure> {
    check_directory(&from)?;
    let sieve = args.sieve.sieve()?;
    let roots = vec![Root { local: from.clone(), remote: to.clone(), place: Place::Unknown }];
    let comparing = if args.checksum { Comparing::Content } else { Comparing::Times };
    let manifest = Manifest { roots: &roots, sieve: &sieve, comparing, keeps: false };
    let mut telling = Telling::new(context);
    let (mut names, mut skipped, mut found) = (Paths::default(), Paths::default(), 0);
    let preflight = preflight(context, &manifest, &mut telling, |telling, seen| {
        let local = match &seen {
            Seen::Piece(piece, _) => &piece.local,
            Seen::Skipped(local) => *local,
        };
        found += u64::from(*local != from);
        if args.delete {
            names.insert(local);
            if matches!(seen, Seen::Skipped(_)) {
                skipped.insert(local);
            }
        }
        if args.dry_run { print(context, telling, &seen) } else { Ok(()) }
    });
    let preflight = preflight.await?;
    check_not_empty(args, found)?;
    if !args.dry_run {
        let trees = preflight.trees(roots, sieve.clone());
        telling = send_trees(context, &put_args(args, &from), trees, telling).await?;
    }
    if may_delete(context, args, &telling) {
        let (names, skipped) = (&names, &skipped);
        let (from, to, sieve) = (&from, &to, &sieve);
        let sweep = Sweep { context, args, from, to, names, skipped, sieve };
        sweep.run(&mut telling).await?;
    }
    end(context, args, telling)
}

/// A path that is none, or no directory, is not what was meant.
fn check_directory(path: &Path) -> Result<(), Failure> {
    let found = fs::metadata(path).and_then(|found| match found.is_dir() {
        true => Ok(()),
        false => Err(io::ErrorKind::NotADirectory.into()),
    });
    found.map_err(|error| {
        local(message!("cannot sync %{path}: %{reason}"), path, &error)
            .of("sync")
            .locally(path.display())
    })
}

/// As with a `put -r` of what is in the directory.
fn put_args(args: &SyncArgs, from: &Path) -> PutArgs {
    PutArgs {
        files: vec![from.to_owned()],
        recursive: true,
        to: None,
        no_overwrite: false,
        append: false,
        whole_file: false,
        note: None,
        moving: args.moving.clone(),
        sieve: args.sieve.clone(),
    }
}

/// What a dry run says of a piece.
fn print(context: &Context, telling: &mut Telling<'_>, seen: &Seen<'_>) -> Result<(), Failure> {
    match seen {
        Seen::Piece(piece, Told::Done { .. }) => {
            let remote = piece.remote.to_string();
            match &piece.is {
                Local::Directory => {
                    telling.tally.directories += 1;
                    would(context, Would::Make, &remote)
                }
                Local::File(file) => {
                    telling.tally.files += 1;
                    telling.tally.bytes += file.size;
                    would(context, Would::Send, &remote)
                }
            }
        }
        Seen::Piece(_, Told::Same | Told::Refused(_) | Told::Beneath) => Ok(()),
        Seen::Skipped(local) => {
            telling.skipped(&t!("%{local}: skipped, it is no file", local = local.display()));
            Ok(())
        }
    }
}

/// Whether it is certain that nothing stands there.
fn is_absent(local: &Path) -> bool {
    let looked = fs::symlink_metadata(local);
    looked.is_err_and(|error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    })
}

/// Removes from the home what is not in SRC.
struct Sweep<'a> {
    context: &'a Context,
    args: &'a SyncArgs,
    from: &'a Path,
    to: &'a RelPath,
    names: &'a Paths,
    /// Of those, what is not put.
    skipped: &'a Paths,
    sieve: &'a Sieve,
}

/// A directory of the home that is looked through.
struct Inside {
    /// It is not in SRC, and goes unless something in it stays.
    goes: bool,
    stays: bool,
}

impl Sweep<'_> {
    async fn run(&self, telling: &mut Telling<'_>) -> Result<(), Failure> {
        let mut descent = Descent::new(self.context.session.clone());
        let inside = |goes| Inside { goes, stays: false };
        let top = descent.enter(self.to.clone(), inside(false), true, |_| true).await;
        match top {
            Ok(()) => {}
            // A dry run makes no directory.
            Err(DescentError::Request(RequestError::Server(ErrorCode::NotFound)))
                if self.args.dry_run =>
            {
                return Ok(());
            }
            Err(error) => return self.unlisted(telling, self.to, &error),
        }
        while let Some(visit) = descent.next().map_err(|error| spool_failure(&error))? {
            match visit {
                Visit::Entry { entry, path: Ok(path), .. } => {
                    let (is_directory, at) = (is_directory(&entry), beneath(&path, self.to));
                    let local = self.from.join(at);
                    let is_left_out =
                        self.sieve.leaves_out(at, is_directory) || self.skipped.contains(&local);
                    // What has come since the walk may have been put by now.
                    let is_in_source = self.names.contains(&local) || !is_absent(&local);
                    let is_served = matches!(entry.kind, EntryKind::File | EntryKind::Directory);
                    let goes = !is_in_source && !is_left_out && is_served;
                    let enters = match goes {
                        true => is_directory && !self.sieve.is_empty(),
                        false => is_directory && is_in_source && !is_left_out,
                    };
                    if !goes && let Some(inside) = descent.note() {
                        inside.stays = true;
                    }
                    if enters {
                        let entered = descent.enter(path.clone(), inside(goes), true, |_| true);
                        if let Err(error) = entered.await {
                            self.unlisted(telling, &path, &error)?;
                        }
                    } else if goes && !self.remove(telling, &path, is_directory).await? {
                        return Ok(());
                    }
                }
                // It was told with the listing's other oddities, and cannot be addressed.
                Visit::Entry { path: Err(_), .. } => {
                    if let Some(inside) = descent.note() {
                        inside.stays = true;
                    }
                }
                Visit::Left { path, note: Inside { goes: true, stays: false } } => {
                    if !self.remove(telling, &path, false).await? {
                        return Ok(());
                    }
                }
                Visit::Left { note: Inside { stays, .. }, .. } => {
                    if let Some(inside) = descent.note().filter(|_| stays) {
                        inside.stays = true;
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes something, and says whether there is a session to go on with.
    async fn remove(
        &self,
        telling: &mut Telling<'_>,
        path: &RelPath,
        recursive: bool,
    ) -> Result<bool, Failure> {
        if !self.args.dry_run
            && let Err(error) = self.context.session.remove(path, recursive).await
        {
            telling.failed(&failed(&error).of(t!("delete %{path}", path = path)).at(path));
            return Ok(matches!(error, RequestError::Server(_)));
        }
        deleted(self.context, telling, &path.to_string(), self.args.dry_run)?;
        Ok(true)
    }

    fn unlisted(
        &self,
        telling: &mut Telling<'_>,
        path: &RelPath,
        error: &DescentError,
    ) -> Result<(), Failure> {
        let failure = match error {
            DescentError::Request(error) => failed(error),
            DescentError::Spool(error) => spool_failure(error),
        };
        let failure = failure.of(t!("look through %{path}", path = path)).at(path);
        match error {
            DescentError::Request(RequestError::Connection(_)) => Err(failure),
            DescentError::Request(RequestError::Server(_)) | DescentError::Spool(_) => {
                telling.failed(&failure);
                Ok(())
            }
        }
    }
}

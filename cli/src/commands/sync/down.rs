//! `berth sync :SRC DST`: a directory of the home to a local one.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use berth_common::entry::EntryKind;
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;
use rust_i18n::t;
use tokio::sync::mpsc;

use super::{check_not_empty, deleted, end, may_delete};
use crate::args::{GetArgs, SyncArgs};
use crate::commands::get_tree::{Root, Syncing, fetch};
use crate::commands::{Context, failed};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::language::message;
use crate::transfer_failures::local;
use crate::trees::{Leftovers, Paths};

pub(super) async fn run(
    context: &Context,
    args: &SyncArgs,
    from: RelPath,
    to: PathBuf,
) -> Result<Exit, Failure> {
    let named = format!("sync {from}");
    let entry = context.session.stat(&from).await;
    let entry = entry.map_err(|error| failed(&error).of(&named).at(&from))?;
    if entry.kind != EntryKind::Directory {
        return Err(Failure::of_server(&ErrorCode::NotADirectory).of(named).at(&from));
    }
    // A link that is named is followed, and none below it.
    let to = match fs::symlink_metadata(&to).is_ok_and(|found| found.is_symlink()) {
        true => to.join("."),
        false => to,
    };
    if !args.dry_run {
        make_parents(&to)?;
    }
    let get = GetArgs {
        files: vec![from.to_string()],
        recursive: true,
        to: Some(to.clone()),
        force: true,
        moving: args.moving.clone(),
        sieve: args.sieve.clone(),
    };
    let syncing = Syncing {
        checksum: args.checksum,
        dry_run: args.dry_run,
        names: args.delete.then(Paths::default),
        skipped: Paths::default(),
        found: 0,
    };
    let roots = vec![Root { remote: from, local: to.clone() }];
    let (mut telling, syncing) = fetch(context, &get, roots, Some(syncing)).await?;
    let Some(Syncing { names, skipped, found, .. }) = syncing else { return telling.end() };
    if telling.exit() == Exit::Success && !context.tries.has_lost() {
        // The directory itself is among what was found.
        check_not_empty(args, found.saturating_sub(1))?;
    }
    if let Some(names) = names.filter(|_| may_delete(context, args, &telling)) {
        let (sieve, dry_run) = (args.sieve.sieve()?, args.dry_run);
        // It ends when nobody hears of it any more: an interrupt is heard meanwhile.
        let (tell, mut told) = mpsc::channel(1);
        let removing = tokio::task::spawn_blocking(move || {
            let leftovers = Leftovers { names: &names, skipped: &skipped, sieve: &sieve, dry_run };
            leftovers.remove(&to, &mut |path, removed| match tell
                .blocking_send((path.to_owned(), removed))
            {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            });
        });
        while let Some((path, removed)) = told.recv().await {
            let shown = path.display().to_string();
            match removed {
                Ok(()) => deleted(context, &mut telling, &shown, dry_run)?,
                Err(error) => {
                    let failure =
                        local(message!("cannot delete %{path}: %{reason}"), &path, &error)
                            .of("sync")
                            .locally(&shown);
                    telling.failed(&failure);
                }
            }
        }
        if removing.await.is_err() {
            let stopped = Failure::new(Exit::Failure, t!("deleting stopped before its end"));
            telling.failed(&stopped.of("sync"));
        }
    }
    end(context, args, telling)
}

fn make_parents(to: &Path) -> Result<(), Failure> {
    let Some(parent) = to.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    fs::create_dir_all(parent).map_err(|error| {
        local(message!("cannot make %{path}: %{reason}"), parent, &error).locally(parent.display())
    })
}

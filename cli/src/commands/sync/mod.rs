//! `berth sync`: makes a directory on one side have what one on the other side has.
//!
//! `up` goes into the home and `down` comes out of it; the files move as with `put -r` and `get -r`. What is removed is
//! removed at the end, and nothing is when anything failed before: what could not be looked at may well be there.

mod down;
mod up;

use rust_i18n::t;
use serde_json::json;

use super::Context;
use super::telling::Telling;
use crate::args::{Sides, SyncArgs};
use crate::exit::Exit;
use crate::failure::Failure;

/// What is wrong with the command line, told before anybody is asked for a password.
pub(super) fn check(args: &SyncArgs) -> Result<(), Failure> {
    args.sieve.sieve()?;
    args.sides().map(drop)
}

pub(super) async fn run(context: &Context, args: &SyncArgs) -> Result<Exit, Failure> {
    match args.sides()? {
        Sides::Up { from, to } => up::run(context, args, from, context.resolve(&to)?).await,
        Sides::Down { from, to } => down::run(context, args, context.resolve(&from)?, to).await,
    }
}

/// What a dry run would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Would {
    Make,
    Send,
    Get,
    Delete,
}

impl Would {
    /// For programs.
    fn name(self) -> &'static str {
        match self {
            Self::Make => "make",
            Self::Send => "send",
            Self::Get => "get",
            Self::Delete => "delete",
        }
    }
}

/// Says what would be done.
pub(super) fn would(context: &Context, what: Would, path: &str) -> Result<(), Failure> {
    match context.output.style().json {
        true => context.output.json(&json!({ "path": path, "would": what.name() }))?,
        false => {
            let path = context.output.name(path);
            let line = match what {
                Would::Make => t!("make %{path}", path = path),
                Would::Send => t!("send %{path}", path = path),
                Would::Get => t!("get %{path}", path = path),
                Would::Delete => t!("delete %{path}", path = path),
            };
            context.output.line(&line)?;
        }
    }
    Ok(())
}

/// Something was removed, or would be.
fn deleted(
    context: &Context,
    telling: &mut Telling<'_>,
    path: &str,
    dry_run: bool,
) -> Result<(), Failure> {
    telling.tally.deleted += 1;
    if dry_run {
        return would(context, Would::Delete, path);
    }
    match context.output.style().json {
        true => Ok(context.output.json(&json!({ "path": path, "deleted": true }))?),
        false => {
            telling.progress.line(&t!("%{path}: deleted", path = path));
            Ok(())
        }
    }
}

/// Whether what is not in SRC may be removed now.
fn may_delete(context: &Context, args: &SyncArgs, telling: &Telling<'_>) -> bool {
    // The next try goes on with it.
    if context.tries.has_lost() {
        return false;
    }
    let failed = telling.exit() != Exit::Success;
    if args.delete && failed {
        context.output.note(&t!("nothing is deleted, since not all of SRC is in DST"));
    }
    args.delete && !failed
}

/// Refuses to empty DST for a SRC that may only have been mistyped, or is not mounted.
fn check_not_empty(args: &SyncArgs, found: u64) -> Result<(), Failure> {
    match args.delete && found == 0 {
        true => Err(Failure::usage(t!(
            "sync: %{from} is empty, and --delete would remove all that is in %{to}; use rm for that",
            from = args.from,
            to = args.to
        ))),
        false => Ok(()),
    }
}

fn end(context: &Context, args: &SyncArgs, telling: Telling<'_>) -> Result<Exit, Failure> {
    if args.dry_run {
        // What would be done stands before its sum.
        telling.over();
        context.output.flush()?;
        context.output.note(&t!("nothing was changed; without -n it would have been:"));
    }
    telling.end()
}

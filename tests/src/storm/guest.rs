//! Somebody who is added during the storm, works a little, is struck, and is removed: afterwards neither directory
//! nor row may be left, whatever died meanwhile.
//!
//! A guest's seed says what it does and when it is struck.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use berth_common::admin_protocol::{AdminError, AdminToDaemon, DaemonToAdmin};
use berth_common::client_protocol::ClientToWorker;
use berth_common::entry::{Existing, Limits};
use berth_common::ids::{UploadToken, UserName};
use berth_common::limits::SMALL_UPLOAD_BYTES;
use berth_common::rel_path::RelPath;

use super::arena::Arena;
use super::connection::{Connection, Cut, Doubts, Helpers};
use super::content::Content;
use super::plan::{BrokenOff, moment};
use super::random::Random;
use super::session::PASSWORD;
use super::tally::Killed;
use super::transfer::{self, Upload};
use crate::server::user_of_cheap_logins;
use crate::{disk, ledger};

/// What a guest may have.
const LIMITS: Limits = Limits { bytes: Some(4 << 20), entries: Some(20) };

/// A guest's life.
///
/// # Panics
/// When the server refuses what it must not, or something is left.
pub(super) fn comes_and_goes(arena: &Arena, user: usize, seed: u64) {
    let name = format!("guest{user}");
    let mut random = Random::of(&[seed]);
    let dies = |random: &mut Random, percent| random.chance(percent).then(|| moment(random));
    let (while_added, while_removed) = (dies(&mut random, 15), dies(&mut random, 35));
    let recovering = random.chance(30).then(|| moment(&mut random) / 4);

    beside(|| kill_daemon(arena, while_added), || add(arena, &name));
    let connection = work(arena, &name, &mut random);
    let strike = || {
        if let Some(after) = recovering {
            pass(after);
            arena.kill_recovering(&name);
        }
        kill_daemon(arena, while_removed);
    };
    beside(strike, || remove(arena, &name));
    drop(connection);
    nothing_is_left(arena, &name);
    arena.tally.guest();
}

/// Does both at once.
fn beside(one: impl FnOnce() + Send, other: impl FnOnce()) {
    thread::scope(|scope| {
        scope.spawn(one);
        other();
    });
}

/// Lets this time pass, as exactly as the kernel can.
fn pass(time: Duration) {
    let (_open, nothing): (Sender<()>, Receiver<()>) = channel();
    let _ = nothing.recv_timeout(time);
}

/// Kills the daemon after this time, if it is to be killed.
fn kill_daemon(arena: &Arena, after: Option<Duration>) {
    let Some(after) = after else {
        return;
    };
    pass(after);
    if !arena.tally.is_complete() {
        arena.kill_daemon(None);
    }
}

fn add(arena: &Arena, name: &str) {
    let request = user_of_cheap_logins(name, PASSWORD, LIMITS);
    let mut may_be_there = false;
    crate::wait_for("a guest is added", || match arena.ask(&request) {
        Ok(DaemonToAdmin::Done) => Some(()),
        Ok(DaemonToAdmin::Refused(AdminError::UserExists(_))) if may_be_there => Some(()),
        // It may have been written before the ledger was out of order.
        Err(_)
        | Ok(DaemonToAdmin::Refused(AdminError::Ledger | AdminError::NotVerified { .. })) => {
            may_be_there = true;
            None
        }
        Ok(other) => panic!("{name} is not added: {other:?}"),
    });
}

fn remove(arena: &Arena, name: &str) {
    let user = UserName::new(name).expect("a user's name");
    let mut may_be_gone = false;
    crate::wait_for("a guest is removed", || {
        match arena.ask(&AdminToDaemon::UserRemove { user: user.clone() }) {
            Ok(DaemonToAdmin::Done) => Some(()),
            Ok(DaemonToAdmin::Refused(AdminError::NoSuchUser(_))) if may_be_gone => Some(()),
            Err(_) | Ok(DaemonToAdmin::Refused(AdminError::Ledger)) => {
                may_be_gone = true;
                None
            }
            Ok(other) => panic!("{name} is not removed: {other:?}"),
        }
    });
}

/// Some files and a directory, cut off at any time, and an upload that falls silent. The connection as it was left.
fn work(arena: &Arena, name: &str, random: &mut Random) -> Connection {
    let (doubts, strikes) = (Doubts::default(), arena.strikes());
    let mut connection = Connection::open(arena, name, PASSWORD, &doubts);
    let Helpers { worker, filer } = connection.helpers;
    let (after, what) = (moment(random), random.below(3));
    let strike = || {
        pass(after);
        if !arena.tally.is_complete() {
            let _ = match what {
                0 => arena.kill_helper(worker, Killed::Worker),
                1 => arena.kill_helper(filer, Killed::Filer),
                _ => false,
            };
        }
    };
    beside(strike, || {
        // A cut ends it, and so may a refusal.
        let _: Result<(), Cut> = some_operations(arena, &mut connection, random);
    });
    let told = doubts.take();
    let was_struck = what < 2 || strikes.is_none() || strikes != arena.strikes();
    assert!(was_struck || told.is_empty(), "{name} was told {told:?}, and nothing was killed");
    connection
}

fn some_operations(
    arena: &Arena,
    connection: &mut Connection,
    random: &mut Random,
) -> Result<(), Cut> {
    let path = |name: &str| RelPath::new(name).expect("a path");
    connection.ask(|id| ClientToWorker::MakeDirectory { id, path: path("d"), parents: false })?;
    for at in ["a", "d/a", "a", "d/b"] {
        let upload = upload(random, path(at), 40_000);
        if transfer::put(connection, &upload, None, arena).hangs_up {
            return Err(Cut);
        }
    }
    connection.ask(|id| ClientToWorker::Remove { id, path: path("d"), recursive: true })?;
    let silent = upload(random, path("b"), SMALL_UPLOAD_BYTES + 200_000);
    let half = BrokenOff { permille: 500, hangs: true };
    transfer::put(connection, &silent, Some(half), arena);
    Ok(())
}

fn upload(random: &mut Random, path: RelPath, size: u64) -> Upload {
    let source = random.next() >> 8;
    let mut token = [0; 16];
    token[..8].copy_from_slice(&random.next().to_le_bytes());
    Upload {
        path,
        content: Content::new(source, size),
        source,
        token: UploadToken(token),
        existing: Existing::Replace,
        streams: false,
    }
}

fn nothing_is_left(arena: &Arena, name: &str) {
    let server = arena.server();
    let directory = server.home(name).with_file_name("");
    assert!(!directory.exists(), "{name} is removed, and has {:?}", disk::entries(&directory));
    let rows: i64 = {
        let sql = "SELECT (SELECT count(*) FROM users WHERE name = ?1)
                        + (SELECT count(*) FROM uploads WHERE user NOT IN (SELECT id FROM users))
                        + (SELECT count(*) FROM intents WHERE user NOT IN (SELECT id FROM users))";
        ledger::open(&server.data()).query_row(sql, [name], |row| row.get(0)).expect("the ledger")
    };
    assert_eq!(rows, 0, "rows are left of {name}, who is removed");
}

//! The storm: users who do random operations while random processes are killed.
//!
//! [`run`] starts a server with four users of three sessions each. In rounds, each user's sessions do
//! what the seed says, on the same few names, while workers, filers, recovering filers and the daemon
//! are killed with SIGKILL. After each round the user comes to rest, and then the ledger must equal the
//! disk, every file be whole, and the home follow from the operations that were acknowledged
//! ([`history`]). `tests/tests/storm.rs` runs it; `docs/TESTING.md` describes it.
//!
//! [`random`], [`content`], [`file`], [`plan`], [`events`], [`kind`], [`bounds`], [`tree`] and [`history`] are pure; [`arena`],
//! [`connection`], [`session`], [`batch`], [`shared`], [`transfer`], [`rest`], [`administrator`], [`guest`] and [`user`]
//! deal with the server; [`tally`] counts.

pub mod administrator;
pub mod arena;
pub mod batch;
pub mod bounds;
pub mod connection;
pub mod content;
pub mod events;
pub mod file;
pub mod guest;
pub mod history;
pub mod kind;
pub mod plan;
pub mod random;
pub mod rest;
pub mod session;
pub mod shared;
pub mod tally;
pub mod transfer;
pub mod tree;
pub mod user;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::{Options, Server};
use arena::Arena;
use tally::Tally;

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Fault {
    /// In a sentence.
    pub what: String,
    /// After how many kills it was found.
    pub kills: u64,
    /// With all that there is to know.
    pub text: String,
}

/// How a storm ended.
#[derive(Debug)]
pub struct Ended {
    /// The counts.
    pub tally: Tally,
    /// The first fault, if one was found.
    pub fault: Option<Fault>,
}

/// What a storm is run with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Determines operations and kills.
    pub seed: u64,
    /// After so many kills it ends.
    pub kills: u64,
    /// What the server is started with.
    pub options: Options,
    /// How long a user may take from its last operation to a state of rest.
    pub patience: Duration,
    /// Whether the server's directory is left for somebody to look at when a fault was found.
    pub keeps_directory: bool,
}

/// Runs a storm until there were so many kills, or a fault was found.
///
/// # Panics
/// When the server does not start.
#[must_use]
pub fn run(settings: Settings) -> Ended {
    let Settings { seed, kills, options, patience, keeps_directory } = settings;
    let options = options
        .set("max_connections_per_address = 512")
        .set("max_sessions_per_user = 64")
        .set("spare_workers = 6")
        .set("spare_filers = 6");
    let server = Server::start(options);
    for user in 0..plan::USERS {
        let name = session::user_name(user);
        server.add_user_with(&name, session::PASSWORD, plan::limits(user));
    }
    let directory = server.directory().to_owned();
    let arena = Arena::new(server, Tally::until(kills), patience);
    let over = AtomicBool::new(false);
    let faults: Vec<Fault> = thread::scope(|scope| {
        let (arena, over) = (&arena, &over);
        let users: Vec<_> = (0..plan::USERS)
            .map(|user| {
                let stop = || over.load(Ordering::Relaxed);
                scope.spawn(move || {
                    let done = user::storm(arena, seed, user, &stop);
                    over.fetch_or(done.is_err(), Ordering::Relaxed);
                    done
                })
            })
            .collect();
        let done = users.into_iter().map(|user| user.join().expect("its panics are caught"));
        done.filter_map(Result::err).collect()
    });
    let mut fault = faults.into_iter().min_by_key(|fault| fault.kills);
    if let Some(fault) = fault.as_mut().filter(|_| keeps_directory) {
        fault.text = format!("{}\nthe directory is kept: {}", fault.text, directory.display());
    }
    Ended { tally: arena.finish(fault.is_some() && keeps_directory), fault }
}

/// The number of an operation, and of the file that it puts: never used twice in a storm.
fn number_of(user: usize, round: u64, session: usize, operation: u64) -> u64 {
    (user as u64 + 1) << 56 | round << 16 | (session as u64) << 8 | operation
}

/// The number of one of the operations of a batch with this number.
fn number_in_batch(number: u64, place: u64) -> u64 {
    number | (place + 1) << 4
}

/// Whether a file with this number is one of this user's.
fn is_number_of(number: u64, user: usize) -> bool {
    number >> 56 == user as u64 + 1
}

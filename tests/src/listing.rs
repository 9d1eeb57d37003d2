//! Large directories, made on the server's disk, and what listing one costs: for tests and `bench/`.

use std::fs::{self, File};

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::rel_path::RelPath;

use crate::{Raw, Server, account, process};

/// Makes a directory of so many empty files in a user's home, beside the ledger: for listing it does not matter.
///
/// # Panics
/// When it cannot be made.
pub fn make_directory(server: &Server, user: &str, name: &str, entries: usize) {
    let directory = server.home(user).join(name);
    fs::create_dir(&directory).unwrap();
    for number in 0..entries {
        let path = directory.join(format!("entry-number-{number:06}"));
        File::create(&path).unwrap();
        account::give(&path);
    }
    account::give(&directory);
}

/// How much memory worker and filer of a new session had at most, after a directory of so many entries was listed.
///
/// # Panics
/// When it is not listed whole.
#[must_use]
pub fn peaks(
    server: &Server,
    (user, password): (&str, &str),
    name: &str,
    entries: usize,
) -> [u64; 2] {
    let mut raw = Raw::login(server, user, password);
    let session = server.session_of(user);
    let path = RelPath::new(name).unwrap();
    let mut part = raw.ask(|id| ClientToWorker::List { id, path, notes: false });
    let mut seen = 0;
    loop {
        match part {
            WorkerToClient::Entries { entries, last, .. } => {
                seen += entries.len();
                if last {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
        part = raw.message();
    }
    assert_eq!(seen, entries);
    let peaks = [session.worker, session.filer.unwrap()].map(process::peak_bytes);
    drop(raw);
    server.wait_for_no_session_of(user);
    peaks
}

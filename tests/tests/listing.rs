//! Large directories: listings stream, and neither block the session's neighbours nor fill memory.

use std::fs::{self, File};

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::rel_path::RelPath;
use berth_tests::{Options, Raw, Server, account, wait_until};

const ENTRIES: usize = 100_000;

/// Listings that nobody reads: together more than any buffer on the way holds.
const LISTINGS: usize = 4;

/// Makes a home with a large directory, beside the ledger: for listing it does not matter.
fn large_home(server: &Server) {
    server.add_user("alice", "a", "unlimited");
    let large = server.home("alice").join("large");
    fs::create_dir(&large).unwrap();
    for number in 0..ENTRIES {
        let path = large.join(format!("entry-number-{number:06}"));
        File::create(&path).unwrap();
        account::give(&path);
    }
    account::give(&large);
}

/// The most memory that a process ever had, in KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

#[test]
fn a_directory_of_100_000_entries_is_listed_whole() {
    let server = Server::start(Options::new());
    large_home(&server);
    let alice = server.client("alice", "a");
    let listed = alice.run(&["ls", "--json", "large"]).ok().json_lines();
    let mut names: Vec<_> = listed.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ENTRIES);
    assert_eq!((names[0], names[ENTRIES - 1]), ("entry-number-000000", "entry-number-099999"));
}

#[test]
fn a_client_that_reads_no_further_neither_fills_memory_nor_stops_others() {
    let server = Server::start(Options::new());
    large_home(&server);
    let mut slow = Raw::login(&server, "alice", "a");
    let session = server.session_of("alice");
    let (worker, filer) = (session.worker, session.filer.unwrap());
    let before = (peak_kib(worker), peak_kib(filer));
    for _ in 0..LISTINGS {
        let id = slow.id();
        slow.send(&ClientToWorker::List { id, path: RelPath::new("large").unwrap() });
    }
    // Another session of the same user is served all the same.
    let alice = server.client("alice", "a");
    alice.run(&["df"]).ok();
    assert_eq!(alice.run(&["ls", "--json", "large"]).ok().json_lines().len(), ENTRIES);
    let grown = (peak_kib(worker) - before.0, peak_kib(filer) - before.1);
    eprintln!("peak memory grew by {} KiB (worker) and {} KiB (filer)", grown.0, grown.1);
    assert!(grown.0 < 16 * 1024 && grown.1 < 16 * 1024, "{grown:?} KiB");

    // And when it reads on, all of it comes.
    let mut ended = 0;
    let mut seen = 0;
    while ended < LISTINGS {
        match slow.message() {
            WorkerToClient::Entries { entries, last, .. } => {
                seen += entries.len();
                ended += usize::from(last);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, LISTINGS * ENTRIES);
    drop(slow);
    wait_until("the session ends", || !server.sessions().iter().any(|s| s.worker == worker));
}

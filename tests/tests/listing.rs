//! Large directories: listings stream, and neither block the session's neighbours nor fill memory.

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::rel_path::RelPath;
use berth_tests::listing::{make_directory, peaks};
use berth_tests::process::peak_bytes;
use berth_tests::{Options, Raw, Server, report, wait_until};

const ENTRIES: usize = 100_000;

/// What a large directory is compared with.
const SMALL: usize = 1000;

/// Listings that nobody reads: together more than any buffer on the way holds.
const LISTINGS: usize = 4;

/// Makes a home with a large directory, beside the ledger: for listing it does not matter.
fn large_home(server: &Server) {
    server.add_user("alice", "a", "unlimited");
    make_directory(server, "alice", "large", ENTRIES);
}

/// The most memory that a process ever had, in KiB.
fn peak_kib(pid: u32) -> u64 {
    peak_bytes(pid) / 1024
}

/// Claims that a directory of so many entries takes worker and filer no more memory than a small one.
fn lists_in_the_memory_of_a_small_one(entries: usize) {
    /// A listing has buffers that a short one does not fill; entries that were kept would take 100 bytes each or more.
    const DIFFERENCE: u64 = 1 << 20;
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    make_directory(&server, "alice", "small", SMALL);
    make_directory(&server, "alice", "large", entries);
    let small = peaks(&server, ("alice", "a"), "small", SMALL);
    let large = peaks(&server, ("alice", "a"), "large", entries);
    report(&format!(
        "peaks of worker and filer in KiB: {:?} of {SMALL} entries, {:?} of {entries}",
        small.map(|bytes| bytes / 1024),
        large.map(|bytes| bytes / 1024)
    ));
    for (small, large) in small.into_iter().zip(large) {
        assert!(large < small + DIFFERENCE, "{large} bytes beside {small}");
    }
}

#[test]
fn a_directory_of_20_000_entries_takes_the_memory_of_one_of_1_000() {
    lists_in_the_memory_of_a_small_one(20_000);
}

#[test]
#[ignore = "makes a million files: the command is in docs/PERFORMANCE.md"]
fn a_directory_of_1_000_000_entries_takes_the_memory_of_one_of_1_000() {
    lists_in_the_memory_of_a_small_one(1_000_000);
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
        slow.send(&ClientToWorker::List { id, path: RelPath::new("large").unwrap(), notes: false });
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

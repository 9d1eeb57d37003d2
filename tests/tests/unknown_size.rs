//! Puts of unknown size end to end: what a pipe brings stands in the home byte for byte, quotas hold to the byte while
//! nobody knows how much will come, and nothing is left of what did not come to its end.

use std::fs;
use std::io::Write as _;
use std::process::ChildStdin;

use berth_common::limits::{BLOCK_SIZE, LEASE_BYTES};
use berth_tests::client::{Running, at_once};
use berth_tests::exact::assert_exact;
use berth_tests::exit::{INTERRUPTED, NO_ROOM, USAGE};
use berth_tests::files::Content;
use berth_tests::{Client, Options, Outcome, Server, disk, wait_until};

const MIB: u64 = 1 << 20;

fn scene(quota: &str) -> (Server, Client) {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", quota);
    let alice = server.client("alice", "a");
    (server, alice)
}

fn content(seed: u64, size: u64) -> Vec<u8> {
    Content::seed(seed).bytes(usize::try_from(size).unwrap())
}

fn put(alice: &Client, bytes: &[u8], to: &str) -> Outcome {
    alice.spawn_with(&["put", "-", "--to", to], bytes.to_vec()).wait()
}

fn read(server: &Server, name: &str) -> Vec<u8> {
    fs::read(server.home("alice").join(name)).unwrap()
}

/// Begins a put and writes so much into its pipe, which stays open.
fn begin(alice: &Client, arguments: &[&str], bytes: &[u8]) -> (Running, ChildStdin) {
    let (running, mut pipe) = alice.spawn_piped(arguments);
    pipe.write_all(bytes).unwrap();
    (running, pipe)
}

/// Bytes that stand in staging.
fn staged(server: &Server) -> u64 {
    let files = disk::entries(&server.staging("alice"));
    files.iter().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

fn assert_nothing_left(server: &Server) {
    assert_exact(server);
    server.assert_at_rest("alice");
}

#[test]
fn what_comes_through_a_pipe_stands_in_the_home_byte_for_byte() {
    let (server, alice) = scene("unlimited");
    let block = BLOCK_SIZE as u64;
    let sizes = [
        0,
        1,
        block - 1,
        block,
        block + 1,
        LEASE_BYTES - 1,
        LEASE_BYTES,
        LEASE_BYTES + 1,
        40 * MIB,
    ];
    for (number, size) in sizes.into_iter().enumerate() {
        let bytes = content(number as u64, size);
        let arguments = ["--json", "put", "-", "--to", "f"];
        let told = alice.spawn_with(&arguments, bytes.clone()).wait().ok().json();
        assert!(read(&server, "f") == bytes, "{size}");
        assert_eq!((&told["size"], &told["local"]), (&size.into(), &"-".into()), "{told}");
        assert_eq!(told["replaced"].as_bool(), Some(number > 0));
        assert_nothing_left(&server);
    }
    alice.run(&["get", "f", "--to", "back"]).ok();
    assert!(fs::read(alice.file("back")).unwrap() == read(&server, "f"), "its digest is right");
}

#[test]
fn the_last_byte_of_a_quota_can_be_filled_and_one_more_leaves_the_old_file() {
    let (server, alice) = scene("20MiB");
    let full = content(1, 20 * MIB);
    put(&alice, &full, "f").ok();
    assert_nothing_left(&server);
    // Over a full home: what is replaced need not be free.
    let other = content(2, 20 * MIB);
    put(&alice, &other, "f").ok();
    assert!(read(&server, "f") == other);
    let mut longer = other.clone();
    longer.push(b'x');
    put(&alice, &longer, "f").code_is(NO_ROOM).says("over quota");
    put(&alice, b"x", "g").code_is(NO_ROOM).says("over quota");
    put(&alice, b"", "empty").ok();
    assert!(read(&server, "f") == other, "the old file stands");
    assert_nothing_left(&server);
    put(&alice, b"small", "f").ok();
    assert_eq!(server.home_sums("alice").bytes, 5);
    put(&alice, &longer[..longer.len() - 6], "g").ok();
    assert_eq!(server.home_sums("alice").bytes, 20 * MIB, "to the last byte");
    assert_nothing_left(&server);
}

#[test]
fn a_pipe_is_appended_and_not_beyond_the_quota() {
    let (server, alice) = scene("20MiB");
    let append = |bytes: &[u8]| {
        alice.spawn_with(&["put", "--append", "-", "--to", "log"], bytes.to_vec()).wait()
    };
    let (first, rest) = (content(1, 3 * MIB + 7), content(2, 17 * MIB - 7));
    append(&first).ok();
    append(b"").ok();
    let mut more = rest.clone();
    more.push(b'x');
    append(&more).code_is(NO_ROOM).says("over quota");
    assert!(read(&server, "log") == first);
    assert_nothing_left(&server);
    append(&rest).ok().says("appended");
    assert!(read(&server, "log") == [first, rest].concat());
    assert_nothing_left(&server);
}

#[test]
fn what_is_reserved_while_a_pipe_is_open_is_what_came_and_at_most_a_lease_and_a_half_more() {
    let (server, alice) = scene("1GiB");
    let reserved = || server.user("alice")["reserved_bytes"].as_u64().unwrap();
    let (running, mut pipe) = begin(&alice, &["put", "-", "--to", "f"], b"");
    let bytes = content(1, MIB);
    let mut came = 0;
    wait_until("the first lease is there", || reserved() == LEASE_BYTES);
    for _ in 0..23 {
        pipe.write_all(&bytes).unwrap();
        came += MIB;
        // A block is sent when it is full.
        wait_until("the block has arrived", || staged(&server) == came);
        let now = reserved();
        assert!(now >= came && now <= came + LEASE_BYTES * 3 / 2, "{now} for {came}");
    }
    // Asked ahead at half a lease, and no more until the next half.
    wait_until("the second lease is there", || reserved() == 2 * LEASE_BYTES);
    drop(pipe);
    running.wait().ok();
    assert_eq!(server.home_sums("alice").bytes, came);
    assert_nothing_left(&server);
}

#[test]
fn a_put_that_is_cut_leaves_nothing() {
    for victim in ["client", "interrupt", "worker", "filer", "daemon"] {
        let (mut server, alice) = scene("100MiB");
        put(&alice, b"old", "f").ok();
        let arguments = ["put", "-", "--to", "f"];
        let (running, pipe) = begin(&alice, &arguments, &content(1, 20 * MIB));
        wait_until("most has arrived", || staged(&server) >= 20 * MIB);
        let session = server.session_of("alice");
        match victim {
            "client" => running.kill(),
            "interrupt" => {
                running.interrupt();
                drop(running.wait().code_is(INTERRUPTED).says("start over"));
            }
            "worker" => {
                server.kill_child(session.worker);
                drop(running.wait().failed().says("start over"));
            }
            "filer" => {
                server.kill_child(session.filer.unwrap());
                drop(running.wait().failed().says("start over"));
            }
            _ => {
                server.kill_daemon();
                drop(running.wait().failed().says("start over"));
                server.restart();
            }
        }
        drop(pipe);
        assert_nothing_left(&server);
        assert_eq!(read(&server, "f"), b"old", "{victim}");
        let alice = alice.at(server.address(), server.fingerprint());
        let uploads = alice.run(&["--json", "uploads"]).ok();
        assert_eq!(uploads.stdout.trim(), "", "{victim}: nothing can be gone on with");
    }
}

#[test]
fn two_pipes_at_the_edge_of_a_quota_never_exceed_it() {
    const QUOTA: u64 = 50 * MIB;
    let (server, alice) = scene("50MiB");
    let other = server.client("alice", "a");
    let jobs = [(&alice, "a", 33), (&other, "b", 34)]
        .map(|(client, name, mib)| move || put(client, &content(mib, mib * MIB + 1), name).code);
    let watching = std::sync::atomic::AtomicBool::new(true);
    let codes = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while watching.load(std::sync::atomic::Ordering::Relaxed) {
                let row = server.user("alice");
                let sum =
                    row["used_bytes"].as_u64().unwrap() + row["reserved_bytes"].as_u64().unwrap();
                assert!(sum <= QUOTA, "{row}");
                assert!(server.home_sums("alice").bytes <= QUOTA);
            }
        });
        let codes = at_once(jobs.into_iter().collect());
        watching.store(false, std::sync::atomic::Ordering::Relaxed);
        watcher.join().unwrap();
        codes
    });
    let stored = codes.iter().filter(|code| **code == Some(0)).count();
    assert!(stored <= 1, "both do not fit: {codes:?}");
    assert!(codes.iter().all(|code| [Some(0), Some(NO_ROOM)].contains(code)), "{codes:?}");
    assert_eq!(server.home_sums("alice").entries, stored as u64);
    assert_nothing_left(&server);
}

#[test]
fn standard_input_needs_a_name_and_comes_alone() {
    let (server, alice) = scene("unlimited");
    alice.run(&["mkdir", "dir"]).ok();
    alice.write("file", "x");
    alice.write("-", "a file of that name");
    for arguments in [
        &["put", "-"][..],
        &["put", "-", "--to", "dir/"],
        &["put", "-", "--to", "dir"],
        &["put", "-", "--to", "/"],
        &["put", "-", "file", "--to", "dir"],
        &["put", "-", "-", "--to", "f"],
    ] {
        let outcome = alice.spawn_with(arguments, b"data".to_vec()).wait();
        let says = if arguments.len() > 4 { "alone" } else { "has no name" };
        outcome.code_is(USAGE).says(says);
    }
    alice.run(&["put", "./-"]).ok();
    assert_eq!(read(&server, "-"), b"a file of that name");
    put(&alice, b"data", "dir/f").ok();
    let kept = alice.spawn_with(&["put", "-n", "-", "--to", "dir/f"], b"other".to_vec()).wait();
    kept.failed().says("exists");
    assert_eq!(read(&server, "dir/f"), b"data");
    put(&alice, b"data", "nowhere/f").failed().says("no directory");
    assert_nothing_left(&server);
}

#[test]
fn a_standard_input_that_cannot_be_read_stores_nothing() {
    let (server, alice) = scene("unlimited");
    // A directory can be opened for reading, and not read.
    let directory = fs::File::open(alice.files()).unwrap();
    let outcome = alice.spawn_from(&["put", "-", "--to", "f"], directory.into()).wait();
    outcome.failed().says("cannot read standard input");
    assert!(!server.home("alice").join("f").exists());
    assert_nothing_left(&server);
}

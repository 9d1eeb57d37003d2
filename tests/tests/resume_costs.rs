//! Resuming near the end costs what is left: nobody sends again, or reads again, what was verified. What is claimed
//! here are bytes, never times.

use berth_common::limits::LEAF_SIZE;
use berth_tests::files::assert_same;
use berth_tests::process::bytes_read;
use berth_tests::{Client, Content, Options, Server, Valve, account, interrupted, process};
use berth_tests::{wait_for, wait_until};

const LEAVES: u64 = 1024;
const SIZE: u64 = LEAVES * LEAF_SIZE as u64;

/// The most that anybody may read to move what is left, programs and configuration included.
const MOST_READ: u64 = SIZE / 8;

/// Where connections are held, in bytes from the server: after the first block of what is left, before the last.
const FIRST_BLOCK: usize = 1_300_000;

fn scene(options: Options) -> (Server, Client) {
    let server = Server::start(options);
    server.add_user("alice", "a", "1GiB");
    let alice = server.client("alice", "a");
    Content::seed(99).write(&alice.file("big"), SIZE);
    (server, alice)
}

/// Claims that the last transfer in this direction went on behind these leaves, and moved the others once.
fn assert_moved_the_rest(server: &Server, direction: &str, had: u64) {
    assert!(had >= LEAVES / 100 * 96, "only {had} leaves of {LEAVES} had arrived");
    let ended = server
        .log()
        .wait_after(0, "the end of the transfer is logged", |line| line.is_success_of(direction));
    assert_eq!(ended.number("resumed_leaves"), Some(had));
    assert_eq!(ended.number("moved_leaves"), Some(LEAVES - had));
}

#[test]
fn a_put_that_is_resumed_at_99_percent_has_the_client_read_the_rest_alone() {
    let (server, alice) = scene(Options::new());
    let had = interrupted::put(&server, &alice, "alice", "big");
    let running = alice.spawn(&["put", "big"]);
    wait_until("the client ends", || !process::runs(running.pid()));
    let read = bytes_read(running.pid());
    running.wait().ok();
    assert!(read < MOST_READ, "the client read {read} bytes");
    assert_moved_the_rest(&server, "put", had);
    // The kernel does count what a client reads of the file.
    let whole = alice.spawn(&["put", "big", "--to", "again"]);
    wait_until("the client ends", || !process::runs(whole.pid()));
    let read = bytes_read(whole.pid());
    assert!(read >= SIZE, "a put of all of it read {read} bytes");
    whole.wait().ok();
    assert_same(&alice.file("big"), &server.home("alice").join("big"));
}

#[test]
#[cfg(debug_assertions)]
fn a_put_that_is_resumed_at_99_percent_has_the_server_read_nothing_of_it() {
    use berth_common::points::Point;
    if account::skipped_without_root() {
        return;
    }
    let points = berth_tests::Points::new();
    let (server, alice) = scene(Options::new().points(&points));
    let had = interrupted::put(&server, &alice, "alice", "big");
    // Its filer stands behind all that a put does, and before the answer.
    let (putting, filer) = points.stop(Point::Settled, &alice, &["put", "big"]);
    let session = server.session_of("alice");
    let read = [session.worker, session.filer.unwrap()].map(bytes_read);
    filer.go_on();
    putting.wait().ok();
    assert!(read.iter().all(|bytes| *bytes < MOST_READ), "worker and filer read {read:?} bytes");
    assert_moved_the_rest(&server, "put", had);
}

#[test]
fn a_get_that_is_resumed_at_99_percent_has_nobody_read_what_had_arrived() {
    if account::skipped_without_root() {
        return;
    }
    let (server, alice) = scene(Options::new());
    alice.run(&["put", "big"]).ok();
    server.wait_for_no_session_of("alice");
    account::make_dir(&alice.file("back"));
    let had = interrupted::get(&server, &alice, "alice", ("big", SIZE), "back/big");

    let valve = Valve::before(server.address(), FIRST_BLOCK);
    let there = alice.clone().at(valve.address(), server.fingerprint());
    let running = there.spawn(&["get", "big", "--to", "back/big"]);
    let session = server.session_of("alice");
    let journal = || berth_tests::disk::only_journal_leaves(&alice.file("back"));
    wait_for("the first block of the rest arrives", || (journal() > had).then_some(()));
    let read = [session.worker, session.filer.unwrap()].map(bytes_read);
    valve.open();
    wait_until("the client ends", || !process::runs(running.pid()));
    let client = bytes_read(running.pid());
    running.wait().ok();
    assert!(read.iter().all(|bytes| *bytes < MOST_READ), "worker and filer read {read:?} bytes");
    assert!(client < MOST_READ, "the client read {client} bytes");
    assert_moved_the_rest(&server, "get", had);
    assert_same(&alice.file("big"), &alice.file("back/big"));
}

//! Appends end to end: what is added stands behind what was there, once for each acknowledgement, and the
//! ledger equals the disk whoever dies.

use std::fs;

use berth_common::limits::LEAF_SIZE;
use berth_tests::client::at_once;
use berth_tests::disk::only_journal_leaves;
use berth_tests::exit::NO_ROOM;
use berth_tests::files::{self, Content};
use berth_tests::{Client, Options, Server, wait_until};

const MIB: u64 = 1 << 20;

fn scene(quota: &str) -> (Server, Client) {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", quota);
    let alice = server.client("alice", "a");
    (server, alice)
}

fn append(alice: &Client, name: &str) -> berth_tests::Outcome {
    alice.run(&["put", "--append", name, "--to", "log"])
}

#[test]
fn what_is_appended_stands_behind_what_was_there() {
    let (server, alice) = scene("unlimited");
    let mut expected = Vec::new();
    for (number, size) in [0, 1, 5, MIB, MIB + 1, 9 * MIB + 77, 0, 3].into_iter().enumerate() {
        let bytes = Content::seed(number as u64).bytes(size as usize);
        alice.write("part", &bytes);
        append(&alice, "part").ok();
        expected.extend(bytes);
        assert!(fs::read(server.home("alice").join("log")).unwrap() == expected, "{size}");
        server.assert_at_rest("alice");
    }
    alice.run(&["get", "log", "--to", "back"]).ok();
    assert!(fs::read(alice.file("back")).unwrap() == expected);
    let told = alice.run(&["md5", "log"]).ok();
    assert!(told.stdout.contains(&files::md5(&alice.file("back"))), "{}", told.stdout);
}

#[test]
fn an_append_to_a_directory_and_one_over_quota_change_nothing() {
    let (server, alice) = scene("3MiB");
    alice.run(&["mkdir", "log"]).ok();
    alice.write("part", "x");
    // Into the directory, as every put.
    append(&alice, "part").ok();
    alice.run(&["rm", "-r", "log"]).ok();
    Content::seed(1).write(&alice.file("part"), 2 * MIB);
    Content::seed(2).write(&alice.file("rest"), MIB);
    Content::seed(3).write(&alice.file("more"), MIB + 1);
    append(&alice, "part").ok();
    append(&alice, "more").code_is(NO_ROOM).says("over quota");
    files::assert_same(&alice.file("part"), &server.home("alice").join("log"));
    server.assert_at_rest("alice");
    append(&alice, "rest").ok();
    assert_eq!(server.home_sums("alice").bytes, 3 * MIB, "to the last byte");
    server.assert_at_rest("alice");
}

#[test]
fn what_two_sessions_append_at_once_is_there_for_each_that_was_acknowledged() {
    let (server, alice) = scene("unlimited");
    let other = server.client("alice", "a");
    alice.write("part", "start\n");
    append(&alice, "part").ok();
    let jobs = [(&alice, 'a'), (&other, 'b')].map(|(client, letter)| {
        move || {
            let mut acknowledged = 0;
            for number in 0..10 {
                let size = if number % 3 == 0 { MIB as usize + 100 } else { 100 };
                let line = letter.to_string().repeat(size);
                client.write("part", line);
                let outcome = append(client, "part");
                if outcome.code == Some(0) {
                    acknowledged += size;
                } else {
                    outcome.code_is(1).says("busy with other changes");
                }
            }
            (letter, acknowledged)
        }
    });
    let acknowledged = at_once(jobs.into_iter().collect());
    let read = fs::read_to_string(server.home("alice").join("log")).unwrap();
    assert!(read.starts_with("start\n"));
    for (letter, size) in acknowledged {
        assert_eq!(read.matches(letter).count() - "start".matches(letter).count(), size);
    }
    server.assert_at_rest("alice");
}

#[test]
fn an_append_that_was_cut_goes_on_and_is_done_once() {
    for victim in ["client", "worker", "filer", "daemon"] {
        let (mut server, mut alice) = scene("unlimited");
        alice.write("part", "start\n");
        append(&alice, "part").ok();
        Content::seed(5).write(&alice.file("big"), 200 * MIB);
        let running = alice.spawn(&["put", "--append", "big", "--to", "log"]);
        let session = server.session_of("alice");
        wait_until("the journal has grown", || only_journal_leaves(&server.staging("alice")) >= 20);
        match victim {
            "client" => running.kill(),
            "worker" => {
                server.kill_child(session.worker);
                drop(running.wait().failed());
            }
            "filer" => {
                server.kill_child(session.filer.unwrap());
                drop(running.wait().failed());
            }
            _ => {
                server.kill_daemon();
                drop(running.wait().failed());
                server.restart();
                alice = alice.at(server.address(), server.fingerprint());
            }
        }
        server.wait_for_no_session_of("alice");
        assert_eq!(fs::read(server.home("alice").join("log")).unwrap(), b"start\n", "{victim}");
        let outcome = alice.run(&["--json", "put", "--append", "big", "--to", "log"]).ok();
        let told = outcome.json();
        assert!(told["resumed_leaves"].as_u64() >= Some(20), "{victim}: {told}");
        assert_eq!((&told["appended"], told["size"].as_u64()), (&true.into(), Some(200 * MIB)));
        let log = server.home("alice").join("log");
        assert_eq!(log.metadata().unwrap().len(), 200 * MIB + 6);
        let (log, big) = (fs::read(&log).unwrap(), fs::read(alice.file("big")).unwrap());
        assert!(log[..6] == *b"start\n" && log[6..] == big, "{victim}");
        server.assert_at_rest("alice");
        assert!(told["moved_leaves"].as_u64() < Some(200 * MIB / LEAF_SIZE as u64));
    }
}

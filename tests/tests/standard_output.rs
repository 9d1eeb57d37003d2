//! Files of the home on standard output: byte for byte, one after the other, and never as if they were whole when
//! they are not.

use std::fs::{self, File};
use std::io::Read as _;

use berth_common::limits::BLOCK_SIZE;
use berth_tests::exit::{FAILURE, INTEGRITY, NO_ROOM, NOT_FOUND, USAGE};
use berth_tests::files::{Content, rot};
use berth_tests::{Client, Outcome, Running, Server};

const MIB: usize = 1 << 20;

/// Puts a file of this size; returns its bytes.
fn put(alice: &Client, name: &str, size: usize) -> Vec<u8> {
    let bytes = Content::seed(size as u64).bytes(size);
    alice.write(name, &bytes);
    alice.run(&["put", name]).ok();
    bytes
}

/// Gets the files; returns what was written, and what else came of it.
fn got(alice: &Client, files: &[&str]) -> (Vec<u8>, Outcome) {
    let mut running = alice.spawn(&command(files));
    let mut written = Vec::new();
    running.take_output().read_to_end(&mut written).unwrap();
    (written, running.wait())
}

fn command<'a>(files: &[&'a str]) -> Vec<&'a str> {
    [&["get", "--to", "-"], files].concat()
}

/// Begins a get that is too large for what nobody reads: it has written, and waits.
fn begun(alice: &Client, file: &str) -> (Running, impl std::io::Read + use<>) {
    let mut running = alice.spawn(&command(&[file]));
    let mut output = running.take_output();
    output.read_exact(&mut [0; MIB]).unwrap();
    (running, output)
}

#[test]
fn files_come_byte_for_byte_and_in_their_order() {
    let (_server, alice) = Server::with_alice("unlimited");
    let mut all = Vec::new();
    let names = ["a", "b", "c", "d", "e"];
    let sizes = [1, 0, BLOCK_SIZE - 1, BLOCK_SIZE, 9 * MIB + 7];
    for (name, size) in names.into_iter().zip(sizes) {
        let bytes = put(&alice, name, size);
        let (written, outcome) = got(&alice, &[name]);
        outcome.ok().says(name);
        assert!(written == bytes, "{size}");
        all.extend(bytes);
    }
    let (written, outcome) = got(&alice, &names);
    outcome.ok();
    assert!(written == all);
    assert_eq!(fs::read_dir(alice.files()).unwrap().count(), names.len(), "nothing is kept here");
}

#[test]
fn one_that_is_missing_is_told_and_the_others_come() {
    let (_server, alice) = Server::with_alice("unlimited");
    let bytes = [put(&alice, "a", 10), put(&alice, "b", 20)].concat();
    alice.run(&["mkdir", "dir"]).ok();
    let (written, outcome) = got(&alice, &["a", "none", "dir", "b"]);
    let outcome = outcome.code_is(NOT_FOUND).says("none").says("is a directory");
    assert!(!outcome.stderr.contains("-r"), "which is refused: {outcome:?}");
    assert_eq!(written, bytes);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let (_server, alice) = Server::with_alice("unlimited");
    put(&alice, "a", 10);
    for (arguments, says) in [
        (&["get", "-r", ".", "--to", "-"][..], "directory"),
        (&["--json", "get", "a", "--to", "-"], "JSON"),
    ] {
        alice.run(arguments).code_is(USAGE).says(says);
    }
    // A file of that name.
    alice.run(&["get", "a", "--to", "./-"]).ok();
    assert_eq!(fs::read(alice.file("-")).unwrap(), fs::read(alice.file("a")).unwrap());
}

#[test]
fn a_reader_that_has_seen_enough_is_told_nothing() {
    let (server, alice) = Server::with_alice("unlimited");
    put(&alice, "a", 8 * MIB);
    let (running, output) = begun(&alice, "a");
    drop(output);
    let outcome = running.wait().code_is(FAILURE);
    assert!(!outcome.stderr.contains("berth:"), "{outcome:?}");
    server.assert_at_rest("alice");
}

#[test]
fn an_output_that_is_full_is_told() {
    let (_server, alice) = Server::with_alice("unlimited");
    put(&alice, "a", MIB);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let outcome = alice.spawn_to(&command(&["a"]), full.into()).wait();
    outcome.code_is(NO_ROOM).says("cannot write the output");
}

#[test]
fn a_server_that_goes_leaves_a_beginning_and_a_failure() {
    let (mut server, alice) = Server::with_alice("unlimited");
    let bytes = put(&alice, "a", 30 * MIB);
    let (running, mut output) = begun(&alice, "a");
    server.kill_daemon();
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    running.wait().failed().says("what was written is not the whole file");
    assert!(bytes[MIB..].starts_with(&rest) && MIB + rest.len() < bytes.len());
}

#[test]
fn rot_on_the_servers_disk_is_no_success() {
    let (server, alice) = Server::with_alice("unlimited");
    put(&alice, "a", 3 * MIB);
    rot(&server.home("alice").join("a"), 2 * MIB as u64);
    let (written, outcome) = got(&alice, &["a"]);
    outcome.code_is(INTEGRITY).says("or not right");
    assert_eq!(written.len(), 3 * MIB, "it is found at the end");
}

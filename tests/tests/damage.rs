//! A ledger that was damaged: a row is its user's trouble alone, a file that is none stops the daemon before
//! anything is overwritten.

use std::fs;
use std::path::Path;

use berth_tests::{Options, Server, account, ledger};

const READ_ONLY: &str = "read-only";

fn server() -> Server {
    let server = Server::start(Options::new());
    for user in ["alice", "bob"] {
        server.add_user(user, "a", "1MiB");
        let client = server.client(user, "a");
        client.write("f", "content");
        client.run(&["put", "f"]).ok();
        server.assert_at_rest(user);
    }
    server
}

/// An upload of alice's whose path is none, far beyond the names that are minted.
const BAD_UPLOAD: &str = "INSERT INTO uploads SELECT 9000000, id, '../escape', zeroblob(16), 1, 1, 1, 1, \
    0, 0, 1, 1 FROM users WHERE name = 'alice'";

/// An intent of alice's of an unknown kind.
const BAD_INTENT: &str = "INSERT INTO intents SELECT 9000000, id, 'move', NULL, NULL, NULL, 0, 0 \
    FROM users WHERE name = 'alice'";

fn damage(data: &Path, sql: &str) {
    let ledger = ledger::open_to_write(data);
    ledger.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
    assert_eq!(ledger.execute(sql, []).unwrap(), 1);
}

fn alice_only_reads_and_bob_is_served(server: &Server) {
    let (alice, bob) = (server.client("alice", "a"), server.client("bob", "a"));
    for client in [&alice, &bob] {
        client.write("g", "other content");
        client.run(&["get", "f"]).ok();
        client.run(&["ls"]).ok();
        client.run(&["df"]).ok();
    }
    alice.run(&["put", "g"]).failed().says(READ_ONLY);
    alice.run(&["rm", "f"]).failed().says(READ_ONLY);
    bob.run(&["put", "g"]).ok();
    bob.run(&["rm", "f"]).ok();
    server.assert_at_rest("bob");
}

#[test]
fn a_damaged_row_makes_its_users_home_read_only_at_the_start_and_is_named() {
    for (sql, row) in [
        (BAD_UPLOAD, "row 9000000 of the table uploads"),
        (BAD_INTENT, "row 9000000 of the table intents"),
    ] {
        let mut server = server();
        assert_eq!(server.terminate(), Some(0));
        damage(&server.data(), sql);
        server.restart();
        assert!(server.log().text().contains(row), "the log names {row}");
        alice_only_reads_and_bob_is_served(&server);
    }
}

#[test]
fn a_row_that_is_damaged_while_it_is_served_is_found_by_the_request_that_reads_it() {
    let server = server();
    let mark = server.log().mark();
    damage(&server.data(), BAD_UPLOAD);
    server.client("bob", "a").run(&["uploads"]).ok();
    server.client("alice", "a").run(&["uploads"]).failed();
    let row = "row 9000000 of the table uploads";
    server.log().wait_after(mark, "the row is named", |line| line.text.contains(row));
    alice_only_reads_and_bob_is_served(&server);
}

#[test]
fn a_damaged_user_is_not_served_and_the_others_are() {
    let mut server = server();
    assert_eq!(server.terminate(), Some(0));
    damage(&server.data(), "UPDATE users SET stored_key = x'00' WHERE name = 'alice'");
    server.restart();
    let alice = server.client("alice", "a");
    alice.run(&["ls"]).failed();
    let bob = server.client("bob", "a");
    bob.run(&["get", "f"]).ok();
    let row = "of the table users";
    assert!(server.log().text().contains(row), "the log names the row");
    let listed = server.berthctl(&["--json", "user", "list"]).ok();
    assert!(listed.stdout.contains("bob"), "{}", listed.stdout);
}

/// What is done to the bytes of a ledger, and what the daemon says to it.
type Spoil = (fn(&mut Vec<u8>), &'static str);

#[test]
fn a_file_that_is_no_ledger_is_refused_and_nothing_is_overwritten() {
    let spoils: [Spoil; 5] = [
        (|bytes| bytes.fill(b'x'), "not a database"),
        (|bytes| bytes.truncate(bytes.len() / 2 + 100), "damaged"),
        (|bytes| bytes[4096..].fill(0xa5), "damaged"),
        (|bytes| bytes[5 * 4096..].fill(0), "damaged"),
        (Vec::clear, "missing or empty"),
    ];
    let mut server = server();
    assert_eq!(server.terminate(), Some(0));
    let path = server.data().join("ledger.sqlite");
    let sound = fs::read(&path).unwrap();
    for (spoil, says) in spoils {
        let mut bytes = sound.clone();
        spoil(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        server.try_restart().unwrap_err().says(says);
        assert!(fs::read(&path).unwrap() == bytes, "{says}: nothing is overwritten");
    }
    fs::remove_file(&path).unwrap();
    server.try_restart().unwrap_err().says("missing or empty");
    assert!(!path.exists());
    fs::write(&path, &sound).unwrap();
    account::give(&path);
    server.restart();
    server.client("alice", "a").run(&["get", "f"]).ok();
    server.assert_at_rest("alice");
}

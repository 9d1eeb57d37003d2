//! What an administrator does: the data directory's file system, backup and restore, thresholds.

use std::fs;

use berth_tests::files::Content;
use berth_tests::{Options, Server, account};
use serde_json::json;

#[test]
fn the_file_system_is_examined_and_logged_at_the_start() {
    let server = Server::start(Options::new());
    let line =
        server.log().wait_after(0, "the verdict", |line| line.field("staging_sync").is_some());
    assert!(line.text("file_system").is_some_and(|name| !name.is_empty()), "{}", line.text);
    assert!(["Directory", "FileSystem"].contains(&line.text("staging_sync").unwrap().as_str()));
    let left = fs::read_dir(server.data().join("users")).unwrap().count();
    assert_eq!(left, 0, "the probe leaves nothing");
}

#[test]
fn a_ledger_of_a_later_version_is_refused_with_a_sentence() {
    let mut server = Server::start(Options::new());
    server.terminate();
    let data = server.data();
    let ledger = rusqlite::Connection::open(data.join("ledger.sqlite")).unwrap();
    ledger.pragma_update(None, "user_version", 1000).unwrap();
    drop(ledger);
    let refusal = Server::try_start(Options::new().data_dir(&data)).unwrap_err();
    refusal.says("the ledger has version 1000");
    refusal.says("run a newer berthd");
}

#[test]
fn a_restored_backup_is_counted_before_anything_changes() {
    let mut server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let alice = server.client("alice", "a");
    Content::seed(1).write(&alice.file("f"), 1000);
    alice.run(&["put", "f"]).ok();
    let file = server.scratch().join("backup.sqlite");
    let backup = ["ledger", "backup", file.to_str().unwrap()];
    let told = server.berthctl(&["--json", "ledger", "backup", backup[2]]).ok().json();
    assert_eq!((&told["users"], &told["version"]), (&1.into(), &5.into()));
    server.berthctl(&backup).failed().says("--force");
    server.berthctl(&["ledger", "backup", "--force", backup[2]]).ok();

    // What comes after it is not in it: a file, and a user.
    alice.run(&["put", "f", "--to", "g"]).ok();
    server.add_user("bob", "b", "unlimited");
    server.terminate();
    let ledger = server.data().join("ledger.sqlite");
    fs::copy(&file, &ledger).unwrap();
    account::give(&ledger);
    // Staging is in no backup of the files.
    for user in ["alice", "bob"] {
        fs::remove_dir_all(server.staging(user)).unwrap();
    }
    server.restart();

    let log = server.log();
    log.wait_after(0, "that it is a backup", |line| {
        line.message().contains("restored from a backup")
    });
    log.wait_after(0, "bob", |line| {
        line.message().contains("not in the ledger") && line.text("user").as_deref() == Some("bob")
    });
    log.wait_after(0, "that alice's home may be changed again", |line| {
        line.message().contains("may be changed again")
            && line.text("user").as_deref() == Some("alice")
    });
    server.assert_at_rest("alice");
    assert_eq!(server.user("alice")["used_entries"], 2, "what came after the backup is counted");
    let alice = server.client("alice", "a");
    alice.run(&["get", "g"]).ok();
    alice.run(&["put", "g", "--to", "h"]).ok();
    // The home that bob left is kept for the next of his name, and counted.
    server.add_user("bob", "b", "unlimited");
    server.client("bob", "b").run(&["mkdir", "d"]).ok();
    for user in ["alice", "bob"] {
        server.assert_at_rest(user);
    }
    assert_eq!(server.berthctl(&["--json", "status"]).ok().json()["read_only_users"], json!([]));
}

#[test]
fn crossing_a_threshold_is_logged_once_and_shown() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "10KiB");
    let alice = server.client("alice", "a");
    for (name, size) in [("a", 8000), ("b", 400), ("c", 10)] {
        Content::seed(size).write(&alice.file(name), size);
    }
    let crossings = || {
        let crossed = |line: &berth_tests::log::Line| line.number("threshold").is_some();
        server.log().after(0, crossed).len()
    };
    assert!(!alice.run(&["put", "a"]).ok().stderr.contains("of your quota"));
    assert_eq!(crossings(), 0);
    alice.run(&["put", "b"]).ok().says("note: 82% of your quota is used (8.2 KiB of 10.0 KiB)");
    let line = server.log().wait_after(0, "the event", |line| line.number("threshold") == Some(80));
    assert_eq!((line.number("percent"), line.number("used")), (Some(82), Some(8400)));
    alice.run(&["put", "c"]).ok().says("82%");
    assert!(!alice.run(&["--quiet", "put", "c"]).ok().stderr.contains("of your quota"));
    alice.run(&["df"]).ok().says("note: 82%");
    let df = &alice.run(&["--json", "df"]).ok().json_lines()[0];
    assert_eq!((&df["bytes"]["percent"], &df["bytes"]["threshold"]), (&82.into(), &80.into()));
    assert_eq!(crossings(), 1, "once");
    server.berthctl(&["quota", "set", "alice", "--bytes", "8500"]).ok();
    server.log().wait_after(0, "a lower limit", |line| line.number("threshold") == Some(95));
}

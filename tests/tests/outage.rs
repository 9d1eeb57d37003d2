//! While the ledger cannot be written, uploads are refused and everything else goes on; afterwards the ledger
//! equals a walk again.

use berth_tests::files::{Content, assert_same};
use berth_tests::{Client, Options, Server, disk, ledger, process};

const REFUSED: &str = "cannot record changes";

/// What keeps the daemon from writing its ledger.
enum Outage {
    /// Somebody else writes it and does not come to an end.
    Foreign(ledger::Held),
    /// No file may grow, as on a full disk.
    FileSize(u32),
}

impl Outage {
    fn foreign(server: &Server) -> Self {
        Self::Foreign(ledger::hold(&server.data()))
    }

    fn file_size(server: &Server) -> Self {
        process::limit_file_sizes(server.pid(), Some(4096));
        Self::FileSize(server.pid())
    }

    fn end(self) {
        match self {
            Self::Foreign(held) => drop(held),
            Self::FileSize(pid) => process::limit_file_sizes(pid, None),
        }
    }
}

/// Alice has `f`, `x`, `y` and the directory `d` with two files and a directory.
fn server_with_files() -> (Server, Client) {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "64MiB");
    let alice = server.client("alice", "a");
    alice.write("f", "content");
    alice.run(&["mkdir", "-p", "d/e"]).ok();
    for target in ["f", "x", "y", "d/a", "d/e/b"] {
        alice.run(&["put", "f", "--to", target]).ok();
    }
    server.assert_at_rest("alice");
    (server, alice)
}

fn owed(server: &Server) -> usize {
    let names = disk::entries(&server.staging("alice"));
    names.iter().filter(|path| path.to_string_lossy().contains("/owed-")).count()
}

#[test]
fn uploads_are_refused_and_downloads_and_deletes_go_on() {
    for begin in [Outage::foreign, Outage::file_size] {
        let (mut server, alice) = server_with_files();
        let used = server.user("alice")["used_bytes"].clone();
        Content::seed(1).write(&alice.file("large"), 5 << 20);
        let mark = server.log().mark();
        let outage = begin(&server);

        alice.run(&["put", "f", "--to", "new"]).failed().says(REFUSED);
        alice.run(&["put", "f", "--to", "f"]).failed();
        alice.run(&["put", "large"]).failed().says(REFUSED);
        alice.run(&["mkdir", "new"]).failed().says(REFUSED);
        alice.run(&["mv", "x", "y"]).failed().says(REFUSED);
        alice.run(&["mv", "x", "z"]).ok();
        alice.run(&["note", "z", "as a rename"]).ok();
        alice.run(&["ls", "-l"]).ok();
        alice.run(&["df"]).ok();
        alice.run(&["get", "f", "--to", "back"]).ok();
        assert_same(&alice.file("f"), &alice.file("back"));

        alice.run(&["rm", "nothing"]).failed();
        alice.run(&["rm", "d"]).failed();
        alice.run(&["rm", "f"]).ok();
        alice.run(&["rm", "-r", "d"]).ok();
        let home = server.home("alice");
        assert!(!home.join("f").exists() && !home.join("d").exists() && !home.join("new").exists());
        assert_eq!(owed(&server), 2);
        assert_eq!(server.user("alice")["used_bytes"], used, "until the ledger can be written");

        outage.end();
        server.log().wait_after(mark, "the ledger works again", |line| {
            line.message().contains("the ledger works again")
        });
        server.assert_at_rest("alice");
        assert_eq!(server.user("alice")["used_entries"], 2);

        // Helpers that were started meanwhile have inherited the limit.
        assert_eq!(server.terminate(), Some(0));
        server.restart();
        server.assert_at_rest("alice");
        let alice = alice.at(server.address(), server.fingerprint());
        alice.run(&["put", "f"]).ok();
        server.assert_at_rest("alice");
    }
}

#[test]
fn what_is_owed_is_accounted_for_after_a_crash() {
    let (mut server, alice) = server_with_files();
    let outage = Outage::foreign(&server);
    alice.run(&["rm", "f"]).ok();
    alice.run(&["rm", "-r", "d"]).ok();
    server.kill_daemon();
    outage.end();
    assert_eq!(owed(&server), 2);
    server.restart();
    server.assert_at_rest("alice");
    assert_eq!(server.user("alice")["used_entries"], 2);
}

#[test]
fn a_server_that_starts_in_an_outage_serves_reading_and_recovers_when_it_is_over() {
    let (mut server, alice) = server_with_files();
    server.add_user("bob", "b", "1MiB");
    let outage = Outage::foreign(&server);
    alice.run(&["rm", "-r", "d"]).ok();
    server.kill_daemon();
    server.restart();
    let mark = server.log().mark();
    let alice = alice.at(server.address(), server.fingerprint());
    alice.run(&["get", "f", "--to", "back"]).ok();
    alice.run(&["put", "f", "--to", "new"]).failed().says(REFUSED);
    alice.run(&["mv", "x", "z"]).failed().says(REFUSED);
    alice.run(&["note", "x", "as a rename"]).failed().says(REFUSED);
    server.client("bob", "b").run(&["ls"]).ok();
    assert_eq!(owed(&server), 1, "no sweep takes it");
    outage.end();
    server.log().wait_after(mark, "alice is recovered", |line| line.message() == "recovered");
    server.assert_at_rest("alice");
    alice.run(&["put", "f", "--to", "new"]).ok();
    server.assert_at_rest("alice");
}

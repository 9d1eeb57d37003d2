//! Notes end to end: who shows them, what keeps them and what takes them away, with two sessions and with whoever
//! dies; and never a byte of the quota.

use std::fs;

use berth_tests::exit::{FAILURE, NOT_FOUND, USAGE};
use berth_tests::files::assert_same;
use berth_tests::{Client, Content, Server};

const MIB: u64 = 1 << 20;

/// What `berth note` prints of a file.
#[track_caller]
fn note(alice: &Client, path: &str) -> String {
    alice.run(&["note", path]).ok().stdout.trim_end().to_owned()
}

#[test]
fn a_note_is_shown_by_note_stat_and_listings_that_ask_for_it() {
    let (server, alice) = Server::with_alice("1MiB");
    alice.write("scan.pdf", "content");
    alice.write("plain", "content");
    alice.run(&["put", "--note", "page 3, 写真", "scan.pdf"]).ok();
    alice.run(&["put", "plain"]).ok();
    assert_eq!(note(&alice, "scan.pdf"), "page 3, 写真");
    assert_eq!(note(&alice, "plain"), "");
    assert!(alice.run(&["stat", "scan.pdf"]).ok().stdout.contains("\nnote:   page 3, 写真\n"));
    assert!(!alice.run(&["stat", "plain"]).ok().stdout.contains("note:"));
    let listed = alice.run(&["ls", "--notes"]).ok().stdout;
    assert_eq!(listed, "plain\nscan.pdf  page 3, 写真\n");
    assert_eq!(alice.run(&["ls"]).ok().stdout, "plain\nscan.pdf\n");
    let long = alice.run(&["ls", "-l", "--notes", "scan.pdf"]).ok().stdout;
    assert!(long.ends_with(" /scan.pdf  page 3, 写真\n") && long.starts_with("-rw"), "{long}");
    // Programs.
    let lines = alice.run(&["--json", "ls", "--notes"]).ok().json_lines();
    assert_eq!((lines[0].get("note"), &lines[1]["note"]), (None, &"page 3, 写真".into()));
    assert_eq!(alice.run(&["--json", "ls"]).ok().json_lines()[1].get("note"), None);
    assert_eq!(alice.run(&["--json", "ls", "scan.pdf"]).ok().json().get("note"), None);
    assert_eq!(alice.run(&["--json", "stat", "scan.pdf"]).ok().json()["note"], "page 3, 写真");
    let told = alice.run(&["--json", "note", "plain"]).ok().json();
    assert_eq!(told, serde_json::json!({ "path": "/plain", "note": null }));
    // A get does not fetch it, and leaves the file as it is.
    alice.run(&["get", "scan.pdf", "--to", "back"]).ok();
    assert_same(&alice.file("scan.pdf"), &alice.file("back"));
    server.assert_at_rest("alice");
}

#[test]
fn a_note_is_set_changed_and_taken_away_and_costs_no_quota() {
    let (server, alice) = Server::with_alice("7B");
    alice.write("full", "content");
    alice.run(&["put", "full"]).ok();
    let before = alice.run(&["--json", "df"]).ok().json();
    let digest = alice.run(&["--json", "stat", "full"]).ok().json();
    for text in ["first", "second", &"n".repeat(1024)] {
        alice.run(&["note", "full", text]).ok();
        assert_eq!(note(&alice, "full"), text);
    }
    alice.run(&["note", "-d", "full"]).ok();
    alice.run(&["note", "--remove", "full"]).ok();
    assert_eq!(note(&alice, "full"), "");
    assert_eq!(alice.run(&["--json", "stat", "full"]).ok().json(), digest, "digest and time");
    alice.run(&["note", "full", "once more"]).ok();
    alice.run(&["note", "full", ""]).ok();
    assert_eq!(note(&alice, "full"), "");
    assert_eq!(alice.run(&["--json", "df"]).ok().json(), before);
    server.assert_at_rest("alice");
    server.berthctl(&["quota", "verify", "alice"]).ok();
}

#[test]
fn what_is_no_note_and_what_has_none_is_refused_with_a_reason() {
    let (server, alice) = Server::with_alice("1MiB");
    alice.write("f", "content");
    alice.run(&["put", "f"]).ok();
    alice.run(&["mkdir", "d"]).ok();
    for (text, why) in [
        ("two\nlines", "line break"),
        ("\x1b[2J", "control character"),
        (" ", "the note is empty"),
        (&"n".repeat(1025), "longer than 1024 bytes"),
    ] {
        alice.run(&["note", "f", text]).code_is(USAGE).says(why);
        alice.run(&["put", "f", "--note", text]).code_is(USAGE).says(why);
    }
    assert_eq!(note(&alice, "f"), "");
    alice.run(&["note", "d", "x"]).code_is(FAILURE).says("note /d: is a directory");
    alice.run(&["note", "d"]).code_is(FAILURE).says("note /d: is a directory");
    alice.run(&["note", "/", "x"]).code_is(FAILURE).says("is a directory");
    alice.run(&["note", "nothing", "x"]).code_is(NOT_FOUND);
    alice.run(&["note", "nothing"]).code_is(NOT_FOUND);
    server.assert_at_rest("alice");
}

#[test]
fn a_note_stays_over_a_rename_and_over_every_put_that_brings_none() {
    let (server, alice) = Server::with_alice("unlimited");
    alice.write("f", "small");
    alice.run(&["put", "--note", "kept", "f"]).ok();
    alice.run(&["mkdir", "d"]).ok();
    alice.run(&["mv", "f", "d/f"]).ok();
    assert_eq!(note(&alice, "d/f"), "kept");
    alice.run(&["mv", "d", "e"]).ok();
    alice.run(&["mv", "e/f", "f"]).ok();
    assert_eq!(note(&alice, "f"), "kept", "renamed");

    alice.write("f", "other");
    alice.run(&["put", "f"]).ok().says("replaced");
    assert_eq!(note(&alice, "f"), "kept", "small");
    Content::seed(1).write(&alice.file("f"), 9 * MIB);
    alice.run(&["put", "f"]).ok().says("replaced");
    assert_eq!(note(&alice, "f"), "kept", "large");
    fs::OpenOptions::new().append(true).open(alice.file("f")).unwrap().set_len(10 * MIB).unwrap();
    alice.run(&["put", "f"]).ok().says("unchanged");
    assert_eq!(note(&alice, "f"), "kept", "by what differs");
    alice.write("more", "more");
    alice.run(&["put", "--append", "more", "--to", "f"]).ok().says("appended");
    assert_eq!(note(&alice, "f"), "kept", "appended");
    let stream = alice.spawn_with(&["put", "-", "--to", "f"], b"stream".to_vec());
    stream.wait().ok();
    assert_eq!(note(&alice, "f"), "kept", "a stream");
    alice.make(&["tree/"]);
    alice.write("tree/f", "of a tree");
    alice.run(&["put", "-r", "tree/.", "--to", "/"]).ok();
    assert_eq!(fs::read(server.home("alice").join("f")).unwrap(), b"of a tree");
    assert_eq!(note(&alice, "f"), "kept", "small files together");

    // It is the file's, not the name's.
    alice.run(&["mv", "f", "away"]).ok();
    alice.run(&["put", "f"]).ok();
    assert_eq!((note(&alice, "f"), note(&alice, "away")), (String::new(), "kept".to_owned()));
    alice.run(&["mv", "away", "f"]).ok();
    assert_eq!(note(&alice, "f"), "kept", "that of the file that was moved");
    alice.run(&["rm", "f"]).ok();
    alice.run(&["put", "f"]).ok();
    assert_eq!(note(&alice, "f"), "", "gone with its file");
    server.assert_at_rest("alice");
}

#[test]
fn a_put_that_brings_a_note_replaces_the_old_one_and_an_empty_one_takes_it_away() {
    let (server, alice) = Server::with_alice("unlimited");
    alice.write("small", "small");
    Content::seed(1).write(&alice.file("large"), 3 * MIB);
    for file in ["small", "large"] {
        for text in ["first", "second"] {
            alice.run(&["put", file, "--note", text]).ok();
            assert_eq!(note(&alice, file), text);
        }
        alice.run(&["put", file, "--note", ""]).ok();
        assert_eq!(note(&alice, file), "");
        alice.run(&["put", "--append", file, "--note", "longer"]).ok();
        assert_eq!(note(&alice, file), "longer");
    }
    alice.spawn_with(&["put", "-", "--to", "s", "--note", "piped"], b"x".to_vec()).wait().ok();
    assert_eq!(note(&alice, "s"), "piped");
    alice.run(&["put", "-n", "small", "--note", "not this"]).failed();
    assert_eq!(note(&alice, "small"), "longer");
    server.assert_at_rest("alice");
}

#[test]
fn a_tree_that_is_put_with_a_note_has_it_on_each_file_also_on_those_that_were_there() {
    let (server, alice) = Server::with_alice("unlimited");
    alice.make(&["tree/sub/"]);
    for name in ["a", "b", "sub/c"] {
        alice.write(format!("tree/{name}"), name);
    }
    Content::seed(1).write(&alice.file("tree/large"), 3 * MIB);
    alice.run(&["put", "-r", "tree"]).ok();
    alice.write("tree/new", "new");
    alice.run(&["put", "-r", "tree", "--note", "release 3"]).ok();
    for name in ["a", "b", "sub/c", "large", "new"] {
        assert_eq!(note(&alice, &format!("tree/{name}")), "release 3", "{name}");
    }
    // Nothing is sent, and nothing changes.
    alice.run(&["put", "-r", "tree"]).ok();
    alice.run(&["sync", "tree", ":tree"]).ok();
    assert_eq!(note(&alice, "tree/a"), "release 3");
    server.assert_at_rest("alice");
}

#[test]
fn a_note_that_was_acknowledged_survives_the_daemon() {
    let (mut server, alice) = Server::with_alice("1MiB");
    alice.write("f", "content");
    alice.run(&["put", "f"]).ok();
    alice.run(&["note", "f", "kept"]).ok();
    server.kill_daemon();
    server.restart();
    let alice = alice.at(server.address(), server.fingerprint());
    assert_eq!(note(&alice, "f"), "kept");
    server.assert_at_rest("alice");
}

#[test]
fn what_would_mislead_a_terminal_is_escaped() {
    let (_server, alice) = Server::with_alice("1MiB");
    alice.write("f", "content");
    alice.run(&["put", "f", "--note", "exe\u{202e}fdp"]).ok();
    let shown = alice.run(&["--color", "always", "ls", "--notes"]).ok().stdout;
    assert!(shown.contains("exe\\u{202e}fdp") && !shown.contains('\u{202e}'), "{shown:?}");
    let shown = alice.run(&["--color", "always", "note", "f"]).ok().stdout;
    assert_eq!(shown, "exe\\u{202e}fdp\n");
}

#[test]
fn a_note_is_given_within_a_shell_too() {
    let (server, alice) = Server::with_alice("1MiB");
    alice.write("f", "content");
    let script = b"put f\nnote f 'from the shell'\nnote f\n".to_vec();
    let told = alice.spawn_with(&["shell"], script).wait().ok();
    assert!(told.stdout.ends_with("from the shell\n"), "{}", told.stdout);
    server.assert_at_rest("alice");
}

/// Two sessions, and whoever dies at a point.
#[cfg(debug_assertions)]
mod races {
    use berth_common::points::Point::{Acted, BeforeIntent, Granted, Released, Resolved};
    use berth_tests::exact::assert_exact;
    use berth_tests::{Options, Points};

    use super::*;

    fn scene(points: &Points) -> (Server, Client, Client) {
        let server = Server::start(Options::new().points(points));
        server.add_user("alice", "a", "unlimited");
        let (one, other) = (server.client("alice", "a"), server.client("alice", "a"));
        one.write("f", "old");
        one.run(&["put", "f"]).ok();
        (server, one, other)
    }

    #[test]
    fn a_note_that_is_acknowledged_while_a_put_is_under_way_is_on_the_new_file() {
        let points = Points::new();
        let (server, one, other) = scene(&points);
        one.make(&["tree/"]);
        for (round, arguments) in [
            &["put", "f"][..],
            &["put", "--append", "f"],
            &["put", "large", "--to", "f"],
            &["put", "-r", "tree/.", "--to", "/"],
        ]
        .into_iter()
        .enumerate()
        {
            one.write("f", format!("new {round}"));
            one.write("tree/f", format!("of a tree {round}"));
            Content::seed(2).write(&one.file("large"), 2 * MIB);
            let text = format!("note {round}");
            // All is staged, and what is replaced has been looked at.
            let (putting, filer) = points.stop(BeforeIntent, &one, arguments);
            points.disarm(BeforeIntent);
            other.run(&["note", "f", &text]).ok();
            filer.go_on();
            putting.wait().ok();
            assert_eq!(note(&other, "f"), text, "{arguments:?}");
            assert_exact(&server);
        }
    }

    #[test]
    fn a_put_that_waits_for_the_ticket_of_a_note_carries_it_over() {
        let points = Points::new();
        let (server, one, other) = scene(&points);
        other.write("f", "new");
        for point in [Granted, Resolved, Acted] {
            let text = format!("before {point}");
            let (noting, filer) = points.stop(point, &one, &["note", "f", &text]);
            points.disarm(point);
            let putting = other.spawn(&["put", "f"]);
            berth_tests::wait_until("the put waits for the ticket", || {
                berth_tests::disk::entries(&server.staging("alice")).len() == 1
            });
            filer.go_on();
            noting.wait().ok();
            putting.wait().ok();
            assert_eq!(note(&one, "f"), text);
            assert_exact(&server);
        }
    }

    #[test]
    fn a_filer_that_dies_with_a_note_leaves_the_old_one_or_the_new_one() {
        let points = Points::new();
        let (server, one, other) = scene(&points);
        one.run(&["note", "f", "old"]).ok();
        for (point, expected) in
            [(Granted, "old"), (Resolved, "old"), (Acted, "new"), (Released, "newer")]
        {
            let (noting, filer) = points.stop(
                point,
                &one,
                &["note", "f", if point == Released { "newer" } else { "new" }],
            );
            points.disarm(point);
            filer.kill();
            noting.wait().failed();
            // The ticket passes on.
            other.run(&["mv", "f", "g"]).ok();
            other.run(&["mv", "g", "f"]).ok();
            assert_eq!(note(&other, "f"), expected, "{point}");
            assert_exact(&server);
        }
    }

    #[test]
    fn a_put_that_dies_leaves_the_note_on_what_stands_there_old_or_new() {
        let points = Points::new();
        let (server, one, other) = scene(&points);
        one.run(&["note", "f", "kept"]).ok();
        one.write("f", "new");
        Content::seed(3).write(&one.file("large"), 2 * MIB);
        for arguments in [&["put", "f"][..], &["put", "large", "--to", "f"]] {
            for (point, is_new) in [(Granted, false), (Resolved, false), (Acted, true)] {
                let before = fs::read(server.home("alice").join("f")).unwrap();
                let (putting, filer) = points.stop(point, &one, arguments);
                points.disarm(point);
                filer.kill();
                putting.wait().failed();
                assert_eq!(note(&other, "f"), "kept", "{point}");
                assert_exact(&server);
                let after = fs::read(server.home("alice").join("f")).unwrap();
                assert_eq!(before != after, is_new, "{point}");
            }
        }
        // What was cut off is gone on with, and has the note of the moment.
        other.run(&["note", "f", "later"]).ok();
        one.write("large", vec![b'x'; 3 * MIB as usize]);
        let (putting, filer) = points.stop(Granted, &one, &["put", "large", "--to", "f"]);
        points.disarm(Granted);
        filer.kill();
        putting.wait().failed();
        other.run(&["note", "f", "last"]).ok();
        one.run(&["put", "large", "--to", "f"]).ok();
        assert_eq!(note(&other, "f"), "last");
        assert_exact(&server);
    }
}

//! Any name that a file system takes arrives unchanged, and what is no name is refused.

use std::collections::BTreeSet;
use std::fs;

use berth_tests::{Options, Server};

/// Names that shells, terminals and parsers stumble over.
fn awkward_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "with space",
        " leading and trailing ",
        "single'quote",
        "double\"quote",
        "new\nline",
        "tab\tand\rreturn",
        "star*",
        "[brackets]",
        "question?",
        "back\\slash",
        "-dash",
        "--to",
        "~",
        "$HOME",
        "`id`",
        "a;b|c&d",
        "...",
        "..a",
        ".hidden",
        "ä日本🦀",
        "e\u{301}",
        "\u{1b}[31mred",
        "bell\u{7}",
        "name.part",
        "name.journal",
        "0000000000000001",
        "%s%n",
        "C:\\x",
    ]
    .map(str::to_owned)
    .into();
    names.push("x".repeat(255));
    names.push("é".repeat(127));
    names
}

#[test]
fn every_name_arrives_unchanged_in_both_directions() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let alice = server.client("alice", "a");
    let names = awkward_names();
    let mut put = vec!["put".to_owned(), "--".to_owned()];
    for name in &names {
        alice.write(name, format!("content of {name}"));
        // A leading `./` so that no name is taken for an option or expanded.
        put.push(format!("./{name}"));
    }
    alice.run(&put).ok();
    for name in &names {
        let content = fs::read_to_string(server.home("alice").join(name)).unwrap();
        assert_eq!(content, format!("content of {name}"), "{name:?}");
    }
    let listed = alice.run(&["ls", "--json", "/"]).ok().json_lines();
    let listed: BTreeSet<_> =
        listed.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, names.iter().cloned().collect());

    // One by one, through every command that takes a path.
    for name in names.iter().filter(|name| name.len() < 200) {
        let remote = format!("/{name}");
        let moved = format!("/{name}.moved");
        alice.run(&["stat", "--", &remote]).ok();
        alice.run(&["get", "--to", "back", "--", &remote]).ok();
        assert_eq!(fs::read_to_string(alice.file("back")).unwrap(), format!("content of {name}"));
        fs::remove_file(alice.file("back")).unwrap();
        alice.run(&["mv", "--", &remote, &moved]).ok();
        alice.run(&["rm", "--", &moved]).ok();
        assert!(!server.home("alice").join(name).exists(), "{name:?}");
    }
    server.assert_at_rest("alice");
}

#[test]
fn directories_have_any_name_too() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let alice = server.client("alice", "a");
    alice.write("f", "content");
    for name in ["new\nline", "sp ace", "*", &"d".repeat(255)] {
        alice.run(&["mkdir", "-p", &format!("/{name}/{name}")]).ok();
        alice.run(&["put", "f", "--to", &format!("/{name}/{name}/f")]).ok();
        assert!(server.home("alice").join(name).join(name).join("f").exists(), "{name:?}");
    }
    server.assert_at_rest("alice");
}

#[test]
fn dotdot_is_resolved_by_the_client_and_stays_in_the_home() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let alice = server.client("alice", "a");
    alice.write("f", "content");
    alice.run(&["mkdir", "-p", "/d/e"]).ok();
    alice.run(&["put", "f", "--to", "/d/e/../g"]).ok();
    alice.run(&["put", "f", "--to", "d/./e/../../h"]).ok();
    assert!(server.home("alice").join("d/g").exists());
    assert!(server.home("alice").join("h").exists());
    for path in ["..", "/..", "d/../..", "/d/../../x"] {
        alice.run(&["put", "f", "--to", path]).failed().says("outside the home");
        alice.run(&["ls", path]).failed().says("outside the home");
    }
    server.assert_at_rest("alice");
}

#[test]
fn a_name_or_path_that_is_too_long_is_refused_by_name() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let alice = server.client("alice", "a");
    alice.write("f", "content");
    alice.run(&["put", "f", "--to", &"x".repeat(256)]).failed().says("longer than 255 bytes");
    alice.run(&["put", "f", "--to", &"é".repeat(128)]).failed().says("longer than 255 bytes");
    let deep = "d/".repeat(2100) + "f";
    alice.run(&["put", "f", "--to", &deep]).failed().says("longer than 4096 bytes");
    server.assert_at_rest("alice");
}

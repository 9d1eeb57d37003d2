//! What scripts rely on: each command of `berth` and `berthctl` speaks JSON, and failures do.

use std::collections::BTreeSet;

use berth_cli::admin::Arguments;
use berth_cli::args::Args;
use berth_tests::{Options, Outcome, Server};
use clap::CommandFactory as _;
use serde_json::Value;

/// What a command prints on standard output with `--json`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prints {
    Objects,
    /// Nothing but notes, on standard error.
    Nothing,
}

use Prints::{Nothing, Objects};

/// Each command with arguments that work, one after the other.
const COMMANDS: [(&str, &[&str], Prints); 26] = [
    ("login", &[], Objects),
    ("profiles", &[], Objects),
    ("put", &["f", "g"], Objects),
    ("put", &["-r", "tree"], Objects),
    ("sync", &["tree", ":tree"], Objects),
    ("mkdir", &["d"], Nothing),
    ("mv", &["g", "d"], Nothing),
    ("get", &["f", "--to", "fetched"], Objects),
    ("ls", &["d"], Objects),
    ("tree", &[], Objects),
    ("du", &[], Objects),
    ("note", &["f", "a text"], Nothing),
    ("note", &["f"], Objects),
    ("stat", &["f"], Objects),
    ("exec", &["--", "true"], Nothing),
    ("md5", &["f"], Objects),
    ("df", &[], Objects),
    ("info", &[], Objects),
    ("ping", &["-c", "1"], Objects),
    ("uploads", &[], Nothing),
    ("devices", &[], Objects),
    ("shell", &[], Nothing),
    ("rm", &["f"], Nothing),
    ("logout", &[], Nothing),
    ("passwd", &["--new-password-file", "new"], Nothing),
    // Somebody else does, with a code.
    ("join", &[], Objects),
];

/// The commands of a program that stand in its help.
fn names(command: &clap::Command) -> BTreeSet<String> {
    command.get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

/// Every line of standard error is an object: a note, a failure with its exit code, or how a program has ended.
#[track_caller]
fn complains_in_json(outcome: &Outcome) {
    for line in outcome.stderr.lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{outcome:?}"));
        let known = ["note", "error", "end"].iter().find_map(|key| object.get(key)?.as_str());
        assert!(known.is_some_and(|text| !text.is_empty()), "{line}");
        if object.get("error").is_some() {
            assert_eq!(object["exit"].as_i64(), outcome.code.map(i64::from), "{line}");
        }
    }
}

#[test]
fn every_command_speaks_json_on_both_outputs() {
    let mut tried: BTreeSet<String> =
        COMMANDS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    // Tried on a network of a test's own, by `discovery`.
    tried.insert("discover".to_owned());
    assert_eq!(tried, names(&Args::command()), "a command is missing here, or there");
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    server.berthctl(&["user", "allow-exec", "alice", "true"]).ok();
    let alice = server.client("alice", "a");
    for name in ["f", "g"] {
        alice.write(name, "content");
    }
    alice.write("new", "another\n");
    std::fs::create_dir(alice.file("tree")).unwrap();
    for (name, arguments, prints) in COMMANDS {
        let outcome = if name == "join" {
            let code = server.berthctl(&["invite", "--name", "bob"]).ok().stdout;
            let guest = server.client("bob", "b").by_profile();
            guest.run(&["--json", "join", code.trim()]).ok()
        } else {
            alice.run(&[&["--json", name], arguments].concat()).ok()
        };
        assert_eq!(!outcome.json_lines().is_empty(), prints == Objects, "{outcome:?}");
        complains_in_json(&outcome);
    }
}

#[test]
fn failures_are_objects_with_the_exit_code() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1KiB");
    let alice = server.client("alice", "a");
    alice.write("large", vec![7; 4096]);
    let table: [(&[&str], i32); 5] = [
        (&["stat", "nothing"], 5),
        (&["get", "nothing"], 5),
        (&["put", "nothing"], 5),
        (&["put", "large"], 6),
        (&["-C", "../..", "ls", "a/../.."], 2),
    ];
    for (line, code) in table {
        let outcome = alice.run(&[&["--json"], line].concat()).code_is(code);
        complains_in_json(&outcome);
        assert!(outcome.stderr.contains("\"error\""), "{outcome:?}");
    }
    let refused = alice.with_password("b").run(&["--json", "ls"]).code_is(4);
    complains_in_json(&refused);
}

#[test]
fn every_command_of_the_administrator_prints_one_document() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let copy = server.scratch().join("copy").to_str().unwrap().to_owned();
    let table: [&[&str]; 12] = [
        &["user", "list"],
        &["user", "show", "alice"],
        &["user", "lock", "alice"],
        &["quota", "show", "alice"],
        &["quota", "set", "alice", "--bytes", "2MiB"],
        &["quota", "verify"],
        &["invite"],
        &["invitation", "list"],
        &["device", "list", "alice"],
        &["session", "list"],
        &["ledger", "backup", &copy],
        &["status"],
    ];
    let tried: BTreeSet<String> = table.iter().map(|line| line[0].to_owned()).collect();
    assert_eq!(tried, names(&Arguments::command()), "a command is missing here, or there");
    for line in table {
        let document = server.berthctl(&[line, &["--json"]].concat()).ok().json();
        assert!(document.is_object() || document.is_array(), "{line:?}: {document}");
    }
    let failed = server.berthctl(&["--json", "user", "show", "nobody"]).code_is(5);
    complains_in_json(&failed);
}

#[test]
fn its_own_files_stand_where_the_xdg_variables_say_and_nowhere_else() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let alice = server.client("alice", "a");
    alice.write("f", "content");
    alice.run(&["login"]).ok();
    alice.run(&["put", "f"]).ok();
    let directory = alice.directory();
    let stands: Vec<_> = berth_tests::disk::entries(directory);
    assert_eq!(stands, ["config", "files", "state"].map(|name| directory.join(name)));
    assert!(directory.join("config/berth/profiles").is_dir());
    assert!(directory.join("state/berth/client.key").is_file());
    // Without the variables, where the specification says; a relative one is none.
    let home = directory.join("files");
    let by_default = alice
        .env("HOME", home.to_str().unwrap())
        .env("XDG_CONFIG_HOME", "")
        .env("XDG_STATE_HOME", "relative");
    by_default.run(&["login"]).ok();
    by_default.run(&["put", "f"]).ok();
    assert!(home.join(".config/berth/profiles").is_dir());
    assert!(home.join(".local/state/berth/client.key").is_file());
    assert!(!home.join("relative").exists());
}

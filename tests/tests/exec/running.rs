//! Programs that behave, as their user sees them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt as _;

use berth_tests::exit::{NOT_FOUND, NOT_RUN, USAGE};
use berth_tests::files::Content;
use berth_tests::{Options, files};

use crate::scene::{PROGRAM, program, scene, start};

const MIB: usize = 1 << 20;

#[test]
fn nothing_is_allowed_unless_the_administrator_says_so_and_only_what_he_says() {
    let server = start(Options::new());
    server.add_user("alice", "a", "unlimited");
    server.add_user("bob", "b", "unlimited");
    let (alice, bob) = (server.client("alice", "a"), server.client("bob", "b"));
    let run = |name: &str| alice.run(&["exec", "-n", "--", name]);
    run("ls").code_is(NOT_RUN).says("no such program for you");
    let told = server.berthctl(&["user", "allow-exec", "alice", "ls", "wc"]).ok();
    assert_eq!(told.stdout, "user alice may run: ls wc\n");
    run("ls").ok();
    run("du").code_is(NOT_RUN);
    bob.run(&["exec", "-n", "--", "ls"]).code_is(NOT_RUN);
    let shown = server.berthctl(&["user", "show", "alice"]).ok().stdout;
    assert!(shown.contains("may run:          ls wc\n"), "{shown}");
    // What runs again is asked again: a session that is open has no more rights than a new one.
    let shell =
        "exec ls\n!touch asked\n!while [ ! -e denied ]; do sleep 0.05; done\n-exec ls\nexit\n";
    let in_shell = alice.spawn_with(&["shell"], shell.into());
    berth_tests::wait_until("it ran once", || alice.file("asked").exists());
    server.berthctl(&["user", "deny-exec", "alice", "ls"]).ok();
    alice.write("denied", "");
    in_shell.wait().ok().says("no such program for you");
    let told = server.berthctl(&["user", "deny-exec", "alice"]).ok().stdout;
    assert_eq!(told, "user alice may run: no programs\n");
    run("wc").code_is(NOT_RUN);
}

#[test]
fn names_that_are_no_programs_are_refused_where_they_are_typed() {
    let (server, alice) = scene(Options::new());
    let allow = |name: &str| server.berthctl(&["user", "allow-exec", "alice", name]);
    for name in ["/usr/bin/du", "../du", "a b", ".", ""] {
        assert_ne!(allow(name).code, Some(0), "{name}");
        assert_eq!(alice.run(&["exec", "-n", "--", name]).code, Some(USAGE), "{name}");
    }
    allow("no-such-program").failed().says("none of the directories");
    // A script would need a program that runs it.
    allow("ldd").failed().says("script");
    server.berthctl(&["user", "allow-exec", "nobody", "du"]).failed().says("no user nobody");
    let told = server.berthctl(&["--json", "user", "show", "alice"]).ok().json();
    assert!(told["programs"].as_array().unwrap().iter().any(|name| name == "du"));
}

#[test]
fn the_programs_that_people_want_work_in_the_home() {
    let (server, alice) = scene(Options::new());
    alice.make(&["docs/one", "docs/deep/two", "three"]);
    alice.write("big", "b\na\n".repeat(300_000));
    alice.run(&["put", "-r", "docs", "three", "big"]).ok();
    let exec = |words: &[&str]| {
        let mut all = vec!["exec", "-n", "--"];
        all.extend(words);
        alice.run(&all).ok().stdout
    };
    assert_eq!(exec(&["cat", "docs/one"]), "content of docs/one");
    assert!(exec(&["du", "-sh", "."]).ends_with("\t.\n"));
    assert_eq!(exec(&["wc", "-l", "big"]), "600000 big\n");
    let sum = exec(&["sha256sum", "docs/one", "big"]);
    assert_eq!(sum.lines().count(), 2, "{sum}");
    let mut found: Vec<String> =
        exec(&["find", ".", "-type", "f"]).lines().map(str::to_owned).collect();
    found.sort_unstable();
    assert_eq!(found, ["./big", "./docs/deep/two", "./docs/one", "./three"]);
    assert_eq!(exec(&["grep", "-r", "-l", "content of three", "."]), "./three\n");
    assert_eq!(exec(&["head", "-c", "3", "big"]), "b\na");
    let sorted = exec(&["sort", "-u", "big"]);
    assert_eq!(sorted, "a\nb\n");
    let listed = alice.run(&["exec", "-n", "--", "ls", "-la", "docs"]).ok();
    assert!(listed.stdout.contains("one") && listed.stderr.is_empty(), "{listed:?}");
    assert!(exec(&["stat", "-c", "%s", "three"]).starts_with("16"));
    assert_eq!(exec(&["ls", "-d", "/home"]), "/home\n", "where the home is");
    server.assert_at_rest("alice");
}

#[test]
fn a_program_starts_in_the_directory_that_is_named_and_through_no_link() {
    let (server, alice) = scene(Options::new());
    alice.make(&["a/b/file"]);
    alice.run(&["put", "-r", "a"]).ok();
    std::os::unix::fs::symlink("/", server.home("alice").join("link")).unwrap();
    let from = |directory: &str| alice.run(&["exec", "-n", "-C", directory, "--", "ls"]);
    assert_eq!(from("a/b").ok().stdout, "file\n");
    assert_eq!(from("/a/b/..").ok().stdout, "b\n");
    from("none").code_is(NOT_FOUND);
    from("a/b/file").failed().says("not a directory");
    from("link").failed().says("link");
    from("link/etc").failed().says("link");
}

#[test]
fn every_byte_of_the_arguments_arrives_and_no_shell_reads_them() {
    let (server, alice) = scene(Options::new());
    let words: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b" ".to_vec(),
        b"-n".to_vec(),
        b"--".to_vec(),
        b"$HOME `id` $(id) ; id | id > x & * ? ~ 'a\" \\".to_vec(),
        (1..=255).collect(),
        "\u{4f60}\u{597d}\n".into(),
        vec![b'x'; 40_000],
    ];
    let mut arguments: Vec<OsString> =
        ["exec", "-n", "--", PROGRAM, "arguments"].map(OsString::from).to_vec();
    arguments.extend(words.iter().cloned().map(OsString::from_vec));
    let file = alice.file("told");
    let output = File::create(&file).unwrap();
    alice.spawn_to(&arguments, output.into()).wait().ok();
    let mut expected: Vec<u8> = PROGRAM.bytes().chain([0]).chain(*b"arguments\0").collect();
    for word in &words {
        expected.extend(word);
        expected.push(0);
    }
    assert!(fs::read(&file).unwrap() == expected);
    assert_eq!(server.home_sums("alice").entries, 0, "no shell has made a file");
    let long = "x".repeat(50_000);
    alice.run(&["exec", "-n", "--", PROGRAM, "arguments", &long]).code_is(USAGE).says("bytes");
    let told = program(&alice, &["environment"]).ok();
    assert_eq!(told.stdout, "HOME=/home\nLANG=C.UTF-8\n");
}

#[test]
fn input_output_and_errors_are_kept_apart_in_any_volume() {
    let (_server, alice) = scene(Options::new().set("exec_output_bytes = 1073741824"));
    let input = Content::seed(7).bytes(20 * MIB + 12_345);
    fs::write(alice.file("input"), &input).unwrap();
    let run = |words: &[&str], name: &str| {
        let output = File::create(alice.file(name)).unwrap();
        let mut all = vec!["exec", "--"];
        all.extend(words);
        // There and back, with less room on the way than there are bytes.
        let input = File::open(alice.file("input")).unwrap();
        alice.spawn_between_files(&all, input, output).wait()
    };
    run(&["cat"], "back").ok();
    files::assert_same(&alice.file("input"), &alice.file("back"));
    // Each byte of the input goes to one of the two.
    let outcome = run(&[PROGRAM, "split"], "even");
    assert_eq!(outcome.code, Some(0));
    let told = fs::read(alice.file("even")).unwrap();
    assert!(told.iter().eq(input.iter().step_by(2)));
    assert_eq!(outcome.stderr.len(), input.len() / 2, "of ASCII, since it is compared as text");
    let read = alice.spawn_with(&["exec", "--", "sha256sum"], input.clone()).wait().ok();
    assert_eq!(read.stdout.len(), 64 + 4, "{}", read.stdout);
}

#[test]
fn an_input_that_nobody_reads_holds_nothing_up() {
    let (_server, alice) = scene(Options::new());
    let much = vec![b'y'; 8 * MIB];
    let took = alice.spawn_with(&["exec", "--", "head", "-c", "5"], much.clone()).wait().ok();
    assert_eq!(took.stdout, "yyyyy");
    // It closes its input and goes on: the rest is thrown away.
    let took = alice.spawn_with(&["exec", "--", PROGRAM, "close_input"], much).wait().ok();
    assert_eq!(took.stdout, "closed\n");
    let (shell, mut typed) = alice.spawn_piped(&["shell"]);
    std::io::Write::write_all(&mut typed, b"exec cat\nexec ls\nexit\n").unwrap();
    drop(typed);
    shell.wait().ok();
}

#[test]
fn the_exit_code_is_the_programs() {
    let (_server, alice) = scene(Options::new());
    for code in [0, 1, 3, 42, 255] {
        program(&alice, &["exit", &code.to_string()]).code_is(code);
    }
    for (name, signal) in [("segv", 11), ("abrt", 6), ("pipe", 13), ("term", 15)] {
        let outcome = program(&alice, &[name]).code_is(128 + signal);
        assert!(outcome.stderr.contains(&format!("signal {signal}")), "{}", outcome.stderr);
    }
    let told = alice.run(&["--json", "exec", "-n", "--", PROGRAM, "exit", "7"]).code_is(7);
    let end: serde_json::Value = serde_json::from_str(told.stderr.trim()).unwrap();
    assert_eq!(end, serde_json::json!({ "program": PROGRAM, "end": "exited", "value": 7 }));
    alice.run(&["exec", "-n", "--", "ls", "--no-such-option"]).code_is(2).says("unrecognized");
}

#[test]
fn transfers_go_on_beside_a_program_and_the_ledger_knows_nothing_of_it() {
    let (server, alice) = scene(Options::new());
    Content::seed(1).write(&alice.file("film"), 30 * MIB as u64);
    let before = server.home_sums("alice");
    let sleeping = alice.spawn(&["exec", "-n", "--", "sleep", "600"]);
    let processes = crate::scene::running(&server);
    alice.run(&["put", "film"]).ok();
    alice.run(&["rm", "film"]).ok();
    assert_eq!(server.home_sums("alice"), before);
    drop(sleeping);
    crate::scene::assert_gone(&processes);
    server.assert_at_rest("alice");
    assert!(server.log().text().contains("\"program\""), "who ran what is in the log");
}

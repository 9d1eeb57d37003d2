//! `berth sync`: a directory on one side becomes what one on the other side is.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use berth_tests::exact::assert_exact;
use berth_tests::exit::{FAILURE, NO_ROOM, NOT_FOUND, USAGE};
use berth_tests::{Outcome, Server, account};

/// What is below a directory: of a file its content, mode and time, of a directory nothing.
fn tree(top: &Path) -> BTreeMap<PathBuf, Option<(Vec<u8>, u32, SystemTime)>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let stat = path.symlink_metadata().unwrap();
            let file = stat
                .is_file()
                .then(|| (fs::read(&path).unwrap(), stat.mode() & 0o777, stat.modified().unwrap()));
            if stat.is_dir() {
                waiting.push(path.clone());
            }
            found.insert(path.strip_prefix(top).unwrap().to_owned(), file);
        }
    }
    found
}

fn names(top: &Path) -> Vec<String> {
    tree(top).into_keys().map(|path| path.display().to_string()).collect()
}

fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, 123_456_789);
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_times(fs::FileTimes::new().set_modified(time)).unwrap();
}

/// Numbers of the summary, in this order.
fn counts(outcome: &Outcome) -> [u64; 4] {
    let last = outcome.json_lines().pop().expect("there is a summary");
    ["files", "unchanged", "deleted", "moved_bytes"]
        .map(|key| last["summary"][key].as_u64().unwrap())
}

/// What a dry run printed.
fn would(outcome: &Outcome) -> Vec<String> {
    let mut lines: Vec<String> = outcome.stdout.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_directory_is_synced_into_the_home_and_a_second_time_nothing_moves() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&["p/a", "p/d/b", "p/d/日 本", "p/empty/"]);
    symlink("a", alice.file("p/link")).unwrap();
    fs::set_permissions(alice.file("p/a"), fs::Permissions::from_mode(0o640)).unwrap();
    set_time(&alice.file("p/a"), 1_234_567_890);
    let sync = ["--json", "sync", "p", ":backup/p"];
    let first = alice.run(&sync).ok();
    assert!(first.stderr.contains("p/link: skipped"), "{}", first.stderr);
    let home = server.home("alice").join("backup/p");
    assert_eq!(names(&home), ["a", "d", "d/b", "d/日 本", "empty"], "the contents");
    assert_eq!(fs::read(home.join("a")).unwrap(), b"content of p/a");
    assert_eq!(counts(&first)[..3], [3, 0, 0]);
    assert_eq!(counts(&alice.run(&sync).ok()), [0, 3, 0, 0]);
    // By size, by time, and with --checksum by content alone.
    alice.write("p/d/b", "longer than it was before");
    assert_eq!(counts(&alice.run(&sync).ok())[..3], [1, 2, 0]);
    set_time(&alice.file("p/a"), 1_300_000_000);
    let by_content = ["--json", "sync", "--checksum", "p", ":backup/p"];
    assert_eq!(counts(&alice.run(&by_content).ok()), [0, 3, 0, 0]);
    assert_eq!(counts(&alice.run(&sync).ok())[..3], [1, 2, 0]);
    fs::write(alice.file("p/a"), "CONTENT of p/a").unwrap();
    set_time(&alice.file("p/a"), 1_300_000_000);
    assert_eq!(counts(&alice.run(&sync).ok()), [0, 3, 0, 0], "the quick check is quick");
    assert_eq!(counts(&alice.run(&by_content).ok())[..3], [1, 2, 0]);
    assert_eq!(fs::read(home.join("a")).unwrap(), b"CONTENT of p/a");
    assert_exact(&server);
}

#[test]
fn a_directory_of_the_home_is_synced_here_and_a_second_time_nothing_moves() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&["p/a", "p/d/b", "p/empty/"]);
    fs::set_permissions(alice.file("p/a"), fs::Permissions::from_mode(0o640)).unwrap();
    set_time(&alice.file("p/a"), 1_234_567_890);
    alice.run(&["sync", "p", ":p"]).ok();
    let sync = ["--json", "-C", "p", "sync", ":", "./new/er"];
    assert_eq!(counts(&alice.run(&sync).ok())[..3], [2, 0, 0]);
    assert_eq!(tree(&alice.file("new/er")), tree(&alice.file("p")), "with modes and times");
    assert_eq!(counts(&alice.run(&sync).ok()), [0, 2, 0, 0]);
    // What was changed here is what the home has afterwards.
    fs::write(alice.file("new/er/a"), "CONTENT of p/a").unwrap();
    fs::write(alice.file("new/er/d/b"), "other").unwrap();
    assert_eq!(counts(&alice.run(&sync).ok())[..3], [2, 0, 0]);
    assert_eq!(tree(&alice.file("new/er")), tree(&alice.file("p")));
    fs::write(alice.file("new/er/a"), "CONTENT of p/a").unwrap();
    set_time(&alice.file("new/er/a"), 1_234_567_890);
    set_time(&alice.file("new/er/d/b"), 1);
    assert_eq!(counts(&alice.run(&["--json", "sync", "-c", ":p", "new/er"]).ok())[..2], [1, 1]);
    assert_eq!(fs::read(alice.file("new/er/a")).unwrap(), b"content of p/a");
    alice.run(&["sync", ":none", "x"]).code_is(NOT_FOUND);
    alice.run(&["sync", ":p/a", "x"]).code_is(FAILURE);
    assert!(!alice.file("x").exists());
    assert_exact(&server);
}

#[test]
fn a_dry_run_says_all_and_changes_nothing() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&["p/a", "p/d/b"]);
    let dry = ["sync", "-n", "--delete", "p", ":to"];
    let first = alice.run(&dry).ok();
    assert_eq!(would(&first), ["make /to", "make /to/d", "send /to/a", "send /to/d/b"]);
    assert!(first.stderr.contains("nothing was changed"), "{}", first.stderr);
    assert!(names(&server.home("alice")).is_empty());
    alice.run(&["sync", "p", ":to"]).ok();
    fs::remove_dir_all(alice.file("p/d")).unwrap();
    alice.make(&["p/c"]);
    let before = tree(&server.home("alice"));
    assert_eq!(would(&alice.run(&dry).ok()), ["delete /to/d", "send /to/c"]);
    let lines = alice.run(&["--json", "sync", "-n", "--delete", "p", ":to"]).ok().json_lines();
    assert!(
        lines.iter().any(|line| *line == serde_json::json!({"path": "/to/d", "would": "delete"}))
    );
    assert_eq!(tree(&server.home("alice")), before);
    // The other way.
    alice.make(&["here/old/x"]);
    let before = tree(&alice.file("here"));
    let down = alice.run(&["sync", "-n", "--delete", ":to", "here"]).ok();
    assert_eq!(would(&down), ["delete here/old", "get here/a", "get here/d/b", "make here/d"]);
    assert_eq!(tree(&alice.file("here")), before);
    alice.run(&["sync", "-n", ":to", "none/here"]).ok();
    assert!(!alice.file("none").exists());
    assert_exact(&server);
}

#[test]
fn what_is_not_in_the_source_is_removed_at_the_end_and_only_then() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&["p/a", "p/d/b", "p/gone/x/y", "p/gone.txt", "p/d/gone", "p/d/k.o"]);
    alice.run(&["sync", "p", ":"]).ok();
    for gone in ["p/gone", "p/d/k.o"] {
        let path = alice.file(gone);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    for gone in ["p/gone.txt", "p/d/gone"] {
        fs::remove_file(alice.file(gone)).unwrap();
    }
    let home = server.home("alice");
    assert_eq!(counts(&alice.run(&["--json", "sync", "p", ":"]).ok())[..3], [0, 2, 0]);
    assert_eq!(names(&home).len(), 9, "nothing is removed unless it is asked for");
    // Not while anything is wrong with the source.
    symlink("/none", alice.file("p/skipped")).unwrap();
    alice.make(&["p/gone.txt/not/a/file"]);
    let conflict = alice.run(&["sync", "--delete", "p", ":"]).code_is(FAILURE);
    conflict.says("nothing is deleted");
    assert_eq!(names(&home).len(), 9);
    fs::remove_dir_all(alice.file("p/gone.txt")).unwrap();
    let args = ["--json", "sync", "--delete", "--exclude", "*.o", "p", ":"];
    assert_eq!(counts(&alice.run(&args).ok())[..3], [0, 2, 5]);
    assert_eq!(names(&home), ["a", "d", "d/b", "d/k.o"], "what is left out stays");
    assert_eq!(counts(&alice.run(&["--json", "sync", "--delete", "p", ":"]).ok())[2], 1);
    // A source that is empty or missing may be a mistake.
    account::make_dir(&alice.file("empty"));
    alice.run(&["sync", "--delete", "empty", ":"]).code_is(USAGE).says("is empty");
    alice.run(&["sync", "--delete", "none", ":"]).code_is(NOT_FOUND);
    assert_eq!(names(&home), ["a", "d", "d/b"]);
    assert_exact(&server);
}

#[test]
fn what_the_home_has_not_is_removed_here_without_following_links() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&["p/a", "p/d/b", "here/old/x", "here/b.o", "here/d/old", "precious/x"]);
    alice.run(&["sync", "p", ":p"]).ok();
    symlink(alice.file("precious"), alice.file("here/link")).unwrap();
    let got = alice.run(&["--json", "sync", "--delete", "--exclude", "*.o", ":p", "here"]).ok();
    assert_eq!(counts(&got)[..3], [2, 0, 4]);
    assert_eq!(names(&alice.file("here")), ["a", "b.o", "d", "d/b"]);
    assert!(alice.file("precious/x").exists());
    // Not when something failed, nor for an empty directory of the home.
    alice.make(&["here/old"]);
    fs::remove_file(alice.file("here/a")).unwrap();
    alice.make(&["here/a/in/the/way"]);
    alice.run(&["sync", "--delete", ":p", "here"]).code_is(FAILURE).says("nothing is deleted");
    assert!(alice.file("here/old").exists());
    alice.run(&["mkdir", "empty"]).ok();
    alice.run(&["sync", "--delete", ":empty", "here"]).code_is(USAGE).says("is empty");
    assert!(alice.file("here/old").exists());
    assert_exact(&server);
}

#[test]
fn a_link_on_one_side_protects_the_directory_in_its_place_on_the_other() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&["p/a", "p/moved/precious", "elsewhere/other"]);
    alice.run(&["sync", "p", ":p"]).ok();
    // Here it was moved to another disk.
    fs::remove_dir_all(alice.file("p/moved")).unwrap();
    symlink(alice.file("elsewhere"), alice.file("p/moved")).unwrap();
    alice.run(&["sync", "--delete", "p", ":p"]).ok().says("skipped");
    assert_eq!(names(&server.home("alice").join("p")), ["a", "moved", "moved/precious"]);
    // The other way: the administrator has linked it there.
    alice.make(&["here/a", "here/linked/precious", "here/old"]);
    symlink("/none", server.home("alice").join("p/linked")).unwrap();
    alice.run(&["sync", "--delete", ":p", "here"]).ok().says("skipped");
    let here = ["a", "linked", "linked/precious", "moved", "moved/precious"];
    assert_eq!(names(&alice.file("here")), here);
    fs::remove_file(server.home("alice").join("p/linked")).unwrap();
    assert_exact(&server);
}

#[test]
fn a_sync_is_refused_whole_over_the_quota_and_for_sides_that_make_no_sense() {
    let (server, alice) = Server::with_alice("1GiB");
    server.berthctl(&["quota", "set", "alice", "--bytes", "10KiB"]).ok();
    alice.make(&["p/a"]);
    alice.write("p/b", "x".repeat(11_000));
    alice.run(&["sync", "p", ":p"]).code_is(NO_ROOM).says("nothing was sent: over quota");
    assert!(names(&server.home("alice")).is_empty());
    for sides in [["p", "q"], [":p", ":q"], ["", ":p"]] {
        alice.run(&["sync", sides[0], sides[1]]).code_is(USAGE);
    }
    alice.run(&["sync", "p", ":../p"]).code_is(USAGE);
    assert_exact(&server);
}

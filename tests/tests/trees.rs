//! `berth put -r` and `berth get -r`: whole trees, in both directions.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use berth_tests::exact::assert_exact;
use berth_tests::exit::{FAILURE, NO_ROOM, NOT_FOUND, USAGE};
use berth_tests::files::{Content, assert_same};
use berth_tests::{Options, Outcome, Server, account, wait_until};
use serde_json::Value;

/// What is below a directory: for a file its content, for a directory nothing.
fn tree(top: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let stat = path.symlink_metadata().unwrap();
            assert!(!stat.is_symlink(), "{}", path.display());
            let content = stat.is_file().then(|| fs::read(&path).unwrap());
            if stat.is_dir() {
                waiting.push(path.clone());
            }
            found.insert(path.strip_prefix(top).unwrap().to_owned(), content);
        }
    }
    found
}

/// The summary, the last line that `--json` prints.
fn summary(outcome: &Outcome) -> Value {
    let mut lines = outcome.json_lines();
    let mut last = lines.pop().expect("there is a summary");
    assert!(lines.iter().all(|line| line.get("path").is_some()));
    last["summary"].take()
}

#[test]
fn a_tree_goes_there_and_back_with_empty_directories_names_modes_and_times() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&[
        "t/a",
        "t/empty/",
        "t/deep/er/and/deeper/file",
        "t/übung/日本 語\n*",
        "t/e/m/p/t/y/",
        "t/-",
        "t/a.part.meta",
    ]);
    alice.write("t/nothing", "");
    // What a get of `a` calls its own files while it runs; an empty one looks just like that.
    alice.write("t/a.part", "");
    Content::seed(1).write(&alice.file("t/large"), (3 << 20) + 5);
    account::give(&alice.file("t/large"));
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    let file = fs::File::options().write(true).open(alice.file("t/a")).unwrap();
    file.set_times(fs::FileTimes::new().set_modified(time)).unwrap();
    fs::set_permissions(alice.file("t/a"), fs::Permissions::from_mode(0o640)).unwrap();
    let put = alice.run(&["--json", "put", "-r", "t"]).ok();
    let sum = summary(&put);
    assert_eq!((sum["files"].as_u64(), sum["directories"].as_u64()), (Some(8), Some(12)), "{sum}");
    assert_eq!((sum["skipped"].as_u64(), sum["failed"].as_u64()), (Some(0), Some(0)));
    assert_eq!(tree(&server.home("alice")).len(), 20);
    let got = alice.run(&["get", "-r", "t", "--to", "back"]).ok();
    assert!(got.stderr.contains("8 files (3.0 MiB) and 12 directories in "), "{}", got.stderr);
    assert_eq!(tree(&alice.file("t")), tree(&alice.file("back")));
    let back = alice.file("back/a").metadata().unwrap();
    assert_eq!((back.modified().unwrap(), back.mode() & 0o777), (time, 0o640));
    // Once more, nothing has to be done: what is here is left.
    let again = alice.run(&["--json", "get", "-r", "t", "--to", "back/"]).ok();
    assert_eq!(summary(&again)["files"], 8, "into a directory, so they are new");
    let again = alice.run(&["--json", "get", "-r", "t/.", "--to", "back"]).ok();
    let sum = summary(&again);
    assert_eq!((sum["files"].as_u64(), sum["unchanged"].as_u64()), (Some(0), Some(8)));
    assert_exact(&server);
}

#[test]
fn trees_are_laid_out_as_cp_does() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&["p/x", "p/s/y", "file"]);
    let home = |path: &str| server.home("alice").join(path);
    alice.run(&["put", "-r", "p/", "file"]).ok();
    assert!(home("p/s/y").is_file() && home("file").is_file());
    // As what is named, and then into it; a directory that only has to be one is made.
    alice.run(&["put", "-r", "p", "--to", "as"]).ok();
    assert!(home("as/s/y").is_file());
    alice.run(&["put", "-r", "p", "file", "--to", "as"]).ok();
    assert!(home("as/p/s/y").is_file() && home("as/file").is_file());
    alice.run(&["put", "-r", "file", "p", "--to", "new/er/"]).ok();
    assert!(home("new/er/p/s/y").is_file() && home("new/er/file").is_file());
    alice.run(&["put", "-r", "p/.", "--to", "contents"]).ok();
    assert!(home("contents/s/y").is_file() && !home("contents/p").exists());
    alice.run(&["-C", "contents", "put", "-r", "p/s/.."]).ok();
    assert!(home("contents/x").is_file());
    alice.run(&["put", "-r", "p", "p/../p"]).code_is(USAGE).says("the same place");
    alice.run(&["put", "-r", "p", "file", "--to", "none"]).code_is(USAGE).says("make it first");
    alice.run(&["put", "-r", "-", "--to", "x"]).code_is(USAGE);
    alice.run(&["put", "p"]).code_is(FAILURE).says("give -r");
    alice.run(&["put", "-r", "p", "--to", "file"]).code_is(FAILURE).says("/file");
    // The same in the other direction.
    let local = |path: &str| alice.file(path);
    fs::remove_dir_all(local("p")).unwrap();
    alice.run(&["get", "-r", "p", "file", "--to", "into/some/"]).ok();
    assert!(local("into/some/p/s/y").is_file() && local("into/some/file").is_file());
    alice.run(&["get", "-r", "p"]).ok();
    assert!(local("p/s/y").is_file());
    alice.run(&["get", "-r", "/", "--to", "all"]).ok();
    assert!(local("all/new/er/p/s/y").is_file());
    alice.run(&["-C", "new", "get", "-r", ".", "--to", "all/p"]).ok();
    assert!(local("all/p/er/file").is_file());
    alice.run(&["get", "new"]).code_is(FAILURE).says("give -r");
    alice.run(&["get", "-r", "p", "none", "--to", "all/"]).code_is(NOT_FOUND);
    assert_exact(&server);
}

#[test]
fn links_and_the_like_are_skipped_and_refused_names_are_told_and_the_rest_goes_on() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&["t/good", "t/d/good"]);
    symlink("good", alice.file("t/link")).unwrap();
    symlink("/etc", alice.file("t/d/etc")).unwrap();
    let fifo = rustix::fs::Mode::RUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, alice.file("t/pipe"), fifo).unwrap();
    alice.write(Path::new("t").join(OsStr::from_bytes(b"bad\xff")), "x");
    let bad = alice.file("t/d").join(OsStr::from_bytes(b"worse\xfe"));
    account::make_dir(&bad);
    fs::write(bad.join("inside"), "x").unwrap();
    let put = alice.run(&["put", "-r", "t"]).code_is(FAILURE);
    for told in [
        "t/link: skipped, it is a symbolic link",
        "t/d/etc: skipped, it is a symbolic link",
        "t/pipe: skipped, it is a named pipe",
        "its name is not UTF-8",
        "2 files (",
        ", 3 skipped, 2 failed",
    ] {
        assert!(put.stderr.contains(told), "{told}:\n{}", put.stderr);
    }
    assert_eq!(put.stderr.matches("not UTF-8").count(), 2);
    let json = alice.run(&["--json", "put", "-r", "t"]).code_is(FAILURE);
    let sum = summary(&json);
    assert_eq!((sum["skipped"].as_u64(), sum["failed"].as_u64()), (Some(3), Some(2)));
    assert!(json.stderr.contains("{\"note\":\"t/pipe: skipped"), "{}", json.stderr);
    let names: Vec<_> = tree(&server.home("alice")).into_keys().collect();
    assert_eq!(names, ["t", "t/d", "t/d/good", "t/good"].map(PathBuf::from));
    let quiet = alice.run(&["-q", "put", "-r", "t/d/good", "t/link"]).ok();
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    assert!(server.home("alice").join("link").is_file(), "what is named is followed");
    // A directory cannot be where a file is: told once, with all that is in it.
    alice.run(&["rm", "-r", "t/d"]).ok();
    alice.run(&["put", "t/good", "--to", "t/d"]).ok();
    alice.make(&["t/d/1", "t/d/2/3"]);
    let put = alice.run(&["put", "-r", "t"]).code_is(FAILURE);
    assert_eq!(put.stderr.matches("the directory /t/d").count(), 1, "{}", put.stderr);
    assert_exact(&server);
}

#[test]
fn files_that_stand_there_are_replaced_or_kept_as_with_a_put_of_each() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&["t/a", "t/b"]);
    alice.run(&["put", "-r", "t"]).ok();
    alice.write("t/a", "new");
    alice.make(&["t/c"]);
    let kept = alice.run(&["put", "-r", "-n", "t"]).code_is(FAILURE);
    assert!(
        kept.stderr.contains("1 file (") && kept.stderr.contains("1 unchanged, 1 failed"),
        "{}",
        kept.stderr
    );
    assert_eq!(fs::read(server.home("alice").join("t/a")).unwrap(), b"content of t/a");
    let replaced = alice.run(&["--json", "put", "-r", "t"]).ok();
    assert_eq!(replaced.json_lines().iter().filter(|line| line["replaced"] == true).count(), 1);
    assert_eq!(summary(&replaced)["unchanged"], 2);
    assert_eq!(tree(&server.home("alice").join("t")), tree(&alice.file("t")));
    // Here the local ones are kept unless -f says otherwise.
    alice.write("t/a", "mine");
    alice.run(&["get", "-r", "t"]).code_is(FAILURE).says("give -f").says("2 unchanged, 1 failed");
    assert_eq!(fs::read(alice.file("t/a")).unwrap(), b"mine");
    alice.run(&["get", "-r", "-f", "t"]).ok();
    assert_eq!(fs::read(alice.file("t/a")).unwrap(), b"new");
    assert_exact(&server);
}

#[test]
fn a_tree_that_would_exceed_the_quota_is_refused_before_anything_moves() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let alice = server.client("alice", "a");
    alice.make(&["t/d/"]);
    let name = |number: u64| alice.file(format!("t/d/{number}"));
    for number in 0..40 {
        Content::seed(number).write(&name(number), 50_000);
        account::give(&name(number));
    }
    for to in [&["put", "-r", "t"][..], &["put", "-r", "t", "--to", "a/b/c/"]] {
        let put = alice.run(to).code_is(NO_ROOM).says("nothing was sent: over quota: 1.9 MiB");
        assert_eq!(put.stderr.lines().count(), 1, "{}", put.stderr);
    }
    let json = alice.run(&["--json", "put", "-r", "t"]).code_is(NO_ROOM);
    assert!(json.stderr.contains("\"requested\":2000000"), "{}", json.stderr);
    assert_eq!(tree(&server.home("alice")).len(), 0);
    assert_eq!(fs::read_dir(server.staging("alice")).unwrap().count(), 0);
    // What fits goes, and what it grows by counts, not what it has.
    (20..40).for_each(|number| fs::remove_file(name(number)).unwrap());
    alice.run(&["put", "-r", "t"]).ok();
    for number in 0..20 {
        Content::seed(100 + number).write(&name(number), 51_000);
    }
    alice.run(&["put", "-r", "t"]).ok();
    for number in 0..20 {
        Content::seed(200 + number).write(&name(number), 53_000);
    }
    alice.run(&["put", "-r", "t"]).code_is(NO_ROOM).says("nothing was sent: over quota");
    assert_eq!(fs::metadata(server.home("alice").join("t/d/7")).unwrap().len(), 51_000);
    // Files and directories are counted too.
    server.add_user("bob", "b", "1GiB");
    server.berthctl(&["quota", "set", "bob", "--entries", "21"]).ok();
    let bob = server.client("bob", "b");
    let top = alice.file("t").display().to_string();
    bob.run(&["put", "-r", &top]).code_is(NO_ROOM).says("22 more files and directories");
    assert_eq!(tree(&server.home("bob")).len(), 0);
    server.berthctl(&["quota", "set", "bob", "--entries", "22"]).ok();
    bob.run(&["put", "-r", &top]).ok();
    assert_exact(&server);
}

#[test]
fn what_is_the_same_is_not_sent_and_what_is_refused_is_told_before_anything_moves() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&["t/a", "t/d/b", "t/e/", "t/f/c"]);
    Content::seed(9).write(&alice.file("t/large"), (2 << 20) + 7);
    account::give(&alice.file("t/large"));
    alice.run(&["put", "-r", "t"]).ok();
    let again = alice.run(&["--json", "put", "-r", "t"]).ok();
    let sum = summary(&again);
    assert_eq!((sum["files"].as_u64(), sum["unchanged"].as_u64()), (Some(0), Some(4)), "{sum}");
    assert_eq!((sum["moved_bytes"].as_u64(), sum["directories"].as_u64()), (Some(0), Some(4)));
    // The same size and time, and another content: the digest decides.
    let path = alice.file("t/a");
    let time = path.metadata().unwrap().modified().unwrap();
    fs::write(&path, "CONTENT of t/a").unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_times(fs::FileTimes::new().set_modified(time)).unwrap();
    let changed = summary(&alice.run(&["--json", "put", "-r", "t"]).ok());
    assert_eq!((changed["files"].as_u64(), changed["unchanged"].as_u64()), (Some(1), Some(3)));
    assert_eq!(fs::read(server.home("alice").join("t/a")).unwrap(), b"CONTENT of t/a");
    let whole = summary(&alice.run(&["--json", "put", "-r", "-W", "t"]).ok());
    assert_eq!((whole["files"].as_u64(), whole["unchanged"].as_u64()), (Some(4), Some(0)));
    // A directory where a file is, and the reverse.
    fs::remove_dir_all(alice.file("t/f")).unwrap();
    fs::remove_file(alice.file("t/a")).unwrap();
    alice.make(&["t/f", "t/a/x", "t/a/y/z", "t/new"]);
    let put = alice.run(&["put", "-r", "t"]).code_is(FAILURE);
    for told in ["put ", "t/f: /t/f: ", "the directory /t/a: ", "1 file (", "3 unchanged"] {
        let told = told.replace("3 unchanged", "2 unchanged, 2 failed");
        assert!(put.stderr.contains(&told), "{told}:\n{}", put.stderr);
    }
    assert!(server.home("alice").join("t/new").is_file());
    assert_exact(&server);
}

#[test]
fn what_is_excluded_stays_where_it_is_in_both_directions() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&["t/a", "t/a.o", "t/keep.o", "t/build/x", "t/d/build", "t/d/b.o"]);
    let sieve = ["--exclude", "*.o", "--exclude", "build/", "--include", "keep.o"];
    alice.run(&[&["put", "-r", "t"][..], &sieve].concat()).ok();
    let names = |tree: BTreeMap<PathBuf, _>| -> Vec<_> { tree.into_keys().collect() };
    let kept = ["a", "d", "d/build", "keep.o"].map(PathBuf::from);
    assert_eq!(names(tree(&server.home("alice").join("t"))), kept);
    alice.run(&["put", "-r", "t"]).ok();
    alice.run(&[&["get", "-r", "t", "--to", "back"][..], &sieve].concat()).ok();
    assert_eq!(names(tree(&alice.file("back"))), kept);
    alice.run(&["put", "-r", "t", "--exclude", "a{b"]).code_is(USAGE).says("a{b");
    alice.run(&["put", "-r", "t", "--include", "x"]).code_is(USAGE);
    assert_exact(&server);
}

#[test]
fn a_put_that_was_interrupted_goes_on_when_it_is_repeated() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&["t/small", "t/d/"]);
    for name in ["t/large", "t/d/large"] {
        Content::seed(3).write(&alice.file(name), 150 << 20);
        account::give(&alice.file(name));
    }
    // So slow that neither is there before both have begun.
    let mut running = alice.spawn(&["put", "-r", "t", "--limit-rate", "20M"]);
    wait_until("the uploads have grown", || {
        assert!(!running.has_ended(), "the transfer ended before it was cut");
        berth_tests::disk::journals(&server.staging("alice")).len() == 2
            && fs::read_dir(server.staging("alice")).unwrap().flatten().all(|entry| {
                let name = entry.file_name();
                let is_journal = name.to_string_lossy().ends_with(".journal");
                // 8 leaves and the journal's head.
                !is_journal || entry.metadata().unwrap().len() > 400
            })
    });
    running.kill();
    server.wait_for_no_session_of("alice");
    assert!(!server.home("alice").join("t/large").exists());
    let put = alice.run(&["--json", "put", "-r", "t"]).ok();
    let lines = put.json_lines();
    let resumed = lines.iter().filter(|line| line["resumed_leaves"].as_u64() > Some(0)).count();
    assert_eq!(resumed, 2, "{lines:?}");
    for name in ["t/large", "t/d/large"] {
        assert_same(&alice.file(name), &server.home("alice").join(name));
    }
    assert_exact(&server);
}

#[test]
fn a_directory_with_many_files_is_got_whole() {
    let (server, alice) = Server::with_alice("1GiB");
    // Made beside the server, which counts them afterwards: putting them would take longer.
    let home = server.home("alice");
    // Several parts of a listing.
    let many = 1000;
    account::make_dir(&home.join("many"));
    for number in 0..many {
        let path = home.join(format!("many/{number}"));
        fs::write(&path, format!("{number}")).unwrap();
        account::give(&path);
    }
    server.berthctl(&["quota", "verify", "alice", "--fix"]).ok();
    let got = alice.run(&["--json", "get", "-r", "many"]).ok();
    assert_eq!(summary(&got)["files"], many);
    assert_eq!(tree(&home.join("many")), tree(&alice.file("many")));
    assert_exact(&server);
}

#[test]
fn a_link_in_the_way_of_a_get_is_not_followed() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&["t/d/file", "t/other/file", "t/file"]);
    alice.run(&["put", "-r", "t"]).ok();
    alice.make(&["elsewhere/", "back/t/"]);
    symlink(alice.file("elsewhere"), alice.file("back/t/d")).unwrap();
    symlink(alice.file("elsewhere/gone"), alice.file("back/t/file")).unwrap();
    let got = alice.run(&["get", "-r", "-f", "t", "--to", "back"]).code_is(FAILURE);
    assert!(got.stderr.contains("back/t/d is a symbolic link"), "{}", got.stderr);
    assert_eq!(fs::read_dir(alice.file("elsewhere")).unwrap().count(), 0);
    assert!(alice.file("back/t/other/file").is_file());
    // What is named may be a link.
    symlink(alice.file("elsewhere"), alice.file("named")).unwrap();
    alice.run(&["get", "-r", "t", "--to", "named"]).ok();
    assert!(alice.file("elsewhere/t/d/file").is_file());
    drop(server);
}

#[test]
fn links_of_an_administrator_are_skipped_by_a_get() {
    let (server, alice) = Server::with_alice("1GiB");
    alice.make(&["t/file"]);
    alice.run(&["put", "-r", "t"]).ok();
    symlink("/etc/passwd", server.home("alice").join("t/link")).unwrap();
    let got = alice.run(&["get", "-r", "t", "--to", "back"]).ok();
    assert!(got.stderr.contains("/t/link: skipped, it is a symbolic link"), "{}", got.stderr);
    assert_eq!(tree(&alice.file("back")).len(), 1);
}

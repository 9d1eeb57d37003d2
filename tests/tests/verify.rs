//! `berthctl quota verify`: the ledger and the disk compared at one instant, while users work and whatever
//! dies meanwhile; and what an administrator's hand changed in a home, found and corrected.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(debug_assertions)]
use std::sync::mpsc;
use std::thread;

#[cfg(debug_assertions)]
use berth_common::points::Point;
use berth_tests::Points;
#[cfg(debug_assertions)]
use berth_tests::exit::FAILURE;
use berth_tests::files::Content;
use berth_tests::{Client, Options, Outcome, Server};
use serde_json::Value;

/// Exit code of `berthctl quota verify` for a ledger that differs from the disk.
const DIFFERS: i32 = 7;

fn verify(server: &Server, more: &[&str]) -> Outcome {
    let arguments = [&["--json", "quota", "verify"], more].concat();
    server.berthctl(&arguments)
}

/// The one user's answer.
fn one(outcome: &Outcome) -> Value {
    let all = outcome.json();
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    all[0].clone()
}

fn assert_exact(server: &Server, user: &str) {
    let found = one(&verify(server, &[user]).ok());
    assert_eq!(found["result"], "exact", "{found}");
    let sums = server.home_sums(user);
    assert_eq!(found["disk_bytes"], sums.bytes);
    assert_eq!(found["disk_entries"], sums.entries);
}

#[test]
fn a_quiet_home_is_exact_and_all_users_are_told_of() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    server.add_user("bob", "b", "1MiB");
    let alice = server.client("alice", "a");
    alice.write("f", "12345");
    alice.run(&["mkdir", "-p", "d/e"]).ok();
    alice.run(&["put", "f", "--to", "d/e/f"]).ok();
    assert_exact(&server, "alice");
    let all = verify(&server, &[]).ok().json();
    let users: Vec<_> = all.as_array().unwrap().iter().map(|found| &found["user"]).collect();
    assert_eq!(users, ["alice", "bob"]);
    assert_eq!((&all[0]["ledger_bytes"], &all[0]["disk_entries"]), (&5.into(), &3.into()));
    let text = server.berthctl(&["quota", "verify"]).ok().stdout;
    assert!(text.contains("alice") && text.contains("exact"), "{text}");
    server.berthctl(&["quota", "verify", "carol"]).code_is(5);
    server.assert_at_rest("alice");
}

#[test]
fn what_was_changed_by_hand_is_found_and_fixed() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let alice = server.client("alice", "a");
    alice.write("f", "12345");
    for name in ["a", "b", "c"] {
        alice.run(&["put", "f", "--to", name]).ok();
    }
    let home = server.home("alice");
    type Change<'a> = (&'a str, Box<dyn Fn() + 'a>, i64, i64);
    let changes: [Change<'_>; 4] = [
        ("added", Box::new(|| fs::write(home.join("new"), b"123").unwrap()), 3, 1),
        ("removed", Box::new(|| fs::remove_file(home.join("a")).unwrap()), -5, -1),
        ("grown", Box::new(|| fs::write(home.join("b"), b"1234567").unwrap()), 2, 0),
        ("a tree", Box::new(|| fs::create_dir_all(home.join("x/y/z")).unwrap()), 0, 3),
    ];
    for (what, change, bytes, entries) in changes {
        change();
        for options in [&["alice"][..], &["alice", "--fix"]] {
            let is_fix = options.len() > 1;
            let mark = server.log().mark();
            let outcome = verify(&server, options).code_is(if is_fix { 0 } else { DIFFERS });
            let found = one(&outcome);
            assert_eq!(found["difference_bytes"], bytes, "{what}");
            assert_eq!(found["difference_entries"], entries, "{what}");
            assert_eq!(found["result"], if is_fix { "fixed" } else { "drift" }, "{what}");
            let logged = server.log().wait_after(mark, "the drift is logged", |line| {
                line.message() == "the ledger differs from the home"
            });
            assert_eq!(logged.number("disk_bytes"), Some(server.home_sums("alice").bytes));
        }
        assert_exact(&server, "alice");
        server.assert_at_rest("alice");
    }
}

#[test]
fn what_cannot_be_read_is_named_and_never_counted_as_nothing() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    server.add_user("bob", "b", "1MiB");
    let closed = server.home("alice").join("d/closed");
    fs::create_dir_all(&closed).unwrap();
    // As root this directory is root's; else it is closed to its owner too.
    let mode = if berth_tests::account::is_root() { 0o700 } else { 0 };
    fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
    server.berthctl(&["quota", "verify", "alice", "--fix"]).code_is(FAILURE).says("/d/closed");
    assert_eq!(server.user("alice")["used_entries"], 0, "nothing was corrected");
    // The others are verified all the same.
    let all = verify(&server, &[]).code_is(FAILURE).json();
    assert_eq!((&all[0]["result"], &all[1]["result"]), (&"failed".into(), &"exact".into()));
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn files_with_several_names_are_counted_for_each_and_named() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let alice = server.client("alice", "a");
    alice.write("f", "12345");
    alice.run(&["put", "f"]).ok();
    let home = server.home("alice");
    fs::hard_link(home.join("f"), home.join("g")).unwrap();
    let found = one(&verify(&server, &["alice", "--fix"]).ok());
    assert_eq!((&found["disk_bytes"], &found["disk_entries"]), (&10.into(), &2.into()));
    assert_eq!(found["files_with_several_names"], 1);
    let text = server.berthctl(&["quota", "verify", "alice"]).ok().stdout;
    assert!(text.contains("1 file with several names"), "{text}");
    assert_exact(&server, "alice");
}

#[test]
fn a_home_of_many_entries_is_summed_to_the_last() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let home = server.home("alice");
    for directory in 0..20 {
        let below = home.join(format!("d{directory}/deep/er"));
        fs::create_dir_all(&below).unwrap();
        for file in 0..600 {
            fs::write(below.join(format!("f{file}")), vec![b'x'; file % 7]).unwrap();
        }
    }
    verify(&server, &["alice"]).code_is(DIFFERS);
    verify(&server, &["alice", "--fix"]).ok();
    assert_exact(&server, "alice");
    assert_eq!(server.home_sums("alice").entries, 20 * 603);
    server.assert_at_rest("alice");
}

/// One after the other, until told to stop: everything that changes a home. Each may fail, since others
/// work on the same names, and workers die.
fn work(client: &Client, number: usize, done: &AtomicBool) -> usize {
    let mut dice = Content::seed(number as u64);
    for (name, size) in [("small", 10), ("smaller", 3), ("larger", 200_000)] {
        Content::seed(size).write(&client.file(name), size);
    }
    let mut rounds = 0;
    while !done.load(Ordering::Relaxed) {
        let directory = format!("d{}", dice.below(4));
        let other = format!("d{}/m{}", dice.below(4), dice.below(3));
        let file = format!("{directory}/f{}", dice.below(3));
        let source = ["small", "smaller", "larger"][dice.below(3) as usize];
        let command: Vec<&str> = match dice.below(8) {
            0 => vec!["mkdir", "-p", &other],
            1 => vec!["mv", &directory, &other],
            2 => vec!["mv", &other, &directory],
            3 => vec!["rm", "-r", &directory],
            4 => vec!["mv", &file, "top"],
            _ => vec!["put", source, "--to", &file],
        };
        drop(client.run(&["mkdir", "-p", &directory]));
        drop(client.run(&command));
        rounds += 1;
    }
    rounds
}

#[test]
fn there_is_no_false_alarm_while_sessions_work_and_are_killed() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let clients: Vec<_> = (0..3).map(|_| server.client("alice", "a")).collect();
    // Enough that a walk takes a moment.
    let home = server.home("alice");
    for directory in 0..4 {
        let below = home.join(format!("d{directory}/m0"));
        fs::create_dir_all(&below).unwrap();
        for file in 0..500 {
            fs::write(below.join(format!("by-hand-{file}")), b"x").unwrap();
        }
        if berth_tests::account::is_root() {
            for path in [below.parent().unwrap(), below.as_path()] {
                berth_tests::account::give(path);
            }
        }
    }
    verify(&server, &["alice", "--fix"]).ok();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (server, done) = (&server, &done);
        for (number, client) in clients.iter().enumerate() {
            scope.spawn(move || assert!(work(client, number, done) > 0));
        }
        let killer = scope.spawn(move || {
            let mut dice = Content::seed(77);
            let mut kills = 0;
            while !done.load(Ordering::Relaxed) {
                let sessions = server.sessions_of("alice");
                if sessions.is_empty() {
                    continue;
                }
                let session = &sessions[dice.below(sessions.len() as u64) as usize];
                let pid = if dice.below(2) == 0 { session.filer } else { Some(session.worker) };
                // One that has ended meanwhile is not ours to kill any more.
                let ours = berth_tests::process::children(server.pid());
                if let Some(pid) = pid.filter(|pid| ours.contains(pid)) {
                    berth_tests::process::signal(pid, rustix::process::Signal::KILL);
                    kills += 1;
                }
            }
            kills
        });
        let outcomes: Vec<Outcome> = (0..12).map(|_| verify(server, &["alice"])).collect();
        done.store(true, Ordering::Relaxed);
        assert!(killer.join().unwrap() > 0);
        for outcome in outcomes {
            assert_eq!(one(&outcome.ok())["result"], "exact");
        }
    });
    server.assert_at_rest("alice");
    assert_exact(&server, "alice");
}

#[cfg(debug_assertions)]
#[test]
fn a_second_verification_of_a_user_is_refused_and_one_of_another_is_not() {
    let points = Points::new();
    let server = Server::start(Options::new().points(&points));
    for user in ["alice", "bob"] {
        server.add_user(user, "x", "unlimited");
    }
    let alice = server.client("alice", "x");
    alice.write("f", "12345");
    // The first verification waits for the ticket that the stopped filer holds.
    let (putting, stopped) = points.stop(Point::Acted, &alice, &["put", "f"]);
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        for _ in 0..2 {
            let (server, tell) = (&server, tell.clone());
            scope.spawn(move || tell.send(verify(server, &["alice"])).unwrap());
        }
        let first = told.recv().unwrap();
        drop(first.code_is(FAILURE).says("it is being verified already"));
        assert_exact(&server, "bob");
        stopped.go_on();
        let second = told.recv().unwrap();
        assert_eq!(one(&second.ok())["result"], "exact");
    });
    putting.wait().ok();
    server.assert_at_rest("alice");
}

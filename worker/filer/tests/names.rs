//! Directories, removals and renames against the real filer.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "no test is confined"
)]

mod harness;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::WorkerToFiler;
use berth_common::ledger_protocol::{FilerToDaemon, Outcome};
use harness::{Bench, process, rel};

const FILER: &str = env!("CARGO_BIN_EXE_berth-filer");

fn bench() -> Bench {
    Bench::serving(process(FILER))
}

#[test]
fn a_directory_is_made_once_and_below_one_that_is_there() {
    let mut bench = bench();
    assert_eq!(bench.make_directory("d", false), Ok(()));
    let mode = fs::metadata(bench.home.join("d")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    assert_eq!(bench.make_directory("d", false), Err(ErrorCode::AlreadyExists));
    assert_eq!(bench.make_directory("", false), Err(ErrorCode::AlreadyExists));
    assert_eq!(bench.make_directory("e/f", false), Err(ErrorCode::NotFound));
    bench.put("file", b"x", true).unwrap();
    assert_eq!(bench.make_directory("file", false), Err(ErrorCode::AlreadyExists));
    assert_eq!(bench.make_directory("file/x", false), Err(ErrorCode::NotADirectory));
    bench.check();
    let one = ["Reserve", "Intent", "Released", "Settle"];
    assert_eq!(
        bench.ledger.said(),
        [one, one].concat(),
        "what was refused was refused before anything was reserved"
    );
}

#[test]
fn missing_parents_are_made_one_after_the_other() {
    let mut bench = bench();
    assert_eq!(bench.make_directory("a/b/c/d", true), Ok(()));
    assert_eq!(bench.make_directory("a/b/c/d", true), Ok(()));
    assert_eq!(bench.make_directory("a/b/x/y", true), Ok(()));
    assert_eq!(bench.make_directory("", true), Ok(()));
    bench.put("a/file", b"x", true).unwrap();
    assert_eq!(bench.make_directory("a/file/x", true), Err(ErrorCode::NotADirectory));
    assert_eq!(bench.make_directory("a/file", true), Err(ErrorCode::AlreadyExists));
    symlink("b", bench.home.join("a/link")).unwrap();
    bench.charge_home();
    assert_eq!(bench.make_directory("a/link/x", true), Err(ErrorCode::NotServed));
    assert_eq!(bench.make_directory("a/link", true), Err(ErrorCode::NotServed));
    bench.check();
    assert_eq!(bench.ledger.used_entries, 8);
}

#[test]
fn a_directory_that_another_session_makes_meanwhile_counts_as_made() {
    for (parents, expected) in [(true, Ok(())), (false, Err(ErrorCode::AlreadyExists))] {
        let mut bench = bench();
        let home = bench.home.clone();
        bench.watch = Some(Box::new(move |message| {
            if matches!(message, FilerToDaemon::Intent { .. }) && !home.join("d").exists() {
                fs::create_dir(home.join("d")).unwrap();
            }
            true
        }));
        assert_eq!(bench.make_directory("d", parents), expected);
        bench.charge_home();
        bench.check();
    }
}

#[test]
fn a_directory_that_another_session_makes_and_removes_meanwhile_is_made_after_all() {
    let mut bench = bench();
    let home = bench.home.clone();
    let mut times = 0;
    bench.watch = Some(Box::new(move |message| {
        match message {
            FilerToDaemon::Intent { .. } if times == 0 => fs::create_dir(home.join("d")).unwrap(),
            // What was refused under the ticket is settled before anybody looks again.
            FilerToDaemon::Settle { .. } if times == 0 => {
                fs::remove_dir(home.join("d")).unwrap();
                times += 1;
            }
            _ => {}
        }
        true
    }));
    assert_eq!(bench.make_directory("d", true), Ok(()));
    bench.check();
    assert_eq!(bench.ledger.used_entries, 1);
}

#[test]
fn what_is_removed_is_given_back_exactly() {
    let mut bench = bench();
    bench.put("file", b"12345", true).unwrap();
    bench.make_directory("empty", false).unwrap();
    bench.make_directory("tree/a/b", true).unwrap();
    for n in 0..20 {
        bench.put(&format!("tree/a/{n}"), &vec![b'x'; n], true).unwrap();
    }
    symlink("/etc/passwd", bench.home.join("tree/link")).unwrap();
    bench.ledger.used_entries += 1;
    bench.check();
    assert_eq!(bench.remove("tree", false), Err(ErrorCode::DirectoryNotEmpty));
    assert_eq!(bench.remove("file", false), Ok(()));
    assert_eq!(bench.remove("empty", false), Ok(()));
    bench.check();
    assert_eq!(bench.remove("tree", true), Ok(()));
    bench.check();
    assert_eq!((bench.ledger.used_bytes, bench.ledger.used_entries), (0, 0));
    let last = bench.ledger.log.iter().rev().find_map(|message| match message {
        FilerToDaemon::Settle { items, .. } => Some(items[0].outcome),
        _ => None,
    });
    assert_eq!(last, Some(Outcome::Removed { bytes: 190, entries: 24 }));
}

#[test]
fn a_removal_is_refused_where_it_cannot_be_made() {
    let mut bench = bench();
    bench.put("file", b"x", true).unwrap();
    fs::hard_link(bench.home.join("file"), bench.home.join("second")).unwrap();
    bench.settle_down();
    let before = bench.ledger.log.len();
    for (path, recursive, error) in [
        ("", true, ErrorCode::NotPossible),
        ("nothing", false, ErrorCode::NotFound),
        ("nothing/x", true, ErrorCode::NotFound),
        ("file/x", true, ErrorCode::NotADirectory),
        ("second", true, ErrorCode::NotServed),
    ] {
        assert_eq!(bench.remove(path, recursive), Err(error), "{path}");
    }
    assert_eq!(bench.ledger.log.len(), before, "no intent was written for any");
}

#[test]
fn a_link_that_an_administrator_made_is_removed_and_not_followed() {
    let mut bench = bench();
    bench.make_directory("d", false).unwrap();
    bench.put("d/file", b"12345", true).unwrap();
    symlink("d", bench.home.join("link")).unwrap();
    bench.ledger.used_entries += 1;
    assert_eq!(bench.remove("link", true), Ok(()));
    bench.check();
    assert_eq!(bench.read("d/file"), b"12345");
}

#[test]
fn what_changed_before_the_ticket_came_is_seen_under_it() {
    // A directory gets content, a file disappears, a parent becomes a link: nothing is taken.
    for step in 0..3 {
        let mut bench = bench();
        bench.make_directory("d/e", true).unwrap();
        bench.put("d/file", b"x", true).unwrap();
        let home = bench.home.clone();
        bench.watch = Some(Box::new(move |message| {
            if matches!(message, FilerToDaemon::Intent { .. }) {
                match step {
                    0 => fs::write(home.join("d/e/new"), b"x").unwrap(),
                    1 => fs::remove_dir(home.join("d/e")).unwrap(),
                    _ => {
                        fs::rename(home.join("d"), home.join("moved")).unwrap();
                        symlink("moved", home.join("d")).unwrap();
                    }
                }
            }
            true
        }));
        let expected =
            [ErrorCode::DirectoryNotEmpty, ErrorCode::NotFound, ErrorCode::NotServed][step].clone();
        assert_eq!(bench.remove("d/e", false), Err(expected));
        bench.charge_home();
        bench.check();
    }
}

#[test]
fn a_rename_to_a_free_name_takes_the_ticket_alone() {
    let mut bench = bench();
    bench.make_directory("d/e", true).unwrap();
    bench.put("d/file", b"12345", true).unwrap();
    bench.settle_down();
    let before = bench.ledger.log.len();
    assert_eq!(bench.rename("d/file", "file", false), Ok(()));
    assert_eq!(bench.rename("d", "g", false), Ok(()));
    assert_eq!(bench.rename("file", "g/e/file", true), Ok(()));
    assert_eq!(bench.rename("g/e/file", "g/e/file", true), Ok(()), "onto itself");
    assert_eq!(bench.read("g/e/file"), b"12345");
    assert_eq!(bench.ledger.said()[before..], ["Ticket", "Released"].repeat(3));
    bench.check();
}

#[test]
fn a_rename_over_a_file_gives_the_old_one_back() {
    let mut bench = bench();
    bench.put("a", b"1", true).unwrap();
    bench.put("b", b"12345", true).unwrap();
    bench.settle_down();
    let before = bench.ledger.log.len();
    assert_eq!(bench.rename("a", "b", false), Err(ErrorCode::AlreadyExists));
    assert_eq!(bench.rename("a", "b", true), Ok(()));
    assert_eq!(bench.read("b"), b"1");
    assert!(!bench.home.join("a").exists());
    bench.check();
    assert_eq!(bench.ledger.said()[before..], ["Intent", "Released", "Settle", "Gone"]);
}

#[test]
fn a_rename_is_refused_where_it_cannot_be_made() {
    let mut bench = bench();
    bench.make_directory("d/e", true).unwrap();
    bench.put("file", b"x", true).unwrap();
    symlink("file", bench.home.join("link")).unwrap();
    bench.charge_home();
    bench.settle_down();
    let before = bench.ledger.log.len();
    for (from, to, error) in [
        ("", "x", ErrorCode::NotPossible),
        ("d", "", ErrorCode::NotPossible),
        ("d", "d/e/f", ErrorCode::NotPossible),
        ("d", "d/x", ErrorCode::NotPossible),
        ("nothing", "nothing/x", ErrorCode::NotFound),
        ("nothing", "x", ErrorCode::NotFound),
        ("nothing", "nothing", ErrorCode::NotFound),
        ("file", "nowhere/x", ErrorCode::NotFound),
        ("d", "file", ErrorCode::AlreadyExists),
        ("file", "d", ErrorCode::AlreadyExists),
        ("d/e", "d", ErrorCode::AlreadyExists),
        ("link", "x", ErrorCode::NotServed),
        ("file", "link", ErrorCode::NotServed),
        ("file", "link/x", ErrorCode::NotServed),
    ] {
        assert_eq!(bench.rename(from, to, true), Err(error), "{from} {to}");
    }
    assert_eq!(bench.ledger.log.len(), before, "the daemon was not asked for any");
    bench.check();
}

#[test]
fn a_rename_whose_target_changes_before_the_ticket_is_tried_again() {
    // The target appears, then disappears.
    for appears in [true, false] {
        let mut bench = bench();
        bench.put("a", b"1", true).unwrap();
        if !appears {
            bench.put("b", b"22", true).unwrap();
        }
        let home = bench.home.clone();
        let mut once = true;
        bench.watch = Some(Box::new(move |message| {
            let asks =
                matches!(message, FilerToDaemon::Intent { .. } | FilerToDaemon::Ticket { .. });
            if asks && std::mem::take(&mut once) {
                match appears {
                    true => fs::write(home.join("b"), b"22").unwrap(),
                    false => fs::remove_file(home.join("b")).unwrap(),
                }
            }
            true
        }));
        if appears {
            (bench.ledger.used_bytes, bench.ledger.used_entries) = (3, 2);
        }
        assert_eq!(bench.rename("a", "b", true), Ok(()));
        if !appears {
            (bench.ledger.used_bytes, bench.ledger.used_entries) = (1, 1);
        }
        assert_eq!(bench.read("b"), b"1");
        bench.check();
    }
}

#[test]
fn a_removed_tree_of_any_depth_is_counted_and_cleared() {
    let mut bench = bench();
    // Deeper than a walk has directories open, made by renames as a user can make it.
    for half in ["a", "b"] {
        let path = vec![half; 150].join("/");
        bench.make_directory(&path, true).unwrap();
        bench.put(&format!("{path}/file"), b"12345", true).unwrap();
    }
    bench.rename("b", &format!("{}/b", vec!["a"; 150].join("/")), false).unwrap();
    bench.check();
    assert_eq!(bench.remove("a", true), Ok(()));
    bench.check();
    assert_eq!((bench.ledger.used_bytes, bench.ledger.used_entries), (0, 0));
}

#[test]
fn answers_to_other_questions_come_while_a_large_tree_is_cleared() {
    let mut bench = bench();
    fs::create_dir(bench.home.join("big")).unwrap();
    for n in 0..5_000 {
        fs::write(bench.home.join(format!("big/{n}")), b"").unwrap();
    }
    bench.charge_home();
    let path = rel("big");
    let removal = bench.begin(|op| WorkerToFiler::Remove { op, path, recursive: true });
    bench.put("small", b"x", true).unwrap();
    assert_eq!(bench.read("small"), b"x");
    bench.answer(removal);
    bench.check();
}

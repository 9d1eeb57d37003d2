//! What hostile code can still do, shown: the rows of the threat model that are no system call, and that each of
//! them stays with its own session or its own user.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use berth_common::broker_protocol::{DaemonToWorker, WorkerToDaemon};
use berth_common::filer_protocol::{FilerToWorker, WorkerToFiler};
use berth_common::ids::OpId;
use berth_common::ledger_protocol::{
    DaemonToFiler, FilerToDaemon, IntentItem, Outcome, SettleItem,
};
use berth_tests::disk::Sums;
use berth_tests::log::Line;
use berth_tests::puppets::{Puppet, certificate_verify};
use berth_tests::report;

use crate::asking::{Asking, path};
use crate::in_flight;
use crate::scene::Scene;

/// Sets an attribute of a descriptor.
fn set(puppet: &mut Puppet, descriptor: u64, name: &str, value: &[u8]) {
    let (name, bytes) = (puppet.text(name).unwrap(), puppet.put(value).unwrap());
    let arguments = [descriptor, name, bytes, value.len() as u64, 0];
    puppet.call(libc::SYS_fsetxattr, &arguments).unwrap();
}

/// An access list by which the owner may do nothing.
fn nothing_for_the_owner() -> Vec<u8> {
    let mut list = 2u32.to_ne_bytes().to_vec();
    for tag in [1u16, 4, 32] {
        list.extend(tag.to_ne_bytes());
        list.extend(0u16.to_ne_bytes());
        list.extend(u32::MAX.to_ne_bytes());
    }
    list
}

/// One signature a session, for any handshake that the worker claims to make: with a place on a client's way to the
/// server it could pass for the server, once.
#[test]
fn a_worker_may_have_one_handshake_of_its_choice_signed() {
    let scene = Scene::new();
    let mut puppet = scene.server.puppet();
    let signature = puppet.handshake().unwrap();
    assert!(signature.len() > 60);
    let daemon = puppet.descriptor(0);
    let _ = puppet.send(daemon, &certificate_verify());
    puppet.ended();
    drop(puppet);
    scene.assert_exact();
}

/// Names can be asked for one a session, and unknown ones are not told from known ones.
#[test]
fn a_worker_learns_no_names_from_its_login_questions() {
    let scene = Scene::new();
    let challenge = |user: &str| {
        let mut puppet = scene.server.puppet();
        puppet.handshake().unwrap();
        let daemon = puppet.descriptor(0);
        let message = format!("p=tls-exporter,,n={user},r=abcdefghijklmnopqrstuvwx").into_bytes();
        puppet.send(daemon, &WorkerToDaemon::LoginFirst { message }).unwrap();
        match puppet.receive::<DaemonToWorker>(daemon).unwrap().0 {
            DaemonToWorker::LoginChallenge { message } => message.len(),
            other => panic!("{user}: {other:?}"),
        }
    };
    assert_eq!(challenge("carol"), challenge("dave"), "unknown ones alike");
    scene.assert_exact();
}

/// The lock file is the daemon's, and open in every helper. A filer could take the daemon's own rights to it away,
/// by the call that it has for its user's files, and have the kernel hold up who opens it, by a lease.
#[test]
fn a_filer_cannot_keep_the_next_daemon_from_starting() {
    let scene = Scene::new();
    let (mut filer, worker) = scene.filer();
    let home = filer.descriptor(2) as u64;
    for descriptor in [1, home, filer.descriptor(3) as u64] {
        set(&mut filer, descriptor, "system.posix_acl_access", &nothing_for_the_owner());
    }
    let lock = scene.server.data().join("lock");
    assert_eq!(fs::metadata(&lock).unwrap().permissions().mode() & 0o777, 0);
    let lease = [1, libc::F_SETLEASE as u64, libc::F_WRLCK as u64];
    filer.call(libc::SYS_fcntl, &lease).unwrap();
    let mut server = scene.into_server();
    // Both live until the daemon is killed.
    server.kill_daemon();
    let began = Instant::now();
    server.restart();
    report(&format!("the next daemon has started after {:?}", began.elapsed()));
    drop((filer, worker));
    // bob is served, and alice's own directories are what she has lost.
    let bob = server.client("bob", "b");
    bob.run(&["get", "secret"]).ok();
    server.berthctl(&["status"]).ok();
}

/// A filer writes to its user's home as it likes: then the ledger is wrong about that user, and a verification says
/// so; nobody else's sums are touched.
#[test]
fn a_filer_that_lies_makes_its_own_users_sums_wrong_and_verify_finds_it() {
    let scene = Scene::new();
    let (mut filer, worker) = scene.filer();
    let home = filer.descriptor(2) as u64;
    let (name, mode) = (filer.text("d").unwrap(), 0o700);
    filer.call(libc::SYS_mkdirat, &[home, name, mode]).unwrap();
    drop((filer, worker));
    scene.wait_for_rest();
    assert_eq!(scene.server.home_sums("alice"), Sums { bytes: 0, entries: 1 });
    assert_eq!(scene.server.user("alice")["used_entries"], 0);
    scene.assert_steady();
    let mut server = scene.into_server();
    let found = server.berthctl(&["quota", "verify", "alice", "--fix"]);
    assert!(found.stdout.contains("alice"), "{found:?}");
    server.assert_at_rest("alice");
    server.assert_at_rest("bob");
    assert_eq!(server.terminate(), Some(0));
}

/// Descriptors in flight count for the user that all processes run as. The log says why others wait, newcomers log
/// in, list and change names, since the daemon's own limit is higher, and with the session the crowd is gone.
#[test]
fn a_filer_that_keeps_descriptors_in_flight_holds_others_up_as_long_as_it_stays() {
    let scene = Scene::new();
    let (mut filer, worker) = scene.filer();
    let to = filer.descriptor(4);
    in_flight::crowd(&mut filer, to).unwrap();
    for (user, password) in [("bob", "b"), ("alice", "a")] {
        let mut newcomer = Asking::of(&scene, user, password);
        let made = newcomer
            .ask(|op| WorkerToFiler::MakeDirectory { op, path: path("made"), parents: false })
            .unwrap();
        assert!(matches!(made.0, FilerToWorker::Done { .. }), "{user}: {made:?}");
        let listed =
            newcomer.ask(|op| WorkerToFiler::List { op, path: path(""), notes: false }).unwrap();
        let FilerToWorker::Entries { entries, .. } = &listed.0 else {
            panic!("{user}: {listed:?}")
        };
        assert!(entries.iter().any(|entry| entry.name.as_str() == "made"), "{user}: {listed:?}");
        let entry = newcomer.ask(|op| WorkerToFiler::Stat { op, path: path("made") }).unwrap();
        assert!(matches!(entry.0, FilerToWorker::Entry { .. }), "{user}: {entry:?}");
    }
    // The crowd has stood all the while, and others that need opened files wait for them.
    let log = scene.server.log();
    let mark = log.mark();
    scene.assert_served_after(|| {
        let told = |line: &Line, what: &str| {
            line.text("user").as_deref() == Some("bob")
                && line.number("session").is_some()
                && line.text("text").is_some_and(|text| text.contains(what))
        };
        log.wait_after(mark, "the log says why bob waits", |line| told(line, "ETOOMANYREFS"));
        drop((filer, worker));
        log.wait_after(mark, "the log says that it is over", |line| told(line, "again"));
    });
    scene.assert_exact();
}

/// What is settled is believed: of its own user's things alone.
#[test]
fn a_filer_may_give_its_own_user_nothing_that_is_not_there() {
    let scene = Scene::new();
    let (mut filer, worker) = scene.filer();
    let daemon = filer.descriptor(0);
    let (op, items) = (OpId(1), vec![IntentItem::Take]);
    filer.send(daemon, &FilerToDaemon::Intent { op, items, settle: None }).unwrap();
    let DaemonToFiler::Granted { names, .. } = filer.receive(daemon).unwrap().0 else {
        panic!("no ticket")
    };
    filer.send(daemon, &FilerToDaemon::Released { op }).unwrap();
    let outcome = Outcome::Removed { bytes: 1 << 20, entries: 1 };
    let items = vec![SettleItem { name: names[0], outcome }];
    filer.send(daemon, &FilerToDaemon::Settle { op, items }).unwrap();
    filer.ended();
    drop((filer, worker));
    scene.server.wait_for_no_session_of("alice");
    assert_eq!(scene.server.user("alice")["used_bytes"], 0);
    scene.assert_steady();
}

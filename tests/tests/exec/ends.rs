//! Who ends a program besides itself: its client, its session, an administrator, the server. Nothing of it is left.

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::exec::{Arguments, ProgramName};
use berth_common::frame::encode_message;
use berth_common::ids::RequestId;
use berth_common::rel_path::RelPath;
use berth_tests::exit::{CONNECT, INTERRUPTED};
use berth_tests::{Client, Options, Raw, Running, Server, account, process, wait_until};

use crate::scene::{PROGRAM, assert_gone, jailed, running, scene};

/// A program that goes on for ever, with its processes.
fn begun() -> (Server, Client, Running, Vec<u32>) {
    let (server, alice) = scene(Options::new().set("shutdown_grace_seconds = 1"));
    let running_one = alice.spawn(&["exec", "-n", "--", PROGRAM, "spin"]);
    let processes = running(&server);
    (server, alice, running_one, processes)
}

#[test]
fn a_client_that_is_killed_takes_its_program_along() {
    let (server, alice, client, processes) = begun();
    client.kill();
    assert_gone(&processes);
    wait_until("its session is gone", || server.sessions().is_empty());
    alice.run(&["exec", "-n", "--", "ls"]).ok();
    server.assert_at_rest("alice");
}

#[test]
fn ctrl_c_ends_it() {
    let (_server, _alice, client, processes) = begun();
    client.interrupt();
    client.wait().code_is(INTERRUPTED);
    assert_gone(&processes);
}

#[test]
fn one_that_is_not_wanted_any_more_before_it_runs_ends_at_once_and_by_itself() {
    let (server, _alice) = scene(Options::new());
    let mut raw = Raw::login(&server, "alice", "a");
    // In one write, and as soon as the jail has so many processes: each phase of a start is met by some of these. A
    // session may begin so many at once.
    for step in 0..32 {
        let id = RequestId(step);
        let order = encode_message(&ClientToWorker::Exec {
            id,
            program: ProgramName::new("sleep").unwrap(),
            arguments: Arguments::new(vec![b"600".to_vec()]).unwrap(),
            directory: RelPath::root(),
        });
        let cancel = encode_message(&ClientToWorker::Cancel { id }).unwrap();
        let mut bytes = order.unwrap();
        if step < 8 {
            bytes.extend(cancel);
            raw.send_bytes(&bytes);
        } else {
            raw.send_bytes(&bytes);
            let processes = step as usize % 4;
            wait_until("its jail is begun", || jailed(&server).len() >= processes);
            raw.send_bytes(&cancel);
        }
        let end = loop {
            match raw.message() {
                WorkerToClient::ExecStarted { .. } => {}
                WorkerToClient::Failed { id: about, error } if about == id => break error,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(end, ErrorCode::Cancelled);
        assert!(jailed(&server).is_empty(), "it is told when nothing of it is left");
    }
    drop(raw);
    let log = server.log().text();
    assert!(!log.contains("was too slow"), "no jail had to be killed: {log}");
    server.assert_at_rest("alice");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it() {
    let (server, alice) = scene(Options::new());
    let mut client = alice.spawn(&["exec", "-n", "--", PROGRAM, "flood"]);
    let processes = running(&server);
    drop(client.take_output());
    client.wait().failed();
    assert_gone(&processes);
}

#[test]
fn an_administrator_who_ends_the_session_ends_it() {
    let (server, _alice, client, processes) = begun();
    let session = server.sessions()[0].id.to_string();
    server.berthctl(&["session", "kill", &session]).ok();
    // Before the answer: the session is gone when its programs are.
    assert!(jailed(&server).is_empty());
    assert_gone(&processes);
    client.wait().failed();
}

#[test]
fn a_user_who_is_locked_or_removed_runs_nothing_more() {
    let (server, _alice, client, processes) = begun();
    server.berthctl(&["user", "lock", "alice"]).ok();
    assert!(jailed(&server).is_empty());
    assert_gone(&processes);
    client.wait().failed();
    server.berthctl(&["user", "remove", "--yes", "alice"]).ok();
    assert!(!server.home("alice").exists());
}

#[test]
fn a_worker_or_filer_that_dies_takes_it_along() {
    for filer in [false, true] {
        let (server, _alice, client, processes) = begun();
        let session = server.sessions().remove(0);
        server.kill_child(if filer { session.filer.unwrap() } else { session.worker });
        assert_gone(&processes);
        client.wait().failed();
    }
}

#[test]
fn a_jail_that_dies_takes_it_along_and_the_session_goes_on() {
    let (server, alice) = scene(Options::new());
    let shell = alice
        .spawn_with(&["shell"], format!("-exec {PROGRAM} spin\nexec ls -d .\nexit\n").into_bytes());
    let processes = running(&server);
    server.kill_child(processes[0]);
    assert_gone(&processes);
    assert!(shell.wait().ok().stdout.contains('.'));
}

#[test]
fn nothing_of_a_large_program_is_left_when_its_end_is_told_with_namespaces_and_without() {
    for with in [true, false] {
        if !with && account::skipped_without_root() {
            return;
        }
        let options = Options::new().set("exec_memory_bytes = 536870912");
        let options = match with {
            true => options,
            false => options.without_user_namespaces().set("sandbox = \"best-effort\""),
        };
        let (server, _alice) = scene(options);
        let mut raw = Raw::login(&server, "alice", "a");
        for (number, its_jail_is_killed) in [(1, false), (2, true)] {
            let id = RequestId(number);
            raw.send(&ClientToWorker::Exec {
                id,
                program: ProgramName::new(PROGRAM).unwrap(),
                arguments: Arguments::new(vec![b"hog".to_vec(), b"stay".to_vec()]).unwrap(),
                directory: RelPath::root(),
            });
            // It tells how much it has taken, and keeps it.
            while !matches!(raw.message(), WorkerToClient::ExecOutput { .. }) {}
            let processes = running(&server);
            if its_jail_is_killed {
                server.kill_child(processes[0]);
            } else {
                raw.send(&ClientToWorker::Cancel { id });
            }
            match raw.message() {
                WorkerToClient::Failed { .. } | WorkerToClient::ExecDone { .. } => {}
                other => panic!("{other:?}"),
            }
            let left: Vec<_> = processes.iter().filter(|pid| process::runs(**pid)).collect();
            assert!(left.is_empty(), "of {processes:?} there are {left:?}");
        }
    }
}

#[test]
fn a_server_that_stops_ends_it() {
    let (mut server, _alice, client, processes) = begun();
    server.terminate();
    assert_gone(&processes);
    client.wait().code_is(CONNECT);
}

#[test]
fn a_daemon_that_is_killed_leaves_no_program_behind() {
    let (mut server, alice, client, processes) = begun();
    server.kill_daemon();
    assert_gone(&processes);
    client.wait().failed();
    // The lock is free when they are gone, so the next one comes up at once.
    server.restart();
    let alice = alice.at(server.address(), server.fingerprint());
    alice.run(&["exec", "-n", "--", "ls"]).ok();
}

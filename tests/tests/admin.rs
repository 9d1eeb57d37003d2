//! What an administrator does works at once, on running sessions too.

use berth_common::client_protocol::ClientToWorker;
use berth_common::error_code::ErrorCode;
use berth_tests::exit::{CONNECT, FAILURE, LOGIN, NOT_FOUND, USAGE};
use berth_tests::files::{Content, assert_same};
use berth_tests::{Options, Raw, Received, Server, process, wait_until};

/// Reads until the connection ends, and claims that it did so because of an administrator.
fn assert_ended(raw: &mut Raw) {
    match raw.closing() {
        // A killed worker cannot say why.
        None | Some(ErrorCode::Ended) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn locking_a_user_ends_the_sessions_at_once_and_refuses_new_ones() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    server.add_user("bob", "b", "1MiB");
    let mut sessions = [Raw::login(&server, "alice", "a"), Raw::login(&server, "alice", "a")];
    let mut bob = Raw::login(&server, "bob", "b");
    let pids: Vec<_> = server
        .sessions_of("alice")
        .iter()
        .flat_map(|session| [session.worker, session.filer.unwrap()])
        .collect();
    assert_eq!(pids.len(), 4);
    server.berthctl(&["user", "lock", "alice"]).ok();
    // "At once": when berthctl has said so, none of the processes lives.
    assert!(!pids.iter().any(|pid| process::runs(*pid)), "{pids:?}");
    sessions.iter_mut().for_each(assert_ended);
    server.client("alice", "a").run(&["ls"]).code_is(LOGIN);
    assert_eq!(server.user("alice")["locked"], true);

    bob.send(&ClientToWorker::Usage { id: berth_common::ids::RequestId(77) });
    assert!(matches!(bob.receive(), Received::Message(_)), "others go on");
    server.berthctl(&["user", "unlock", "alice"]).ok();
    server.client("alice", "a").run(&["ls"]).ok();
}

#[test]
fn a_killed_session_ends_at_once_and_its_upload_can_be_resumed() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1GiB");
    let alice = server.client("alice", "a");
    Content::seed(1).write(&alice.file("big"), 200 << 20);
    let running = alice.spawn(&["put", "big"]);
    wait_until("the journal has grown", || {
        berth_tests::disk::only_journal_leaves(&server.staging("alice")) >= 50
    });
    let session = server.session_of("alice");
    server.berthctl(&["session", "kill", &session.id.to_string()]).ok();
    assert!(!process::runs(session.worker) && !process::runs(session.filer.unwrap()));
    running.wait().code_is(CONNECT);
    assert_eq!(server.user("alice")["uploads"], 1);
    alice.run(&["put", "big"]).ok();
    assert_same(&alice.file("big"), &server.home("alice").join("big"));
    server.assert_at_rest("alice");
    let again = ["session", "kill", &session.id.to_string()];
    server.berthctl(&again).code_is(NOT_FOUND).says("there is no session");
}

#[test]
fn removing_a_user_removes_everything_of_the_users() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1GiB");
    let alice = server.client("alice", "a");
    alice.write("f", "content");
    alice.run(&["mkdir", "-p", "d/e"]).ok();
    alice.run(&["put", "f", "--to", "d/e/f"]).ok();
    let mut session = Raw::login(&server, "alice", "a");
    server.berthctl(&["user", "remove", "alice"]).code_is(USAGE).says("--yes");
    server.berthctl(&["user", "remove", "alice", "--yes"]).ok();
    assert_ended(&mut session);
    assert!(!server.data().join("users").join("alice").exists());
    alice.run(&["ls"]).code_is(LOGIN);
    server.berthctl(&["user", "show", "alice"]).code_is(NOT_FOUND).says("there is no user alice");
    // The name is free again, and the new home has nothing of the old one.
    server.add_user("alice", "new", "1MiB");
    let listed = server.client("alice", "new").run(&["ls", "--json"]).ok();
    assert_eq!(listed.json_lines().len(), 0);
    server.assert_at_rest("alice");
}

#[test]
fn passwords_are_changed_by_the_administrator_and_by_the_user() {
    let server = Server::start(Options::new());
    server.add_user("alice", "one", "1MiB");
    server.berthctl_with(&["user", "passwd", "alice"], Some("two")).ok();
    server.client("alice", "one").run(&["ls"]).code_is(LOGIN);
    let alice = server.client("alice", "two");
    alice.run(&["ls"]).ok();
    let file = alice.write("new-password", "three\n");
    alice.run(&["passwd", "--new-password-file", file.to_str().unwrap()]).ok();
    alice.run(&["ls"]).code_is(LOGIN);
    alice.with_password("three").run(&["ls"]).ok();
}

#[test]
fn users_quotas_sessions_and_status_are_told_in_words_and_in_json() {
    let server = Server::start(Options::new());
    let add = ["user", "add", "alice", "--quota", "10GiB", "--entries", "10000"];
    server.berthctl_with(&add, Some("a")).ok();
    server.add_user("bob", "b", "unlimited");
    let _session = Raw::login(&server, "bob", "b");

    let users = server.berthctl(&["user", "list", "--json"]).ok().json();
    assert_eq!(users[0]["user"], "alice");
    assert_eq!(users[0]["limit_bytes"], 10u64 << 30);
    assert_eq!(users[0]["limit_entries"], 10_000);
    assert_eq!(users[1]["user"], "bob");
    assert_eq!(users[1]["limit_bytes"], serde_json::Value::Null);
    assert_eq!(users[1]["sessions"], 1);
    let listed = server.berthctl(&["user", "list"]).ok().stdout;
    assert!(listed.contains("10.0 GiB") && listed.contains("unlimited"), "{listed}");

    let quota = ["quota", "set", "alice", "--bytes", "1.5GiB", "--entries", "unlimited"];
    server.berthctl(&quota).ok();
    let quota = server.berthctl(&["quota", "show", "alice", "--json"]).ok().json();
    assert_eq!(quota["limit_bytes"], 3u64 << 29);
    assert_eq!(quota["limit_entries"], serde_json::Value::Null);

    let sessions = server.berthctl(&["session", "list", "--json"]).ok().json();
    assert_eq!(sessions[0]["user"], "bob");
    assert!(sessions[0]["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(server.berthctl(&["session", "list"]).ok().stdout.contains("127.0.0.1:"));

    let status = server.berthctl(&["status", "--json"]).ok().json();
    assert_eq!(status["pid"], server.pid());
    assert_eq!(status["users"], 2);
    assert_eq!(status["sessions"], 1);
    assert_eq!(status["crashes"], 0);
    assert_eq!(status["listen"][0], server.address());
    let shown = format!("SHA256:{}", status["fingerprint"].as_str().unwrap());
    assert_eq!(shown, server.fingerprint());
}

#[test]
fn what_cannot_be_done_is_refused_with_a_sentence() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    server
        .berthctl_with(&["user", "add", "alice"], Some("x"))
        .code_is(FAILURE)
        .says("user alice exists already");
    server.berthctl_with(&["user", "add", "../x"], Some("x")).code_is(USAGE).says("user name");
    server.berthctl_with(&["user", "add", "bob"], Some("")).code_is(USAGE).says("empty");
    server.berthctl(&["user", "add", "bob"]).code_is(USAGE).says("password");
    server.berthctl(&["user", "lock", "nobody"]).code_is(NOT_FOUND).says("there is no user nobody");
    server.berthctl(&["quota", "set", "alice", "--bytes", "ten"]).code_is(USAGE);
}

#[test]
fn many_users_are_listed_whole() {
    let server = Server::start(Options::new());
    let names: Vec<_> = (0..30).map(|number| format!("user-{number:02}")).collect();
    berth_tests::client::at_once(
        names
            .chunks(15)
            .map(|some| || some.iter().for_each(|name| server.add_user(name, "x", "1MiB")))
            .collect(),
    );
    let listed = server.berthctl(&["user", "list", "--json"]).ok().json();
    let listed: Vec<_> =
        listed.as_array().unwrap().iter().map(|user| user["user"].as_str().unwrap()).collect();
    assert_eq!(listed, names);
}

#[test]
fn the_admin_socket_is_closed_to_others() {
    use std::os::unix::fs::MetadataExt;
    let mut server = Server::start(Options::new());
    let directory = server.data().join("admin");
    assert_eq!(directory.metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(server.data().metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(server.terminate(), Some(0));
    server.berthctl(&["status"]).code_is(CONNECT).says("berthd");
}

//! Two users at once: each has a home of its own and cannot even name the other's.

use berth_tests::client::at_once;
use berth_tests::exit::NOT_FOUND;
use berth_tests::files::{Content, assert_same};
use berth_tests::{Client, Options, Server};

fn names(client: &Client, path: &str) -> Vec<String> {
    let listed = client.run(&["ls", "--json", path]).ok().json_lines();
    let mut names: Vec<_> =
        listed.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn two_users_at_once_each_see_only_their_own_home() {
    let server = Server::start(Options::new());
    let users = ["alice", "bob"];
    for user in users {
        server.add_user(user, &format!("{user}-secret"), "100MiB");
    }
    let clients = users.map(|user| server.client(user, &format!("{user}-secret")));
    for (number, client) in clients.iter().enumerate() {
        Content::seed(number as u64).write(&client.file("same"), 3_000_000 + number as u64);
    }
    at_once(clients.each_ref().map(|client| || client.run(&["put", "same"]).ok()).into());
    let own = [vec!["put", "own-alice"], vec!["put", "own-bob"]];
    for (client, arguments) in clients.iter().zip(&own) {
        client.write(arguments[1], arguments[1]);
        client.run(arguments).ok();
    }

    for (client, user) in clients.iter().zip(users) {
        assert_eq!(names(client, "/"), [format!("own-{user}"), "same".to_owned()]);
        client.run(&["get", "same", "--to", "back"]).ok();
        assert_same(&client.file("same"), &client.file("back"));
        assert_same(&client.file("same"), &server.home(user).join("same"));
    }
    clients[0].run(&["stat", "own-bob"]).code_is(NOT_FOUND);
    clients[1].run(&["get", "own-alice"]).code_is(NOT_FOUND);
    for user in users {
        server.assert_at_rest(user);
    }
}

#[test]
fn a_user_cannot_name_another_users_home() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    server.add_user("bob", "b", "1MiB");
    let (alice, bob) = (server.client("alice", "a"), server.client("bob", "b"));
    bob.write("diary", "bob's secret");
    bob.run(&["put", "diary"]).ok();
    for path in [
        "../bob/home/diary",
        "../../bob/home/diary",
        "/../bob/home/diary",
        "/users/bob/home/diary",
        "/bob/home/diary",
        &format!("/{}", server.home("bob").join("diary").display()),
    ] {
        let outcome = alice.run(&["get", path, "--to", "stolen"]).failed();
        assert!(!alice.file("stolen").exists(), "{path}: {outcome:?}");
    }
}

#[test]
fn each_session_has_processes_of_its_own() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    server.add_user("bob", "b", "1MiB");
    let _alice = berth_tests::Raw::login(&server, "alice", "a");
    let _bob = berth_tests::Raw::login(&server, "bob", "b");
    let (alice, bob) = (server.session_of("alice"), server.session_of("bob"));
    let mut pids = vec![alice.worker, bob.worker];
    pids.extend(alice.filer);
    pids.extend(bob.filer);
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 4, "{alice:?} {bob:?}");
    let children = berth_tests::process::children(server.pid());
    assert!(pids.iter().all(|pid| children.contains(pid)), "{pids:?} of {children:?}");
}

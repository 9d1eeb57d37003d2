//! Transfers that survive: what was under way goes on by itself when the server was killed and started again, or the
//! connection was cut, and gives up in its time.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use berth_common::limits::LEAF_SIZE;
use berth_tests::cuts::Cuts;
use berth_tests::disk::{journals, only_journal_leaves};
use berth_tests::files::assert_same;
use berth_tests::{Client, Content, Options, Server, account, wait_until};

const SIZE: u64 = 24 << 20;
const LEAVES: u64 = SIZE / LEAF_SIZE as u64;

/// Slow enough that a test is there before the end, and no more than seconds in all.
const SLOWLY: [&str; 2] = ["--limit-rate", "12M"];

/// A server that can be killed and started again at the same port, and a client that tries again.
fn scene() -> (Server, Client) {
    let socket = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let server = Server::start(Options::new().passing(&socket));
    server.add_user("alice", "a", "1GiB");
    let alice = server.client("alice", "a").retrying();
    (server, alice)
}

fn big(alice: &Client) {
    Content::seed(12).write(&alice.file("big"), SIZE);
}

#[test]
fn a_put_goes_on_when_the_server_was_killed_and_started_again() {
    let (mut server, alice) = scene();
    big(&alice);
    let running = alice.spawn(&["put", "big", SLOWLY[0], SLOWLY[1]]);
    wait_until("a part has arrived", || only_journal_leaves(&server.staging("alice")) > 24);
    server.kill_daemon();
    let had = only_journal_leaves(&server.staging("alice"));
    server.restart();
    let outcome = running.wait().ok();
    assert!(outcome.stderr.contains("connection lost; trying again in 1 s"), "{outcome:?}");
    assert!(outcome.stderr.contains("(gives up in 5 min 0 s)"), "{outcome:?}");
    assert_same(&alice.file("big"), &server.home("alice").join("big"));
    let put = server.log().wait_after(0, "the put is logged", |line| line.is_success_of("put"));
    let (resumed, moved) = (put.number("resumed_leaves"), put.number("moved_leaves").unwrap());
    assert!(resumed.unwrap() >= had && moved <= LEAVES - had, "{had}: {put:?}");
    server.assert_at_rest("alice");
}

#[test]
fn a_get_goes_on_when_the_server_was_killed_and_started_again() {
    let (mut server, alice) = scene();
    big(&alice);
    alice.run(&["put", "big"]).ok();
    std::fs::rename(alice.file("big"), alice.file("sent")).unwrap();
    let running = alice.spawn(&["get", "big", "--json", SLOWLY[0], SLOWLY[1]]);
    wait_until("a part has arrived", || only_journal_leaves(&alice.files()) > 24);
    server.kill_daemon();
    server.restart();
    let outcome = running.wait().ok();
    assert!(outcome.stderr.contains(r#"{"note":"connection lost; "#), "{outcome:?}");
    assert_same(&alice.file("sent"), &alice.file("big"));
    let told = outcome.json_lines();
    assert!(told.len() == 1 && told[0]["resumed_leaves"].as_u64().unwrap() > 24, "{told:?}");
}

/// A tree with a few large files and many small ones.
fn tree(at: &Path) {
    for directory in [at.to_owned(), at.join("sub")] {
        std::fs::create_dir(&directory).unwrap();
        account::give(&directory);
    }
    for (seed, name) in ["a", "b", "sub/c"].iter().enumerate() {
        Content::seed(seed as u64).write(&at.join(name), (5 + seed as u64) << 20);
    }
    for number in 0..60 {
        let path = at.join(format!("sub/{number}"));
        std::fs::write(&path, number.to_string()).unwrap();
        account::give(&path);
    }
}

const TREE_FILES: u64 = 63;

fn same(one: &Path, other: &Path) {
    let small = (0..60).map(|number| format!("sub/{number}"));
    for name in ["a", "b", "sub/c"].into_iter().map(str::to_owned).chain(small) {
        assert_same(&one.join(&name), &other.join(&name));
    }
}

fn some_leaves(places: [&Path; 2]) -> bool {
    let mut found = places.into_iter().flat_map(journals);
    found.any(|path| path.metadata().is_ok_and(|found| found.len() > 300))
}

#[test]
fn a_tree_goes_on_counts_each_file_once_and_does_not_stumble_over_its_own() {
    let (mut server, alice) = scene();
    tree(&alice.file("tree"));
    // What the first try makes is no directory to go into for the second.
    let running = alice.spawn(&["put", "-nr", "tree", "--to", "x", "--json", SLOWLY[0], SLOWLY[1]]);
    let staging = server.staging("alice");
    wait_until("a part of it has arrived", || some_leaves([&staging, &staging]));
    server.kill_daemon();
    server.restart();
    let outcome = running.wait().ok();
    same(&alice.file("tree"), &server.home("alice").join("x"));
    assert!(!server.home("alice").join("x/tree").exists());
    let told = outcome.json_lines();
    let summary = &told.last().unwrap()["summary"];
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!((count("files"), count("failed"), count("directories")), (TREE_FILES, 0, 2));
    assert_eq!(count("bytes"), server.home_sums("alice").bytes, "{summary}");
    server.assert_at_rest("alice");

    let back = alice.file("back");
    let running = alice.spawn(&["get", "-r", "x", "--to", "back", "--json", SLOWLY[0], SLOWLY[1]]);
    wait_until("a part of it has come", || some_leaves([&back, &back.join("sub")]));
    server.kill_daemon();
    server.restart();
    let outcome = running.wait().ok();
    same(&alice.file("tree"), &back);
    let told = outcome.json_lines();
    let summary = &told.last().unwrap()["summary"];
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(
        (count("files") + count("unchanged"), count("failed")),
        (TREE_FILES, 0),
        "{summary}"
    );
    assert_eq!(count("directories"), 2);
}

#[test]
fn a_line_that_is_cut_several_times_only_takes_longer() {
    let (server, alice) = scene();
    big(&alice);
    let cuts = Cuts::behind(server.address(), &[6 << 20, 5 << 20, 4 << 20]);
    let cut = alice.clone().at(cuts.address(), server.fingerprint());
    cut.run(&["put", "big"]).ok().says("connection lost");
    assert_eq!(cuts.connections(), 4);
    assert_same(&alice.file("big"), &server.home("alice").join("big"));
    let put = server.log().wait_after(0, "the put is logged", |line| line.is_success_of("put"));
    assert!(put.number("resumed_leaves").unwrap() > 0, "{put:?}");

    let cuts = Cuts::before(server.address(), &[6 << 20, 5 << 20]);
    let cut = alice.clone().at(cuts.address(), server.fingerprint());
    let outcome = cut.run(&["get", "-q", "big", "--to", "back"]).ok();
    assert_eq!((outcome.stderr.as_str(), cuts.connections()), ("", 3));
    assert_same(&alice.file("big"), &alice.file("back"));
}

#[test]
fn with_no_time_to_go_on_a_loss_is_told_at_once() {
    let (server, alice) = scene();
    big(&alice);
    let cuts = Cuts::behind(server.address(), &[6 << 20]);
    let cut = alice.clone().at(cuts.address(), server.fingerprint());
    let outcome = cut.run(&["put", "big", "--retry-for", "0"]).code_is(3);
    assert!(outcome.stderr.contains("run the same command again"), "{outcome:?}");
    assert!(!outcome.stderr.contains("trying again"), "{outcome:?}");
    assert_eq!(cuts.connections(), 1);
}

#[test]
fn what_cannot_be_read_or_written_twice_is_not_tried_again() {
    let (server, alice) = scene();
    big(&alice);
    let cuts = Cuts::behind(server.address(), &[2 << 20]);
    let cut = alice.clone().at(cuts.address(), server.fingerprint());
    let content = std::fs::read(alice.file("big")).unwrap();
    let outcome = cut.spawn_with(&["put", "-", "--to", "x"], content).wait().code_is(3);
    assert!(outcome.stderr.contains("cannot be read again"), "{outcome:?}");
    assert_eq!(cuts.connections(), 1);
    alice.run(&["put", "big"]).ok();
    let cuts = Cuts::before(server.address(), &[2 << 20]);
    let cut = alice.clone().at(cuts.address(), server.fingerprint());
    let outcome = cut.run(&["get", "big", "--to", "-"]).code_is(3);
    assert!(outcome.stderr.contains("not the whole file"), "{outcome:?}");
    assert_eq!(cuts.connections(), 1);
}

#[test]
fn a_server_that_stays_away_is_given_up_and_one_that_was_never_there_at_once() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1GiB");
    let alice = server.client("alice", "a").retrying();
    tree(&alice.file("tree"));
    let cuts = Cuts::behind(server.address(), &[4 << 20]);
    let cut = alice.clone().at(cuts.address(), server.fingerprint());
    cuts.then_refuse();
    let outcome = cut.run(&["put", "-r", "tree", "--retry-for", "1s"]).code_is(3);
    assert!(outcome.stderr.contains("(tried for 1 s to go on)"), "{outcome:?}");
    assert_eq!(outcome.stderr.matches("berth: ").count(), 1, "it is told once: {outcome:?}");
    assert!(outcome.stderr.contains(" failed"), "the summary is told: {outcome:?}");
    let outcome = cut.run(&["put", "-r", "tree"]).code_is(3);
    assert!(!outcome.stderr.contains("trying again"), "{outcome:?}");
}

#[test]
fn a_server_that_is_another_one_or_refuses_the_login_is_not_tried_again() {
    let (server, alice) = scene();
    big(&alice);
    let other = Server::start(Options::new());
    let cuts = Cuts::behind(server.address(), &[4 << 20]);
    cuts.then_lead_to(other.address());
    let cut = alice.clone().at(cuts.address(), server.fingerprint());
    cut.run(&["put", "big"]).code_is(8);
    assert_eq!(cuts.connections(), 2);

    let cuts = Cuts::behind(server.address(), &[4 << 20]);
    cuts.then_refuse();
    let cut = alice.clone().at(cuts.address(), server.fingerprint());
    let running = cut.spawn(&["put", "big"]);
    wait_until("it tries again", || cuts.connections() > 1);
    server.berthctl(&["user", "lock", "alice"]).ok();
    cuts.then_serve();
    running.wait().code_is(4);
}

#[test]
fn the_terminal_shows_the_wait_in_place_and_ctrl_c_ends_it() {
    let (mut server, alice) = scene();
    big(&alice);
    let mut terminal = alice.on_terminal(&["put", "big", SLOWLY[0], SLOWLY[1]], 100, 20);
    wait_until("a part has arrived", || only_journal_leaves(&server.staging("alice")) > 24);
    server.kill_daemon();
    let screen = terminal.wait_for_text("connection lost; ");
    assert_eq!(screen.text().matches("connection lost").count(), 1, "{}", screen.text());
    // The socket is open, so that they get no answer, until somebody listens again.
    server.restart();
    assert_eq!(terminal.wait_exit(), Some(0), "{}", terminal.printed());
    let screen = terminal.screen();
    assert!(!screen.text().contains("connection lost"), "{}", screen.text());
    assert!(screen.text().contains("big -> /big: 24.0 MiB"), "{}", screen.text());
    assert_same(&alice.file("big"), &server.home("alice").join("big"));

    let cuts = Cuts::behind(server.address(), &[4 << 20]);
    cuts.then_refuse();
    let cut = alice.clone().at(cuts.address(), server.fingerprint());
    Content::seed(13).write(&alice.file("other"), SIZE);
    let mut terminal = cut.on_terminal(&["put", "other"], 100, 20);
    terminal.wait_for_text("connection lost; trying again in ");
    terminal.press(berth_tests::terminal::Key::CtrlC);
    assert_eq!(terminal.wait_exit(), Some(130));
    let screen = terminal.screen();
    assert!(screen.text().contains("run the same command again to go on"), "{}", screen.text());
}

/// The file is there, and nobody has said so.
#[cfg(debug_assertions)]
#[test]
fn a_put_that_may_replace_nothing_knows_its_own_file() {
    let points = berth_tests::Points::new();
    let server = Server::start(Options::new().points(&points));
    server.add_user("alice", "a", "1GiB");
    let alice = server.client("alice", "a").retrying();
    std::fs::create_dir(alice.file("tree")).unwrap();
    account::give(&alice.file("tree"));
    alice.write("small", "content");
    alice.write("tree/small", "content");
    alice.run(&["mkdir", "tree"]).ok();
    let stop = berth_common::points::Point::Settled;
    for (command, home) in [
        (["put", "-n", "small", "--json"], "small"),
        (["put", "-nr", "tree", "--json"], "tree/small"),
    ] {
        let (running, stopped) = points.stop(stop, &alice, &command);
        server.kill_child(server.session_of("alice").worker);
        stopped.kill();
        let outcome = running.wait().ok();
        assert!(outcome.stderr.contains("had arrived"), "{outcome:?}");
        assert_same(&alice.file(home), &server.home("alice").join(home));
        server.wait_for_no_session_of("alice");
    }
    server.assert_at_rest("alice");
    // Somebody else's is in the way as ever.
    alice.run(&["put", "-n", "small"]).failed().says("exists");
}

#[test]
fn the_shell_goes_on_too() {
    let (server, alice) = scene();
    big(&alice);
    let cuts = Cuts::behind(server.address(), &[6 << 20]);
    let cut = alice.clone().at(cuts.address(), server.fingerprint());
    let lines = b"put big\nls\n".to_vec();
    let outcome = cut.spawn_with(&["shell"], lines).wait().ok();
    assert_eq!((outcome.stdout.trim(), cuts.connections()), ("big", 2), "{outcome:?}");
    assert!(!outcome.stderr.contains("connected again"), "it kept the session: {outcome:?}");
    assert_same(&alice.file("big"), &server.home("alice").join("big"));
}

#[test]
fn a_rate_holds_for_all_files_together_and_jobs_say_how_many_move_at_once() {
    let (_server, alice) = scene();
    for (seed, name) in ["a", "b", "c", "d"].iter().enumerate() {
        Content::seed(seed as u64).write(&alice.file(name), 2 << 20);
    }
    let began = std::time::Instant::now();
    alice.run(&["put", "a", "b", "c", "d", "--limit-rate", "4M"]).ok();
    // A slow machine takes longer; none is faster.
    assert!(began.elapsed().as_secs_f64() > 1.6, "{:?}", began.elapsed());
    let back = alice.file("back");
    std::fs::create_dir(&back).unwrap();
    account::give(&back);
    let command = "get a b c d --to back -j 1 --limit-rate 4M";
    let mut running = alice.spawn(&command.split(' ').collect::<Vec<_>>());
    let mut most = 0;
    wait_until("they have been got", || {
        most = most.max(journals(&back).len());
        running.has_ended()
    });
    running.wait().ok();
    assert_eq!(most, 1, "one after the other");
    alice.run(&["put", "a", "--limit-rate", "1k"]).code_is(2).says("64k");
}

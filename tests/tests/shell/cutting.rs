//! What is cut off: commands by Ctrl-C, the shell by a signal, connections by a server that hangs or starts again.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use berth_tests::disk::{journals, only_journal_leaves};
use berth_tests::files::assert_same;
use berth_tests::terminal::Key;
use berth_tests::{Content, Options, Server, Valve, process, wait_until};
use rustix::process::Signal;

use crate::scene::{PROMPT, at_prompt, completes, run, run_to, server, shell, typed};

#[test]
fn ctrl_c_ends_a_put_and_not_the_shell_and_the_same_put_goes_on() {
    let (server, alice) = server();
    Content::seed(1).write(&alice.file("big"), 24 << 20);
    let valve = Valve::behind(server.address(), 16 << 20);
    let mut terminal = shell(&alice.clone().at(valve.address(), server.fingerprint()));
    typed(&mut terminal, "put big");
    terminal.press(Key::Enter);
    wait_until("half of it has arrived", || only_journal_leaves(&server.staging("alice")) > 64);
    terminal.press(Key::CtrlC);
    let screen = at_prompt(&terminal, PROMPT);
    assert!(screen.text().contains("run the same command again to go on"), "{}", screen.text());
    valve.open();
    let screen = run(&mut terminal, "uploads");
    assert!(
        screen.text().contains("24.0 MiB") && screen.text().contains("/big"),
        "{}",
        screen.text()
    );

    let mark = server.log().mark();
    let screen = run(&mut terminal, "put big");
    assert!(screen.text().contains("big -> /big: 24.0 MiB"), "{}", screen.text());
    let put = server.log().wait_after(mark, "the put is logged", |line| line.is_success_of("put"));
    let moved = put.number("moved_leaves").unwrap();
    assert!(moved < (24 << 20) / (128 << 10) - 32, "{moved} leaves were sent again");
    assert_same(&alice.file("big"), &server.home("alice").join("big"));

    // At the prompt it clears the line.
    typed(&mut terminal, "rm big");
    terminal.press(Key::CtrlC);
    at_prompt(&terminal, PROMPT);
    assert!(server.home("alice").join("big").exists());
}

#[test]
fn ctrl_c_ends_a_get_too_and_the_same_get_goes_on() {
    let (server, alice) = server();
    let content = alice.file("big");
    Content::seed(2).write(&content, 24 << 20);
    alice.run(&["put", "big"]).ok();
    std::fs::rename(&content, alice.file("sent")).unwrap();
    let valve = Valve::before(server.address(), 16 << 20);
    let mut terminal = shell(&alice.clone().at(valve.address(), server.fingerprint()));
    typed(&mut terminal, "get big");
    terminal.press(Key::Enter);
    wait_until("half of it has arrived", || only_journal_leaves(&alice.files()) > 64);
    terminal.press(Key::CtrlC);
    at_prompt(&terminal, PROMPT);
    valve.open();
    let screen = run(&mut terminal, "get big");
    assert!(screen.text().contains("big: resumed at"), "{}", screen.text());
    assert_same(&alice.file("sent"), &alice.file("big"));
}

#[test]
fn ctrl_c_ends_trees_too_and_leaves_no_bar_behind() {
    let (server, alice) = server();
    for directory in ["tree", "tree/sub"] {
        std::fs::create_dir(alice.file(directory)).unwrap();
        berth_tests::account::give(&alice.file(directory));
    }
    for (seed, name) in ["tree/big", "tree/sub/bigger"].iter().enumerate() {
        Content::seed(seed as u64).write(&alice.file(name), (12 + seed as u64) << 20);
    }
    for number in 0..40 {
        alice.write(format!("tree/sub/{number}"), number.to_string());
    }
    let same = |one: &Path, other: &Path| {
        for name in ["big", "sub/bigger", "sub/7"] {
            assert_same(&one.join(name), &other.join(name));
        }
    };
    let interrupted = |valve: &Valve, line: &str, place: &Path| {
        let mut terminal = shell(&alice.clone().at(valve.address(), server.fingerprint()));
        typed(&mut terminal, line);
        terminal.press(Key::Enter);
        wait_until("a part of it has arrived", || {
            let found = [place.to_owned(), place.join("sub")];
            let mut found = found.iter().flat_map(|place| journals(place));
            found.any(|path| path.metadata().is_ok_and(|found| found.len() > 500))
        });
        terminal.press(Key::CtrlC);
        let screen = at_prompt(&terminal, PROMPT);
        assert!(screen.text().contains("run the same command again"), "{}", screen.text());
        valve.open();
        let mark = terminal.printed().len();
        let screen = run(&mut terminal, "pwd");
        assert!(screen.lines().contains(&"/".to_owned()), "{}", screen.text());
        assert!(!terminal.printed()[mark..].contains("files"), "{}", terminal.printed());
        let screen = run(&mut terminal, line);
        assert!(!screen.text().contains("berth: put") && !screen.text().contains("berth: get"));
    };
    let valve = Valve::behind(server.address(), 12 << 20);
    interrupted(&valve, "put -r tree", &server.staging("alice"));
    same(&alice.file("tree"), &server.home("alice").join("tree"));
    let valve = Valve::before(server.address(), 12 << 20);
    interrupted(&valve, "get -r tree --to back/", &alice.file("back/tree"));
    same(&alice.file("back/tree"), &server.home("alice").join("tree"));
}

#[test]
fn a_completion_waits_for_a_server_that_hangs_only_so_long() {
    let (server, alice) = server();
    let mut terminal = shell(&alice);
    run(&mut terminal, "mkdir album");
    let worker = server.session_of("alice").worker;
    process::signal(worker, Signal::STOP);
    wait_until("the worker is stopped", || process::is_stopped(worker));
    typed(&mut terminal, "cd al");
    terminal.press(Key::Tab);
    // What is typed behind it is seen when the completion has given up.
    terminal.type_text("x");
    terminal.wait_for(|screen| screen.cursor_line().ends_with("cd alx"));
    process::signal(worker, Signal::CONT);
    terminal.press(Key::Backspace);
    terminal.wait_for(|screen| screen.cursor_line().ends_with("cd al"));
    completes(&mut terminal, "cd album/");
    terminal.press(Key::Enter);
    at_prompt(&terminal, "alice@127.0.0.1:/album>");
}

#[test]
fn a_shell_that_is_ended_leaves_the_terminal_as_it_was() {
    let (_server, alice) = server();
    let mut terminal = shell(&alice);
    assert!(!terminal.echoes());
    process::signal(terminal.pid(), Signal::TERM);
    assert_eq!(terminal.wait_exit(), Some(130));
    assert!(terminal.echoes());
}

#[test]
fn a_lost_connection_is_made_again_by_the_next_command() {
    let socket = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let options = Options::new().passing(&socket).set("shutdown_grace_seconds = 0");
    let mut server = Server::start(options);
    server.add_user("alice", "right", "1MiB");
    let alice = server.client("alice", "").asked_for_password();
    let mut terminal = alice.on_terminal(&["shell"], 100, 40);
    terminal.wait_for_text("Password of alice@");
    wait_until("what is typed is hidden", || !terminal.echoes());
    terminal.type_line("right");
    at_prompt(&terminal, PROMPT);
    run(&mut terminal, "mkdir -p d/e");
    let here = "alice@127.0.0.1:/d>";
    run_to(&mut terminal, "cd d", here);

    assert_eq!(server.terminate(), Some(0));
    server.restart();
    let screen = run_to(&mut terminal, "ls", here);
    assert!(screen.text().contains("connected again to alice@127.0.0.1"), "{}", screen.text());
    assert!(screen.lines().contains(&"e".to_owned()), "{}", screen.text());
    assert_eq!(terminal.printed().matches("Password").count(), 1, "nobody is asked again");
}

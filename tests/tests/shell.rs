//! `berth shell`, typed at a pseudo-terminal whose screen is looked at, and read from standard input.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use berth_tests::disk::only_journal_leaves;
use berth_tests::files::assert_same;
use berth_tests::terminal::{Key, Screen, Terminal};
use berth_tests::{Client, Content, Options, Server, Valve, process, wait_until};
use rustix::process::Signal;

const PROMPT: &str = "alice@127.0.0.1:/>";

fn server() -> (Server, Client) {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "64MiB");
    let alice = server.client("alice", "a");
    (server, alice)
}

/// A terminal at the prompt.
fn shell(alice: &Client) -> Terminal {
    let terminal = alice.on_terminal(&["shell"], 100, 40);
    at_prompt(&terminal, PROMPT);
    terminal
}

#[track_caller]
fn at_prompt(terminal: &Terminal, prompt: &str) -> Screen {
    terminal.wait_for(|screen| screen.cursor_line() == prompt)
}

/// Types a line, sees it, and carries it out; returns the screen when the prompt has come back.
#[track_caller]
fn run(terminal: &mut Terminal, line: &str) -> Screen {
    run_to(terminal, line, PROMPT)
}

#[track_caller]
fn run_to(terminal: &mut Terminal, line: &str, prompt: &str) -> Screen {
    typed(terminal, line);
    terminal.press(Key::Enter);
    at_prompt(terminal, prompt)
}

#[track_caller]
fn typed(terminal: &mut Terminal, text: &str) {
    terminal.type_text(text);
    terminal.wait_for(|screen| screen.cursor_line().ends_with(text.trim_end()));
}

/// Presses Tab, and waits until the line is this one.
#[track_caller]
fn completes(terminal: &mut Terminal, line: &str) {
    terminal.press(Key::Tab);
    terminal.wait_for(|screen| screen.cursor_line().ends_with(line.trim_end()));
}

#[test]
fn a_person_goes_about_in_the_home_and_here() {
    let (_server, alice) = server();
    std::fs::create_dir(alice.file("down")).unwrap();
    berth_tests::account::give(&alice.file("down"));
    alice.write("note", "content");
    let mut terminal = shell(&alice);
    run(&mut terminal, "mkdir 'a dir' docs");
    run(&mut terminal, "put note --to docs/");
    let here = "alice@127.0.0.1:/a dir>";
    run_to(&mut terminal, "cd 'a dir'", here);
    let screen = run_to(&mut terminal, "pwd", here);
    assert!(screen.lines().contains(&"/a dir".to_owned()), "{}", screen.text());
    run_to(&mut terminal, "cd -", PROMPT);
    run_to(&mut terminal, "cd docs", "alice@127.0.0.1:/docs>");
    run_to(&mut terminal, "lcd down", "alice@127.0.0.1:/docs>");
    run_to(&mut terminal, "get note", "alice@127.0.0.1:/docs>");
    assert_same(&alice.file("note"), &alice.file("down/note"));
    let screen = run_to(&mut terminal, "lls -l", "alice@127.0.0.1:/docs>");
    assert!(screen.text().contains("rw"), "{}", screen.text());
    let screen = run_to(&mut terminal, "lpwd", "alice@127.0.0.1:/docs>");
    assert!(screen.text().contains("/files/down"), "{}", screen.text());
    run_to(&mut terminal, "cd", PROMPT);
    run(&mut terminal, "mv docs/note top");
    let screen = run(&mut terminal, "stat top");
    assert!(screen.text().contains("path:   /top"), "{}", screen.text());
    let screen = run(&mut terminal, "help");
    assert!(screen.find("!COMMAND").is_some() && screen.find("lcd").is_some(), "{}", screen.text());
    terminal.press(Key::CtrlD);
    assert_eq!(terminal.wait_exit(), Some(0));
    assert!(terminal.echoes());
}

#[test]
fn a_failure_is_told_and_the_shell_goes_on() {
    let (_server, alice) = server();
    let mut terminal = shell(&alice);
    let screen = run(&mut terminal, "rm nothing");
    assert!(screen.text().contains("berth: rm /nothing: no such file"), "{}", screen.text());
    let screen = run(&mut terminal, "frobnicate");
    assert!(screen.text().contains("unrecognized subcommand 'frobnicate'"), "{}", screen.text());
    let screen = run(&mut terminal, "put 'not closed");
    assert!(screen.text().contains("the quote ' is not closed"), "{}", screen.text());
    let screen = run(&mut terminal, "ls *.nothing");
    assert!(screen.text().contains("*.nothing: nothing has such a name"), "{}", screen.text());
    let screen = run(&mut terminal, "cd ..");
    assert!(screen.text().contains("outside the home"), "{}", screen.text());
    let screen = run(&mut terminal, "!echo from $((40 + 2)) here");
    assert!(screen.lines().contains(&"from 42 here".to_owned()), "{}", screen.text());
    let screen = run(&mut terminal, "!exit 3");
    assert!(screen.text().contains("ended with exit code 3"), "{}", screen.text());
    run(&mut terminal, "df");
    terminal.type_line("quit");
    assert_eq!(terminal.wait_exit(), Some(0));
}

#[test]
fn tab_completes_names_here_and_there_with_the_right_quotes() {
    let (server, alice) = server();
    let mut terminal = shell(&alice);
    for name in ["my notes.txt", "資料 一.txt", "it's", "plain"] {
        alice.write(name, name);
    }
    typed(&mut terminal, "pu");
    completes(&mut terminal, "> put");
    typed(&mut terminal, "my");
    completes(&mut terminal, r"put my\ notes.txt");
    terminal.type_text("'資");
    completes(&mut terminal, "'資料 一.txt'");
    terminal.type_text("it");
    completes(&mut terminal, r"it\'s");
    terminal.press(Key::Enter);
    at_prompt(&terminal, PROMPT);
    for name in ["my notes.txt", "資料 一.txt", "it's"] {
        assert_same(&alice.file(name), &server.home("alice").join(name));
        std::fs::remove_file(alice.file(name)).unwrap();
    }

    run(&mut terminal, "mkdir -p '目錄 x/deep'");
    // They have to come from the server: here is nothing of that name.
    typed(&mut terminal, "get 資");
    completes(&mut terminal, r"get 資料\ 一.txt");
    terminal.press(Key::Enter);
    at_prompt(&terminal, PROMPT);
    assert_same(&alice.file("資料 一.txt"), &server.home("alice").join("資料 一.txt"));
    typed(&mut terminal, "cd 目");
    completes(&mut terminal, r"cd 目錄\ x/");
    terminal.type_text("d");
    completes(&mut terminal, r"cd 目錄\ x/deep/");
    terminal.press(Key::CtrlC);
    at_prompt(&terminal, PROMPT);

    // Two that begin alike are listed.
    run(&mut terminal, "put plain");
    run(&mut terminal, "mkdir album-1 album-2");
    typed(&mut terminal, "ls al");
    completes(&mut terminal, "ls album-");
    terminal.press(Key::Tab);
    let screen = terminal.wait_for_text("album-2/");
    assert!(screen.text().contains("album-1/"), "{}", screen.text());
    typed(&mut terminal, "2");
    completes(&mut terminal, "ls album-2/");
    terminal.press(Key::CtrlC);
    at_prompt(&terminal, PROMPT);
}

#[test]
fn wildcards_stand_for_names_on_both_sides_unless_they_are_quoted() {
    let (server, alice) = server();
    for name in ["a 1.jpg", "b 2.jpg", "c.txt", "-x.jpg", "*"] {
        alice.write(name, name);
    }
    let mut terminal = shell(&alice);
    run(&mut terminal, "mkdir pictures");
    run(&mut terminal, "put *.jpg --to pictures/");
    let home = server.home("alice");
    let mut there = berth_tests::disk::entries(&home.join("pictures"));
    there.sort();
    let names: Vec<_> = there.iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["-x.jpg", "a 1.jpg", "b 2.jpg"]);
    run(&mut terminal, "put '*'");
    assert_eq!(std::fs::read(home.join("*")).unwrap(), b"*");
    for name in ["a 1.jpg", "b 2.jpg"] {
        std::fs::remove_file(alice.file(name)).unwrap();
    }
    run(&mut terminal, "get pic*/[ab]*");
    assert_eq!(std::fs::read(alice.file("b 2.jpg")).unwrap(), b"b 2.jpg");
    let screen = run(&mut terminal, "md5 pictures/?\\ *");
    assert!(screen.text().contains("pictures/a 1.jpg"), "{}", screen.text());
    run(&mut terminal, "mkdir other");
    run(&mut terminal, "mv pictures/*.jpg oth*");
    assert_eq!(berth_tests::disk::entries(&home.join("other")).len(), 3);
    run(&mut terminal, "rm other/*");
    assert_eq!(berth_tests::disk::entries(&home.join("other")).len(), 0);
}

#[test]
fn lines_are_remembered_in_a_file_of_ones_own() {
    let (_server, alice) = server();
    let mut terminal = shell(&alice);
    run(&mut terminal, "mkdir first");
    run(&mut terminal, " mkdir secret");
    terminal.press(Key::Up);
    terminal.wait_for(|screen| screen.cursor_line().ends_with("> mkdir first"));
    typed(&mut terminal, "-and-more");
    terminal.press(Key::Enter);
    at_prompt(&terminal, PROMPT);
    terminal.press(Key::CtrlD);
    assert_eq!(terminal.wait_exit(), Some(0));
    let path = alice.directory().join("state/berth/history");
    let history = std::fs::read_to_string(&path).unwrap();
    assert_eq!(history, "mkdir first\nmkdir first-and-more\n");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let mut terminal = shell(&alice);
    terminal.press(Key::Up);
    terminal.wait_for(|screen| screen.cursor_line().ends_with("> mkdir first-and-more"));
    terminal.press(Key::CtrlC);
    at_prompt(&terminal, PROMPT);
    let screen = run(&mut terminal, "ls");
    assert!(screen.text().contains("secret") && screen.text().contains("first-and-more"));
}

#[test]
fn a_name_that_others_chose_cannot_drive_the_terminal() {
    let (server, alice) = server();
    let evil = "evil\u{1b}]0;owned\u{7}\u{1b}[2J";
    alice.run(&["mkdir", evil]).ok();
    let mut terminal = shell(&alice);
    let here = r"alice@127.0.0.1:/evil\u{1b}]0;owned\u{7}\u{1b}[2J>";
    run_to(&mut terminal, "cd e*", here);
    run_to(&mut terminal, "pwd", here);
    assert!(!terminal.printed().contains(evil));
    assert!(server.home("alice").join(evil).exists());
}

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
    let same = |one: &std::path::Path, other: &std::path::Path| {
        for name in ["big", "sub/bigger", "sub/7"] {
            assert_same(&one.join(name), &other.join(name));
        }
    };
    let interrupted = |valve: &Valve, line: &str, journals: &std::path::Path| {
        let mut terminal = shell(&alice.clone().at(valve.address(), server.fingerprint()));
        typed(&mut terminal, line);
        terminal.press(Key::Enter);
        wait_until("a part of it has arrived", || {
            let found = [journals.to_owned(), journals.join("sub")];
            let mut found = found.iter().flat_map(|place| berth_tests::disk::journals(place));
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

#[test]
fn files_are_picked_by_their_numbers() {
    let (server, alice) = server();
    for name in ["1 one", "2 two", "3 three", "4 four", "5 five", "6\u{1b}[2J"] {
        alice.write(name, name);
    }
    std::fs::create_dir(alice.file("back")).unwrap();
    berth_tests::account::give(&alice.file("back"));
    let mut terminal = shell(&alice);
    let question = "nothing to cancel)";
    typed(&mut terminal, "put");
    terminal.press(Key::Enter);
    let screen = terminal.wait_for(|screen| screen.cursor_line().ends_with(question));
    let lines = screen.lines();
    assert!(lines.contains(&"1         5 B  1 one".to_owned()), "{}", screen.text());
    assert!(lines.contains(&r"6         5 B  6\u{1b}[2J".to_owned()), "{}", screen.text());
    terminal.type_line("1 9");
    let told = "there is no 9; the numbers go from 1 to 6";
    terminal.wait_for(|screen| {
        screen.text().contains(told) && screen.cursor_line().ends_with(question)
    });
    terminal.type_line("1 3-5");
    at_prompt(&terminal, PROMPT);
    let home = server.home("alice");
    let names = || {
        let mut names = berth_tests::disk::entries(&home);
        names.sort();
        names.iter().map(|path| path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["1 one", "3 three", "4 four", "5 five"]);

    // Nothing picks nothing, and so does Ctrl-C.
    for key in [Key::Enter, Key::CtrlC] {
        typed(&mut terminal, "get");
        terminal.press(Key::Enter);
        terminal.wait_for(|screen| screen.cursor_line().ends_with(question));
        terminal.press(key);
        at_prompt(&terminal, PROMPT);
    }
    typed(&mut terminal, "get --to back/");
    terminal.press(Key::Enter);
    terminal.wait_for(|screen| screen.cursor_line().ends_with(question));
    terminal.type_line("all");
    at_prompt(&terminal, PROMPT);
    assert_eq!(berth_tests::disk::entries(&alice.file("back")).len(), 4);
    assert_same(&alice.file("4 four"), &alice.file("back/4 four"));
}

#[test]
fn files_are_picked_outside_the_shell_too_and_only_on_a_terminal() {
    let (server, alice) = server();
    for name in ["a", "b", "c"] {
        alice.write(name, name);
    }
    let mut terminal = alice.on_terminal(&["put", "--to", "/"], 100, 40);
    terminal.wait_for_text("nothing to cancel)");
    terminal.type_line("x");
    terminal.wait_for_text("\"x\" is neither a number nor a range");
    terminal.type_line("2-3");
    assert_eq!(terminal.wait_exit(), Some(0), "{}", terminal.printed());
    let home = server.home("alice");
    assert!(!home.join("a").exists() && home.join("b").exists() && home.join("c").exists());

    std::fs::remove_file(alice.file("c")).unwrap();
    let mut terminal = alice.on_terminal(&["get"], 100, 40);
    terminal.wait_for_text("nothing to cancel)");
    terminal.type_line("2");
    assert_eq!(terminal.wait_exit(), Some(0), "{}", terminal.printed());
    assert_same(&alice.file("c"), &home.join("c"));

    let mut terminal = alice.on_terminal(&["get"], 100, 40);
    terminal.wait_for_text("nothing to cancel)");
    terminal.press(Key::CtrlC);
    assert_eq!(terminal.wait_exit(), Some(130));
    alice.run(&["put"]).code_is(2).says("<LOCAL>");
    alice.run(&["get"]).code_is(2).says("<REMOTE>");
}

/// Runs the shell with these commands as its standard input.
fn script(alice: &Client, commands: &str) -> berth_tests::Outcome {
    alice.spawn_with(&["shell"], commands.as_bytes().to_vec()).wait()
}

#[test]
fn a_script_ends_at_its_first_failure_unless_it_may_fail() {
    let (server, alice) = server();
    alice.write("a b", "content");
    let outcome = script(
        &alice,
        "# what a cron job does\n\n-rm old\nmkdir in\ncd in\nput 'a b'\n!echo done\nls\n",
    )
    .ok();
    assert_eq!(outcome.stdout, "done\na b\n");
    assert!(outcome.stderr.contains("rm /old: no such file"), "{}", outcome.stderr);
    assert!(server.home("alice").join("in/a b").exists());

    let outcome = script(&alice, "ls\nrm nothing\nmkdir never\n").code_is(5);
    assert_eq!(outcome.stdout, "in\n");
    assert!(outcome.stderr.contains("stopped at line 2: rm nothing"), "{}", outcome.stderr);
    assert!(!server.home("alice").join("never").exists());

    script(&alice, "ls *.none").code_is(5).says("*.none: nothing has such a name");
    script(&alice, "frobnicate\n").code_is(2);
    script(&alice, "!exit 7\n").code_is(1).says("ended with exit code 7");
    script(&alice, "exit\nrm in\n").ok();
    script(&alice, "put\n").code_is(2).says("<LOCAL>");
    script(&alice, "put - --to x\n").code_is(2).says("standard input has the commands");
    script(&alice, "passwd\n").code_is(2).says("cannot be given in the shell");
    script(&alice, "mv in/* in nowhere\n").code_is(2).says("only be moved into one");
    let outcome = script(&alice, "mv nothing there --json\n").code_is(5);
    assert!(outcome.stderr.starts_with("{\"code\":\"NotFound\""), "{}", outcome.stderr);
    let outcome = script(&alice, "cd in\nls --json\n").ok();
    assert_eq!(outcome.json()["path"], "/in/a b");
}

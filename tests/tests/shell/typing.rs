//! What a person types and sees: commands, failures, completion, wildcards, history.

use std::os::unix::fs::PermissionsExt as _;

use berth_tests::files::assert_same;
use berth_tests::terminal::Key;

use crate::scene::{PROMPT, at_prompt, completes, run, run_to, server, shell, typed};

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

//! Files that are picked by their numbers, in the shell and outside it.

use berth_tests::disk::entries;
use berth_tests::files::assert_same;
use berth_tests::terminal::Key;

use crate::scene::{PROMPT, at_prompt, server, shell, typed};

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
        let mut names = entries(&home);
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
    assert_eq!(entries(&alice.file("back")).len(), 4);
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

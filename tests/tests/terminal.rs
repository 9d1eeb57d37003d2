//! The harness' terminal, tried on the questions that `berth` asks a person.

use berth_tests::terminal::{Key, Terminal};
use berth_tests::{Options, Server, wait_until};

#[test]
fn a_password_is_asked_for_on_the_terminal_and_not_shown() {
    let server = Server::start(Options::new());
    server.add_user("alice", "right as rain", "1MiB");
    let alice = server.client("alice", "").asked_for_password();
    alice.write("a note", "content");

    let mut terminal = alice.on_terminal(&["put", "a note"], 80, 24);
    let asked = terminal.wait_for_text("Password of alice@");
    assert_eq!(asked.cursor().0, 0);
    // It is asked a moment before what is typed is hidden.
    wait_until("what is typed is hidden", || !terminal.echoes());
    terminal.type_text("right as rain");
    terminal.press(Key::Enter);
    assert_eq!(terminal.wait_exit(), Some(0), "{}", terminal.printed());
    assert!(!terminal.printed().contains("rain"));
    assert!(server.home("alice").join("a note").exists());
}

#[test]
fn ctrl_c_leaves_a_question_and_the_terminal_echoes_again() {
    let server = Server::start(Options::new());
    let alice = server.client("alice", "").asked_for_password();
    let mut terminal = alice.on_terminal(&["df"], 80, 24);
    terminal.wait_for_text("Password of alice@");
    terminal.press(Key::CtrlC);
    assert_eq!(terminal.wait_exit(), Some(130));
    let screen = terminal.screen();
    assert!(screen.text().contains("interrupted"), "{}", screen.text());
    assert!(terminal.echoes());
}

#[test]
fn colours_places_and_wide_letters_are_seen() {
    let mut command = std::process::Command::new("sh");
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command
        .args(["-c", r"printf 'x\033[31m日本\033[0m at'; stty size </dev/tty; read line; exit 7"]);
    let mut terminal = Terminal::start(&command, 20, 5);
    let screen = terminal.wait_for(|screen| screen.cursor() == (1, 0));
    assert_eq!(screen.lines()[0], "x日本 at5 20");
    assert_eq!((screen.find("日本"), screen.find("at")), (Some((0, 1)), Some((0, 6))));
    assert_eq!(screen.cell_of("本").fgcolor(), vt100::Color::Idx(1));
    assert_eq!(screen.cell_of("at").fgcolor(), vt100::Color::Default);
    assert_eq!(screen.cursor(), (1, 0));
    terminal.type_line("typed");
    assert_eq!(terminal.wait_exit(), Some(7));
    assert_eq!(terminal.screen().lines()[1], "typed");
}

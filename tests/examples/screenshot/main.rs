//! Draws a terminal in which `berth ls -l` has listed a home and `berth put` is in the middle of its way:
//! `make screenshot` writes it to `docs/images/terminal.svg`.
//!
//! Everything in it is real: a shell on a pseudo-terminal, a server, a connection that is held when some
//! of the file has passed. Sizes, times and rates are those of that run; the layout is the same in each.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a picture that is not made"
)]

mod picture;

use std::path::Path;
use std::process::Command;

use berth_tests::terminal::{Key, Screen, Terminal};
use berth_tests::{Options, Relay, Server, account};

const COLUMNS: u16 = 88;
const ROWS: u16 = 10;

/// As `dircolors` prints it, in part.
const LS_COLORS: &str = "di=01;34:ex=01;32:*.gz=01;31:*.mp3=00;36:*.jpg=01;35";

/// The file that is put, its size in MiB, and how much of it has passed when the picture is taken.
const FILE: &str = "富士山の日の出.mkv";
const SIZE_MIB: usize = 320;
const PASSED_MIB: usize = 208;

/// What is in the home before. Dates in the past look like a home and not like a test.
const PREPARE: &str = "set -e
    mkdir -p home/photos home/写真
    head -c 48211 /dev/zero > home/写真/桜.jpg
    head -c 1843200 /dev/zero > home/backup.tar.gz
    head -c 913408 /dev/zero > home/発表資料.pdf
    printf '#!/bin/sh\\n' > home/nightly.sh
    head -c 7340032 /dev/zero > home/한강.mp3
    echo 'Milk, bread.' > home/notes.txt
    chmod 755 home/nightly.sh
    touch -d '2026-03-01 09:12:40' home/backup.tar.gz home/nightly.sh
    touch -d '2026-05-17 18:03:11' home/発表資料.pdf home/notes.txt
    touch -d '2026-08-09 21:47:02' home/한강.mp3
    berth login \"$1\" --accept-new && berth put -r home/. && rm -r home";

fn main() {
    let path = std::env::args().nth(1).expect("the file to write");
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "2GiB");
    let relay = Relay::to(server.address());
    let home = server.scratch().join("alice");
    account::make_dir(&home);
    let mut prepare = shell(&server, &home);
    prepare.env("BERTH_PASSWORD", "a").args(["-c", PREPARE, "sh"]);
    let prepared = prepare.arg(format!("alice@{}", relay.address())).output().unwrap();
    assert!(prepared.status.success(), "{prepared:?}");
    let file = std::fs::File::create(home.join(FILE)).unwrap();
    file.set_len((SIZE_MIB << 20) as u64).unwrap();
    account::give(&home.join(FILE));

    let mut terminal = Terminal::start(shell(&server, &home).env("PS1", "$ "), COLUMNS, ROWS);
    type_line(&mut terminal, "berth ls -l");
    at_prompt(&terminal);
    let _held = relay.hold_next_after(PASSED_MIB << 20);
    type_line(&mut terminal, &format!("berth put {FILE}"));
    let screen = terminal.wait_for(|screen| percent(screen) >= Some(50));
    terminal.press(Key::CtrlC);
    std::fs::write(path, picture::draw(&screen, (COLUMNS, ROWS))).unwrap();
}

/// A shell with the programs that were built, in the user's home.
fn shell(server: &Server, home: &Path) -> Command {
    let mut command = account::command(Path::new("/bin/sh"));
    let programs = server.binaries().path("berth");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", programs.parent().unwrap().display());
    command.env("PATH", path).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("LS_COLORS", LS_COLORS);
    command.env("HOME", home).current_dir(home);
    command
}

fn at_prompt(terminal: &Terminal) {
    terminal.wait_for(|screen| screen.cursor_line() == "$" && screen.cursor().1 == 2);
}

fn type_line(terminal: &mut Terminal, line: &str) {
    at_prompt(terminal);
    terminal.type_line(line);
    terminal.wait_for(|screen| screen.text().contains(line) && screen.cursor_line() != "$");
}

/// How far the bar is.
fn percent(screen: &Screen) -> Option<u64> {
    let lines = screen.lines();
    let bar = lines.iter().find(|line| line.contains("B/s ETA "))?;
    let (before, _) = bar.split_once('%')?;
    before.rsplit(' ').next()?.parse().ok()
}

//! A terminal that a test sits at: a program runs on a pseudo-terminal, and what it draws is kept as a screen.
//!
//! The program is in a session of its own and the terminal is its controlling one, so that `/dev/tty`,
//! Ctrl-C and passwords work as they do for a person. A thread reads all that is drawn; tests wait for
//! what should be seen, with a deadline, and a failure shows the screen.
//!
//! What is typed before a program has changed the terminal's mode may be echoed by the kernel or
//! thrown away: wait for the prompt first.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::account;
use crate::wait::{DEADLINE, within};

/// A key that has no letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Return.
    Enter,
    /// Tabulator.
    Tab,
    /// Backspace.
    Backspace,
    /// Delete forwards.
    Delete,
    /// Escape.
    Escape,
    /// An arrow.
    Up,
    /// An arrow.
    Down,
    /// An arrow.
    Left,
    /// An arrow.
    Right,
    /// The beginning of the line.
    Home,
    /// The end of the line.
    End,
    /// Interrupt.
    CtrlC,
    /// End of the input.
    CtrlD,
    /// Another letter with Ctrl.
    Ctrl(u8),
}

impl Key {
    /// What an xterm sends.
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Enter => b"\r".to_vec(),
            Self::Tab => b"\t".to_vec(),
            Self::Backspace => b"\x7f".to_vec(),
            Self::Delete => b"\x1b[3~".to_vec(),
            Self::Escape => b"\x1b".to_vec(),
            Self::Up => b"\x1b[A".to_vec(),
            Self::Down => b"\x1b[B".to_vec(),
            Self::Right => b"\x1b[C".to_vec(),
            Self::Left => b"\x1b[D".to_vec(),
            Self::Home => b"\x1b[H".to_vec(),
            Self::End => b"\x1b[F".to_vec(),
            Self::CtrlC => vec![3],
            Self::CtrlD => vec![4],
            Self::Ctrl(letter) => vec![letter & 0x1f],
        }
    }
}

/// What can be seen at one moment.
#[derive(Clone, Debug)]
pub struct Screen(vt100::Screen);

impl Screen {
    /// The lines from the top down, without blanks at their ends; all of them, also empty ones.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let (_, columns) = self.0.size();
        self.0.rows(0, columns.get()).map(|line| line.trim_end().to_owned()).collect()
    }

    /// The lines without the empty ones at the bottom. A line that was wrapped at the edge stands as one.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.contents()
    }

    /// Row and column of the cursor, from 0.
    #[must_use]
    pub fn cursor(&self) -> (u16, u16) {
        self.0.cursor_position()
    }

    /// The line that the cursor stands in.
    #[must_use]
    pub fn cursor_line(&self) -> String {
        let (row, _) = self.cursor();
        self.lines().swap_remove(usize::from(row))
    }

    /// Row and column at which the text first stands, from 0; it is looked for within lines.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<(u16, u16)> {
        let (rows, columns) = self.0.size();
        let places =
            (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column)));
        places.into_iter().find(|(row, column)| self.stands_at(text, *row, *column))
    }

    fn stands_at(&self, text: &str, row: u16, mut column: u16) -> bool {
        let mut rest = text;
        while !rest.is_empty() {
            let Some(cell) = self.0.cell(row, column) else {
                return false;
            };
            let shown = if cell.has_contents() { cell.contents() } else { " " };
            match rest.strip_prefix(shown) {
                Some(after) => rest = after,
                None => return false,
            }
            column += if cell.is_wide() { 2 } else { 1 };
        }
        true
    }

    /// A cell, with its colours (`fgcolor`, `bgcolor`) and attributes; row and column from 0.
    ///
    /// # Panics
    /// When it is outside.
    #[must_use]
    pub fn cell(&self, row: u16, column: u16) -> &vt100::Cell {
        self.0.cell(row, column).expect("a cell of the screen")
    }

    /// The cell at which the text first stands.
    ///
    /// # Panics
    /// When it stands nowhere.
    #[must_use]
    #[track_caller]
    pub fn cell_of(&self, text: &str) -> &vt100::Cell {
        let (row, column) =
            self.find(text).unwrap_or_else(|| panic!("no {text:?} in:\n{}", self.text()));
        self.cell(row, column)
    }
}

/// All that was drawn.
struct Drawn {
    parser: vt100::Parser,
    bytes: Vec<u8>,
    ended: bool,
}

/// A program on a terminal of its own. It is killed if it still runs when the value is dropped.
pub struct Terminal {
    shown: String,
    child: Child,
    /// Our end; the program's end hangs up when it is closed.
    keyboard: File,
    drawn: Arc<Mutex<Drawn>>,
}

impl Terminal {
    /// Runs a command on a terminal of this size, with TERM set unless the command sets it.
    ///
    /// # Panics
    /// When there is no pseudo-terminal, or the command cannot be run.
    #[must_use]
    pub fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let (ours, theirs) = pair(columns, rows);
        let copy = || Stdio::from(theirs.try_clone().unwrap());
        let shown = format!("{:?} {:?}", command.get_program(), command.get_args());
        let mut command = with_controlling_terminal(command);
        command.stdin(copy()).stdout(copy()).stderr(copy());
        let child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
        // Ours would keep the terminal open when the program has ended.
        drop((command, theirs));
        let size = |cells| NonZeroU16::new(cells).expect("a terminal has cells");
        let parser = vt100::Parser::new(size(rows), size(columns), 0);
        let drawn = Arc::new(Mutex::new(Drawn { parser, bytes: Vec::new(), ended: false }));
        let (screen, eyes) = (Arc::clone(&drawn), ours.try_clone().unwrap());
        thread::spawn(move || read(eyes, &screen));
        Self { shown, child, keyboard: ours, drawn }
    }

    /// The program's process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types these letters, without Return.
    ///
    /// # Panics
    /// When the terminal takes nothing.
    pub fn type_text(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Types a line with Return.
    pub fn type_line(&mut self, line: &str) {
        self.type_text(line);
        self.press(Key::Enter);
    }

    /// Presses a key.
    ///
    /// # Panics
    /// When the terminal takes nothing.
    pub fn press(&mut self, key: Key) {
        self.keyboard.write_all(&key.bytes()).unwrap();
    }

    /// What can be seen now.
    #[must_use]
    pub fn screen(&self) -> Screen {
        Screen(self.drawn().parser.screen().clone())
    }

    /// All bytes that were ever drawn, as text: also what has scrolled off or was drawn over.
    #[must_use]
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&self.drawn().bytes).into_owned()
    }

    /// Waits until the screen is as wanted, and returns it.
    ///
    /// # Panics
    /// After [`DEADLINE`], with the screen.
    #[track_caller]
    pub fn wait_for(&self, condition: impl Fn(&Screen) -> bool) -> Screen {
        self.wait_for_screen("what is waited for is not seen", condition)
    }

    /// Waits until the text can be seen, and returns the screen.
    ///
    /// # Panics
    /// After [`DEADLINE`], with the screen.
    #[track_caller]
    pub fn wait_for_text(&self, text: &str) -> Screen {
        self.wait_for_screen(&format!("{text:?} is not seen"), |screen| {
            screen.text().contains(text)
        })
    }

    #[track_caller]
    fn wait_for_screen(&self, what: &str, condition: impl Fn(&Screen) -> bool) -> Screen {
        let mut seen = None;
        let probe = || {
            let drawn = self.drawn();
            let now = (drawn.bytes.len(), drawn.ended);
            // A screen is copied and looked at once, however often this is asked.
            if seen == Some(now) {
                return None;
            }
            seen = Some(now);
            let screen = Screen(drawn.parser.screen().clone());
            drop(drawn);
            condition(&screen).then_some(screen)
        };
        within(DEADLINE, probe)
            .unwrap_or_else(|| panic!("`{}`: {what}; {}", self.shown, self.picture()))
    }

    /// Waits until the program has ended and all that it drew has come. `None` when a signal ended it.
    ///
    /// # Panics
    /// After [`DEADLINE`], with the screen.
    #[track_caller]
    pub fn wait_exit(&mut self) -> Option<i32> {
        let ended = within(DEADLINE, || self.child.try_wait().unwrap());
        let ended =
            ended.filter(|_| within(DEADLINE, || self.drawn().ended.then_some(())).is_some());
        let Some(status) = ended else {
            panic!("`{}` does not end; {}", self.shown, self.picture());
        };
        status.code()
    }

    /// Whether the kernel shows what is typed, as it does for a shell that comes back.
    ///
    /// # Panics
    /// When the terminal does not tell.
    #[must_use]
    pub fn echoes(&self) -> bool {
        tcgetattr(&self.keyboard).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn picture(&self) -> String {
        let screen = self.screen();
        format!("cursor at {:?}, the screen:\n{}", screen.cursor(), screen.text())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Our end and the program's end of a new terminal.
fn pair(columns: u16, rows: u16) -> (File, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&ours).unwrap();
    rustix::pty::unlockpt(&ours).unwrap();
    let name = rustix::pty::ptsname(&ours, Vec::new()).unwrap();
    account::give(Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())));
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags).unwrap();
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&theirs, size).unwrap();
    (File::from(ours), theirs)
}

/// The command in a session of its own, whose terminal is its standard input. `setsid` executes the
/// program in its own place, so the child's pid is the program's.
fn with_controlling_terminal(command: &Command) -> Command {
    let mut setsid = Command::new("setsid");
    setsid.arg("--ctty").arg(command.get_program()).args(command.get_args());
    setsid.env_clear().env("TERM", "xterm-256color");
    setsid.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(directory) = command.get_current_dir() {
        setsid.current_dir(directory);
    }
    setsid
}

/// Until nobody has the other end open.
fn read(mut eyes: File, screen: &Mutex<Drawn>) {
    let mut buffer = [0; 4096];
    // Linux tells the end as an error (EIO).
    while let Ok(count @ 1..) = eyes.read(&mut buffer) {
        let mut drawn = screen.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.parser.process(&buffer[..count]);
        drawn.bytes.extend_from_slice(&buffer[..count]);
    }
    screen.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
}

//! Questions to the person at the terminal; used by `berth` and `berthctl`.
//!
//! A question blocks its thread until it is answered. When a signal ends the program meanwhile,
//! whoever takes the signal calls [`restore_terminal`], or the shell would stay without echo.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::oneshot;

/// The terminal as it was before a question that is being asked.
static BEFORE: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Whether there is somebody to ask.
#[must_use]
pub fn somebody() -> bool {
    io::stdin().is_terminal()
}

/// Asks for something that is not shown while it is typed.
///
/// # Errors
/// What the terminal says.
pub fn secret(question: &str) -> io::Result<String> {
    remember()?;
    let answer = rpassword::prompt_password(question);
    *before() = None;
    answer
}

/// Asks for a line on standard error; one that is empty is also what the end of the input is.
///
/// # Errors
/// What the terminal says.
pub fn line(question: &str) -> io::Result<String> {
    let mut terminal = io::stderr().lock();
    write!(terminal, "{question}")?;
    terminal.flush()?;
    drop(terminal);
    // Without a terminal of its own there is nothing to restore.
    let _ = remember();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    *before() = None;
    if read? == 0 {
        // Whatever is said next begins on a line of its own.
        writeln!(io::stderr())?;
    }
    Ok(answer.trim().to_owned())
}

/// Edits a line on the terminal, which is put back as it was by [`restore_terminal`] if the program ends meanwhile.
pub fn while_editing<T>(edit: impl FnOnce() -> T) -> T {
    // Without a terminal of its own there is nothing to restore.
    let _ = remember();
    let edited = edit();
    *before() = None;
    edited
}

/// Puts the terminal back as it was, when a program is about to end within a question.
pub fn restore_terminal() {
    if let Some((terminal, as_it_was)) = before().take() {
        let _ = tcsetattr(&terminal, OptionalActions::Flush, &as_it_was);
        let _ = writeln!(io::stderr());
    }
}

/// Asks on a thread of its own, so that signals are still heard. Nothing waits for the thread
/// when this is dropped. `None` when the question has panicked.
pub async fn beside<T: Send + 'static>(question: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = answer.send(question());
    });
    answered.await.ok()
}

fn remember() -> io::Result<()> {
    let terminal = File::open("/dev/tty")?;
    let as_it_is = tcgetattr(&terminal)?;
    *before() = Some((terminal, as_it_is));
    Ok(())
}

fn before() -> MutexGuard<'static, Option<(File, Termios)>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

//! As whom the processes under test run: as root by `setpriv` as a fixed uid, else as ourselves.

use std::io;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Gid, Uid};

/// The uid and gid that stand in for an ordinary user when the tests run as root. No account has
/// it, and it is the same every time, so that left-overs of a killed run can be told.
pub const TEST_ID: u32 = 64123;

/// Whether the tests run as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The uid that the processes under test have.
#[must_use]
pub fn uid() -> u32 {
    if is_root() { TEST_ID } else { rustix::process::geteuid().as_raw() }
}

/// Says that a test is left out, when it needs root and has not got it. The test then returns.
#[must_use]
pub fn skipped_without_root() -> bool {
    if !is_root() {
        crate::report("skipped: needs root");
    }
    !is_root()
}

/// A command that runs `program` as the ordinary user, with nothing of our environment.
/// `setpriv` executes the program in its own place, so the child's pid is the program's.
#[must_use]
pub fn command(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut setpriv = Command::new("setpriv");
        setpriv
            .arg(format!("--reuid={TEST_ID}"))
            .arg(format!("--regid={TEST_ID}"))
            .args(["--clear-groups", "--"])
            .arg(program);
        setpriv
    } else {
        Command::new(program)
    };
    command.env_clear();
    for kept in ["PATH", "TMPDIR"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
}

/// Gives one file or directory, which we made, to the ordinary user.
///
/// # Panics
/// When it cannot be given away.
pub fn give(path: &Path) {
    try_give(path).unwrap_or_else(|error| panic!("chown {}: {error}", path.display()));
}

/// Makes a directory, if it is not there, and gives it to the ordinary user.
///
/// # Panics
/// When it cannot be made.
pub fn make_dir(path: &Path) {
    std::fs::create_dir_all(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    give(path);
}

fn try_give(path: &Path) -> io::Result<()> {
    if !is_root() {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(TEST_ID), Gid::from_raw(TEST_ID));
    // Of a symbolic link, the link itself.
    rustix::fs::chownat(
        rustix::fs::CWD,
        path,
        Some(uid),
        Some(gid),
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )?;
    Ok(())
}

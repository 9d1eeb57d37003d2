//! As whom programs run: as root by `setpriv` as a fixed uid, else as ourselves. Also where programs are.
//!
//! Servers end with this program (`--pdeathsig`), so that none outlives a run that is killed.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};

/// The uid and gid that stand in for an ordinary user when root runs us: those of the tests (`tests/src/account.rs`).
const ORDINARY_ID: u32 = 64123;

/// Where programs of administrators are, which an ordinary user's `PATH` may lack.
const SYSTEM: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program's file, if it is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(SYSTEM.map(PathBuf::from));
    places.map(|place| place.join(program)).find(|file| file.is_file())
}

/// A client or tool that runs as the ordinary user, with nothing of our environment.
pub(crate) fn ordinary(program: &Path) -> Command {
    command(program, ordinary_ids())
}

/// A client that runs as ourselves: one that refuses a uid without a name.
pub(crate) fn own(program: &Path) -> Command {
    clean(Command::new(program))
}

/// A server that runs as the ordinary user, and ends with us.
pub(crate) fn ordinary_server(program: &Path) -> Command {
    let mut options = ordinary_ids();
    options.push(DIES_WITH_US.to_owned());
    command(program, options)
}

/// A server that runs as ourselves, and ends with us.
pub(crate) fn own_server(program: &Path) -> Command {
    command(program, vec![DIES_WITH_US.to_owned()])
}

const DIES_WITH_US: &str = "--pdeathsig=TERM";

fn ordinary_ids() -> Vec<String> {
    if !is_root() {
        return Vec::new();
    }
    vec![
        format!("--reuid={ORDINARY_ID}"),
        format!("--regid={ORDINARY_ID}"),
        "--clear-groups".to_owned(),
    ]
}

/// `setpriv` executes the program in its own place, so that the child's pid is the program's.
fn command(program: &Path, options: Vec<String>) -> Command {
    if options.is_empty() {
        return clean(Command::new(program));
    }
    let mut setpriv = Command::new("setpriv");
    setpriv.args(options).arg("--").arg(program);
    clean(setpriv)
}

fn clean(mut command: Command) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    command.env_clear().env("PATH", path).env("LC_ALL", "C");
    command
}

/// Gives a file or directory, which we made, to the ordinary user.
pub(crate) fn give(path: &Path) -> io::Result<()> {
    if is_root() {
        let (uid, gid) = (Uid::from_raw(ORDINARY_ID), Gid::from_raw(ORDINARY_ID));
        chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

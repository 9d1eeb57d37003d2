//! The directory in which a puppet stands: what the test has left there for it.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use berth_common::codec;

use crate::orders::Script;

/// A worker's puppet becomes the real one unless this is there.
pub const WORKER_SCRIPT: &str = "worker.script";

/// A filer's puppet becomes the real one unless this is there; it has the address to report to.
pub const FILER_LINE: &str = "filer.line";

/// Before the program's name stands this in the real one's.
pub const REAL: &str = "real-";

/// In the server's directory, in which the daemon was started. A program does not learn its own name: the daemon
/// executes it by a descriptor.
pub const DIRECTORY: &str = "libexec";

fn place() -> PathBuf {
    DIRECTORY.into()
}

/// The script of a worker, or `None` when the process is to be the real one.
///
/// # Errors
/// When there is one that cannot be read.
pub fn script() -> io::Result<Option<Script>> {
    match std::fs::read(place().join(WORKER_SCRIPT)) {
        Ok(bytes) => codec::decode(&bytes).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The address that a filer reports to, or `None` when the process is to be the real one.
///
/// # Errors
/// When there is one that cannot be read.
pub fn filers_line() -> io::Result<Option<String>> {
    match std::fs::read_to_string(place().join(FILER_LINE)) {
        Ok(address) => Ok(Some(address)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Becomes the real program, with all that was inherited.
#[must_use]
pub fn become_real(program: &str) -> io::Error {
    let mut command = Command::new(place().join(format!("{REAL}{program}")));
    command.arg0(program).args(std::env::args_os().skip(1)).env_clear().exec()
}

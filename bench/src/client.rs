//! One run of a client: timed from its start to its end, login and all.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{ends_within, last_words};

/// How long a client may run before it is taken for hung.
const HUNG: Duration = Duration::from_secs(900);

/// Why a run does not count.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("the client ended with {0}: {1}")]
    Failed(String, String),
    #[error("the client hung")]
    Hung,
    #[error("the client said that it was done, but {0}")]
    Differs(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs a client to its end, and returns how many seconds it took. What it prints goes to a file.
pub(crate) fn run(mut command: Command, output: &Path) -> Result<f64, RunError> {
    let file = File::create(output)?;
    command.stdout(file.try_clone()?).stderr(file);
    timed(command, output)
}

/// The same, but what it prints on standard output goes nowhere.
pub(crate) fn run_unheard(mut command: Command, output: &Path) -> Result<f64, RunError> {
    command.stdout(Stdio::null()).stderr(File::create(output)?);
    timed(command, output)
}

fn timed(mut command: Command, output: &Path) -> Result<f64, RunError> {
    command.stdin(Stdio::null());
    let begin = Instant::now();
    let mut child = command.spawn()?;
    if !ends_within(&child, HUNG) {
        child.kill()?;
        child.wait()?;
        return Err(RunError::Hung);
    }
    let seconds = begin.elapsed().as_secs_f64();
    let status = child.wait()?;
    if status.success() {
        return Ok(seconds);
    }
    let said = std::fs::read_to_string(output).unwrap_or_default();
    Err(RunError::Failed(status.to_string(), last_words(&said)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_fails_is_told_with_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo no such thing; exit 3"]);
        let error = run(shell, &directory.path().join("output")).unwrap_err();
        assert_eq!(error.to_string(), "the client ended with exit status: 3: no such thing");
    }
}

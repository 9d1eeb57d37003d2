//! What the end of a worker or filer means: pure, from its exit status and what was known before.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use berth_common::broker_protocol::CloseReason;
use berth_common::error_code::ErrorCode;

/// Why the daemon ended a helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KillReason {
    /// It sent what it may not send, or too much.
    Broken(String),
    /// Its channel failed or was full.
    Channel(String),
    /// It did not start, log in, give the ticket back or end in time.
    TimedOut(&'static str),
    /// An administrator ended the session.
    Administrator,
    /// Another session took an upload over.
    TakenOver,
    /// Its partner ended.
    Partner,
    /// The daemon stops.
    Shutdown,
    /// It was a spare or a recovering filer, and is not needed any more.
    Unneeded,
    /// Something of the daemon's own failed: the ledger, the user's directories.
    Internal(String),
}

impl fmt::Display for KillReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(what) => write!(f, "broke the protocol: {what}"),
            Self::Channel(what) => write!(f, "its channel failed: {what}"),
            Self::TimedOut(what) => write!(f, "was too slow: {what}"),
            Self::Administrator => f.write_str("ended by an administrator"),
            Self::TakenOver => f.write_str("its upload was taken over"),
            Self::Partner => f.write_str("its partner ended"),
            Self::Shutdown => f.write_str("the server stops"),
            Self::Unneeded => f.write_str("not needed any more"),
            Self::Internal(what) => write!(f, "internal: {what}"),
        }
    }
}

/// How a helper ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExitReport {
    /// As it should.
    Normal,
    /// It ended its session because the client was refused.
    Refused(ErrorCode),
    /// It ended by itself with an error.
    Failed(i32),
    /// A signal that nobody sent: a crash, or the kernel's out-of-memory killer.
    Crashed(i32),
    /// The sandbox ended it for a system call that it may not make.
    Sandbox,
    /// The daemon ended it.
    Killed(KillReason),
}

/// `SIGSYS`, by which seccomp ends a process.
const SIGSYS: i32 = rustix::process::Signal::SYS.as_raw();
const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();

impl ExitReport {
    /// Interprets an exit. `killed` is why the daemon has sent SIGKILL, if it has; `closing` what a
    /// worker has said before.
    pub(crate) fn new(
        status: ExitStatus,
        killed: Option<&KillReason>,
        closing: Option<&CloseReason>,
    ) -> Self {
        match (status.signal(), killed) {
            (Some(SIGKILL), Some(reason)) => Self::Killed(reason.clone()),
            (Some(SIGSYS), _) => Self::Sandbox,
            (Some(signal), _) => Self::Crashed(signal),
            // It was quicker than the signal, or had already ended: the reason still tells more.
            (None, Some(reason)) => Self::Killed(reason.clone()),
            (None, None) => match (status.code(), closing) {
                (_, Some(CloseReason::Refused { error })) => Self::Refused(error.clone()),
                (Some(0), _) => Self::Normal,
                (code, _) => Self::Failed(code.unwrap_or(-1)),
            },
        }
    }

    /// Whether somebody should look into it.
    pub(crate) fn is_a_crash(&self) -> bool {
        match self {
            Self::Crashed(_) | Self::Sandbox | Self::Failed(_) => true,
            Self::Killed(reason) => {
                matches!(reason, KillReason::Broken(_) | KillReason::Channel(_))
            }
            Self::Normal | Self::Refused(_) => false,
        }
    }
}

impl fmt::Display for ExitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("ended normally"),
            Self::Refused(error) => write!(f, "refused: {error}"),
            Self::Failed(code) => write!(f, "failed with exit code {code}"),
            Self::Crashed(signal) => write!(f, "crashed by signal {signal}"),
            Self::Sandbox => f.write_str("ended by the sandbox for a forbidden system call"),
            Self::Killed(reason) => write!(f, "killed: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(number: i32) -> ExitStatus {
        ExitStatus::from_raw(number)
    }

    fn code(number: i32) -> ExitStatus {
        ExitStatus::from_raw(number << 8)
    }

    #[test]
    fn each_exit_has_its_meaning() {
        let refused = CloseReason::Refused { error: ErrorCode::Protocol };
        let taken = KillReason::TakenOver;
        let table = [
            (code(0), None, None, ExitReport::Normal),
            (code(0), None, Some(CloseReason::ClientLeft), ExitReport::Normal),
            (code(1), None, Some(refused.clone()), ExitReport::Refused(ErrorCode::Protocol)),
            (code(101), None, None, ExitReport::Failed(101)),
            (signal(6), None, None, ExitReport::Crashed(6)),
            (signal(9), None, None, ExitReport::Crashed(9)),
            (signal(11), Some(taken.clone()), Some(refused), ExitReport::Crashed(11)),
            (signal(31), None, None, ExitReport::Sandbox),
            (signal(31), Some(taken.clone()), None, ExitReport::Sandbox),
            (signal(9), Some(taken.clone()), None, ExitReport::Killed(taken.clone())),
            (code(0), Some(taken.clone()), None, ExitReport::Killed(taken)),
        ];
        for (status, killed, closing, report) in table {
            assert_eq!(ExitReport::new(status, killed.as_ref(), closing.as_ref()), report);
        }
    }

    #[test]
    fn crashes_are_told_from_ends_that_someone_wanted() {
        assert!(ExitReport::Sandbox.is_a_crash());
        assert!(ExitReport::Killed(KillReason::Broken("x".into())).is_a_crash());
        assert!(!ExitReport::Killed(KillReason::Administrator).is_a_crash());
        assert!(!ExitReport::Refused(ErrorCode::Version).is_a_crash());
    }
}

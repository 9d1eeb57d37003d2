//! What the end of a worker or filer means: pure, from its exit status and what was known before.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use berth_common::admin_protocol::IncidentKind;
use berth_common::broker_protocol::CloseReason;
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::WORKER_BROKE_EXIT;

use crate::last_words::LastWords;

/// Why the daemon ended a helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KillReason {
    /// It sent what it may not send, or too much.
    Broken(String),
    /// Its channel failed by no doing of its own: a system call of the daemon's did, as for want of memory.
    Channel(String),
    /// It did not start, log in, take its messages, answer or end in time.
    TimedOut(&'static str),
    /// The filer did not give the ticket back in time.
    KeptTicket,
    /// An administrator ended the session.
    Administrator,
    /// Another session took an upload over.
    TakenOver,
    /// It had not logged in, and had to go for another connection.
    Displaced,
    /// The device that it was logged in by was revoked.
    Revoked,
    /// Its client asked to change its credentials more often than one may: no fault of the worker's, which relays it.
    CredentialTries,
    /// Its partner ended.
    Partner,
    /// The daemon stops.
    Shutdown,
    /// It was a spare or a recovering filer, and is not needed any more.
    Unneeded,
    /// Something of the daemon's own failed: the ledger, the user's directories.
    Internal(String),
}

impl KillReason {
    /// What a session's end for this reason is to its worker.
    pub(crate) fn of_worker(&self) -> Self {
        match self {
            Self::KeptTicket => Self::Partner,
            other => other.clone(),
        }
    }

    /// The same to its filer, which is not to blame for what its worker does.
    pub(crate) fn of_filer(&self) -> Self {
        match self {
            Self::Broken(_) | Self::Channel(_) | Self::TimedOut(_) => Self::Partner,
            Self::KeptTicket
            | Self::Administrator
            | Self::TakenOver
            | Self::Displaced
            | Self::CredentialTries
            | Self::Revoked
            | Self::Partner
            | Self::Shutdown
            | Self::Unneeded
            | Self::Internal(_) => self.clone(),
        }
    }
}

impl fmt::Display for KillReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(what) => write!(f, "broke the protocol: {what}"),
            Self::Channel(what) => write!(f, "internal: its channel failed: {what}"),
            Self::TimedOut(what) => write!(f, "was too slow: {what}"),
            Self::KeptTicket => f.write_str("was too slow: did not give the ticket back"),
            Self::Administrator => f.write_str("ended by an administrator"),
            Self::TakenOver => f.write_str("its upload was taken over"),
            Self::Displaced => {
                f.write_str("had not logged in, and had to go for another connection")
            }
            Self::CredentialTries => {
                f.write_str("its client asked to change its credentials again and again")
            }
            Self::Revoked => f.write_str("its device was revoked"),
            Self::Partner => f.write_str("its partner ended"),
            Self::Shutdown => f.write_str("the server stops"),
            Self::Unneeded => f.write_str("not needed any more"),
            Self::Internal(what) => write!(f, "internal: {what}"),
        }
    }
}

/// What the daemon knows of a process that is dead, besides its exit status.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known<'a> {
    /// Why the daemon has sent SIGKILL, if it has.
    pub(crate) killed: Option<&'a KillReason>,
    /// What a worker has said before it ended.
    pub(crate) closing: Option<&'a CloseReason>,
    /// Whether it is a filer, which has a worker to blame.
    pub(crate) is_filer: bool,
    /// What it wrote last.
    pub(crate) words: Option<&'a LastWords>,
    /// Whether the kernel has killed for want of memory since its processes were last looked at.
    pub(crate) memory_was_short: bool,
}

/// How a helper ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExitReport {
    /// As it should.
    Normal,
    /// It ended its session because the client was refused.
    Refused(ErrorCode),
    /// It ended by itself with an error.
    Failed(i32, String),
    /// A filer ended since its worker broke the protocol between them.
    WorkerBroke(String),
    /// A signal that the daemon did not send.
    Crashed(i32, String),
    /// The sandbox ended it for a system call that it may not make.
    Sandbox(String),
    /// It could not have memory that it needed, and ended by itself.
    OutOfMemory(String),
    /// The kernel killed it since the service, or the machine, was short of memory.
    OutOfSystemMemory,
    /// The daemon ended it.
    Killed(KillReason),
}

/// `SIGSYS`, by which seccomp ends a process.
const SIGSYS: i32 = rustix::process::Signal::SYS.as_raw();
const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();
const SIGABRT: i32 = rustix::process::Signal::ABORT.as_raw();

/// The exit code by which a filer blames its worker.
const WORKER_BROKE: i32 = WORKER_BROKE_EXIT as i32;

impl ExitReport {
    /// Interprets an exit.
    pub(crate) fn new(status: ExitStatus, known: Known<'_>) -> Self {
        let Known { killed, closing, is_filer, words, memory_was_short } = known;
        let said = || words.map_or_else(String::new, |words| words.as_str().to_owned());
        let speaks = |of: fn(&LastWords) -> bool| words.is_some_and(of);
        match (status.signal(), killed) {
            (Some(SIGKILL), Some(reason)) => Self::Killed(reason.clone()),
            (Some(SIGKILL), None) if memory_was_short => Self::OutOfSystemMemory,
            (Some(SIGSYS), _) => Self::Sandbox(said()),
            (Some(SIGABRT), _) if speaks(LastWords::tell_of_memory) => Self::OutOfMemory(said()),
            (Some(signal), _) => Self::Crashed(signal, said()),
            // It was quicker than the signal, or had already ended: the reason still tells more.
            (None, Some(reason)) => Self::Killed(reason.clone()),
            (None, None) => match (status.code(), closing) {
                (_, Some(CloseReason::Refused { error })) => Self::Refused(error.clone()),
                (Some(0), _) => Self::Normal,
                (Some(WORKER_BROKE), _) if is_filer => Self::WorkerBroke(said()),
                (Some(_), _) if speaks(LastWords::tell_of_the_sandbox) => Self::Sandbox(said()),
                (code, _) => Self::Failed(code.unwrap_or(-1), said()),
            },
        }
    }

    /// What an administrator is to hear of; `None` for an end that someone wanted.
    pub(crate) fn incident(&self) -> Option<IncidentKind> {
        match self {
            Self::Crashed(..) | Self::Failed(..) => Some(IncidentKind::Crashed),
            Self::Sandbox(_) => Some(IncidentKind::Sandbox),
            Self::OutOfMemory(_) | Self::OutOfSystemMemory => Some(IncidentKind::Memory),
            Self::Killed(reason) => match reason {
                KillReason::Broken(_) => Some(IncidentKind::Broke),
                KillReason::TimedOut(_) | KillReason::KeptTicket => Some(IncidentKind::Stalled),
                KillReason::Administrator
                | KillReason::TakenOver
                | KillReason::Displaced
                | KillReason::CredentialTries
                | KillReason::Revoked
                | KillReason::Partner
                | KillReason::Shutdown
                | KillReason::Unneeded
                // The daemon's own failures, which it logs where they happen.
                | KillReason::Channel(_)
                | KillReason::Internal(_) => None,
            },
            Self::Normal | Self::Refused(_) | Self::WorkerBroke(_) => None,
        }
    }

    /// Whether it is a filer's that says that its worker broke the protocol. A filer that was taken over may lie,
    /// and that is between the two.
    pub(crate) fn blames_its_worker(&self) -> bool {
        matches!(self, Self::WorkerBroke(_))
    }
}

impl fmt::Display for ExitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("ended normally"),
            Self::Refused(error) => write!(f, "refused: {error}"),
            Self::Failed(code, words) => {
                write!(f, "failed with exit code {code}{}", Said(words))
            }
            Self::WorkerBroke(words) => write!(f, "its worker broke the protocol{}", Said(words)),
            Self::Crashed(SIGKILL, words) => {
                write!(f, "killed by SIGKILL, which berthd did not send{}", Said(words))
            }
            Self::Crashed(signal, words) => {
                write!(f, "crashed by signal {signal}{}{}", Name(*signal), Said(words))
            }
            Self::Sandbox(words) => {
                write!(f, "ended by the sandbox for a forbidden system call{}", Said(words))
            }
            Self::OutOfMemory(words) => write!(f, "out of memory{}", Said(words)),
            Self::OutOfSystemMemory => f.write_str(
                "out of memory: killed by the kernel, since the service or the machine had none left",
            ),
            Self::Killed(reason) => write!(f, "killed: {reason}"),
        }
    }
}

/// Last words behind a report, if there are any.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            words => write!(f, ": {words}"),
        }
    }
}

/// The name of a signal that a crash may come by.
struct Name(i32);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            4 => "SIGILL",
            6 => "SIGABRT",
            7 => "SIGBUS",
            8 => "SIGFPE",
            11 => "SIGSEGV",
            13 => "SIGPIPE",
            15 => "SIGTERM",
            25 => "SIGXFSZ",
            _ => return Ok(()),
        };
        write!(f, " ({name})")
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

    fn words(line: &str) -> LastWords {
        let mut words = LastWords::default();
        words.hear(line);
        words
    }

    #[test]
    fn each_exit_has_its_meaning() {
        let refused = CloseReason::Refused { error: ErrorCode::Protocol };
        let taken = KillReason::TakenOver;
        let none = String::new;
        let table = [
            (code(0), None, None, ExitReport::Normal),
            (code(0), None, Some(CloseReason::ClientLeft), ExitReport::Normal),
            (code(1), None, Some(refused.clone()), ExitReport::Refused(ErrorCode::Protocol)),
            (code(101), None, None, ExitReport::Failed(101, none())),
            (code(WORKER_BROKE), None, None, ExitReport::WorkerBroke(none())),
            (signal(6), None, None, ExitReport::Crashed(6, none())),
            (signal(9), None, None, ExitReport::Crashed(9, none())),
            (signal(11), Some(taken.clone()), Some(refused), ExitReport::Crashed(11, none())),
            (signal(31), None, None, ExitReport::Sandbox(none())),
            (signal(31), Some(taken.clone()), None, ExitReport::Sandbox(none())),
            (signal(9), Some(taken.clone()), None, ExitReport::Killed(taken.clone())),
            (code(0), Some(taken.clone()), None, ExitReport::Killed(taken)),
        ];
        for (status, killed, closing, report) in table {
            let (killed, closing) = (killed.as_ref(), closing.as_ref());
            let known = Known { killed, closing, is_filer: true, ..Known::default() };
            assert_eq!(ExitReport::new(status, known), report);
        }
    }

    #[test]
    fn a_worker_has_nobody_to_blame() {
        let report = ExitReport::new(code(WORKER_BROKE), Known::default());
        assert_eq!(report, ExitReport::Failed(WORKER_BROKE, String::new()));
    }

    #[test]
    fn last_words_tell_want_of_memory_and_the_forbidden_call() {
        let memory = words("memory allocation of 4096 bytes failed");
        let known = Known { words: Some(&memory), ..Known::default() };
        let report = ExitReport::new(signal(6), known);
        assert_eq!(report.incident(), Some(IncidentKind::Memory));
        let told = "out of memory: memory allocation of 4096 bytes failed";
        assert_eq!(report.to_string(), told);
        // Only an abort is one for want of memory, whatever was written.
        let crash = ExitReport::new(signal(11), known);
        assert_eq!(crash.incident(), Some(IncidentKind::Crashed));

        let call = words("forbidden system call 101 (ptrace)");
        let known = Known { words: Some(&call), ..Known::default() };
        for status in [signal(31), code(1)] {
            let report = ExitReport::new(status, known);
            assert_eq!(report.incident(), Some(IncidentKind::Sandbox));
            assert!(report.to_string().ends_with("call: forbidden system call 101 (ptrace)"));
        }
    }

    #[test]
    fn a_sigkill_that_nobody_sent_is_the_kernels_where_memory_was_short() {
        let known = Known { memory_was_short: true, ..Known::default() };
        assert_eq!(ExitReport::new(signal(9), known), ExitReport::OutOfSystemMemory);
        assert!(matches!(ExitReport::new(signal(11), known), ExitReport::Crashed(11, _)));
        let outside = ExitReport::new(signal(9), Known::default());
        assert_eq!(outside.to_string(), "killed by SIGKILL, which berthd did not send");
        let killed = Known { killed: Some(&KillReason::Shutdown), ..known };
        let report = ExitReport::new(signal(9), killed);
        assert_eq!(report, ExitReport::Killed(KillReason::Shutdown));
    }

    #[test]
    fn incidents_are_told_from_ends_that_someone_wanted() {
        let killed = |reason| ExitReport::Killed(reason).incident();
        assert_eq!(killed(KillReason::Broken("x".into())), Some(IncidentKind::Broke));
        assert_eq!(killed(KillReason::Channel("x".into())), None, "no doing of the helper's");
        assert_eq!(killed(KillReason::TimedOut("x")), Some(IncidentKind::Stalled));
        assert_eq!(killed(KillReason::Administrator), None);
        assert_eq!(killed(KillReason::Displaced), None);
        assert_eq!(killed(KillReason::CredentialTries), None, "the client's doing");
        assert_eq!(ExitReport::Refused(ErrorCode::Version).incident(), None);
    }

    #[test]
    fn one_of_the_two_is_to_blame_for_a_sessions_end() {
        let broken = KillReason::Broken("x".into());
        assert_eq!((broken.of_worker(), broken.of_filer()), (broken, KillReason::Partner));
        let kept = KillReason::KeptTicket;
        assert_eq!((kept.of_worker(), kept.of_filer()), (KillReason::Partner, kept));
        let wanted = KillReason::Administrator;
        assert_eq!((wanted.of_worker(), wanted.of_filer()), (wanted.clone(), wanted));
    }
}

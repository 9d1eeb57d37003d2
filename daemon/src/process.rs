//! One helper process: its channel, its end, and the means to bring that about.
//!
//! Each process has a task that reaps it and one that reads its panic pipe; both live until the process is
//! gone, whoever else has forgotten it. [`crate::worker_handle`] and [`crate::filer_handle`] say what is sent.
//! Nothing here waits for a peer: a channel that takes no message is a broken peer.

use std::cell::{Cell, OnceCell, RefCell};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::{Duration, Instant};

use berth_common::admin_protocol::IncidentKind;
use berth_common::broker_protocol::CloseReason;
use berth_common::channel::{Channel, ChannelError, Message};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::bucket::{BEFORE_ITS_TASK, Bucket, Rate};
use crate::exit::{ExitReport, KillReason, Known};
use crate::incidents::{Incidents, Task};
use crate::last_words::LastWords;
use crate::memory_events::MemoryEvents;
use crate::program::Program;
use crate::sys;

/// A process that is a child of the daemon's.
pub(crate) struct Process {
    /// What it runs.
    pub(crate) program: Program,
    /// Its number, while it is not reaped.
    pub(crate) pid: u32,
    pub(super) pidfd: Rc<AsyncFd<OwnedFd>>,
    pub(super) exit: watch::Receiver<Option<ExitStatus>>,
    pub(super) killed: OnceCell<KillReason>,
    /// Its number may be another process's from now on.
    pub(super) reaped: Cell<bool>,
    pub(super) words: RefCell<LastWords>,
    pub(super) told: OnceCell<ExitReport>,
    pub(super) task: RefCell<Task>,
    pub(super) witnesses: Witnesses,
}

/// Those who hear of the ends of all processes.
#[derive(Clone, Debug)]
pub(crate) struct Witnesses {
    pub(crate) incidents: Rc<Incidents>,
    pub(crate) memory: Rc<MemoryEvents>,
}

impl Process {
    /// Says for whom it works, for what is told of its end.
    pub(crate) fn set_task(&self, task: Task) {
        *self.task.borrow_mut() = task;
    }

    /// Bounds how large it may make a file from now on; `None` lets it do what the daemon may. It still
    /// writes within what is there already.
    ///
    /// # Errors
    /// The system call's.
    pub(crate) fn limit_file_sizes(&self, bytes: Option<u64>) -> std::io::Result<()> {
        // It is our child, so until it is reaped, which this thread does, the number is no other's.
        let Some(pid) = Pid::from_raw(self.pid.cast_signed()).filter(|_| !self.reaped.get()) else {
            return Ok(());
        };
        // The hard limit stays: an ordinary user could never raise it again. A helper cannot raise either.
        let most = rustix::process::getrlimit(Resource::Fsize).maximum;
        let current = bytes.map(|bytes| most.map_or(bytes, |most| bytes.min(most))).or(most);
        match rustix::process::prlimit(
            Some(pid),
            Resource::Fsize,
            Rlimit { current, maximum: most },
        ) {
            Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Its main thread's state, by `proc_pid_stat(5)`: `D` is a wait in the kernel that no signal ends. Unknown where
    /// `/proc` hides it, as systemd's `ProtectProc=` does of processes that are not dumpable.
    pub(crate) fn state(&self) -> Option<char> {
        if self.reaped.get() {
            return None;
        }
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        // The name before it may have any character.
        let (_, rest) = stat.rsplit_once(") ")?;
        rest.chars().next()
    }

    /// Waits until it is reaped, and tells how it ended. An end that is no honest one is counted and logged,
    /// once, whoever asks.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn report(&self, closing: Option<&CloseReason>) -> ExitReport {
        let status = self.reaped().await;
        let tell = || {
            let killed = self.killed();
            let is_killed = status.signal() == Some(Signal::KILL.as_raw()) && killed.is_none();
            let memory_was_short = is_killed && self.witnesses.memory.explain_a_kill();
            let words = self.words.borrow();
            let words = Some(&*words);
            let is_filer = self.program == Program::Filer;
            let known = Known { killed, closing, is_filer, words, memory_was_short };
            let report = ExitReport::new(status, known);
            if let Some(kind) = report.incident() {
                self.add_incident(kind, report.to_string());
            }
            report
        };
        self.told.get_or_init(tell).clone()
    }

    /// Counts what somebody else had to say of it.
    pub(crate) fn add_incident(&self, kind: IncidentKind, what: String) {
        let task = self.task.borrow();
        self.witnesses.incidents.add(self.program, self.pid, &task, kind, what);
    }

    /// Sends SIGKILL, unless it is dead. The first reason counts.
    pub(crate) fn kill(&self, reason: KillReason) {
        let (program, pid) = (self.program, self.pid);
        if self.killed.get().is_none()
            && let KillReason::Channel(_) = &reason
        {
            // Nothing that the helper did, so that no incident of its will tell.
            tracing::error!(%program, pid, %reason, "a helper has to be ended");
        }
        drop(self.killed.set(reason));
        if self.exit.borrow().is_none() {
            // It cannot hit another process: a pidfd stays with the one that it was opened for.
            if let Err(error) =
                rustix::process::pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL)
                && error != rustix::io::Errno::SRCH
            {
                tracing::error!(program = %self.program, pid = self.pid, %error, "cannot kill");
            }
        }
    }

    /// Why it was killed, if it was.
    pub(crate) fn killed(&self) -> Option<&KillReason> {
        self.killed.get()
    }

    /// Waits until it is dead *and reaped*: none of its system calls is under way any more (R10).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn reaped(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        loop {
            if let Some(status) = *exit.borrow_and_update() {
                return status;
            }
            // The sender is the reaper task, which sends before it ends.
            if exit.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits for the end by itself for so long, then kills, then waits on.
    pub(crate) async fn end_within(&self, patience: Duration, reason: KillReason) -> ExitStatus {
        if let Ok(status) = tokio::time::timeout(patience, self.reaped()).await {
            return status;
        }
        self.kill(reason);
        self.reaped().await
    }
}

/// A process and the daemon's end of its channel.
pub(crate) struct Peer<Tx, Rx> {
    process: Rc<Process>,
    channel: AsyncFd<Channel<Tx, Rx>>,
    bucket: RefCell<Bucket>,
    charged: Cell<u64>,
    sent_failed: Cell<bool>,
}

/// Why nothing can be received any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// It has closed its end, which it does by ending.
    #[error("closed its channel")]
    Closed,
    /// What came is no message of this direction, or carried descriptors.
    #[error("sent a malformed message: {0}")]
    Malformed(ChannelError),
    /// More messages than any honest helper sends.
    #[error("sent more messages than any honest one does")]
    Flood,
    /// The system call failed.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

impl PeerError {
    /// Why the process is killed for it; it may have ended by itself before.
    pub(crate) fn kill_reason(&self) -> Option<KillReason> {
        match self {
            Self::Closed => None,
            Self::Malformed(_) | Self::Flood => Some(KillReason::Broken(self.to_string())),
            Self::Io(_) => Some(KillReason::Channel(self.to_string())),
        }
    }

    /// What it means that a message could not be received: the helper's breach, or a failure of this side.
    fn of_receiving(error: ChannelError) -> Self {
        match error {
            ChannelError::Closed => Self::Closed,
            // `recv` waits on it instead.
            ChannelError::WouldBlock => Self::Io(std::io::ErrorKind::WouldBlock.into()),
            ChannelError::Io(error) => Self::Io(error),
            breach @ (ChannelError::TooLarge(_)
            | ChannelError::Truncated
            | ChannelError::Descriptors { .. }
            | ChannelError::Codec(_)) => Self::Malformed(breach),
        }
    }
}

/// Why a helper is killed to which a message could not be sent; `None` when it is ending anyway, and its exit tells
/// why. But for not reading, nothing that it does makes a message fail that the daemon has made.
fn kill_reason_of_sending(error: &ChannelError) -> Option<KillReason> {
    match error {
        ChannelError::Closed => None,
        ChannelError::WouldBlock => Some(KillReason::TimedOut("does not read its channel")),
        ChannelError::Io(_)
        | ChannelError::TooLarge(_)
        | ChannelError::Truncated
        | ChannelError::Descriptors { .. }
        | ChannelError::Codec(_) => Some(KillReason::Channel(error.to_string())),
    }
}

impl<Tx: Message, Rx: Message> Peer<Tx, Rx> {
    /// Takes over a new process and the daemon's end of its channel.
    ///
    /// # Errors
    /// When the channel cannot be made non-blocking or registered.
    pub(crate) fn new(process: Rc<Process>, channel: Channel<Tx, Rx>) -> std::io::Result<Self> {
        channel.set_nonblocking(true)?;
        if Rx::MAX_DESCRIPTORS == 0 {
            sys::refuse_descriptors(channel.as_fd())?;
        }
        Ok(Self {
            process,
            channel: sys::watch(channel)?,
            bucket: RefCell::new(Bucket::new(BEFORE_ITS_TASK, Instant::now())),
            charged: Cell::new(0),
            sent_failed: Cell::new(false),
        })
    }

    /// The process.
    pub(crate) fn process(&self) -> &Rc<Process> {
        &self.process
    }

    /// Sends a message, or kills the process: answers always fit the buffer of one that is honest.
    pub(crate) fn send(&self, message: &Tx, descriptors: &[BorrowedFd<'_>]) {
        let Err(error) = self.channel.get_ref().send(message, descriptors) else {
            return;
        };
        if self.sent_failed.replace(true) {
            return;
        }
        if let Some(reason) = kill_reason_of_sending(&error) {
            self.process.kill(reason);
        }
    }

    /// It may send so much from now on.
    pub(crate) fn set_rate(&self, rate: Rate) {
        *self.bucket.borrow_mut() = Bucket::new(rate, Instant::now());
    }

    /// Whether it may have sent a message that costs so many others besides.
    ///
    /// # Errors
    /// [`PeerError::Flood`].
    pub(crate) fn charge(&self, more: usize) -> Result<(), PeerError> {
        self.charged.set(self.charged.get() + more as u64);
        let enough = self.bucket.borrow_mut().take(more, Instant::now());
        if enough { Ok(()) } else { Err(PeerError::Flood) }
    }

    /// What it has sent in all, as far as it was charged for it.
    pub(crate) fn charged(&self) -> u64 {
        self.charged.get()
    }

    /// Receives the next message. Each call lets other tasks run first, so that one peer's messages
    /// never keep the daemon from another's.
    ///
    /// # Errors
    /// See [`PeerError`]; all are final.
    ///
    /// # Cancel safety
    /// No message is lost.
    pub(crate) async fn recv(&self) -> Result<Rx, PeerError> {
        tokio::task::yield_now().await;
        let message = loop {
            let mut ready = self.channel.readable().await?;
            match ready.get_inner().recv() {
                Ok(received) => break received.message,
                Err(ChannelError::WouldBlock) => ready.clear_ready(),
                Err(error) => return Err(PeerError::of_receiving(error)),
            }
        };
        self.charge(1)?;
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use berth_common::codec::CodecError;
    use rustix::io::Errno;

    use super::*;
    use crate::exit::ExitReport;

    fn incident(reason: Option<KillReason>) -> Option<IncidentKind> {
        ExitReport::Killed(reason.unwrap()).incident()
    }

    fn failures_of_this_side() -> [ChannelError; 3] {
        [Errno::NOMEM, Errno::NOBUFS, Errno::TOOMANYREFS].map(ChannelError::from)
    }

    #[test]
    fn what_a_helper_sends_is_its_breach_and_what_this_side_lacks_is_none() {
        let received = |error| PeerError::of_receiving(error).kill_reason();
        for breach in [
            ChannelError::TooLarge(1 << 20),
            ChannelError::Truncated,
            ChannelError::Descriptors { stated: 0, got: 1 },
            ChannelError::Codec(CodecError::Trailing(1)),
        ] {
            assert_eq!(incident(received(breach)), Some(IncidentKind::Broke));
        }
        for error in failures_of_this_side() {
            let reason = received(error);
            assert!(matches!(reason, Some(KillReason::Channel(_))), "{reason:?}");
            assert_eq!(incident(reason), None);
        }
        assert_eq!(received(ChannelError::Closed), None);
    }

    #[test]
    fn a_message_that_cannot_be_sent_is_no_breach() {
        for error in failures_of_this_side() {
            let reason = kill_reason_of_sending(&error);
            assert!(matches!(reason, Some(KillReason::Channel(_))), "{reason:?}");
            assert_eq!(incident(reason), None);
        }
        let unread = kill_reason_of_sending(&ChannelError::WouldBlock);
        assert_eq!(incident(unread), Some(IncidentKind::Stalled));
        assert_eq!(kill_reason_of_sending(&ChannelError::Closed), None);
    }
}

//! One helper process: its channel, its end, and the means to bring that about.
//!
//! Each process has a task that reaps it and one that reads its panic pipe; both live until the process is
//! gone, whoever else has forgotten it. [`crate::worker_handle`] and [`crate::filer_handle`] say what is sent.
//! Nothing here waits for a peer: a channel that takes no message is a broken peer.

use std::cell::{Cell, OnceCell, RefCell};
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::{Duration, Instant};

use berth_common::channel::{Channel, ChannelError, Message};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::process::Signal;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::bucket::Bucket;
use crate::exit::KillReason;
use crate::sys;

/// Messages a second, and at once, that a helper may send.
const MESSAGE_RATE: u32 = 50_000;
const MESSAGE_BURST: u32 = 100_000;

/// A process that is a child of the daemon's.
pub(crate) struct Process {
    /// The program's name, for log lines.
    pub(crate) program: &'static str,
    /// Its number, while it is not reaped.
    pub(crate) pid: u32,
    pub(super) pidfd: Rc<AsyncFd<OwnedFd>>,
    pub(super) exit: watch::Receiver<Option<ExitStatus>>,
    pub(super) killed: OnceCell<KillReason>,
}

impl Process {
    /// Sends SIGKILL, unless it is dead. The first reason counts.
    pub(crate) fn kill(&self, reason: KillReason) {
        drop(self.killed.set(reason));
        if self.exit.borrow().is_none() {
            // It cannot hit another process: a pidfd stays with the one that it was opened for.
            if let Err(error) =
                rustix::process::pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL)
                && error != rustix::io::Errno::SRCH
            {
                tracing::error!(program = self.program, pid = self.pid, %error, "cannot kill");
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
    #[error("sent too many messages")]
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
}

impl<Tx: Message, Rx: Message> Peer<Tx, Rx> {
    /// Takes over a new process and the daemon's end of its channel.
    ///
    /// # Errors
    /// When the channel cannot be made non-blocking or registered.
    pub(crate) fn new(process: Rc<Process>, channel: Channel<Tx, Rx>) -> std::io::Result<Self> {
        channel.set_nonblocking(true)?;
        Ok(Self {
            process,
            channel: sys::watch(channel)?,
            bucket: RefCell::new(Bucket::new(MESSAGE_RATE, MESSAGE_BURST, Instant::now())),
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
        // A process that is ending anyway is no failure: its exit tells why.
        if !matches!(error, ChannelError::Closed) {
            self.process.kill(KillReason::Channel(error.to_string()));
        }
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
                Err(ChannelError::Closed) => return Err(PeerError::Closed),
                Err(ChannelError::Io(error)) => return Err(PeerError::Io(error)),
                Err(error) => return Err(PeerError::Malformed(error)),
            }
        };
        if self.bucket.borrow_mut().take(Instant::now()) {
            Ok(message)
        } else {
            Err(PeerError::Flood)
        }
    }
}

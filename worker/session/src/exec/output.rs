//! One of a program's two outputs: read as it comes, and sent in the pieces in which it came.

use std::cell::Cell;
use std::os::fd::OwnedFd;

use berth_common::client_protocol::WorkerToClient;
use berth_common::exec::{MAX_EXEC_DATA, OutputStream};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::Id;
use crate::connection::{ConnectionGone, Outgoing};

/// How much may still come of both together.
pub(super) struct Allowance {
    left: Cell<u64>,
    over: Cell<bool>,
    told: Notify,
}

impl Allowance {
    pub(super) fn new(bytes: u64) -> Self {
        Self { left: Cell::new(bytes), over: Cell::new(false), told: Notify::new() }
    }

    /// Whether more came than may.
    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Waits until more came than may.
    pub(super) async fn exceeded(&self) {
        while !self.over.get() {
            self.told.notified().await;
        }
    }

    /// Cuts off what is too much.
    fn cut(&self, data: &mut Vec<u8>) {
        let left = usize::try_from(self.left.get()).unwrap_or(usize::MAX);
        if data.len() > left {
            data.truncate(left);
            self.over.set(true);
            self.told.notify_waiters();
        }
        self.left.set(self.left.get() - data.len() as u64);
    }
}

/// Sends what the program writes until it, or the allowance, has ended. The pipe is read when the piece before is in
/// the client's queue, which is bounded.
///
/// # Errors
/// When the connection is gone.
pub(super) async fn send(
    id: Id,
    stream: OutputStream,
    pipe: AsyncFd<OwnedFd>,
    allowance: &Allowance,
    outgoing: &Outgoing,
) -> Result<(), ConnectionGone> {
    loop {
        // The other output may have used it up while this one is silent.
        let read = tokio::select! {
            biased;
            () = allowance.exceeded() => None,
            read = read(&pipe) => read,
        };
        let Some(mut data) = read else {
            return Ok(());
        };
        allowance.cut(&mut data);
        if !data.is_empty() {
            outgoing.send(&WorkerToClient::ExecOutput { id, stream, data }).await?;
        }
    }
}

/// What is there; `None` at the end.
async fn read(pipe: &AsyncFd<OwnedFd>) -> Option<Vec<u8>> {
    loop {
        let mut ready = pipe.readable().await.ok()?;
        // Not before there is something: a program may be silent for long.
        let mut data = vec![0; MAX_EXEC_DATA];
        match rustix::io::read(pipe.get_ref(), &mut data) {
            Ok(0) => return None,
            Ok(count) => {
                data.truncate(count);
                return Some(data);
            }
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

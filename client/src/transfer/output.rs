//! Writes what a get receives to standard output, or anything else that only takes bytes: nothing is kept, so that a
//! get that was cut off begins at the beginning. Each block is verified before its first byte is written.

use std::io::{self, Write};

use berth_common::digest::Md5;
use tokio::sync::mpsc;

use super::TransferError;
use super::sink::Store;
use crate::progress::Reporter;

/// Something that takes bytes in their order.
pub(super) struct Output<W>(pub(super) W);

/// Blocks that wait for whoever writes them.
const WAITING: usize = 1;

/// Hands what is written to a task, a block at a time.
pub(super) struct Pipe(mpsc::Sender<Vec<u8>>);

impl Pipe {
    /// Both ends; the second one ends when the first is gone.
    pub(super) fn new() -> (Self, mpsc::Receiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }
}

impl Write for Pipe {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(data.to_vec());
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write + Send + 'static> Store for Output<W> {
    fn write(&mut self, _: u64, data: &[u8], _: &[Md5]) -> Result<(), TransferError> {
        self.0.write_all(data).map_err(TransferError::Output)
    }

    fn finish(mut self, _: &Reporter) -> Result<bool, TransferError> {
        self.0.flush().map_err(TransferError::Output)?;
        Ok(false)
    }

    fn leave(self, _: u64) {}

    fn discard(self) {}
}

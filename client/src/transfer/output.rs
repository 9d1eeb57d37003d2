//! Writes what a get receives to standard output, or anything else that only takes bytes: nothing is kept, so that a
//! get that was cut off begins at the beginning. Each block is verified before its first byte is written.

use std::io::Write;

use berth_common::digest::Md5;

use super::TransferError;
use super::sink::Store;
use crate::progress::Reporter;

/// Something that takes bytes in their order.
pub(super) struct Output<W>(pub(super) W);

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

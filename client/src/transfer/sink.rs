//! The helper thread of a get: verifies blocks and has them stored. It never touches the network.

use berth_common::digest::{self, Md5};
use tokio::sync::mpsc;

use super::TransferError;
use super::plan::{PlanError, ReceivePlan, Verdict};
use crate::connection::Block;
use crate::progress::{Event, Reporter};

/// Blocks that wait for the helper thread.
pub(super) const WAITING_BLOCKS: usize = 4;

/// What the helper thread is given.
pub(super) enum ToSink {
    /// A block as it came.
    Block(Block),
    /// The sender has sent all, and says this is the tree digest.
    End(Md5),
}

impl ToSink {
    fn data(&self) -> Option<&[u8]> {
        match self {
            Self::Block(block) => Some(block.data()),
            Self::End(_) => None,
        }
    }
}

/// Waits for the next, and takes one more if it is there already.
fn next_two(input: &mut mpsc::Receiver<ToSink>) -> Option<Vec<ToSink>> {
    let first = input.blocking_recv()?;
    Some(std::iter::once(first).chain(input.try_recv().ok()).collect())
}

/// What the helper thread has to say.
#[derive(Debug)]
pub(super) enum FromSink {
    /// The block at this offset is bad: ask for it again.
    Again(u64),
    /// All has come and the digest agrees: the server is not needed any more.
    Arrived,
    /// The file is in place and on disk.
    Done(Received),
    /// It cannot go on.
    Failed(TransferError),
}

impl FromSink {
    pub(super) fn received(self) -> Option<Received> {
        match self {
            Self::Done(received) => Some(received),
            Self::Again(_) | Self::Arrived | Self::Failed(_) => None,
        }
    }
}

/// What was received.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) digest: Md5,
    pub(super) moved_leaves: u64,
    pub(super) replaced: bool,
}

/// Where what is verified goes.
pub(super) trait Store: Send + 'static {
    /// Takes the next bytes, with their leaves.
    fn write(&mut self, offset: u64, data: &[u8], leaves: &[Md5]) -> Result<(), TransferError>;

    /// All has come. Says whether a file was replaced.
    fn finish(self, progress: &Reporter) -> Result<bool, TransferError>;

    /// It goes on no more now; from so many verified bytes the next try may go on.
    fn leave(self, verified: u64);

    /// What has come is of no use to anybody.
    fn discard(self);
}

/// A get's file while it is being received.
pub(super) struct Sink<S> {
    pub(super) store: S,
    pub(super) plan: ReceivePlan,
    pub(super) progress: Reporter,
}

impl<S: Store> Sink<S> {
    /// Runs until the file is complete, an error, or nobody gives it anything any more.
    pub(super) fn run(
        mut self,
        mut input: mpsc::Receiver<ToSink>,
        output: &mpsc::UnboundedSender<FromSink>,
    ) {
        let ending = loop {
            let Some(batch) = next_two(&mut input) else {
                break None;
            };
            if let Some(ending) = self.take(batch, output) {
                break Some(ending);
            }
        };
        let finished = match ending {
            Some(Ok(digest)) => {
                let _ = output.send(FromSink::Arrived);
                self.finish(digest)
            }
            Some(Err(error)) => {
                match error {
                    TransferError::WholeDiffers => self.store.discard(),
                    _ => self.store.leave(self.plan.offset()),
                }
                FromSink::Failed(error)
            }
            None => return self.store.leave(self.plan.offset()),
        };
        let _ = output.send(finished);
    }

    /// Takes what has come, in order; the result when it is the end or an error.
    fn take(
        &mut self,
        batch: Vec<ToSink>,
        output: &mpsc::UnboundedSender<FromSink>,
    ) -> Option<Result<Md5, TransferError>> {
        // Two blocks are hashed together in hardly more time than one.
        let data: Vec<&[u8]> = batch.iter().filter_map(ToSink::data).collect();
        let mut leaves = digest::leaves_of_blocks(&data).into_iter();
        for given in batch {
            match given {
                ToSink::Block(block) => {
                    let found = leaves.next().unwrap_or_default();
                    match self.block(&block, &found) {
                        Ok(Verdict::Again(offset)) => {
                            let _ = output.send(FromSink::Again(offset));
                        }
                        Ok(Verdict::Write) => {
                            self.progress.tell(Event::Advanced { position: self.plan.offset() })
                        }
                        Ok(Verdict::Ignore) => {}
                        Err(error) => return Some(Err(error)),
                    }
                }
                // It was on its way when the block was asked for again; it will come again too.
                ToSink::End(_) if self.plan.is_waiting() => {}
                ToSink::End(digest) => return Some(self.end(digest)),
            }
        }
        None
    }

    fn block(&mut self, block: &Block, found: &[Md5]) -> Result<Verdict, TransferError> {
        let (offset, data) = (self.plan.offset(), block.data());
        let verdict = self.plan.block(&block.header, data.len(), found)?;
        if verdict == Verdict::Write {
            self.store.write(offset, data, found)?;
        }
        Ok(verdict)
    }

    fn end(&self, digest: Md5) -> Result<Md5, TransferError> {
        if !self.plan.is_complete() {
            return Err(PlanError::Nonsense("the server ended the file too early").into());
        }
        if self.plan.digest() == digest { Ok(digest) } else { Err(TransferError::WholeDiffers) }
    }

    fn finish(self, digest: Md5) -> FromSink {
        let moved_leaves = self.plan.moved();
        match self.store.finish(&self.progress) {
            Ok(replaced) => FromSink::Done(Received { digest, moved_leaves, replaced }),
            Err(error) => FromSink::Failed(error),
        }
    }
}

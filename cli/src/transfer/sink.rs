//! The helper thread of a get: verifies blocks, writes them, keeps the journal, and at the end
//! gives the file its name. It never touches the network.

use std::os::unix::fs::FileExt as _;

use berth_common::digest::{self, Md5};
use berth_common::entry::Entry;
use tokio::sync::mpsc;

use super::TransferError;
use super::durable::{DurableMarks, MarkError};
use super::part::Part;
use super::plan::{PlanError, ReceivePlan, Verdict};
use crate::connection::Block;
use crate::progress::FileProgress;

/// Blocks that wait for the helper thread.
pub(super) const WAITING_BLOCKS: usize = 2;

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

/// What was received.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) digest: Md5,
    pub(super) moved_leaves: u64,
    pub(super) replaced: bool,
}

/// A get's file while it is being received.
pub(super) struct Sink {
    pub(super) part: Part,
    pub(super) plan: ReceivePlan,
    pub(super) entry: Entry,
    pub(super) force: bool,
    pub(super) progress: FileProgress,
}

impl Sink {
    /// Runs until the file is complete, an error, or nobody gives it anything any more. What is
    /// verified stays for the next try; a part in which nothing is, goes.
    pub(super) fn run(
        mut self,
        mut input: mpsc::Receiver<ToSink>,
        output: &mpsc::UnboundedSender<FromSink>,
    ) {
        let mut marks = DurableMarks::new();
        let ending = loop {
            let Some(batch) = next_two(&mut input) else {
                break None;
            };
            if let Some(ending) = self.take(batch, &mut marks, output) {
                break Some(ending);
            }
        };
        let finished = match ending {
            Some(Ok(digest)) => {
                let _ = output.send(FromSink::Arrived);
                self.finish(digest)
            }
            Some(Err(error)) => {
                self.give_up(&error);
                FromSink::Failed(error)
            }
            None => return self.leave(),
        };
        let _ = output.send(finished);
    }

    /// Takes what has come, in order; the result when it is the end or an error.
    fn take(
        &mut self,
        batch: Vec<ToSink>,
        marks: &mut DurableMarks,
        output: &mpsc::UnboundedSender<FromSink>,
    ) -> Option<Result<Md5, TransferError>> {
        // Two blocks are hashed together in hardly more time than one.
        let data: Vec<&[u8]> = batch.iter().filter_map(ToSink::data).collect();
        let mut leaves = digest::leaves_of_blocks(&data).into_iter();
        for given in batch {
            match given {
                ToSink::Block(block) => {
                    let found = leaves.next().unwrap_or_default();
                    match self.block(&block, &found, marks) {
                        Ok(Verdict::Again(offset)) => {
                            let _ = output.send(FromSink::Again(offset));
                        }
                        Ok(Verdict::Write) => self.progress.at(self.plan.offset()),
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

    fn block(
        &mut self,
        block: &Block,
        found: &[Md5],
        marks: &mut DurableMarks,
    ) -> Result<Verdict, TransferError> {
        let (offset, data) = (self.plan.offset(), block.data());
        let verdict = self.plan.block(&block.header, data.len(), found)?;
        if verdict != Verdict::Write {
            return Ok(verdict);
        }
        let file = self.part.file()?.clone();
        file.write_all_at(data, offset)
            .map_err(TransferError::local("cannot write", self.part.path()))?;
        let Some(journal) = self.part.journal_mut() else {
            return Ok(verdict);
        };
        // The entries come after the data, see `Journal::append`.
        let kept = journal.append(found).map_err(MarkError::Journal);
        match kept.and_then(|()| marks.written(data.len() as u64, &file, journal)) {
            Ok(()) => Ok(verdict),
            Err(MarkError::Journal(error)) => Err(self.part.journal_error(error)),
            // Nothing of the part can be trusted after a failed flush, so it must not be resumed.
            Err(MarkError::Data(error)) => {
                self.plan = ReceivePlan::resume(0, &[]);
                Err(TransferError::local("cannot write", self.part.path())(error))
            }
        }
    }

    fn end(&self, digest: Md5) -> Result<Md5, TransferError> {
        if !self.plan.is_complete() {
            return Err(PlanError::Nonsense("the server ended the file too early").into());
        }
        if self.plan.digest() == digest { Ok(digest) } else { Err(TransferError::WholeDiffers) }
    }

    fn finish(self, digest: Md5) -> FromSink {
        self.progress.waiting("storing");
        match self.part.commit(&self.entry, self.force) {
            Ok(committed) => {
                if !committed.attributes_kept {
                    self.progress.note("the file system does not keep its time or mode");
                }
                let replaced = committed.replaced;
                let moved_leaves = self.plan.moved();
                FromSink::Done(Received { digest, moved_leaves, replaced })
            }
            Err(error) => FromSink::Failed(error),
        }
    }

    fn give_up(self, error: &TransferError) {
        if matches!(error, TransferError::WholeDiffers) {
            self.part.discard()
        } else {
            self.leave()
        }
    }

    /// A part without a journal, or without a leaf, is nothing to go on from.
    fn leave(mut self) {
        if self.plan.offset() == 0 || self.part.journal_mut().is_none() {
            self.part.discard();
        }
    }
}

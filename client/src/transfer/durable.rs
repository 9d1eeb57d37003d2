//! Durable marks of a get's journal, set while data keeps coming.
//!
//! The flush of the data runs on a thread of its own, since it takes as long as the disk needs;
//! the mark follows when it is done, with the leaves that were counted before it began.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Instant;

use berth_common::journal::{DurablePolicy, Journal, JournalError};

/// Why a mark was not set.
#[derive(Debug)]
pub(super) enum MarkError {
    /// The data cannot be flushed: what is on the disk is unknown, and nothing of it may be used.
    Data(io::Error),
    /// The journal cannot be written.
    Journal(JournalError),
}

/// Sets durable marks when they are due.
#[derive(Debug)]
pub(super) struct DurableMarks {
    policy: DurablePolicy,
    flushing: Option<(u64, Receiver<io::Result<()>>)>,
}

impl DurableMarks {
    pub(super) fn new() -> Self {
        Self { policy: DurablePolicy::new(Instant::now()), flushing: None }
    }

    /// So many bytes were written and are in the journal.
    pub(super) fn written(
        &mut self,
        bytes: u64,
        data: &Arc<File>,
        journal: &mut Journal,
    ) -> Result<(), MarkError> {
        self.policy.written(bytes);
        if let Some((leaves, flushed)) = &self.flushing {
            match flushed.try_recv() {
                Err(TryRecvError::Empty) => return Ok(()),
                Ok(Ok(())) => journal.mark_durable(*leaves).map_err(MarkError::Journal)?,
                Ok(Err(error)) => return Err(MarkError::Data(error)),
                Err(TryRecvError::Disconnected) => {
                    return Err(MarkError::Data(io::Error::other("the flush was stopped")));
                }
            }
            self.flushing = None;
        }
        let now = Instant::now();
        if self.policy.is_due(now) {
            self.policy.begin(now);
            self.flushing = Some((journal.verified(), flush(data.clone())?));
        }
        Ok(())
    }
}

fn flush(data: Arc<File>) -> Result<Receiver<io::Result<()>>, MarkError> {
    let (done, flushed) = sync_channel(1);
    let thread = std::thread::Builder::new().name("flush".into());
    let flush = move || {
        let _ = done.send(data.sync_data());
    };
    thread.spawn(flush).map_err(MarkError::Data)?;
    Ok(flushed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use berth_common::digest::Md5;
    use berth_common::journal::{BootId, DURABLE_EVERY_BYTES};

    use super::*;

    #[test]
    fn a_mark_covers_what_was_verified_before_the_flush_began() {
        let data = Arc::new(tempfile::tempfile().unwrap());
        let file = tempfile::tempfile().unwrap();
        let mut journal = Journal::create(file, [1; 16], BootId::from_bytes([2; 16])).unwrap();
        let mut marks = DurableMarks::new();
        journal.append(&[Md5::of(b"1"); 3]).unwrap();
        marks.written(DURABLE_EVERY_BYTES, &data, &mut journal).unwrap();
        journal.append(&[Md5::of(b"2"); 4]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while journal.durable() == 0 && Instant::now() < deadline {
            marks.written(0, &data, &mut journal).unwrap();
            std::thread::yield_now();
        }
        assert_eq!((journal.durable(), journal.verified()), (3, 7));
    }
}

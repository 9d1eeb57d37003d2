//! What `put -r` and `get -r` say: what is left out, what failed, and a summary at the end.

use std::time::Instant;

use berth_common::batch::AT_ONCE;
use berth_common::limits::LEAF_SIZE;

use super::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Failures};
use crate::progress::Progress;
use crate::trees::Tally;

/// Pieces that are found ahead.
pub(super) const AHEAD: usize = 256;

/// Pieces that move, or wait for their turn or their directory; small files are not counted.
pub(super) const UNDER_WAY: usize = 64;

/// Small files that may be under way: more than are, over a long line, while one answer comes.
pub(super) const SMALL_UNDER_WAY: usize = 4096;

/// Messages of small files that are on their way at once. One less than the server carries out: what it has answered
/// is still being told.
pub(super) const BATCHES: usize = AT_ONCE - 1;

/// Such messages from which on the next one waits until it is full.
pub(super) const BATCHES_AHEAD: usize = 2;

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    /// The session is over.
    Stop,
}

/// What is said of a command's trees.
pub(super) struct Telling<'a> {
    context: &'a Context,
    pub(super) progress: Progress,
    pub(super) tally: Tally,
    failures: Failures,
    started: Instant,
}

impl<'a> Telling<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        let (tally, started) =
            context.tries.trees().unwrap_or_else(|| (Tally::default(), Instant::now()));
        Self {
            context,
            progress: Progress::of_trees(context.progress),
            tally,
            failures: Failures::of_tries(context.output.style(), context.tries.clone()),
            started,
        }
    }

    /// Something is left out, for this reason.
    pub(super) fn skipped(&mut self, sentence: &str) {
        // No path is hashed like it.
        if !self.context.tries.done(&("skipped", sentence)) {
            return;
        }
        self.tally.skipped += 1;
        self.progress.suspend(|| self.context.output.note(sentence));
    }

    /// Something could not be done; the rest goes on. Whether it was told: what another try may mend is not.
    pub(super) fn failed(&mut self, failure: &Failure) -> bool {
        let told = self.progress.suspend(|| self.failures.take(failure));
        self.tally.failed += u64::from(told);
        told
    }

    /// What comes after a transfer whose failure ends the session: if there is another try, what is under way comes
    /// to its end.
    pub(super) fn lost(&self) -> Next {
        if self.context.tries.are_more() { Next::GoOn } else { Next::Stop }
    }

    /// Whether more is begun.
    pub(super) fn begins(&self) -> bool {
        !self.context.tries.has_lost()
    }

    /// A file was moved, so many leaves of it.
    pub(super) fn moved(&mut self, size: u64, leaves: u64) {
        self.tally.files += 1;
        self.tally.bytes += size;
        self.tally.moved += leaves.saturating_mul(LEAF_SIZE as u64).min(size);
    }

    /// What moves has moved.
    pub(super) fn over(&self) {
        self.progress.end();
    }

    /// How it ends, as far as is known.
    pub(super) fn exit(&self) -> Exit {
        self.failures.exit()
    }

    /// All that could be done is done.
    pub(super) fn end(self) -> Result<Exit, Failure> {
        self.progress.end();
        self.context.tries.keep_trees(self.tally, self.started);
        if self.context.tries.has_lost() {
            return Ok(self.failures.exit());
        }
        let (output, elapsed) = (&self.context.output, self.started.elapsed());
        if output.style().json {
            output.json(&self.tally.json(elapsed))?;
        } else {
            self.progress.line(&self.tally.line(elapsed));
        }
        Ok(self.failures.exit())
    }
}

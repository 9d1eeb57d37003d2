//! The blocks of a download: read and hashed by the helper, ahead of what the client takes, and sent.
//!
//! Bound, in bytes: of one download at most [`READ_AHEAD`] less one blocks are read and wait for room in the
//! client's queue, and [`READ_TOGETHER`] are with the helper: 3 MiB. The client's queue is bounded too.

use std::sync::Arc;
use std::time::Instant;

use actix::{ActorFutureExt as _, AsyncContext as _, WrapFuture as _};
use berth_common::client_protocol::WorkerToClient;
use berth_common::error_code::ErrorCode;

use super::{Ctx, GetActor, Outcome, Stage};
use crate::connection::ConnectionGone;
use crate::helper::HelperGone;
use crate::transfer::pipeline::Block;
use crate::transfer::read::{ReadError, Wanted, read_blocks};

/// The helper reads on while fewer blocks than this wait for the client's queue.
const READ_AHEAD: usize = 2;

/// Blocks that the helper reads at once: as many as fill the lanes of a processor that hashes sixteen leaves
/// side by side, which takes it hardly longer than eight.
const READ_TOGETHER: usize = 2;

impl GetActor {
    /// Has the next blocks read, unless enough are.
    pub(super) fn read_ahead(&mut self, ctx: &mut Ctx) {
        let Stage::Sending(sending) = &mut self.stage else {
            return;
        };
        if sending.reading || sending.ready.len() >= READ_AHEAD {
            return;
        }
        let mut wanted = Vec::with_capacity(READ_TOGETHER);
        let mut unchanged = None;
        while wanted.len() < READ_TOGETHER
            && let Some((offset, len)) = sending.plan.next_block()
        {
            if sending.plan.is_last(offset, len) {
                unchanged = Some(sending.entry.clone());
            }
            let buffer = self.services.pool.take(len);
            wanted.push(Wanted { offset, buffer });
        }
        if wanted.is_empty() {
            return;
        }
        sending.reading = true;
        let (round, transfer) = (sending.round, self.get.id);
        let file = Arc::clone(&sending.file);
        let io = &self.services.helpers.io;
        let read = io.run(move || read_blocks(&file, transfer, wanted, unchanged.as_ref()));
        ctx.spawn(read.into_actor(self).map(move |read, actor, ctx| {
            actor.have_read(round, read, ctx);
        }));
    }

    fn have_read(
        &mut self,
        round: u64,
        read: Result<Result<Vec<Block>, ReadError>, HelperGone>,
        ctx: &mut Ctx,
    ) {
        let Stage::Sending(sending) = &mut self.stage else {
            return;
        };
        sending.reading = false;
        match read {
            Ok(Ok(blocks)) if round == sending.round => {
                for block in blocks {
                    let (header, len) = (&block.header, block.data.len());
                    sending.plan.sends(header.offset, len, &header.leaves);
                    sending.ready.push_back(block);
                }
            }
            Ok(Ok(blocks)) => {
                for block in blocks {
                    self.services.pool.give(block.data);
                }
            }
            Ok(Err(ReadError::Changed)) => self.fail(ErrorCode::SourceChanged),
            Ok(Err(ReadError::Io(_))) | Err(HelperGone) => self.fail(ErrorCode::Internal),
        }
        self.step(ctx);
    }

    /// Queues the next block for the client, or the end, if nothing waits for room already.
    pub(super) fn send_next(&mut self, ctx: &mut Ctx) {
        let Stage::Sending(sending) = &mut self.stage else {
            return;
        };
        if sending.sending || sending.ended {
            return;
        }
        let outgoing = self.services.outgoing.clone();
        if let Some(Block { header, data }) = sending.ready.pop_front() {
            sending.sending = true;
            self.services.moved.sent(data.len());
            let sent = async move { outgoing.send_block(&header, data).await };
            ctx.spawn(sent.into_actor(self).map(Self::sent));
            return self.step(ctx);
        }
        let Some(digest) = sending.plan.finish().filter(|_| !sending.reading) else {
            return;
        };
        if sending.entry.digest.is_some_and(|stored| stored != digest) {
            // The content is not what was stored with it, and its size and mtime are: rot on disk.
            self.fail(ErrorCode::DigestMismatch);
            return self.step(ctx);
        }
        (sending.sending, sending.ended) = (true, true);
        let id = self.get.id;
        let sent = async move { outgoing.send(&WorkerToClient::GetEnd { id, digest }).await };
        ctx.spawn(sent.into_actor(self).map(Self::sent));
    }

    /// Something has entered the client's queue.
    pub(super) fn sent(sent: Result<(), ConnectionGone>, actor: &mut Self, ctx: &mut Ctx) {
        if let Stage::Sending(sending) = &mut actor.stage {
            sending.sending = false;
            sending.last_step = Instant::now();
        }
        if sent.is_err() {
            actor.fate.get_or_insert(Outcome::Failed(ErrorCode::Cancelled));
        }
        actor.step(ctx);
    }
}

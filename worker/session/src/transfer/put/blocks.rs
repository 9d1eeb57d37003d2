//! The blocks of an upload: taken from the queue one at a time, checked and written by a helper, which hashes
//! them two at a time; asked for again where they differ; and the durable marks between them.

use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix::{ActorFutureExt as _, AsyncContext as _, WrapFuture as _};
use berth_common::client_protocol::WorkerToClient;
use berth_common::digest::{self, Md5};
use berth_common::error_code::ErrorCode;
use berth_common::journal::JournalError;

use super::{Ctx, Fate, PutActor, Stage, base};
use crate::connection::ConnectionGone;
use crate::helper::HelperGone;
use crate::transfer::journal::{Stored, error_code};
use crate::transfer::pipeline::Block;
use crate::transfer::plan::{Arrival, Failure, Violation};

/// What a helper has done.
struct Done {
    block: Block,
    /// It was read from the base.
    copied: bool,
    stored: Result<Stored, JournalError>,
    /// The block behind it, and what its leaves' MD5s are.
    next: Option<(Block, Vec<Md5>)>,
}

impl PutActor {
    /// The client was told something, and the next block may be handled.
    pub(super) fn told(told: Result<(), ConnectionGone>, actor: &mut Self, ctx: &mut Ctx) {
        if let Stage::Receiving(receiving) = &mut actor.stage {
            receiving.telling = false;
            receiving.last_step = Instant::now();
        }
        if told.is_err() {
            actor.fate.get_or_insert(Fate::resumable(ErrorCode::Cancelled));
        }
        actor.step(ctx);
    }

    /// Takes the next block, or waits for it.
    pub(super) fn take_block(&mut self, ctx: &mut Ctx) {
        let Stage::Receiving(receiving) = &mut self.stage else {
            return;
        };
        let Some(mut block) = receiving.queue.pop() else {
            if !receiving.waiting {
                receiving.waiting = true;
                let arrived = Rc::clone(&receiving.queue).arrived();
                ctx.spawn(arrived.into_actor(self).map(|(), actor, ctx| {
                    if let Stage::Receiving(receiving) = &mut actor.stage {
                        receiving.waiting = false;
                    }
                    actor.step(ctx);
                }));
            }
            return;
        };
        let Ok(base) = self.of_base(&mut block) else {
            self.fate = Some(Fate::Violation);
            return self.step(ctx);
        };
        let Stage::Receiving(receiving) = &mut self.stage else {
            return;
        };
        let (offset, len) = (block.header.offset, block.data.len());
        let arrival = match base {
            Some(_) => receiving.plan.copies(offset, len),
            None => receiving.plan.arrives(offset, len),
        };
        match (arrival, base) {
            (Ok(Arrival::Check), Some(base)) => self.store(block, Some(base), ctx),
            (Ok(Arrival::Check), None) => self.store_in_room(block, ctx),
            (Ok(Arrival::Ignore), _) => {
                receiving.hashed = None;
                self.services.pool.give(block.data);
                self.step(ctx);
            }
            (Err(Violation), _) => {
                self.fate = Some(Fate::Violation);
                self.step(ctx);
            }
        }
    }

    /// Has a helper check and write a block, which it first reads from the base if it is from there, and hash the one
    /// behind it too if that is here: a processor that hashes sixteen leaves side by side takes hardly longer for two
    /// blocks than for one.
    pub(super) fn store(&mut self, mut block: Block, base: Option<Arc<File>>, ctx: &mut Ctx) {
        let Stage::Receiving(receiving) = &mut self.stage else {
            return;
        };
        receiving.storing = true;
        let files = receiving.files.clone();
        let hashed = receiving.hashed.take();
        let alone = hashed.is_some() || base.is_some();
        let next = if alone { None } else { receiving.queue.lend() };
        let copied = base.is_some();
        let stored = self.services.helpers.io.run(move || {
            if let Some(base) = base
                && !base::read(&base, &mut block)
            {
                return Done { block, copied, stored: Ok(Stored::Differs), next: None };
            }
            let (found, of_next) = match (hashed, &next) {
                (Some(found), _) => (found, None),
                (None, None) => (digest::leaves(&block.data), None),
                (None, Some(next)) => {
                    let mut both = digest::leaves_of_blocks(&[&block.data, &next.data]);
                    let of_next = both.pop();
                    (both.pop().unwrap_or_default(), of_next)
                }
            };
            let stored = files.store(&block, &found);
            Done { block, copied, stored, next: next.zip(of_next) }
        });
        ctx.spawn(stored.into_actor(self).map(|stored, actor, ctx| match stored {
            Ok(done) => actor.stored(done, ctx),
            Err(HelperGone) => {
                if let Stage::Receiving(receiving) = &mut actor.stage {
                    receiving.storing = false;
                }
                actor.fate.get_or_insert(Fate::resumable(ErrorCode::Internal));
                actor.step(ctx);
            }
        }));
    }

    fn stored(&mut self, Done { block, copied, stored, next }: Done, ctx: &mut Ctx) {
        let Stage::Receiving(receiving) = &mut self.stage else {
            return;
        };
        receiving.storing = false;
        receiving.last_step = Instant::now();
        if let Some((next, found)) = next {
            receiving.queue.take_back(next);
            receiving.hashed = Some(found);
        }
        let Block { header, data } = block;
        match stored {
            Ok(Stored::Good) => {
                receiving.plan.verified(data.len(), &header.leaves);
                receiving.policy.written(data.len() as u64);
                // Also of what was named something has come, which tells that the client is there.
                let came = if copied { header.leaves.len() } else { data.len() };
                self.services.moved.received(came);
            }
            Ok(Stored::Differs) => match receiving.plan.differs() {
                Failure::Again { offset } => self.ask_again(offset, ctx),
                Failure::GiveUp { offset } => {
                    let error = ErrorCode::IntegrityMismatch { offset };
                    self.fate.get_or_insert(Fate::resumable(error));
                }
            },
            // What the journal has is true all the same, so this can be resumed when there is room.
            Err(error) => drop(self.fate.get_or_insert(Fate::resumable(error_code(&error)))),
        }
        self.services.pool.give(data);
        self.ask_ahead(ctx);
        self.step(ctx);
    }

    fn ask_again(&mut self, offset: u64, ctx: &mut Ctx) {
        if let Stage::Receiving(receiving) = &mut self.stage {
            receiving.telling = true;
        }
        let (id, outgoing) = (self.put.id, self.services.outgoing.clone());
        let tell = async move { outgoing.send(&WorkerToClient::Again { id, offset }).await };
        ctx.spawn(tell.into_actor(self).map(Self::told));
    }

    /// Has the data flushed and marked durable, while blocks go on.
    pub(super) fn mark(&mut self, ctx: &mut Ctx) {
        let Stage::Receiving(receiving) = &mut self.stage else {
            return;
        };
        receiving.marking = true;
        receiving.policy.begin(Instant::now());
        let files = receiving.files.clone();
        let marked = self.services.helpers.sync.run(move || files.mark_durable());
        ctx.spawn(marked.into_actor(self).map(|marked, actor, ctx| {
            if let Stage::Receiving(receiving) = &mut actor.stage {
                receiving.marking = false;
            }
            let fate = match marked {
                Ok(Ok(())) => None,
                // A flush that failed is final: the next one may lie.
                Ok(Err(error)) => Some(Fate::dropped(error_code(&error))),
                Err(HelperGone) => Some(Fate::resumable(ErrorCode::Internal)),
            };
            if let Some(fate) = fate {
                // It outweighs an end that would keep the upload.
                actor.fate = Some(fate);
            }
            actor.step(ctx);
        }));
    }
}

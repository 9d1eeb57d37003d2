//! Room for an upload of unknown size: asked for ahead, and waited for by a block that has none.

use std::time::Instant;

use actix::{ActorFutureExt as _, AsyncContext as _, WrapFuture as _};
use berth_common::error_code::ErrorCode;

use super::{Ctx, Fate, PutActor, Stage};
use crate::filesystem::{Answer, Extend};
use crate::transfer::pipeline::Block;
use crate::transfer::plan::Need;

impl PutActor {
    /// Has a block stored, or held until there is room for it.
    pub(super) fn store_in_room(&mut self, block: Block, ctx: &mut Ctx) {
        let Stage::Receiving(receiving) = &mut self.stage else {
            return;
        };
        let end = block.header.offset + block.data.len() as u64;
        let need = receiving.room.as_mut().map_or(Need::Nothing, |room| room.need(end));
        if need == Need::Nothing {
            return self.store(block, None, ctx);
        }
        receiving.held = Some(block);
        if let Need::Ask { least } = need {
            self.extend(least, ctx);
        }
    }

    /// Asks for more before a block needs it, unless the sender has said that it has sent all.
    pub(super) fn ask_ahead(&mut self, ctx: &mut Ctx) {
        let Stage::Receiving(receiving) = &mut self.stage else {
            return;
        };
        let written = receiving.plan.written();
        if receiving.plan.is_ending() || self.fate.is_some() {
            return;
        }
        if let Some(least) = receiving.room.as_mut().and_then(|room| room.ask_ahead(written)) {
            self.extend(least, ctx);
        }
    }

    fn extend(&mut self, least: u64, ctx: &mut Ctx) {
        let Stage::Receiving(receiving) = &self.stage else {
            return;
        };
        let asked = self.uploading.extend.send(Extend { handle: receiving.handle, least });
        ctx.spawn(asked.into_actor(self).map(|answer, actor, ctx| {
            actor.extended(answer.unwrap_or(Err(ErrorCode::Internal)), ctx);
        }));
    }

    fn extended(&mut self, answer: Answer<u64>, ctx: &mut Ctx) {
        let Stage::Receiving(receiving) = &mut self.stage else {
            return;
        };
        receiving.last_step = Instant::now();
        let answered = receiving.room.as_mut().map_or(Ok(()), |room| room.answered(answer));
        if let Err(error) = answered {
            self.fate.get_or_insert(Fate::dropped(error));
        }
        match receiving.held.take() {
            Some(block) if self.fate.is_none() => self.store_in_room(block, ctx),
            held => {
                if let Some(block) = held {
                    self.services.pool.give(block.data);
                }
                self.step(ctx);
            }
        }
    }
}

//! What the client of an upload is told when it begins: how much is there already, and its leaves' MD5s.
//!
//! The journal is read part by part, as the client takes them, so that resuming costs the same memory
//! whatever the file's size.

use std::time::Instant;

use actix::{ActorFutureExt as _, AsyncContext as _, WrapFuture as _};
use berth_common::client_protocol::WorkerToClient;
use berth_common::error_code::ErrorCode;

use super::{Ctx, Fate, PutActor, Stage};
use crate::connection::ConnectionGone;
use crate::transfer::journal::{error_code, parts};

impl PutActor {
    /// Tells that blocks may be sent after the first `leaves`, and the MD5s of these.
    pub(super) fn tell_ready(&mut self, leaves: u64, started_over: bool, ctx: &mut Ctx) {
        let (id, based) = (self.put.id, self.base.is_some());
        let ready = WorkerToClient::PutReady { id, leaves, started_over, based };
        self.tell_part(ready, 0, leaves, ctx);
    }

    /// Tells `part`, and then the leaves from `next` to `end`.
    fn tell_part(&mut self, part: WorkerToClient, next: u64, end: u64, ctx: &mut Ctx) {
        let outgoing = self.services.outgoing.clone();
        let told = async move { outgoing.send(&part).await };
        ctx.spawn(
            told.into_actor(self)
                .map(move |told, actor, ctx| actor.tell_leaves(told, next, end, ctx)),
        );
    }

    fn tell_leaves(
        &mut self,
        told: Result<(), ConnectionGone>,
        next: u64,
        end: u64,
        ctx: &mut Ctx,
    ) {
        let Stage::Receiving(receiving) = &mut self.stage else {
            return;
        };
        let part = parts(next..end).next();
        let Some(part) = part.filter(|_| told.is_ok() && self.fate.is_none()) else {
            return Self::told(told, self, ctx);
        };
        receiving.last_step = Instant::now();
        receiving.looking_up = true;
        let (files, next) = (receiving.files.clone(), part.end);
        let read = self.services.helpers.io.run(move || files.leaves(part));
        ctx.spawn(read.into_actor(self).map(move |read, actor, ctx| {
            if let Stage::Receiving(receiving) = &mut actor.stage {
                receiving.looking_up = false;
            }
            let error = match read {
                Ok(Ok(leaves)) if actor.fate.is_none() => {
                    let id = actor.put.id;
                    let leaves = WorkerToClient::JournalLeaves { id, leaves };
                    return actor.tell_part(leaves, next, end, ctx);
                }
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(error_code(&error)),
                Err(_) => Some(ErrorCode::Internal),
            };
            if let Some(error) = error {
                actor.fate.get_or_insert(Fate::resumable(error));
            }
            Self::told(Ok(()), actor, ctx);
        }));
    }
}

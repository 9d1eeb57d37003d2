//! The actor of one download: opens the file, reads ahead on the helper, and sends block after block.
//!
//! It owns the file that the filer has opened. The session sends it what the client says of this
//! transfer, and `Stop`. When it is over it has closed the file, and the helper holds it no more.

mod blocks;

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message,
    WrapFuture as _,
};
use berth_common::broker_protocol::Direction;
use berth_common::client_protocol::{GetResume, WorkerToClient};
use berth_common::digest::Md5;
use berth_common::entry::Entry;
use berth_common::error_code::ErrorCode;
use berth_common::ids::{Handle, RequestId};
use berth_common::rel_path::RelPath;

use super::pipeline::Block;
use super::plan::{Failure, SendingPlan, Violation, leaves_of};
use super::{Observers, Outcome, Over, Services, Started, Stop, TICK, Totals};
use crate::filesystem::{CloseRead, OpenFile, OpenRead, Reading};

/// What a client asks for with a get.
#[derive(Debug)]
pub(crate) struct Get {
    /// The transfer.
    pub(crate) id: RequestId,
    /// The file.
    pub(crate) path: RelPath,
    /// What the client has of it already.
    pub(crate) resume: Option<GetResume>,
}

/// What the client says of its download.
#[derive(Debug)]
pub(crate) enum GetControl {
    /// Leaf digests that it has.
    JournalLeaves(Vec<Md5>),
    /// Send again from this offset.
    Again(u64),
    /// It has arrived.
    Done,
    /// End it.
    Cancel,
}

impl Message for GetControl {
    type Result = ();
}

/// The actor.
pub(crate) struct GetActor {
    get: Get,
    services: Services,
    reading: Reading,
    observers: Observers,
    stage: Stage,
    fate: Option<Outcome>,
    totals: Option<Totals>,
}

enum Stage {
    /// The filer opens the file.
    Opening,
    /// Blocks go.
    Sending(Box<Sending>),
    /// It is over.
    Closed,
}

struct Sending {
    handle: Handle,
    file: Arc<File>,
    entry: Entry,
    plan: SendingPlan,
    /// Counts the client's `Again`s: a block that was being read for an earlier round is dropped.
    round: u64,
    /// The helper reads.
    reading: bool,
    /// What was read, in order.
    ready: VecDeque<Block>,
    /// Something waits for room in the client's queue.
    sending: bool,
    /// `GetEnd` was sent in this round.
    ended: bool,
    last_step: Instant,
}

type Ctx = Context<GetActor>;

impl Actor for GetActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.open(ctx);
    }
}

impl Handler<GetControl> for GetActor {
    type Result = ();

    fn handle(&mut self, control: GetControl, ctx: &mut Self::Context) {
        if matches!(self.stage, Stage::Closed) || self.fate.is_some() {
            // It crossed the end that the client will be told of.
            return;
        }
        if let Stage::Sending(sending) = &mut self.stage {
            sending.last_step = Instant::now();
        }
        let allowed = match control {
            GetControl::JournalLeaves(leaves) => self.client_has(&leaves),
            GetControl::Again(offset) => self.again(offset),
            GetControl::Done => self.done(),
            GetControl::Cancel => {
                self.fail(ErrorCode::Cancelled);
                Ok(())
            }
        };
        if allowed.is_err() {
            self.fate.get_or_insert(Outcome::Violation);
        }
        self.step(ctx);
    }
}

impl Handler<Stop> for GetActor {
    type Result = ();

    fn handle(&mut self, Stop(error): Stop, ctx: &mut Self::Context) {
        self.fail(error);
        self.step(ctx);
    }
}

impl GetActor {
    /// The download that the client asks for.
    pub(crate) fn new(
        get: Get,
        services: Services,
        reading: Reading,
        observers: Observers,
    ) -> Self {
        let stage = Stage::Opening;
        Self { get, services, reading, observers, stage, fate: None, totals: None }
    }

    fn open(&mut self, ctx: &mut Ctx) {
        let opened = self.reading.open.send(OpenRead(self.get.path.clone())).into_actor(self);
        ctx.spawn(opened.map(
            |opened, actor, ctx| match opened.unwrap_or(Err(ErrorCode::Internal)) {
                Ok(file) => actor.ready(file, ctx),
                Err(error) => actor.over(Outcome::Failed(error), ctx),
            },
        ));
    }

    fn ready(&mut self, opened: OpenFile, ctx: &mut Ctx) {
        let OpenFile { handle, file, entry, fingerprint, .. } = opened;
        let leaves = match self.get.resume {
            Some(GetResume { fingerprint: begun, leaves })
                if begun.continues_with(&fingerprint) && leaves <= leaves_of(entry.size) =>
            {
                leaves
            }
            _ => 0,
        };
        self.observers.started.do_send(Started {
            id: self.get.id,
            direction: Direction::Get,
            path: self.get.path.clone(),
            size: Some(entry.size),
        });
        self.totals = Some(Totals { resumed_leaves: leaves, moved_leaves: 0 });
        let id = self.get.id;
        let answer = WorkerToClient::GetReady { id, entry: entry.clone(), fingerprint, leaves };
        self.stage = Stage::Sending(Box::new(Sending {
            handle,
            file: Arc::new(File::from(file)),
            plan: SendingPlan::new(entry.size, leaves),
            entry,
            round: 0,
            reading: false,
            ready: VecDeque::new(),
            sending: true,
            ended: false,
            last_step: Instant::now(),
        }));
        let outgoing = self.services.outgoing.clone();
        let sent = async move { outgoing.send(&answer).await };
        ctx.spawn(sent.into_actor(self).map(Self::sent));
        ctx.run_interval(TICK, Self::tick);
        self.step(ctx);
    }

    /// Does what comes next. Called after everything that happens to the download.
    fn step(&mut self, ctx: &mut Ctx) {
        let Stage::Sending(sending) = &mut self.stage else {
            return;
        };
        if let Some(fate) = self.fate.take_if(|_| !sending.reading) {
            return self.close(fate, ctx);
        }
        if self.fate.is_some() {
            return;
        }
        self.read_ahead(ctx);
        self.send_next(ctx);
    }

    fn fail(&mut self, error: ErrorCode) {
        self.fate.get_or_insert(Outcome::Failed(error));
    }

    fn again(&mut self, offset: u64) -> Result<(), Violation> {
        let Stage::Sending(sending) = &mut self.stage else {
            return Err(Violation);
        };
        if let Failure::GiveUp { offset } = sending.plan.again(offset)? {
            self.fail(ErrorCode::IntegrityMismatch { offset });
            return Ok(());
        }
        sending.round += 1;
        sending.ended = false;
        for block in sending.ready.drain(..) {
            self.services.pool.give(block.data);
        }
        Ok(())
    }

    fn done(&mut self) -> Result<(), Violation> {
        match &self.stage {
            Stage::Sending(sending) if sending.ended => {
                self.fate.get_or_insert(Outcome::Done(None));
                Ok(())
            }
            _ => Err(Violation),
        }
    }

    fn client_has(&mut self, leaves: &[Md5]) -> Result<(), Violation> {
        match &mut self.stage {
            Stage::Sending(sending) => sending.plan.client_has(leaves),
            Stage::Opening | Stage::Closed => Err(Violation),
        }
    }

    /// Closes the file, which no helper holds now.
    fn close(&mut self, outcome: Outcome, ctx: &mut Ctx) {
        let Stage::Sending(sending) = &self.stage else {
            return;
        };
        let handle = sending.handle;
        if let Some(totals) = &mut self.totals {
            totals.moved_leaves = sending.plan.moved_leaves();
        }
        self.stage = Stage::Closed;
        // One message in the life of a transfer.
        self.reading.close.do_send(CloseRead(handle));
        self.over(outcome, ctx);
    }

    fn over(&mut self, outcome: Outcome, ctx: &mut Ctx) {
        self.stage = Stage::Closed;
        self.observers.over.do_send(Over { id: self.get.id, totals: self.totals, outcome });
        ctx.stop();
    }

    fn tick(&mut self, ctx: &mut Ctx) {
        let Stage::Sending(sending) = &mut self.stage else {
            return;
        };
        // While the queue is full it is the socket that moves; a slow disk is not a stall.
        let moved_at = sending.last_step.max(self.services.traffic.written_at());
        if sending.reading || moved_at.elapsed() < self.services.stall {
            return;
        }
        let seconds = u32::try_from(self.services.stall.as_secs()).unwrap_or(u32::MAX);
        self.fail(ErrorCode::Stalled { seconds });
        self.step(ctx);
    }
}

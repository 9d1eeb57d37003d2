//! The running transfers of a session: their start, their end, and what the daemon hears of them.

use std::time::{Duration, Instant};

use actix::{Actor as _, ActorFutureExt as _, AsyncContext as _, Handler, Recipient};
use berth_common::broker_protocol::WorkerToDaemon;
use berth_common::client_protocol::{Put, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::ids::RequestId;

use super::{Ctx, SessionActor, Stage, Taken, taken};
use crate::sys;
use crate::transfer::get::{Get, GetActor, GetControl};
use crate::transfer::put::{PutActor, PutControl};
use crate::transfer::{Observers, Outcome, Over, Started, Stop};

/// How often the daemon hears of progress.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// How long a session has to be quiet until it gives memory back.
const REST_AFTER: Duration = Duration::from_millis(500);

/// How to reach a running transfer.
pub(super) enum Running {
    Put { control: Recipient<PutControl>, stop: Recipient<Stop> },
    Get { control: Recipient<GetControl>, stop: Recipient<Stop> },
}

impl Running {
    /// How to stop it.
    pub(super) fn stop(&self) -> &Recipient<Stop> {
        match self {
            Self::Put { stop, .. } | Self::Get { stop, .. } => stop,
        }
    }
}

impl SessionActor {
    pub(super) fn start_put(&mut self, put: Put, ctx: &mut Ctx) -> Taken {
        let Stage::Serving(serving) = &self.stage else {
            return taken();
        };
        let (id, uploading) = (put.id, serving.filesystem.uploading.clone());
        let reading = serving.filesystem.reading.clone();
        self.parts.services.traffic.set_bulk(true);
        let services = self.parts.services.clone();
        let actor = PutActor::new(put, services, uploading, reading, observers(ctx)).start();
        let (control, stop) = (actor.clone().recipient(), actor.recipient());
        self.transfers.insert(id, Running::Put { control, stop });
        taken()
    }

    pub(super) fn start_get(&mut self, get: Get, ctx: &mut Ctx) -> Taken {
        let Stage::Serving(serving) = &self.stage else {
            return taken();
        };
        let (id, reading) = (get.id, serving.filesystem.reading.clone());
        let services = self.parts.services.clone();
        let actor = GetActor::new(get, services, reading, observers(ctx)).start();
        let (control, stop) = (actor.clone().recipient(), actor.recipient());
        self.transfers.insert(id, Running::Get { control, stop });
        taken()
    }

    /// Reports progress as long as there is some.
    fn report(&mut self, ctx: &mut Ctx) {
        let (received, sent) = self.parts.services.moved.take();
        if received + sent > 0 {
            self.parts.broker.report(WorkerToDaemon::Progress { received, sent });
        }
        self.reporting = received + sent > 0 || !self.transfers.is_empty();
        if self.reporting {
            ctx.run_later(REPORT_EVERY, Self::report);
        }
    }

    /// Has memory given back soon: the login, a request or a transfer is over.
    pub(super) fn rest_soon(&mut self, ctx: &mut Ctx) {
        if !self.resting {
            self.resting = true;
            ctx.run_later(REST_AFTER, Self::rest);
        }
    }

    /// Gives memory back, unless something runs, whose end will ask for it again.
    fn rest(&mut self, ctx: &mut Ctx) {
        self.resting = false;
        if !self.state.is_waiting_for_client() {
            return;
        }
        if self.active_at.elapsed() < REST_AFTER {
            return self.rest_soon(ctx);
        }
        self.parts.services.traffic.set_bulk(false);
        self.parts.services.pool.clear();
        sys::give_memory_back();
    }

    /// Queues the last word about a transfer and then frees its id: before the client can have read it and
    /// use the id again, and not before there was room, since a client that reads nothing could otherwise
    /// begin, and have fail, any number of transfers.
    pub(super) fn conclude(
        &mut self,
        id: RequestId,
        answer: Option<WorkerToClient>,
        ctx: &mut Ctx,
    ) {
        let concluded = move |(), actor: &mut Self, ctx: &mut Ctx| {
            actor.state.free(id);
            actor.active_at = Instant::now();
            actor.rest_soon(ctx);
            actor.end_if_told(ctx);
        };
        match answer {
            Some(answer) => drop(ctx.spawn(self.tell(Some(answer)).map(concluded))),
            None => concluded((), self, ctx),
        }
    }
}

fn observers(ctx: &Ctx) -> Observers {
    Observers { started: ctx.address().recipient(), over: ctx.address().recipient() }
}

impl Handler<Started> for SessionActor {
    type Result = ();

    fn handle(&mut self, started: Started, ctx: &mut Self::Context) {
        let Started { id, direction, path, size } = started;
        self.parts.broker.report(WorkerToDaemon::TransferStarted { id, direction, path, size });
        if !self.reporting {
            self.reporting = true;
            ctx.run_later(REPORT_EVERY, Self::report);
        }
    }
}

impl Handler<Over> for SessionActor {
    type Result = ();

    fn handle(&mut self, Over { id, totals, outcome }: Over, ctx: &mut Self::Context) {
        self.transfers.remove(&id);
        let (error, answer) = match outcome {
            Outcome::Done(answer) => (None, answer),
            Outcome::Failed(error) => {
                (Some(error.clone()), Some(WorkerToClient::Failed { id, error }))
            }
            Outcome::Violation => (Some(ErrorCode::Protocol), None),
        };
        let violated = matches!(error, Some(ErrorCode::Protocol)) && answer.is_none();
        if let Some(totals) = totals {
            let (resumed_leaves, moved_leaves) = (totals.resumed_leaves, totals.moved_leaves);
            let ended = WorkerToDaemon::TransferEnded { id, resumed_leaves, moved_leaves, error };
            self.parts.broker.report(ended);
        }
        if violated {
            self.refuse(ErrorCode::Protocol, ctx);
        }
        match self.stage {
            Stage::Ending(_) | Stage::Over => self.finish_if_quiet(ctx),
            Stage::Login | Stage::Serving(_) => self.conclude(id, answer, ctx),
        }
    }
}

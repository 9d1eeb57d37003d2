//! How a session ends: transfers first, resumably; then the client is told why; then the process ends.

use std::time::{Duration, Instant};

use actix::{ActorContext as _, ActorFutureExt as _, AsyncContext as _, WrapFuture as _};
use berth_common::broker_protocol::CloseReason;
use berth_common::client_protocol::WorkerToClient;
use berth_common::error_code::ErrorCode;

use super::state::Phase;
use super::{Ctx, SessionActor, Stage};
use crate::transfer::Stop;

/// Longest wait for the transfers' files to be closed. What is left then is closed by the process's end.
const QUIET_WITHIN: Duration = Duration::from_secs(5);

/// Why a session ends, and what the client is told of it.
#[derive(Debug)]
pub(super) struct Ending {
    reason: CloseReason,
    tell: Option<ErrorCode>,
}

impl Ending {
    /// Nobody is there to be told.
    pub(super) fn quiet(reason: CloseReason) -> Self {
        Self { reason, tell: None }
    }
}

impl SessionActor {
    /// Tells the client why, and ends.
    pub(super) fn refuse(&mut self, error: ErrorCode, ctx: &mut Ctx) {
        let reason = CloseReason::Refused { error: error.clone() };
        self.end(Ending { reason, tell: Some(error) }, ctx);
    }

    /// Ends the session, unless it is ending already.
    pub(super) fn end(&mut self, ending: Ending, ctx: &mut Ctx) {
        if matches!(self.stage, Stage::Ending(_) | Stage::Over) {
            return;
        }
        let error = ending.tell.clone().unwrap_or(ErrorCode::Cancelled);
        if ending.tell.is_none() {
            // Whoever waits for room to send learns that there will be none.
            self.parts.services.outgoing.finish(None);
        }
        self.state.enter(Phase::Ending);
        self.stage = Stage::Ending(ending);
        for running in self.transfers.values() {
            // One message in the life of a transfer.
            running.stop().do_send(Stop(error.clone()));
        }
        ctx.run_later(QUIET_WITHIN, Self::finish);
        self.finish_if_quiet(ctx);
    }

    /// The daemon is gone: nothing can be told to it, and nothing of the session be saved here.
    pub(super) fn lost(&mut self, ctx: &mut Ctx) {
        if let Some(connection) = self.connection.take() {
            connection.abandon();
        }
        self.stage = Stage::Over;
        self.parts.done_with(CloseReason::Told);
        ctx.terminate();
    }

    /// Whether the client is still told what came of its requests: not where the filer is lost, or another fault of
    /// the server ends the session, since then there is no answer. A client that heard of a failure would take it for
    /// one, and not try again as it does where a session has ended.
    pub(super) fn tells_answers(&self) -> bool {
        match &self.stage {
            Stage::Login | Stage::Serving(_) => true,
            Stage::Ending(ending) => ending.tell != Some(ErrorCode::Internal),
            Stage::Over => false,
        }
    }

    pub(super) fn finish_if_quiet(&mut self, ctx: &mut Ctx) {
        if self.transfers.is_empty() {
            self.finish(ctx);
        }
    }

    fn finish(&mut self, ctx: &mut Ctx) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let (Stage::Ending(Ending { reason, tell }), Some(connection)) =
            (stage, self.connection.take())
        else {
            return;
        };
        let farewell = async move {
            match tell {
                Some(error) => connection.close(Some(WorkerToClient::Refused { error })).await,
                None => connection.abandon(),
            }
        };
        ctx.spawn(farewell.into_actor(self).map(|(), actor, ctx| {
            actor.parts.done_with(reason);
            ctx.terminate();
        }));
    }

    /// Takes no new requests, and ends when the running ones have ended or the grace time is over.
    pub(super) fn shut_down(&mut self, grace_seconds: u32, ctx: &mut Ctx) {
        self.state.shut_down();
        ctx.run_later(Duration::from_secs(grace_seconds.into()), Self::told_to_end);
        self.end_if_told(ctx);
    }

    /// Ends if the daemon wants that and nothing runs.
    pub(super) fn end_if_told(&mut self, ctx: &mut Ctx) {
        if self.state.is_shutting_down() && self.state.is_waiting_for_client() {
            self.told_to_end(ctx);
        }
    }

    fn told_to_end(&mut self, ctx: &mut Ctx) {
        let tell = Some(ErrorCode::ShuttingDown);
        self.end(Ending { reason: CloseReason::Told, tell }, ctx);
    }

    /// Ends a session without a request for too long; looks again when it may be so far.
    pub(super) fn watch_idleness(&mut self, ctx: &mut Ctx) {
        let most = Duration::from_secs(self.parts.setup.idle_seconds.into());
        if !self.state.is_waiting_for_client() {
            // A request runs, a transfer perhaps: idleness begins when it has ended.
            self.active_at = Instant::now();
        }
        let left = most.saturating_sub(self.active_at.elapsed());
        if left.is_zero() {
            self.refuse(ErrorCode::TimedOut, ctx);
        } else {
            ctx.run_later(left, Self::watch_idleness);
        }
    }
}

//! The running programs of a session: their start, their input, and their end.

use actix::{AsyncContext as _, Handler, Message};
use berth_common::broker_protocol::{ExecStopped, WorkerToDaemon};
use berth_common::client_protocol::WorkerToClient;
use berth_common::error_code::ErrorCode;
use berth_common::exec::{Arguments, ProgramName};
use berth_common::ids::RequestId;
use berth_common::rel_path::RelPath;

use super::{Ctx, SessionActor, Stage, Taken, taken};
use crate::exec::{News, Program, Surroundings, Unwanted, pump};

/// A program is over: the last word about it.
struct ProgramOver(RequestId, WorkerToClient);

impl Message for ProgramOver {
    type Result = ();
}

impl SessionActor {
    /// Asks the daemon to run it.
    pub(super) fn exec(
        &mut self,
        id: RequestId,
        program: ProgramName,
        arguments: Arguments,
        directory: RelPath,
        ctx: &mut Ctx,
    ) -> Taken {
        let (running, ends) = Program::new();
        self.programs.insert(id, running);
        let services = &self.parts.services;
        let around = Surroundings {
            outgoing: services.outgoing.clone(),
            broker: self.parts.broker.clone(),
            traffic: services.traffic.clone(),
            stall: services.stall,
        };
        let me = ctx.address();
        actix_rt::spawn(async move {
            let last = pump(id, ends, around).await;
            let _ = me.send(ProgramOver(id, last)).await;
        });
        let start = WorkerToDaemon::ExecStart { id, program, arguments, directory };
        self.parts.broker.report(start);
        taken()
    }

    /// Passes input on. More than there is room for breaks the protocol.
    pub(super) fn exec_input(&mut self, id: RequestId, data: Vec<u8>, ctx: &mut Ctx) -> Taken {
        if let Some(Err(Unwanted)) = self.programs.get(&id).map(|program| program.take(data)) {
            self.refuse(ErrorCode::Protocol, ctx);
        }
        taken()
    }

    pub(super) fn exec_input_end(&mut self, id: RequestId, ctx: &mut Ctx) -> Taken {
        if let Some(Err(Unwanted)) = self.programs.get_mut(&id).map(Program::end_input) {
            self.refuse(ErrorCode::Protocol, ctx);
        }
        taken()
    }

    /// The daemon ends it, and says so.
    pub(super) fn exec_cancel(&mut self, id: RequestId) -> Taken {
        if self.programs.contains_key(&id) {
            let why = ExecStopped::Cancelled;
            self.parts.broker.report(WorkerToDaemon::ExecStop { id, why });
        }
        taken()
    }

    /// What the daemon says of one. One that is over here may still be told of.
    pub(super) fn program_news(&mut self, id: RequestId, news: News) {
        if let Some(program) = self.programs.get(&id) {
            program.tell(news);
        }
    }
}

impl Handler<ProgramOver> for SessionActor {
    type Result = ();

    fn handle(&mut self, ProgramOver(id, last): ProgramOver, ctx: &mut Self::Context) {
        self.programs.remove(&id);
        match self.stage {
            // What is left of them ends with the process.
            Stage::Ending(_) | Stage::Over => {}
            Stage::Login | Stage::Serving(_) => self.conclude(id, Some(last), ctx),
        }
    }
}

//! A session's programs: who may run one more, and their end before the session's.

use std::collections::HashMap;
use std::time::Instant;

use berth_common::broker_protocol::ExecStopped;
use berth_common::error_code::ErrorCode;
use berth_common::exec::{Arguments, ProgramName};
use berth_common::ids::RequestId;
use berth_common::rel_path::RelPath;
use tokio::task::{JoinHandle, spawn_local};

use super::end::{End, broke, lost};
use super::{Event, Session};
use crate::bucket::Rate;
use crate::exec::{self, Order, Outcome, Stop, Stopping};

/// Programs that a session may begin: each costs the daemon two processes and a log line.
pub(super) const BEGINNINGS: Rate = Rate { a_second: 8, at_once: 32 };

/// Those that run, or are about to.
#[derive(Default)]
pub(super) struct Programs(HashMap<RequestId, Running>);

struct Running {
    stopping: Stopping,
    task: JoinHandle<()>,
}

impl Programs {
    /// Ends all of them soon, and gives what is to be waited for until nothing of them is left.
    pub(super) fn stop(&mut self) -> impl Future<Output = ()> + use<> {
        let running: Vec<_> = self.0.drain().map(|(_, running)| running).collect();
        for program in &running {
            program.stopping.stop(Stop::Session);
        }
        async move {
            for program in running {
                // It ends by itself; a panic in it was told.
                drop(program.task.await);
            }
        }
    }
}

impl Session {
    /// Runs a program, unless there are as many as there may be.
    pub(super) fn exec_start(
        &mut self,
        id: RequestId,
        program: ProgramName,
        arguments: Arguments,
        directory: RelPath,
    ) -> Option<End> {
        // A list of arguments costs more than any other message, also where it is refused.
        let words = arguments.iter();
        let weight = words.len() + words.map(<[u8]>::len).sum::<usize>() / 1024;
        if let Err(error) = self.worker.charge(weight) {
            return Some(lost(&error));
        }
        if self.programs.0.contains_key(&id) {
            return Some(broke("it began a program under a number that is in use".to_owned()));
        }
        let user = self.user()?;
        let exec = &self.daemon.settings().config.exec;
        let most = exec.max_programs_per_session;
        let mine = self.programs.0.len() < most as usize;
        let place = if mine { self.daemon.programs.try_take(&user) } else { Err(most) };
        let place = match place {
            Ok(place) if self.beginnings.take(1, Instant::now()) => place,
            refused => {
                let limit = refused.err().unwrap_or(exec.max_programs);
                self.worker.program_failed(id, ErrorCode::TooManyPrograms { limit });
                return None;
            }
        };
        let (session, worker) = (self.id, self.worker.clone());
        let order = Order { session, user, worker, id, program, arguments, directory, place };
        let stopping = Stopping::default();
        let (daemon, events) = (self.daemon.clone(), self.control.events.clone());
        let task = spawn_local({
            let stopping = stopping.clone();
            async move {
                let outcome = exec::run(&daemon, order, &stopping).await;
                drop(events.send(Event::Program(id, outcome)));
            }
        });
        self.programs.0.insert(id, Running { stopping, task });
        None
    }

    /// Ends a program; one that has just ended is not there any more.
    pub(super) fn exec_stop(&self, id: RequestId, why: ExecStopped) {
        if let Some(running) = self.programs.0.get(&id) {
            running.stopping.stop(Stop::Worker(why));
        }
    }

    /// Nothing of it is left.
    pub(super) fn program_over(&mut self, id: RequestId, outcome: Outcome) {
        self.programs.0.remove(&id);
        match outcome {
            Outcome::Ended(end) => self.worker.program_ended(id, end),
            Outcome::Failed(error) => self.worker.program_failed(id, error),
        }
    }
}

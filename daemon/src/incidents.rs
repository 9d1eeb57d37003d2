//! What went wrong with workers, filers and jails since the start: counts by kind, and the latest ones.
//!
//! Each end that is no honest one comes here once, from the process that it is the end of
//! ([`crate::process::Process::report`]), whoever asked for it. Nothing is decided by it; it is for
//! `berthctl status` and the log. Its size is fixed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use berth_common::admin_protocol::{self, Incident, IncidentCounts, IncidentKind};
use berth_common::ids::{SessionId, UserName};

use crate::program::Program;

/// How many of the latest are kept.
const KEPT: usize = 16;

/// For whom a process works.
#[derive(Clone, Debug, Default)]
pub(crate) struct Task {
    pub(crate) session: Option<SessionId>,
    pub(crate) user: Option<UserName>,
    pub(crate) peer: Option<SocketAddr>,
}

/// The counts and the latest.
#[derive(Debug, Default)]
pub(crate) struct Incidents {
    table: RefCell<Table>,
}

#[derive(Debug, Default)]
struct Table {
    workers: IncidentCounts,
    filers: IncidentCounts,
    jails: IncidentCounts,
    latest: VecDeque<Incident>,
}

impl Incidents {
    /// A process ended like this.
    pub(crate) fn add(
        &self,
        program: Program,
        pid: u32,
        task: &Task,
        kind: IncidentKind,
        what: String,
    ) {
        let session = task.session.map(|id| id.0);
        let user = task.user.as_ref().map(tracing::field::display);
        let addr = task.peer.map(tracing::field::display);
        tracing::error!(%program, pid, session, user, addr, kind = kind.name(), what, "an incident");
        let mut table = self.table.borrow_mut();
        let counts = match program {
            Program::Worker => &mut table.workers,
            Program::Filer => &mut table.filers,
            Program::Jail => &mut table.jails,
        };
        *match kind {
            IncidentKind::Crashed => &mut counts.crashed,
            IncidentKind::Sandbox => &mut counts.sandbox,
            IncidentKind::Memory => &mut counts.memory,
            IncidentKind::Stalled => &mut counts.stalled,
            IncidentKind::Broke => &mut counts.broke,
        } += 1;
        if table.latest.len() == KEPT {
            table.latest.pop_front();
        }
        table.latest.push_back(Incident {
            at_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()),
            program: program.to_string(),
            pid,
            session: task.session,
            user: task.user.clone(),
            peer: task.peer.map(|peer| peer.to_string()),
            kind,
            what,
        });
    }

    /// For an administrator.
    pub(crate) fn told(&self) -> admin_protocol::Incidents {
        let Table { workers, filers, jails, latest } = &*self.table.borrow();
        admin_protocol::Incidents {
            workers: *workers,
            filers: *filers,
            jails: *jails,
            latest: latest.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_on_and_the_latest_are_kept() {
        let incidents = Incidents::default();
        for pid in 0..40 {
            let kind = if pid % 2 == 0 { IncidentKind::Stalled } else { IncidentKind::Memory };
            let program = if pid < 30 { Program::Worker } else { Program::Filer };
            let task = Task { session: Some(SessionId(pid.into())), ..Task::default() };
            incidents.add(program, pid, &task, kind, "x".to_owned());
        }
        let told = incidents.told();
        assert_eq!((told.workers.stalled, told.workers.memory, told.filers.memory), (15, 15, 5));
        assert_eq!(told.total(), 40);
        let pids: Vec<u32> = told.latest.iter().map(|it| it.pid).collect();
        assert_eq!(pids, (24..40).collect::<Vec<u32>>());
    }
}

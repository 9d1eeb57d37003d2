//! What a worker tells of its transfers: for the log and the table of sessions.

use std::time::Instant;

use berth_common::broker_protocol::{Direction, WorkerToDaemon};

use super::Session;
use super::end::{End, broke};
use crate::lines::some;
use crate::sessions::Transfer;

impl Session {
    /// For the log and the table.
    pub(super) fn note(&mut self, message: WorkerToDaemon) -> Option<End> {
        let (daemon, session, now) = (&self.daemon, self.id.0, Instant::now());
        let user = self.serving.as_ref().map(|(serving, _)| serving.user.as_str());
        let mut sessions = daemon.sessions.borrow_mut();
        match message {
            WorkerToDaemon::TransferStarted { id, direction, path, size } => {
                tracing::debug!(
                    session,
                    user,
                    addr = %self.peer,
                    transfer = id.0,
                    path = ?path.as_str(),
                    size,
                    "transfer begins"
                );
                let transfer = Transfer { direction, path, size, begun: now };
                if !sessions.transfer_started(self.id, id, transfer, self.max_transfers) {
                    return Some(broke("it began a transfer too many".to_owned()));
                }
            }
            WorkerToDaemon::Progress { received, sent } => {
                sessions.progress(self.id, received, sent, now);
            }
            WorkerToDaemon::TransferEnded { id, resumed_leaves, moved_leaves, error } => {
                let Some(transfer) = sessions.transfer_ended(self.id, id, now) else {
                    return Some(broke("it ended a transfer that it had not begun".to_owned()));
                };
                let direction = match transfer.direction {
                    Direction::Put => "put",
                    Direction::Get => "get",
                };
                // One without a line is counted, and the session goes on.
                let left_out = self.lines.one_more(now)?;
                let ms = now.saturating_duration_since(transfer.begun).as_millis() as u64;
                tracing::info!(
                    session,
                    user,
                    addr = %self.peer,
                    transfer = id.0,
                    direction,
                    path = ?transfer.path.as_str(),
                    size = transfer.size,
                    resumed_leaves,
                    moved_leaves,
                    ms,
                    error = error.as_ref().map(tracing::field::display),
                    left_out = some(left_out),
                    "transfer"
                );
            }
            WorkerToDaemon::BatchEnded { direction, files, bytes, failed } => {
                sessions.batch_ended(self.id, direction, bytes, now);
                let left_out = self.lines.one_more(now)?;
                let direction = match direction {
                    Direction::Put => "put",
                    Direction::Get => "get",
                };
                tracing::info!(
                    session,
                    user,
                    addr = %self.peer,
                    direction,
                    files,
                    bytes,
                    failed,
                    left_out = some(left_out),
                    "small files"
                );
            }
            _ => {}
        }
        None
    }
}

//! Resumable uploads: opened, taken over from other sessions, let go, dropped and listed.
//!
//! Who may have an upload is the ledger's to say; whether its holder is ended for that is decided here.

use std::rc::Rc;
use std::time::{Duration, Instant};

use berth_common::error_code::ErrorCode;
use berth_common::ids::{OpId, SessionId, StagingName};
use berth_common::ledger_protocol::{DaemonToFiler, UploadRow};
use berth_common::points::{Point, reach};

use super::Serving;
use crate::exit::KillReason;
use crate::ledger::{Claiming, LedgerError, Note, UploadOpening, UploadRequest};

/// How often an upload is asked for again after its holder was ended.
const TAKEOVER_TRIES: u32 = 4;

/// How long a takeover waits for the old holder to be reaped and replayed.
const TAKEOVER_PATIENCE: Duration = Duration::from_secs(30);

/// Rows read, and bytes sent, in one part of the list of uploads; the rest is asked for again.
const UPLOADS_PER_PART: usize = 256;
const UPLOADS_PART_BYTES: usize = 48 * 1024;

impl Serving {
    pub(super) async fn reserve_upload(&self, op: OpId, request: UploadRequest) {
        if let Some(error) = self.refuses_changes() {
            return self.refuse(op, error);
        }
        for _ in 0..TAKEOVER_TRIES {
            // What was free before a takeover says little after it.
            let room = match self.room_if_any().await {
                Ok(room) => room,
                Err(error) => return self.refuse(op, error),
            };
            let ledger = &self.daemon.ledger;
            let opened = ledger.open_upload(&self.user, self.session, request.clone(), room).await;
            match opened {
                Ok(UploadOpening::Opened { name, resumed, superseded }) => {
                    reach(Point::RowDurable);
                    self.give(superseded.into_iter().chain([name]));
                    self.writes(|writing| writing.open(name, request.source.size, true));
                    let answer = DaemonToFiler::UploadReserved { op, name, resumed, superseded };
                    return self.answer(op, Ok(answer));
                }
                Ok(UploadOpening::HeldBy { session, same_token }) => {
                    if !self.take_over(session, same_token).await {
                        break;
                    }
                }
                Err(error) => return self.answer(op, Err(error)),
            }
        }
        self.refuse(op, ErrorCode::UploadBusy);
    }

    /// What is claimed is removed next, so that a home that is read-only refuses it.
    pub(super) async fn claim(&self, op: OpId, name: StagingName) {
        if self.daemon.is_read_only(&self.user) {
            return self.refuse(op, ErrorCode::ReadOnly);
        }
        if self.daemon.is_unrecovered(&self.user) {
            return self.refuse(op, ErrorCode::LedgerUnavailable);
        }
        for _ in 0..TAKEOVER_TRIES {
            match self.daemon.ledger.claim(&self.user, self.session, name).await {
                Ok(Claiming::Claimed) => {
                    self.give([name]);
                    return self.answer(op, Ok(DaemonToFiler::Done { op }));
                }
                Ok(Claiming::HeldBy(session)) => {
                    if !self.take_over(session, false).await {
                        break;
                    }
                }
                Err(error) => return self.answer(op, Err(error)),
            }
        }
        self.refuse(op, ErrorCode::UploadBusy);
    }

    /// Ends the session that holds an upload, unless it is alive and another client's. `false` when it
    /// stays, or when this session ends meanwhile: two that wait for each other must not wait for ever.
    async fn take_over(&self, holder: SessionId, same_token: bool) -> bool {
        let receiving = self.daemon.sessions.borrow().is_receiving(holder, Instant::now());
        if holder == self.session || (receiving && !same_token) || self.over.is_up() {
            return false;
        }
        tracing::info!(
            session = self.session.0,
            user = %self.user,
            from = holder.0,
            "an upload is taken over"
        );
        tokio::select! {
            _ = self.daemon.end_session(holder, KillReason::TakenOver) => {
                reach(Point::TakenFromHolder);
                true
            }
            () = self.over.up() => false,
            () = tokio::time::sleep(TAKEOVER_PATIENCE) => false,
        }
    }

    pub(super) async fn drop_name(self: &Rc<Self>, op: OpId, name: StagingName) {
        // Its files are gone.
        self.writes(|writing| writing.close(name));
        let dropped = self.daemon.ledger.drop_name(&self.user, self.session, name).await;
        let unavailable = dropped == Err(LedgerError::Unavailable);
        let had =
            (dropped.is_ok() || unavailable) && self.names.borrow_mut().take_back(&[name]).is_ok();
        self.answer(op, dropped.map(|()| DaemonToFiler::Done { op }));
        // The files are gone all the same, and what is reserved for them shall not wait for the session's end.
        if unavailable
            && had
            && let Err(error) = self.note(Note::Dropped(name))
        {
            self.broke(format!("Drop: {error}"));
        }
    }

    pub(super) async fn list_uploads(&self, op: OpId, after: Option<StagingName>) {
        let ledger = &self.daemon.ledger;
        let part = ledger.uploads(&self.user, after, UPLOADS_PER_PART).await;
        let answer = part.map(|(mut uploads, mut last)| {
            last &= !cut_to_size(&mut uploads);
            DaemonToFiler::Uploads { op, uploads, last }
        });
        self.answer(op, answer);
    }
}

/// Leaves out what would make a part too large for the channel; whether it has.
fn cut_to_size(uploads: &mut Vec<UploadRow>) -> bool {
    let mut bytes = 0;
    let fitting = uploads
        .iter()
        .take_while(|row| {
            // A row without its path has less than 200 bytes.
            bytes += row.path.as_str().len() + 200;
            bytes <= UPLOADS_PART_BYTES
        })
        .count();
    let cut = fitting < uploads.len();
    uploads.truncate(fitting);
    cut
}

#[cfg(test)]
mod tests {
    use berth_common::entry::SourceFingerprint;
    use berth_common::rel_path::RelPath;

    use super::*;

    #[test]
    fn a_part_of_the_list_of_uploads_fits_a_packet() {
        let path = RelPath::new(&vec!["x".repeat(255); 15].join("/")).unwrap();
        let source = SourceFingerprint { size: 0, mtime_ns: 0, ctime_ns: 0, inode: 0 };
        let row = UploadRow {
            name: StagingName(u64::MAX),
            path,
            source,
            opened_s: i64::MIN,
            expires_s: i64::MIN,
            active: true,
        };
        let mut uploads = vec![row; UPLOADS_PER_PART];
        assert!(cut_to_size(&mut uploads));
        assert!(!uploads.is_empty());
        let mut bytes = Vec::new();
        let message = DaemonToFiler::Uploads { op: OpId(0), uploads: uploads.clone(), last: false };
        berth_common::codec::encode_into(&message, &mut bytes).unwrap();
        assert!(bytes.len() <= UPLOADS_PART_BYTES + 100, "{}", bytes.len());
        assert!(!cut_to_size(&mut uploads));
    }
}

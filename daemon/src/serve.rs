//! A session's filer at work: its questions to the ledger and for the ticket, answered as they are ready.
//!
//! Each question is a task of its own, so that neither the channel nor any other session ever waits for
//! the ledger or for a ticket. It decides nothing itself: [`crate::asked`] bounds what a filer may ask,
//! [`crate::tickets`] who may change names, the ledger everything else.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use berth_common::error_code::ErrorCode;
use berth_common::ids::{OpId, SessionId, StagingName, UserName};
use berth_common::ledger_protocol::{
    DaemonToFiler, FilerToDaemon, IntentItem, SettleItem, UploadRow,
};

use crate::asked::{self, Asked, AskedTooMuch, FilerPhase, check_items};
use crate::daemon::Daemon;
use crate::exit::KillReason;
use crate::filer_handle::Filer;
use crate::ledger::{Claiming, LedgerError, UploadOpening, UploadRequest};
use crate::tasks::{Flag, Tasks};

/// How often an upload is asked for again after its holder was ended.
const TAKEOVER_TRIES: u32 = 4;

/// How long a takeover waits for the old holder to be reaped and replayed.
const TAKEOVER_PATIENCE: Duration = Duration::from_secs(30);

/// How long changes wait for a dead holder's replay before they are refused.
const STUCK: Duration = Duration::from_secs(15);

/// Rows read, and bytes sent, in one part of the list of uploads; the rest is asked for again.
const UPLOADS_PER_PART: usize = 256;
const UPLOADS_PART_BYTES: usize = 48 * 1024;

/// A session's filer.
pub(crate) struct Serving {
    daemon: Rc<Daemon>,
    pub(crate) user: UserName,
    session: SessionId,
    filer: Rc<Filer>,
    asked: RefCell<Asked>,
    tasks: Tasks,
    /// Up when the session is over: what the filer still sends counts no more.
    over: Flag,
}

impl Serving {
    /// For a filer that has joined.
    pub(crate) fn new(
        daemon: Rc<Daemon>,
        user: UserName,
        session: SessionId,
        filer: Rc<Filer>,
    ) -> Rc<Self> {
        let (asked, tasks, over) = Default::default();
        Rc::new(Self {
            daemon,
            user,
            session,
            filer,
            asked,
            tasks,
            over,
        })
    }

    /// The process.
    pub(crate) fn filer(&self) -> &Rc<Filer> {
        &self.filer
    }

    /// Answers the filer until it ends, or breaks the rules and is killed.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            let message = match self.filer.recv().await {
                Ok(message) => message,
                Err(error) => {
                    if let Some(reason) = error.kill_reason() {
                        self.filer.process().kill(reason);
                    }
                    return;
                }
            };
            if self.over.is_up() {
                continue;
            }
            let name = asked::name(&message);
            if !asked::may_send(FilerPhase::Serving, &message) {
                self.broke(format!("{name} is not for a filer that serves"));
            } else if let Err(error) = self.handle(message) {
                self.broke(format!("{name}: {error}"));
            }
        }
    }

    /// The session is over: nothing that comes from the filer counts any more, and what it waits for is
    /// not granted. Call it when the filer is killed, or when it is reaped.
    pub(crate) fn stop(&self) {
        if !self.over.is_up() {
            self.over.raise();
            self.daemon
                .tickets
                .borrow_mut()
                .died(&self.user, self.session, Instant::now());
        }
    }

    /// Waits until no question to the ledger is under way. After [`Serving::stop`] none is begun.
    pub(crate) async fn quiet(&self) {
        self.tasks.over().await;
    }

    /// The ticket is this session's.
    pub(crate) fn granted(&self, op: OpId, names: Vec<StagingName>) {
        self.asked.borrow_mut().answered(op);
        self.filer.send(&DaemonToFiler::Granted { op, names }, &[]);
    }

    fn broke(&self, how: String) {
        self.filer.process().kill(KillReason::Broken(how));
    }

    fn handle(self: &Rc<Self>, message: FilerToDaemon) -> Result<(), AskedTooMuch> {
        let this = self.clone();
        let mut asked = self.asked.borrow_mut();
        match message {
            FilerToDaemon::ReserveUpload {
                op,
                path,
                source,
                token,
                growth,
                entries,
            } => {
                asked.ask(op)?;
                let request = UploadRequest {
                    path,
                    source,
                    token,
                    growth,
                    entries,
                };
                self.tasks
                    .spawn(async move { this.reserve_upload(op, request).await });
            }
            FilerToDaemon::Reserve {
                op,
                growth,
                entries,
            } => {
                asked.ask(op)?;
                self.tasks
                    .spawn(async move { this.reserve(op, growth, entries).await });
            }
            FilerToDaemon::Claim { op, name } => {
                asked.ask(op)?;
                self.tasks.spawn(async move { this.claim(op, name).await });
            }
            FilerToDaemon::Drop { op, name } => {
                asked.ask(op)?;
                self.tasks.spawn(async move {
                    let dropped = this
                        .daemon
                        .ledger
                        .drop_name(&this.user, this.session, name)
                        .await;
                    this.answer(op, dropped.map(|()| DaemonToFiler::Done { op }));
                });
            }
            FilerToDaemon::LetGo { name } => {
                self.tasks.spawn(async move {
                    let done = this
                        .daemon
                        .ledger
                        .let_go(&this.user, this.session, name)
                        .await;
                    this.note(done);
                });
            }
            FilerToDaemon::Intent { op, items } => {
                check_items(items.len())?;
                asked.ask_ticket(op)?;
                self.tasks
                    .spawn(async move { this.intent(op, items).await });
            }
            FilerToDaemon::Ticket { op } => {
                asked.ask_ticket(op)?;
                drop(asked);
                match self.refuses_changes() {
                    Some(error) => self.refuse(op, error),
                    None => {
                        self.daemon
                            .request_ticket(&self.user, self.session, op, Vec::new());
                    }
                }
            }
            FilerToDaemon::Released { op } => {
                asked.released(op)?;
                drop(asked);
                let now = Instant::now();
                let released =
                    self.daemon
                        .tickets
                        .borrow_mut()
                        .release(&self.user, self.session, op, now);
                self.daemon
                    .deliver(released.map_err(|_| AskedTooMuch::Release)?);
            }
            FilerToDaemon::Settle { op, items } => {
                check_items(items.len())?;
                asked.ask(op)?;
                self.tasks
                    .spawn(async move { this.settle(op, items).await });
            }
            FilerToDaemon::Gone { names } => {
                check_items(names.len())?;
                self.tasks.spawn(async move {
                    let done = this.daemon.ledger.gone(this.session, names).await;
                    this.note(done);
                });
            }
            FilerToDaemon::Usage { op } => {
                asked.ask(op)?;
                self.tasks.spawn(async move {
                    let usage = this.daemon.ledger.usage(&this.user).await;
                    this.answer(op, usage.map(|usage| DaemonToFiler::Usage { op, usage }));
                });
            }
            FilerToDaemon::Uploads { op, after } => {
                asked.ask(op)?;
                self.tasks.spawn(async move {
                    let part = this
                        .daemon
                        .ledger
                        .uploads(&this.user, after, UPLOADS_PER_PART)
                        .await;
                    let answer = part.map(|(mut uploads, mut last)| {
                        last &= !cut_to_size(&mut uploads);
                        DaemonToFiler::Uploads { op, uploads, last }
                    });
                    this.answer(op, answer);
                });
            }
            FilerToDaemon::StagingSyncFailed => {
                drop(asked);
                self.daemon
                    .make_read_only(&self.user, "staging could not be made durable");
            }
            // The table has refused these.
            FilerToDaemon::Ready
            | FilerToDaemon::Joined
            | FilerToDaemon::Findings { .. }
            | FilerToDaemon::Done { .. }
            | FilerToDaemon::Failed { .. } => {}
        }
        Ok(())
    }

    async fn reserve(&self, op: OpId, growth: u64, entries: u64) {
        if let Some(error) = self
            .refuses_changes()
            .or_else(|| self.refuses_growth(growth))
        {
            return self.refuse(op, error);
        }
        let ledger = &self.daemon.ledger;
        let reserved = ledger
            .reserve(&self.user, self.session, growth, entries)
            .await;
        self.answer(
            op,
            reserved.map(|name| DaemonToFiler::Reserved { op, name }),
        );
    }

    async fn reserve_upload(&self, op: OpId, request: UploadRequest) {
        if let Some(error) = self
            .refuses_changes()
            .or_else(|| self.refuses_growth(request.growth))
        {
            return self.refuse(op, error);
        }
        for _ in 0..TAKEOVER_TRIES {
            let opened = self
                .daemon
                .ledger
                .open_upload(&self.user, self.session, request.clone())
                .await;
            match opened {
                Ok(UploadOpening::Opened {
                    name,
                    resumed,
                    superseded,
                }) => {
                    let answer = DaemonToFiler::UploadReserved {
                        op,
                        name,
                        resumed,
                        superseded,
                    };
                    return self.answer(op, Ok(answer));
                }
                Ok(UploadOpening::HeldBy {
                    session,
                    same_token,
                }) => {
                    if !self.take_over(session, same_token).await {
                        break;
                    }
                }
                Err(error) => return self.answer(op, Err(error)),
            }
        }
        self.refuse(op, ErrorCode::UploadBusy);
    }

    async fn claim(&self, op: OpId, name: StagingName) {
        for _ in 0..TAKEOVER_TRIES {
            match self
                .daemon
                .ledger
                .claim(&self.user, self.session, name)
                .await
            {
                Ok(Claiming::Claimed) => return self.answer(op, Ok(DaemonToFiler::Done { op })),
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
        let receiving = self
            .daemon
            .sessions
            .borrow()
            .is_receiving(holder, Instant::now());
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
            _ = self.daemon.end_session(holder, KillReason::TakenOver) => true,
            () = self.over.up() => false,
            () = tokio::time::sleep(TAKEOVER_PATIENCE) => false,
        }
    }

    /// The intent is durable before the ticket is asked for.
    async fn intent(&self, op: OpId, items: Vec<IntentItem>) {
        if let Some(error) = self.refuses_changes() {
            return self.refuse(op, error);
        }
        match self
            .daemon
            .ledger
            .intent(&self.user, self.session, items)
            .await
        {
            Err(error) => self.answer(op, Err(error)),
            // The row is there: the replay that follows the session's end sees to it.
            Ok(_) if self.over.is_up() => {}
            Ok(_) if self.daemon.is_read_only(&self.user) => {
                // A refusal would let the filer unlink what the row speaks of.
                let reason = KillReason::Internal("the home is read-only".to_owned());
                self.filer.process().kill(reason);
            }
            Ok(names) => self
                .daemon
                .request_ticket(&self.user, self.session, op, names),
        }
    }

    async fn settle(&self, op: OpId, items: Vec<SettleItem>) {
        if self.daemon.is_read_only(&self.user) {
            return self.refuse(op, ErrorCode::ReadOnly);
        }
        let settled = self
            .daemon
            .ledger
            .settle(&self.user, self.session, items)
            .await;
        self.answer(
            op,
            settled.map(|usage| DaemonToFiler::Settled { op, usage }),
        );
    }

    fn refuses_changes(&self) -> Option<ErrorCode> {
        if self.daemon.is_read_only(&self.user) {
            return Some(ErrorCode::ReadOnly);
        }
        let stuck = self
            .daemon
            .tickets
            .borrow()
            .is_stuck(&self.user, STUCK, Instant::now());
        stuck.then_some(ErrorCode::Busy)
    }

    fn refuses_growth(&self, growth: u64) -> Option<ErrorCode> {
        let floor = self.daemon.config.min_free_bytes;
        match self.daemon.homes.free_bytes() {
            Ok(free) if free >= floor.saturating_add(growth) => None,
            Ok(_) => Some(ErrorCode::DiskFull),
            Err(error) => {
                tracing::error!(%error, "cannot tell the free space");
                Some(ErrorCode::Internal)
            }
        }
    }

    fn answer(&self, op: OpId, answer: Result<DaemonToFiler, LedgerError>) {
        match answer {
            Ok(message) => {
                self.asked.borrow_mut().answered(op);
                self.filer.send(&message, &[]);
            }
            Err(error) => {
                self.look_at(&error);
                self.refuse(op, error.code());
            }
        }
    }

    fn note(&self, done: Result<(), LedgerError>) {
        if let Err(error) = done {
            self.look_at(&error);
        }
    }

    /// What the daemon itself does about an error of the ledger's.
    fn look_at(&self, error: &LedgerError) {
        match error {
            LedgerError::Protocol(_) => self.broke(error.to_string()),
            LedgerError::Imbalance => {
                self.daemon.make_read_only(&self.user, &error.to_string());
            }
            LedgerError::Unavailable => {
                tracing::error!(session = self.session.0, user = %self.user, "{error}");
            }
            LedgerError::Refused(_)
            | LedgerError::NoSuchUser
            | LedgerError::UserExists
            | LedgerError::UserGoing => {}
        }
    }

    fn refuse(&self, op: OpId, error: ErrorCode) {
        tracing::info!(session = self.session.0, user = %self.user, %error, "refused");
        self.asked.borrow_mut().refused(op);
        self.filer.send(&DaemonToFiler::Refused { op, error }, &[]);
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
        let source = SourceFingerprint {
            size: 0,
            mtime_ns: 0,
            ctime_ns: 0,
            inode: 0,
        };
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
        let message = DaemonToFiler::Uploads {
            op: OpId(0),
            uploads: uploads.clone(),
            last: false,
        };
        berth_common::codec::encode_into(&message, &mut bytes).unwrap();
        assert!(bytes.len() <= UPLOADS_PART_BYTES + 100, "{}", bytes.len());
        assert!(!cut_to_size(&mut uploads));
    }
}

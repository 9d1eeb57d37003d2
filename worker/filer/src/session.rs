//! What all operations of a session share. One a process, on the loop's thread.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use berth_common::batch::AT_ONCE;
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{FilerToWorker, MAX_OPERATIONS};
use berth_common::ids::{OpId, StagingName};
use berth_common::ledger_protocol::Outcome;
use berth_common::points::{Point, Rule, is_off, reach};
use rustix::io::Errno;

use crate::errors::{log, report};
use crate::handles::Handles;
use crate::helper::Helper;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::listing::Listing;
use crate::outbox::Outbox;
use crate::placing::{NotPlaced, Row};
use crate::run::RunError;
use crate::staging::Staging;
use crate::syncs::Syncs;
use crate::tasks::{Filler, Pacer, Tasks, slot};
use crate::walk::{Totals, Walk, WalkError};

/// Something is as it cannot be: the process ends, and replay looks at what is there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) String);

/// How the loop learns that it is over; the first reason counts.
#[derive(Debug, Default)]
pub(crate) struct End(RefCell<Option<Result<(), RunError>>>);

impl End {
    /// A peer has closed its channel.
    pub(crate) fn closed(&self) {
        self.set(Ok(()));
    }

    /// Something is as it cannot be.
    pub(crate) fn broken(&self, reason: String) {
        self.set(Err(RunError::Broken(reason)));
    }

    /// The worker broke the protocol.
    pub(crate) fn misbehaved(&self, reason: String) {
        self.set(Err(RunError::Worker(reason)));
    }

    /// The reason, if it is over.
    pub(crate) fn take(&self) -> Option<Result<(), RunError>> {
        self.0.borrow_mut().take()
    }

    fn set(&self, reason: Result<(), RunError>) {
        self.0.borrow_mut().get_or_insert(reason);
    }
}

/// An operation of the worker's that was not answered to its end.
pub(crate) enum Operation {
    /// One with one answer.
    Plain,
    /// A batch of small files, whose bytes are in memory.
    Batch,
    /// A listing of a directory or of the uploads, a part for each credit.
    Listing(Listing),
}

/// Held by the one walk that reports.
struct ReportingTurn<'a>(&'a Session);

impl Drop for ReportingTurn<'_> {
    fn drop(&mut self) {
        self.0.is_reporting_walk.set(false);
        for waiter in self.0.reporting_waiters.take() {
            waiter.fill(());
        }
    }
}

/// The session.
pub(crate) struct Session {
    pub(crate) home: Home,
    pub(crate) staging: Arc<Staging>,
    pub(crate) ledger: Ledger,
    pub(crate) helper: Helper,
    pub(crate) outbox: Outbox,
    pub(crate) handles: RefCell<Handles>,
    pub(crate) operations: RefCell<HashMap<OpId, Operation>>,
    pub(crate) tasks: Tasks,
    pub(crate) pacer: Pacer,
    pub(crate) end: Rc<End>,
    read_only: Cell<bool>,
    pub(crate) syncs: Syncs,
    /// A walk that reports is under way.
    is_reporting_walk: Cell<bool>,
    reporting_waiters: RefCell<Vec<Filler<()>>>,
    discards: Cell<usize>,
    discard_waiters: RefCell<Vec<Filler<()>>>,
}

impl Session {
    pub(crate) fn new(
        home: Home,
        staging: Staging,
        ledger: Ledger,
        helper: Helper,
        outbox: Outbox,
        end: Rc<End>,
    ) -> Self {
        Self {
            home,
            staging: Arc::new(staging),
            ledger,
            helper,
            outbox,
            handles: RefCell::default(),
            operations: RefCell::default(),
            tasks: Tasks::default(),
            pacer: Pacer::default(),
            end,
            read_only: Cell::new(false),
            syncs: Syncs::default(),
            is_reporting_walk: Cell::new(false),
            reporting_waiters: RefCell::default(),
            discards: Cell::new(0),
            discard_waiters: RefCell::default(),
        }
    }

    /// Notes an operation of the worker's; an `Err` says how it breaks the protocol.
    pub(crate) fn begin(&self, op: OpId, operation: Operation) -> Result<(), String> {
        let mut operations = self.operations.borrow_mut();
        if operations.len() >= MAX_OPERATIONS {
            return Err(format!("more than {MAX_OPERATIONS} operations at once"));
        }
        let is_batch = |operation: &Operation| matches!(operation, Operation::Batch);
        if is_batch(&operation) && operations.values().filter(|it| is_batch(it)).count() >= AT_ONCE
        {
            return Err(format!("more than {AT_ONCE} batches at once"));
        }
        match operations.insert(op, operation) {
            None => Ok(()),
            Some(_) => Err(format!("operation {op} is in use")),
        }
    }

    /// Answers an operation to its end.
    pub(crate) fn answer(&self, op: OpId, answer: FilerToWorker) {
        self.operations.borrow_mut().remove(&op);
        self.outbox.tell(answer);
    }

    /// Answers an operation that has nothing to tell but how it went.
    pub(crate) fn answer_done(&self, op: OpId, result: Result<(), ErrorCode>) {
        self.answer(
            op,
            match result {
                Ok(()) => FilerToWorker::Done { op },
                Err(error) => FilerToWorker::Failed { op, error },
            },
        );
    }

    /// Answers an operation with opened files.
    pub(crate) fn answer_with_files(&self, op: OpId, answer: FilerToWorker, files: Vec<OwnedFd>) {
        self.operations.borrow_mut().remove(&op);
        self.outbox.hand_over(answer, files);
    }

    /// Whether no operation is under way. Open files may be.
    pub(crate) fn is_idle(&self) -> bool {
        self.operations.borrow().is_empty() && self.tasks.is_empty()
    }

    /// Refuses changes after a failed sync of staging.
    pub(crate) fn check_writable(&self) -> Result<(), ErrorCode> {
        if self.read_only.get() { Err(ErrorCode::ReadOnly) } else { Ok(()) }
    }

    /// Makes all name changes so far durable that touched staging. All who ask before a sync begins share
    /// it. A failure is final: what a next one says proves nothing.
    pub(crate) async fn sync_staging(&self) -> Result<(), ErrorCode> {
        if is_off(Rule::R6) {
            return self.check_writable();
        }
        let synced = self.syncs.wait(1, false).await;
        self.synced(synced.names)
    }

    /// The same, and for the bytes, times and attributes of files that were staged together, too: one sync of the
    /// whole file system instead of one for each of them. Where only that fails, which says nothing of the file, all
    /// that were staged are to be dropped: those too of which some were written before an earlier one failed, of which
    /// `failed_before` had failed when they were begun ([`Staging::failed_file_syncs`]).
    pub(crate) async fn sync_staged_files(
        &self,
        files: usize,
        failed_before: u64,
    ) -> Result<(), NotPlaced> {
        let synced = self.syncs.wait(files, true).await;
        let unknown = |error| NotPlaced { error, row: Row::Unknown };
        self.synced(synced.names).map_err(unknown)?;
        let has_failed = self.staging.failed_file_syncs() != failed_before;
        let files = synced.files.and(if has_failed { Err(Errno::IO) } else { Ok(()) });
        files.map_err(|errno| {
            // Final: the next sync may succeed and prove nothing.
            log(format_args!("a sync of files in staging failed, they are dropped: {errno}"));
            NotPlaced { error: report("sync files", errno), row: Row::Open }
        })
    }

    /// Hands a sync of staging to the helper if one is due. The loop calls it at the end of each of its turns, so that
    /// all operations of a batch share one.
    pub(crate) fn begin_sync(&self) {
        self.syncs.begin(&self.staging, &self.helper);
    }

    /// Makes what was changed in these directories and files of the home durable. Where that takes the whole file
    /// system, it is shared like any sync of staging.
    pub(crate) async fn sync_objects(&self, changed: Vec<Arc<OwnedFd>>) -> Result<(), ErrorCode> {
        if self.staging.syncs_file_system() {
            return self.sync_staging().await;
        }
        let staging = Arc::clone(&self.staging);
        let result = self.helper.run_once(move || staging.sync_objects(&changed)).await;
        self.synced(result)
    }

    fn synced(&self, result: Result<(), Errno>) -> Result<(), ErrorCode> {
        if let Err(errno) = result
            && !self.read_only.replace(true)
        {
            log(format_args!("a sync of staging failed, no change is made any more: {errno}"));
            self.ledger.staging_sync_failed();
        }
        self.check_writable()
    }

    /// Makes a change durable that was made, before it is acknowledged. Where that fails nobody may be told that
    /// the change failed: the operation goes no further, and the daemon ends the session (R18).
    pub(crate) async fn sync_acted(&self) {
        let synced = self.sync_staging().await;
        self.acknowledgeable(synced).await;
    }

    /// The same for what was changed in the home: the directories of a rename, or the file that got a note.
    pub(crate) async fn sync_changed(&self, changed: Vec<Arc<OwnedFd>>) {
        let synced = self.sync_objects(changed).await;
        self.acknowledgeable(synced).await;
    }

    async fn acknowledgeable(&self, synced: Result<(), ErrorCode>) {
        if synced.is_err() {
            self.ledger.outcome_unknown();
            std::future::pending().await
        }
    }

    /// Ends an intent under whose ticket nothing was done, so that nothing has to be durable. Not after a failed
    /// sync, when nothing at all is settled.
    pub(crate) async fn settle_as_not_happened(&self, name: StagingName) -> Result<(), ErrorCode> {
        self.check_writable()?;
        let settled = self.ledger.settle(name, Outcome::NotHappened).await;
        settled.map(drop)
    }

    /// Ends the process when making something at a minted name failed because something stands there. The
    /// operation goes no further then: what stands there is not its own, and it must not clean it up.
    pub(crate) async fn refuse_a_taken_name(&self, name: StagingName, errno: Errno) {
        if errno == Errno::EXIST {
            self.end.broken(format!("something stands at the minted name {name}"));
            std::future::pending().await
        }
    }

    /// Counts what stands at a staging name and has left the home. While the home is verified, everything
    /// in it is reported, all before the settle that follows. What cannot be counted cannot be settled: the
    /// process ends then, and replay has the row (R18).
    pub(crate) async fn count(&self, name: StagingName) -> Totals {
        let counted = if self.ledger.is_reporting() {
            self.count_and_report(name).await
        } else {
            self.count_in_turn(name).await
        };
        match counted {
            Ok(totals) => totals,
            Err(error) => {
                self.end.broken(format!("cannot count what was removed: {error}"));
                std::future::pending().await
            }
        }
    }

    /// What is small is counted at once, and does not wait until a large tree is removed.
    async fn count_in_turn(&self, name: StagingName) -> Result<Totals, WalkError> {
        let (staging, name) = (Arc::clone(&self.staging), name.file_name());
        let mut walk = Walk::counting(Arc::clone(&staging), &name);
        if let Poll::Ready(totals) = self.helper.run_once(move || walk.slice()).await {
            return totals;
        }
        // From its beginning: a walk that waits keeps nothing open.
        let mut walk = Walk::counting(staging, &name);
        self.helper.walk(move || walk.slice()).await
    }

    /// One at a time, as other walks are.
    async fn count_and_report(&self, name: StagingName) -> Result<Totals, WalkError> {
        let _turn = self.reporting_turn().await;
        let mut walk = Walk::counting(Arc::clone(&self.staging), &name.file_name()).reporting();
        loop {
            let slice = self.helper.run_once(move || {
                let polled = walk.slice();
                let reports = walk.take_reports();
                (walk, polled, reports)
            });
            let (walked, polled, reports) = slice.await;
            reports.into_iter().for_each(|report| self.ledger.report(report));
            self.ledger.send_reports();
            if let Poll::Ready(totals) = polled {
                return totals;
            }
            walk = walked;
        }
    }

    async fn reporting_turn(&self) -> ReportingTurn<'_> {
        while self.is_reporting_walk.get() {
            let (filler, slot) = slot();
            self.reporting_waiters.borrow_mut().push(filler);
            slot.await;
        }
        self.is_reporting_walk.set(true);
        ReportingTurn(self)
    }

    /// Removes whatever stands at a staging name, and the journal beside it. `false` when that failed: the
    /// daemon is then not told that it is gone, and has it swept.
    pub(crate) async fn remove_staged(&self, name: StagingName) -> bool {
        match self.remove_in_turn(name).await {
            Ok(()) => true,
            Err(error) => {
                log(format_args!("cannot remove {name} from staging: {error}"));
                false
            }
        }
    }

    /// What is small is removed at once: an answer may wait for it, and must not wait until a large tree is
    /// removed that nobody waits for.
    async fn remove_in_turn(&self, name: StagingName) -> Result<(), String> {
        if let Poll::Ready(removed) = self.helper.try_slice(self.removal(name)).await {
            return removed;
        }
        // From what is left of it: a walk that waits keeps nothing open.
        self.helper.walk(self.removal(name)).await
    }

    /// The removal of what stands at a staging name and of the journal beside it, slice by slice.
    fn removal(
        &self,
        name: StagingName,
    ) -> impl FnMut() -> Poll<Result<(), String>> + Send + use<> {
        let staging = Arc::clone(&self.staging);
        let mut walk = Walk::removing(Arc::clone(&staging), &name.file_name());
        move || {
            walk.slice().map(|result| {
                result.map_err(|error| error.to_string())?;
                staging.unlink(&name.journal_name()).map_err(|errno| errno.to_string())
            })
        }
    }

    /// Removes what was settled or dropped and tells the daemon.
    pub(crate) async fn clear(&self, name: StagingName) {
        reach(Point::Leftover);
        if self.remove_staged(name).await {
            self.ledger.gone(name);
        }
    }

    /// Drops a reservation or an open upload for good: first its files, then its row, which read together
    /// as "aborted" at any point between.
    pub(crate) async fn discard(&self, name: StagingName) -> Result<(), ErrorCode> {
        self.discards.set(self.discards.get() + 1);
        let removed = self.remove_staged(name).await;
        reach(Point::FilesRemoved);
        let dropped = match removed {
            true => self.ledger.drop_row(name).await,
            false => Err(ErrorCode::Internal),
        };
        if let Err(error) = &dropped {
            log(format_args!("the row of {name} was not dropped: {error}"));
        }
        self.discards.set(self.discards.get() - 1);
        if self.discards.get() == 0 {
            for waiter in self.discard_waiters.take() {
                waiter.fill(());
            }
        }
        dropped
    }

    /// Waits until no discard is under way, so that the ledger does not call an upload busy that this
    /// session itself is dropping.
    pub(crate) async fn discards_are_done(&self) {
        while self.discards.get() > 0 {
            let (filler, slot) = slot();
            self.discard_waiters.borrow_mut().push(filler);
            slot.await;
        }
    }
}

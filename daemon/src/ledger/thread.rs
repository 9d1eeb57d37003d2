//! The ledger's thread: takes what waits in the queue, runs it in one transaction, with what comes to wait
//! meanwhile, and answers after the commit.
//!
//! Two requests that belong together are queued as one message, and never parted.
//!
//! A statement that fails, and not by its own request's fault, takes the whole transaction back, and all
//! writers in it are told `Unavailable`; readers are served without them. From then on writers are
//! refused at once until the ledger works again ([`Outage`]), before which the notes that have come are
//! taken, so that whatever changes anything and is asked after a note finds it noted. A commit whose
//! outcome is unknown ends the daemon: told "no", a filer would unlink what a durable intent speaks of,
//! and replay would then misread it.

use std::collections::VecDeque;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use berth_common::admin_protocol::LedgerWork;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode as SqliteCode, ffi};
use tokio::sync::{oneshot, watch};

use super::crossings::Crossings;
use super::model::LedgerError;
use super::outage::Outage;
use super::pulse::Pulse;
use super::request::{self, Asked, Failure, Job, Kind, Outcome, Tx};
use super::schema::OpenError;
use super::{names, schema};
use crate::sys;

/// Requests after which no more are taken into a transaction.
const MAX_GROUP: usize = 256;

/// Pages in the write-ahead log from which on it is copied into the database, as SQLite does by itself.
const CHECKPOINT_PAGES: i32 = 1000;

/// How often it is tried whether the ledger works again.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// What may be changed while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Seconds after which an upload expires that nobody works on; 7 days by default.
    pub(crate) upload_expiry_s: i64,
    /// Open uploads that a user may have; 1000 by default.
    pub(crate) max_uploads: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { upload_expiry_s: 7 * 24 * 3600, max_uploads: 1000 }
    }
}

/// What the ledger is told at its start.
pub(crate) struct Options {
    /// What the administrator has set.
    pub(crate) bounds: Bounds,
    /// Seconds since the epoch, now; the system's clock by default.
    pub(crate) clock: Box<dyn Fn() -> i64 + Send>,
    /// How often it is tried, after a failure, whether the ledger works again; twice a second by default.
    pub(crate) retry_every: Duration,
    /// Called on the ledger's thread, once, when it is unknown whether a transaction was committed,
    /// or when the thread is lost. It must end the process: the requests of that transaction and
    /// all later ones are never answered. The text is for the log.
    pub(crate) on_fatal: Box<dyn FnOnce(String) + Send>,
}

impl Options {
    /// The defaults, with what is to be done when the ledger is lost.
    pub(crate) fn new(on_fatal: impl FnOnce(String) + Send + 'static) -> Self {
        Self {
            bounds: Bounds::default(),
            clock: Box::new(|| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
            }),
            retry_every: RETRY_EVERY,
            on_fatal: Box::new(on_fatal),
        }
    }
}

/// A handle to the ledger's queue. Its methods are in the module above.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    queue: mpsc::Sender<Message>,
    pub(super) works: watch::Receiver<bool>,
    done: Arc<Done>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) bounds: Arc<Mutex<Bounds>>,
    /// The database's file, for copies of it; one is made at a time.
    pub(super) path: Arc<Mutex<PathBuf>>,
}

/// What the thread has done since its start.
#[derive(Debug, Default)]
struct Done {
    requests: AtomicU64,
    transactions: AtomicU64,
}

enum Message {
    One(Box<dyn Job>),
    /// In one transaction, in this order.
    Both([Box<dyn Job>; 2]),
    Stop(oneshot::Sender<()>),
}

impl Ledger {
    /// Starts the thread.
    pub(super) fn start(mut db: Connection, options: Options) -> Result<Self, OpenError> {
        let (queue, requests) = mpsc::channel();
        let done = Arc::new(Done::default());
        count_transactions(&mut db, done.clone())?;
        let path = db.path().map(PathBuf::from).unwrap_or_default();
        let (sender, works) = watch::channel(true);
        let Options { bounds, clock, retry_every, on_fatal } = options;
        let outage = Outage::new(retry_every, sender);
        let (pulse, bounds) = (Arc::new(Pulse::new()), Arc::new(Mutex::new(bounds)));
        let own = (done.clone(), pulse.clone(), bounds.clone());
        let thread = std::thread::Builder::new().name("ledger".into());
        thread.spawn(move || {
            let (done, pulse, bounds) = own;
            pulse.belongs_to_this_thread();
            let kept = VecDeque::new();
            let mut state = Thread { db, bounds, clock, done, pulse, outage, kept };
            // The database is closed after `on_fatal` or never: closing it writes to its files.
            match catch_unwind(AssertUnwindSafe(|| state.serve(requests))) {
                Ok(Ok(stop)) => {
                    drop(state);
                    if let Some(reply) = stop {
                        let _ = reply.send(());
                    }
                }
                Ok(Err(Fatal(error))) => {
                    on_fatal(format!("outcome of a transaction unknown: {error}"));
                }
                Err(_) => on_fatal("the ledger's thread has panicked".into()),
            }
        })?;
        Ok(Self { queue, works, done, pulse, bounds, path: Arc::new(Mutex::new(path)) })
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnMut(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.call(request::reader(work)).await
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.call(request::writer(work)).await
    }

    /// What is not refused in an outage, and waits for its end.
    pub(super) async fn take_note(
        &self,
        work: impl FnMut(&Tx<'_>) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), LedgerError> {
        self.call(request::note(work)).await
    }

    /// Two requests in one transaction, of which one may be refused without the other.
    pub(super) async fn write_both<A: Send + 'static, B: Send + 'static>(
        &self,
        first: impl FnOnce(&Tx<'_>) -> Result<A, Failure> + Send + 'static,
        second: impl FnOnce(&Tx<'_>) -> Result<B, Failure> + Send + 'static,
    ) -> (Result<A, LedgerError>, Result<B, LedgerError>) {
        let (first, a) = request::writer(first);
        let (second, b) = request::writer(second);
        let _ = self.queue.send(Message::Both([first, second]));
        (answer(a).await, answer(b).await)
    }

    pub(super) fn done(&self) -> LedgerWork {
        LedgerWork {
            requests: self.done.requests.load(Ordering::Relaxed),
            transactions: self.done.transactions.load(Ordering::Relaxed),
        }
    }

    async fn call<T>(&self, (request, coming): Asked<T>) -> Result<T, LedgerError> {
        let _ = self.queue.send(Message::One(request));
        answer(coming).await
    }

    pub(super) async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        let _ = self.queue.send(Message::Stop(reply));
        let _ = stopped.await;
    }
}

/// Never completes when the thread has ended without an answer: what became of the request is
/// unknown then, and `on_fatal` ends the daemon.
async fn answer<T>(coming: oneshot::Receiver<Outcome<T>>) -> Outcome<T> {
    match coming.await {
        Ok(outcome) => outcome,
        Err(_) => pending().await,
    }
}

/// Counts the transactions that reach the write-ahead log: one that changed nothing but temporary
/// tables does not. The hook stands where SQLite has the one that checkpoints, and does that too.
fn count_transactions(db: &mut Connection, done: Arc<Done>) -> rusqlite::Result<()> {
    db.wal_hook(Some(move |wal: &mut Wal, pages| {
        done.transactions.fetch_add(1, Ordering::Relaxed);
        if pages >= CHECKPOINT_PAGES {
            // The transaction is durable in the log, whatever becomes of this.
            let _ = wal.checkpoint();
        }
        Ok(())
    }))
}

/// Runs those of the group, then those that have come meanwhile, until nobody waits or the group is full.
fn run_all(
    group: &mut Vec<Box<dyn Job>>,
    mut queue: Option<&mut Queue>,
    tx: &Tx<'_>,
) -> rusqlite::Result<()> {
    let mut done = 0;
    while done < group.len() {
        group[done..].iter_mut().try_for_each(|job| job.run(tx))?;
        done = group.len();
        if let Some(queue) = &mut queue {
            queue.take_in(group);
        }
    }
    Ok(())
}

/// What waits for the thread.
struct Queue {
    messages: mpsc::Receiver<Message>,
    /// Set when it is to end; nothing is taken after that.
    stop: Option<oneshot::Sender<()>>,
}

impl Queue {
    fn add(&mut self, message: Message, group: &mut Vec<Box<dyn Job>>) {
        match message {
            Message::One(request) => group.push(request),
            Message::Both(requests) => group.extend(requests),
            Message::Stop(reply) => self.stop = Some(reply),
        }
    }

    /// Takes what waits into a group, as much as may be in one.
    fn take_in(&mut self, group: &mut Vec<Box<dyn Job>>) {
        while self.stop.is_none() && group.len() < MAX_GROUP {
            match self.messages.try_recv() {
                Ok(message) => self.add(message, group),
                Err(_) => break,
            }
        }
    }
}

/// It is unknown whether a transaction was committed.
struct Fatal(rusqlite::Error);

struct Thread {
    db: Connection,
    bounds: Arc<Mutex<Bounds>>,
    clock: Box<dyn Fn() -> i64 + Send>,
    done: Arc<Done>,
    pulse: Arc<Pulse>,
    outage: Outage,
    /// Notes that have come in the outage, in their order. The sessions that wait for them bound how many there are.
    kept: VecDeque<Box<dyn Job>>,
}

impl Thread {
    /// Until it is told to stop, or the last handle is gone. Gives whom to tell that it has.
    fn serve(
        &mut self,
        messages: mpsc::Receiver<Message>,
    ) -> Result<Option<oneshot::Sender<()>>, Fatal> {
        let mut queue = Queue { messages, stop: None };
        // Names are there from the start, for what goes on while the ledger cannot be written.
        self.try_to_write()?;
        while queue.stop.is_none() {
            self.pulse.rests();
            let first = match self.outage.retry_in(Instant::now()) {
                None => queue.messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => queue.messages.recv_timeout(wait),
            };
            self.pulse.begins();
            let first = match first {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.try_to_write()?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut group = Vec::new();
            queue.add(first, &mut group);
            queue.take_in(&mut group);
            self.serve_group(group, &mut queue)?;
        }
        Ok(queue.stop)
    }

    fn serve_group(
        &mut self,
        mut group: Vec<Box<dyn Job>>,
        queue: &mut Queue,
    ) -> Result<(), Fatal> {
        if self.outage.retry_in(Instant::now()).is_some_and(|wait| wait.is_zero()) {
            self.try_to_write()?;
        }
        if self.outage.is_on() {
            group = self.turn_away(group);
        }
        if let Err(error) = self.run(&mut group, Some(queue))? {
            self.outage.failed(&error, Instant::now());
            let all = group.len();
            group = self.turn_away(group);
            // Readers do not fail for a writer beside them; without one, nothing else can be tried.
            if group.len() == all || self.run(&mut group, None)?.is_err() {
                group.into_iter().for_each(|job| job.answer_unavailable());
                return Ok(());
            }
        }
        self.answer(group);
        Ok(())
    }

    /// Refuses the writers of a group and keeps its notes; the readers are left.
    fn turn_away(&mut self, group: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        let mut readers = Vec::new();
        for job in group {
            match job.kind() {
                Kind::Reader => readers.push(job),
                // A damaged ledger never works again.
                Kind::Note if !self.outage.is_for_good() => self.kept.push_back(job),
                Kind::Note | Kind::Writer => job.answer_unavailable(),
            }
        }
        readers
    }

    fn answer(&self, group: Vec<Box<dyn Job>>) {
        self.done.requests.fetch_add(group.len() as u64, Ordering::Relaxed);
        group.into_iter().for_each(|job| job.answer());
    }

    /// Tries whether the ledger can be written, and then takes the notes that were kept; it does not wait for a
    /// foreign writer.
    fn try_to_write(&mut self) -> Result<(), Fatal> {
        let mut refused = Vec::new();
        let tried = match self.db.busy_timeout(Duration::ZERO) {
            Ok(()) => match self.probe()? {
                Ok(()) => self.take_kept(&mut refused)?,
                error => error,
            },
            error => error,
        };
        match tried.and(self.db.busy_timeout(schema::BUSY_TIMEOUT)) {
            Ok(()) if self.outage.is_on() => self.outage.is_over(),
            Ok(()) => {}
            Err(error) => self.outage.failed(&error, Instant::now()),
        }
        refused.into_iter().for_each(|job: Box<dyn Job>| job.answer_unavailable());
        Ok(())
    }

    /// Has a small transaction become durable, which takes more names in.
    fn probe(&self) -> Result<rusqlite::Result<()>, Fatal> {
        let (request, _) = request::writer(names::take_in);
        self.run(&mut vec![request], None)
    }

    /// Takes the notes that were kept, in their order. Those that make a transaction fail while the ledger works are
    /// `refused`, so that one of them does not hold up everybody.
    fn take_kept(
        &mut self,
        refused: &mut Vec<Box<dyn Job>>,
    ) -> Result<rusqlite::Result<()>, Fatal> {
        // What a session has noted that is over is its recovery's, which may be under way.
        self.kept.retain(|job| job.is_awaited());
        let mut most = MAX_GROUP;
        while !self.kept.is_empty() {
            let mut group: Vec<_> = self.kept.drain(..most.min(self.kept.len())).collect();
            if self.run(&mut group, None)?.is_ok() {
                self.answer(group);
                continue;
            }
            let works = self.probe()?;
            if works.is_ok() && most == 1 {
                refused.append(&mut group);
                continue;
            }
            group.into_iter().rev().for_each(|job| self.kept.push_front(job));
            if works.is_err() {
                return Ok(works);
            }
            most = 1;
        }
        Ok(Ok(()))
    }

    /// Whether a commit has certainly failed: the system took no more bytes (a disk or a quota is
    /// full, the file system has become read-only) before the last frame, which alone commits, was
    /// written whole. A failed sync is none of these.
    fn was_not_written(&self, error: &rusqlite::Error) -> bool {
        match error.sqlite_error() {
            Some(failure) if failure.code == SqliteCode::DiskFull => true,
            Some(failure) if failure.extended_code == ffi::SQLITE_IOERR_WRITE => {
                matches!(sys::errno_of(&self.db), libc::EDQUOT | libc::EFBIG | libc::EROFS)
            }
            _ => false,
        }
    }

    /// Runs a group in one transaction, with those that come to wait meanwhile. The inner error means that
    /// it was rolled back.
    fn run(
        &self,
        group: &mut Vec<Box<dyn Job>>,
        queue: Option<&mut Queue>,
    ) -> Result<rusqlite::Result<()>, Fatal> {
        if group.is_empty() {
            return Ok(Ok(()));
        }
        // Readers do without the write lock, so that a ledger that cannot be written can be read.
        let writes = group.iter().any(|job| job.kind() != Kind::Reader);
        let begin = if writes { "BEGIN IMMEDIATE" } else { "BEGIN" };
        let bounds = *self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        let tx = Tx {
            db: &self.db,
            now_s: (self.clock)(),
            upload_expiry_s: bounds.upload_expiry_s,
            max_uploads: bounds.max_uploads,
            crossings: Crossings::default(),
            outage: self.outage.is_on(),
        };
        // A transaction that only reads is over at once, and takes no writers in.
        let queue = queue.filter(|_| writes);
        let work = self.db.execute_batch(begin).and_then(|()| run_all(group, queue, &tx));
        if let Err(error) = work {
            self.roll_back()?;
            return Ok(Err(error));
        }
        match self.db.execute_batch("COMMIT") {
            Ok(()) => {
                tx.crossings.log();
                Ok(Ok(()))
            }
            Err(error) if self.was_not_written(&error) => {
                self.roll_back()?;
                Ok(Err(error))
            }
            Err(error) => Err(Fatal(error)),
        }
    }

    /// After many errors SQLite has done so by itself.
    fn roll_back(&self) -> Result<(), Fatal> {
        if self.db.is_autocommit() {
            return Ok(());
        }
        self.db.execute_batch("ROLLBACK").map_err(Fatal)
    }
}

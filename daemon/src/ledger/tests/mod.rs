//! The ledger's rules, on a real database in a temporary directory.

mod backup;
mod batches;
mod credentials;
mod damage;
mod leases;
mod many_users;
mod migrations;
mod model;
mod outages;
mod programs;
mod random;
mod recovery;
mod sessions;
mod thread;
mod thresholds;
mod uploads;
mod users;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use berth_common::entry::SourceFingerprint;
use berth_common::error_code::{ErrorCode, Resource};
use berth_common::ids::UploadToken;
use berth_common::ledger_protocol::Outcome;
use berth_common::rel_path::RelPath;

use super::request::Failure;
use super::*;

/// Notes by themselves.
impl Ledger {
    async fn let_go(
        &self,
        user: &UserName,
        session: SessionId,
        name: StagingName,
    ) -> Result<(), LedgerError> {
        self.note(user, session, vec![Note::LetGo(name)]).await
    }

    async fn gone(&self, session: SessionId, names: Vec<StagingName>) -> Result<(), LedgerError> {
        let nobody = UserName::new("nobody").unwrap();
        self.note(&nobody, session, vec![Note::Gone(names)]).await
    }
}

const S1: SessionId = SessionId(1);
const S2: SessionId = SessionId(2);
const S3: SessionId = SessionId(u64::MAX);
const EXPIRY_S: i64 = 1000;
const MAX_UPLOADS: u32 = 260;
/// As much disk as anybody may want.
const ROOM: u64 = 1 << 50;

/// A ledger with the active user alice.
struct Bench {
    dir: tempfile::TempDir,
    ledger: Ledger,
    outside: Outside,
    fatal: mpsc::Receiver<String>,
    alice: UserName,
}

/// What a test sees and sets of the ledger's surroundings.
#[derive(Clone, Default)]
struct Outside {
    clock: Arc<AtomicI64>,
    commits: Arc<AtomicUsize>,
    fail_commits: Arc<AtomicBool>,
    executed: Option<many_users::Executed>,
}

fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

fn verifier(byte: u8) -> ScramVerifier {
    ScramVerifier::new(vec![byte; 16], 4096, [byte; 32], [byte; 32]).unwrap()
}

fn limits(bytes: u64, entries: u64) -> Limits {
    Limits { bytes: Some(bytes), entries: Some(entries) }
}

fn open(path: PathBuf, outside: &Outside) -> Result<(Ledger, mpsc::Receiver<String>), OpenError> {
    let mut db = schema::open(&path)?;
    let Outside { clock, commits, fail_commits, executed } = outside.clone();
    if let Some(executed) = executed {
        executed.note(&mut db);
    }
    let hook = move || {
        commits.fetch_add(1, Ordering::Relaxed);
        fail_commits.load(Ordering::Relaxed)
    };
    db.commit_hook(Some(hook))?;
    let (sender, fatal) = mpsc::channel();
    let options = Options {
        bounds: Bounds { upload_expiry_s: EXPIRY_S, max_uploads: MAX_UPLOADS },
        clock: Box::new(move || clock.load(Ordering::Relaxed)),
        retry_every: Duration::ZERO,
        ..Options::new(move |text| drop(sender.send(text)))
    };
    Ok((Ledger::start(db, options)?, fatal))
}

/// In memory where that can be had: nothing here cuts the power, and syncs take most of the time.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap()
}

impl Bench {
    async fn new(limits: Limits) -> Self {
        let dir = directory();
        let outside = Outside::default();
        outside.clock.store(100, Ordering::Relaxed);
        let (ledger, fatal) = open(dir.path().join("ledger.sqlite"), &outside).unwrap();
        let alice = name("alice");
        ledger.add_user(&alice, verifier(1), limits).await.unwrap();
        ledger.activate_user(&alice).await.unwrap();
        Self { dir, ledger, outside, fatal, alice }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("ledger.sqlite")
    }

    fn at(&self, seconds: i64) {
        self.outside.clock.store(seconds, Ordering::Relaxed);
    }

    /// Closes and opens the file, as a daemon that ends and starts again.
    async fn reopen(&mut self) {
        self.ledger.close().await;
        (self.ledger, self.fatal) = open(self.path(), &self.outside).unwrap();
    }

    /// Used and reserved bytes, used and reserved entries.
    async fn sums(&self) -> (i64, u64, i64, u64) {
        let usage = self.ledger.usage(&self.alice).await.unwrap();
        (usage.used_bytes, usage.reserved_bytes, usage.used_entries, usage.reserved_entries)
    }

    async fn reserve(&self, session: SessionId, growth: u64) -> Result<StagingName, LedgerError> {
        self.ledger.reserve(&self.alice, session, growth, 1).await
    }

    async fn intend(
        &self,
        session: SessionId,
        item: IntentItem,
    ) -> Result<StagingName, LedgerError> {
        let names = self.ledger.intent(&self.alice, session, vec![item]).await?;
        Ok(names[0])
    }

    async fn settle(
        &self,
        session: SessionId,
        name: StagingName,
        outcome: Outcome,
    ) -> Result<Usage, LedgerError> {
        self.ledger.settle(&self.alice, session, vec![SettleItem { name, outcome }]).await
    }

    /// A file of this size in the home.
    async fn put(&self, session: SessionId, size: u64) {
        let name = self.reserve(session, size).await.unwrap();
        self.intend(session, stage(name, size, None)).await.unwrap();
        self.settle(session, name, Outcome::Placed { replaced: None }).await.unwrap();
    }

    async fn open_upload(
        &self,
        session: SessionId,
        request: &UploadRequest,
    ) -> Result<UploadOpening, LedgerError> {
        self.ledger.open_upload(&self.alice, session, request.clone(), ROOM).await
    }

    async fn opened(&self, session: SessionId, request: &UploadRequest) -> StagingName {
        match self.open_upload(session, request).await.unwrap() {
            UploadOpening::Opened { name, .. } => name,
            held => panic!("{held:?}"),
        }
    }
}

fn stage(name: StagingName, size: u64, replaces: Option<u64>) -> IntentItem {
    IntentItem::Stage { name, inode: 7, size, replaces }
}

fn upload(path: &str, token: u8, source: u64, growth: u64) -> UploadRequest {
    UploadRequest {
        path: RelPath::new(path).unwrap(),
        source: SourceFingerprint { size: growth, mtime_ns: -5, ctime_ns: 6, inode: source },
        token: UploadToken([token; 16]),
        growth,
        entries: 1,
    }
}

fn over_quota(error: &LedgerError) -> bool {
    matches!(error, LedgerError::Refused(ErrorCode::QuotaExceeded { .. }))
}

fn is_protocol<T: std::fmt::Debug>(result: Result<T, LedgerError>) -> bool {
    matches!(result, Err(LedgerError::Protocol(_)))
}

const PLACED: Outcome = Outcome::Placed { replaced: None };

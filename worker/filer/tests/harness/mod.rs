//! A bench for one filer: the test plays the daemon and the worker over the real channels.
//!
//! The bench's ledger mints names, keeps rows and sums, and panics when the filer breaks the protocol; at
//! the end of a test [`Bench::check`] compares its sums with a walk of the home.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod asking;
pub mod ledger;

use std::any::Any;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use berth_common::batch::SmallPut;
use berth_common::channel::{Channel, ChannelError};
use berth_common::digest::Md5;
use berth_common::entry::{Existing, SourceFingerprint};
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{FilerToWorker, OpenUpload, WorkerToFiler};
use berth_common::ids::{Handle, OpId, SessionId, UploadToken, UserName};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, Role, Settling, StagingSync};
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use berth_common::sandbox_mode::SandboxMode;
use rustix::event::{PollFd, PollFlags, Timespec};

pub use ledger::Ledger;

/// After so long a test has failed.
const DEADLINE: Duration = Duration::from_secs(60);

pub type DaemonEnd = Channel<DaemonToFiler, FilerToDaemon>;
pub type FilerEnd = Channel<FilerToDaemon, DaemonToFiler>;
pub type WorkerEnd = Channel<WorkerToFiler, FilerToWorker>;

/// Looks at each message to the daemon before it is answered; `false` leaves it unanswered.
pub type Watch = Box<dyn FnMut(&FilerToDaemon) -> bool>;

pub struct Bench {
    pub directory: tempfile::TempDir,
    pub home: PathBuf,
    pub staging: PathBuf,
    pub daemon: Option<DaemonEnd>,
    pub worker: Option<WorkerEnd>,
    pub ledger: Ledger,
    pub watch: Option<Watch>,
    /// Set when a message was left unanswered.
    pub halted: bool,
    /// Set when the filer has closed its channels.
    pub ended: bool,
    /// Whether `DescriptorsTaken` is said for each message with descriptors.
    pub takes: bool,
    answers: VecDeque<(FilerToWorker, Vec<OwnedFd>)>,
    next_op: u32,
    /// What keeps the filer alive, or ends it.
    pub filer: Box<dyn Any>,
}

/// A child process that is killed with the bench.
pub struct Process(pub std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Held from a process's start until its first word. Before that it may still have a copy of every descriptor
/// of this one, so that a file which another test has just closed still has a writer.
static STARTING: Mutex<()> = Mutex::new(());

/// Waits until no process is being started.
fn after_starting() {
    drop(STARTING.lock().unwrap_or_else(PoisonError::into_inner));
}

/// A filer as a process: `exe` with the channel as descriptor 0.
pub fn process(exe: &'static str) -> impl FnOnce(FilerEnd, &Path) -> Box<dyn Any> {
    move |channel, directory| {
        let log = File::create(directory.join("log")).unwrap();
        let child = std::process::Command::new(exe)
            .env_clear()
            .stdin(channel.into_descriptor())
            .stdout(File::create(directory.join("lock")).unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Box::new(Process(child))
    }
}

pub fn rel(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

/// The fingerprint of a source of `size` bytes; `change` tells sources apart.
pub fn source(size: usize, change: i64) -> SourceFingerprint {
    SourceFingerprint {
        size: size as u64,
        mtime_ns: 1_600_000_000_123_456_789,
        ctime_ns: change,
        inode: 77,
    }
}

pub fn small(path: &str, content: &[u8], overwrite: bool) -> SmallPut {
    SmallPut {
        path: rel(path),
        content: content.to_vec(),
        md5: Md5::of(content),
        mtime_ns: 1_600_000_000_123_456_789,
        mode: 0o640,
        overwrite,
        note: NoteChange::Keep,
    }
}

pub fn upload(path: &str, source: SourceFingerprint, overwrite: bool) -> OpenUpload {
    let existing = if overwrite { Existing::Replace } else { Existing::Keep };
    let (path, source, token) = (rel(path), source.into(), UploadToken([5; 16]));
    OpenUpload { path, source, token, mode: 0o640, existing, note: NoteChange::Keep }
}

/// An upload that was opened.
#[derive(Debug)]
pub struct Upload {
    pub handle: Handle,
    pub files: Vec<File>,
    pub resumed: bool,
    pub started_over: bool,
    pub limit: Option<u64>,
}

impl Bench {
    /// A filer that serves, started by `start`, over an empty home.
    pub fn serving(start: impl FnOnce(FilerEnd, &Path) -> Box<dyn Any>) -> Self {
        let mut bench = Self::prepare();
        bench.serve_again(start);
        bench
    }

    /// A filer that recovers.
    pub fn recovering(start: impl FnOnce(FilerEnd, &Path) -> Box<dyn Any>) -> Self {
        let mut bench = Self::prepare();
        bench.recover_again(start);
        bench
    }

    fn prepare() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        let staging = directory.path().join("staging");
        fs::create_dir(&home).unwrap();
        fs::create_dir(&staging).unwrap();
        Self {
            ledger: Ledger::new(&staging),
            directory,
            home,
            staging,
            daemon: None,
            worker: None,
            watch: None,
            halted: false,
            ended: false,
            takes: true,
            answers: VecDeque::new(),
            next_op: 0,
            filer: Box::new(()),
        }
    }

    /// Starts a filer that serves the same home, after an earlier one has ended.
    pub fn serve_again(&mut self, start: impl FnOnce(FilerEnd, &Path) -> Box<dyn Any>) {
        let daemon = self.start(start);
        let (ours, theirs) = WorkerEnd::pair().unwrap();
        let theirs = theirs.into_descriptor();
        let (home, staging) = (File::open(&self.home).unwrap(), File::open(&self.staging).unwrap());
        let user = UserName::new("alice").unwrap();
        let role = DaemonToFiler::Join(Role::Serve {
            user,
            session: SessionId(1),
            sync: StagingSync::Directory,
            sandbox: SandboxMode::Require,
        });
        daemon.send(&role, &[home.as_fd(), staging.as_fd(), theirs.as_fd()]).unwrap();
        assert_eq!(daemon.recv().unwrap().message, FilerToDaemon::Joined);
        (self.daemon, self.worker) = (Some(daemon), Some(ours));
    }

    /// Starts a filer that recovers the same staging directory.
    pub fn recover_again(&mut self, start: impl FnOnce(FilerEnd, &Path) -> Box<dyn Any>) {
        let daemon = self.start(start);
        let staging = File::open(&self.staging).unwrap();
        let role = DaemonToFiler::Join(Role::Recover {
            user: UserName::new("alice").unwrap(),
            sync: StagingSync::Directory,
            sandbox: SandboxMode::Require,
        });
        daemon.send(&role, &[staging.as_fd()]).unwrap();
        assert_eq!(daemon.recv().unwrap().message, FilerToDaemon::Joined);
        self.daemon = Some(daemon);
    }

    /// A filer that walks.
    pub fn walking(start: impl FnOnce(FilerEnd, &Path) -> Box<dyn Any>) -> Self {
        let mut bench = Self::prepare();
        bench.walk_again(start);
        bench
    }

    pub fn walk_again(&mut self, start: impl FnOnce(FilerEnd, &Path) -> Box<dyn Any>) {
        let daemon = self.start(start);
        let home = File::open(&self.home).unwrap();
        let role = DaemonToFiler::Join(Role::Walk {
            user: UserName::new("alice").unwrap(),
            sandbox: SandboxMode::Require,
        });
        daemon.send(&role, &[home.as_fd()]).unwrap();
        assert_eq!(daemon.recv().unwrap().message, FilerToDaemon::Joined);
        self.daemon = Some(daemon);
    }

    fn start(&mut self, start: impl FnOnce(FilerEnd, &Path) -> Box<dyn Any>) -> DaemonEnd {
        let (daemon, filer) = DaemonEnd::pair().unwrap();
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        self.filer = start(filer, self.directory.path());
        (self.halted, self.ended) = (false, false);
        let first = daemon.recv();
        assert!(
            matches!(&first, Ok(received) if received.message == FilerToDaemon::Ready),
            "{first:?}: {}",
            self.log()
        );
        daemon
    }

    /// What the filer wrote into its panic pipe.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Kills the filer's process at once.
    pub fn kill(&mut self) {
        let process = self.filer.downcast_mut::<Process>().unwrap();
        process.0.kill().unwrap();
        process.0.wait().unwrap();
        (self.daemon, self.worker) = (None, None);
        self.ledger.forget_holder();
    }

    /// Waits for the filer's process to end and says its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        let process = self.filer.downcast_mut::<Process>().unwrap();
        let begun = Instant::now();
        loop {
            if let Some(status) = process.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < DEADLINE, "the filer does not end");
            std::thread::yield_now();
        }
    }

    /// Waits for one message of the filer's and deals with it; `false` when the filer is gone.
    pub fn pump(&mut self) -> bool {
        let [from_daemon, from_worker] = self.wait();
        if from_daemon {
            match self.daemon.as_ref().unwrap().recv() {
                Ok(received) => self.hear(received.message),
                Err(ChannelError::Closed) => self.ended = true,
                Err(error) => panic!("{error}"),
            }
        }
        if from_worker && !self.ended {
            match self.worker.as_ref().unwrap().recv() {
                Ok(received) => {
                    if self.takes && !received.descriptors.is_empty() {
                        self.tell(WorkerToFiler::DescriptorsTaken { messages: 1 });
                    }
                    self.answers.push_back((received.message, received.descriptors));
                }
                Err(ChannelError::Closed) => self.ended = true,
                Err(error) => panic!("{error}"),
            }
        }
        !self.ended
    }

    fn wait(&self) -> [bool; 2] {
        let mut waiting: Vec<PollFd<'_>> = Vec::new();
        waiting.extend(self.daemon.as_ref().map(|end| PollFd::new(end, PollFlags::IN)));
        waiting.extend(self.worker.as_ref().map(|end| PollFd::new(end, PollFlags::IN)));
        let timeout = Timespec { tv_sec: DEADLINE.as_secs() as i64, tv_nsec: 0 };
        let ready = rustix::event::poll(&mut waiting, Some(&timeout)).unwrap();
        assert!(ready > 0, "the filer says nothing; its log: {}", self.log());
        let is_ready = |index: usize| waiting.get(index).is_some_and(|fd| !fd.revents().is_empty());
        match (&self.daemon, &self.worker) {
            (None, _) => [false, is_ready(0)],
            _ => [is_ready(0), is_ready(1)],
        }
    }

    fn hear(&mut self, message: FilerToDaemon) {
        if self.watch.as_mut().is_some_and(|watch| !watch(&message)) {
            self.ledger.log.push(message);
            self.halted = true;
            return;
        }
        let mut message = message;
        if let FilerToDaemon::Intent { settle, .. } = &mut message
            && let Some(Settling { op, items }) = settle.take()
            && let Some(answer) = self.ledger.hear(FilerToDaemon::Settle { op, items })
        {
            let _ = self.daemon.as_ref().unwrap().send(&answer, &[]);
        }
        if let Some(answer) = self.ledger.hear(message) {
            let _ = self.daemon.as_ref().unwrap().send(&answer, &[]);
        }
    }

    /// Deals with messages until `done`.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        while !done(self) {
            assert!(self.pump(), "the filer has ended while waiting for {what}: {}", self.log());
        }
    }

    /// Deals with messages until the filer has nothing left in staging but what has a row.
    pub fn settle_down(&mut self) {
        self.until("staging to be cleared", |bench| bench.ledger.is_quiet());
    }

    /// Deals with messages until the filer closes its channels, and says its exit code.
    pub fn ends(&mut self) -> Option<i32> {
        while self.pump() {}
        self.exit_code()
    }

    pub fn op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(self.next_op)
    }

    pub fn tell(&self, message: WorkerToFiler) {
        self.worker.as_ref().unwrap().send(&message, &[]).unwrap();
    }

    /// Asks, without waiting for the answer.
    pub fn begin(&mut self, message: impl FnOnce(OpId) -> WorkerToFiler) -> OpId {
        let op = self.op();
        self.tell(message(op));
        op
    }

    /// The next answer to `op`.
    pub fn answer(&mut self, op: OpId) -> (FilerToWorker, Vec<OwnedFd>) {
        loop {
            if let Some(at) = self.answers.iter().position(|(answer, _)| operation(answer) == op) {
                return self.answers.remove(at).unwrap();
            }
            assert!(self.pump(), "the filer has ended: {}", self.log());
        }
    }

    /// Whether an answer to `op` is here already.
    pub fn has_answer(&self, op: OpId) -> bool {
        self.answers.iter().any(|(answer, _)| operation(answer) == op)
    }

    /// Asks and waits for the answer.
    pub fn ask(&mut self, message: impl FnOnce(OpId) -> WorkerToFiler) -> FilerToWorker {
        let op = self.begin(message);
        self.answer(op).0
    }

    /// Asks for what is answered by `Done` or a failure.
    pub fn change(&mut self, message: impl FnOnce(OpId) -> WorkerToFiler) -> Result<(), ErrorCode> {
        match self.ask(message) {
            FilerToWorker::Done { .. } => Ok(()),
            FilerToWorker::Failed { error, .. } => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// Compares the ledger with the home, and staging with the rows.
    pub fn check(&mut self) {
        if self.daemon.is_some() && !self.ended {
            self.settle_down();
        }
        let (bytes, entries) = walk(&self.home);
        assert_eq!(
            (self.ledger.used_bytes, self.ledger.used_entries),
            (bytes, entries),
            "the ledger equals the home"
        );
        for entry in fs::read_dir(&self.staging).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(self.ledger.has_row(&name), "{name} stands in staging without a row");
        }
    }

    /// Charges for what the test itself has placed in the home.
    pub fn charge_home(&mut self) {
        (self.ledger.used_bytes, self.ledger.used_entries) = walk(&self.home);
    }
}

/// Bytes of regular files and entries below a directory.
pub fn walk(directory: &Path) -> (i64, i64) {
    let mut sums = (0, 0);
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        sums.1 += 1;
        if metadata.is_dir() {
            let below = walk(&entry.path());
            sums = (sums.0 + below.0, sums.1 + below.1);
        } else if metadata.is_file() {
            sums.0 += i64::try_from(metadata.len()).unwrap();
        }
    }
    sums
}

fn operation(answer: &FilerToWorker) -> OpId {
    match answer {
        FilerToWorker::Failed { op, .. }
        | FilerToWorker::Done { op }
        | FilerToWorker::Entry { op, .. }
        | FilerToWorker::Entries { op, .. }
        | FilerToWorker::Opened { op, .. }
        | FilerToWorker::UploadOpened { op, .. }
        | FilerToWorker::Extended { op, .. }
        | FilerToWorker::Committed { op, .. }
        | FilerToWorker::FilesPut { op, .. }
        | FilerToWorker::FilesRead { op, .. }
        | FilerToWorker::FilesStated { op, .. }
        | FilerToWorker::Usage { op, .. }
        | FilerToWorker::Uploads { op, .. } => *op,
    }
}

//! A filer on real files: enough of one for a worker to transfer, and to be watched while it does.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use berth_common::batch::{FILE_BYTES, PutResult, ReadResult, SmallPut, StatResult};
use berth_common::channel::Channel;
use berth_common::digest::Md5;
use berth_common::entry::{
    Entry, EntryKind, HomeFingerprint, Limits, PutSource, SourceFingerprint, Usage,
};
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{FilerToWorker, MAX_UNTAKEN, WorkerToFiler};
use berth_common::ids::{Handle, OpId};
use berth_common::limits::{LEASE_BYTES, SMALL_UPLOAD_BYTES};
use berth_common::rel_path::RelPath;

type FilerEnd = Channel<FilerToWorker, WorkerToFiler>;

/// A user's files, which outlive the sessions of a test.
pub(super) struct Home {
    directory: tempfile::TempDir,
    /// Tree digests that are stored with files.
    pub(super) digests: HashMap<RelPath, Md5>,
    /// Plain MD5s that were kept.
    pub(super) md5s: Vec<Md5>,
    /// Uploads that a later session may go on with: data, journal, source.
    pub(super) open: HashMap<RelPath, (PathBuf, PathBuf, SourceFingerprint)>,
    /// Whether an upload was kept, for each that was closed without a commit.
    pub(super) closed: Vec<bool>,
    /// Whether a file is said to have changed when its MD5 is to be kept.
    pub(super) changes_while_hashed: bool,
    /// Bytes that uploads of unknown size may have in all, and how much more was asked for them.
    pub(super) room: u64,
    pub(super) extends: Vec<u64>,
    /// Whether they are answered only before the next question about the usage.
    pub(super) holds_extends: bool,
    held: Vec<FilerToWorker>,
    /// Files that were asked for, there or not.
    pub(super) asked_for_reading: u32,
    untaken: usize,
    last: u32,
}

impl Home {
    pub(super) fn new() -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            directory: tempfile::tempdir().unwrap(),
            digests: HashMap::new(),
            md5s: Vec::new(),
            open: HashMap::new(),
            closed: Vec::new(),
            changes_while_hashed: false,
            room: u64::MAX,
            extends: Vec::new(),
            holds_extends: false,
            held: Vec::new(),
            asked_for_reading: 0,
            untaken: 0,
            last: 0,
        }))
    }

    /// Where a file of the home is.
    pub(super) fn file(&self, path: &str) -> PathBuf {
        self.directory.path().join(format!("home-{path}"))
    }

    fn put_small(&mut self, file: SmallPut) -> PutResult {
        let path = self.file(file.path.as_str());
        let replaced = path.exists();
        if replaced && !file.overwrite {
            return PutResult::Failed(ErrorCode::AlreadyExists);
        }
        fs::write(path, &file.content).unwrap();
        self.digests.insert(file.path, file.md5);
        PutResult::Done { replaced }
    }

    fn read_small(&self, path: &RelPath) -> ReadResult {
        match self.entry(path) {
            None => ReadResult::Failed(ErrorCode::NotFound),
            Some((entry, _)) if entry.size > FILE_BYTES as u64 => ReadResult::TooLarge,
            Some((entry, _)) => {
                let content = fs::read(self.file(path.as_str())).unwrap();
                ReadResult::File { entry, content }
            }
        }
    }

    fn entry(&self, path: &RelPath) -> Option<(Entry, HomeFingerprint)> {
        let meta = fs::metadata(self.file(path.as_str())).ok()?;
        let digest = self.digests.get(path).copied();
        let entry = Entry {
            name: path.as_str().into(),
            kind: EntryKind::File,
            size: meta.len(),
            mtime_ns: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
            mode: 0o644,
            digest,
            note: None,
        };
        let ctime_ns = meta.ctime() * 1_000_000_000 + meta.ctime_nsec();
        Some((entry, HomeFingerprint { inode: meta.ino(), ctime_ns, size: meta.len(), digest }))
    }
}

pub(super) fn usage() -> Usage {
    Usage {
        limits: Limits::default(),
        used_bytes: 1,
        used_entries: 2,
        reserved_bytes: 3,
        reserved_entries: 4,
    }
}

/// An upload that a session has open.
struct Upload {
    path: RelPath,
    data: PathBuf,
    journal: Option<PathBuf>,
    source: PutSource,
    /// Bytes that may be written.
    limit: u64,
}

pub(super) struct FakeFiler {
    channel: FilerEnd,
    home: Arc<Mutex<Home>>,
    uploads: HashMap<Handle, Upload>,
    reading: HashSet<Handle>,
    /// Lists of uploads of which the second part was not asked for yet.
    upload_lists: HashSet<OpId>,
}

impl FakeFiler {
    /// Starts one, and gives the worker's end of its channel.
    pub(super) fn start(home: Arc<Mutex<Home>>) -> Channel<WorkerToFiler, FilerToWorker> {
        let (channel, worker) = Channel::pair().unwrap();
        let mut filer = Self {
            channel,
            home,
            uploads: HashMap::new(),
            reading: HashSet::new(),
            upload_lists: HashSet::new(),
        };
        thread::spawn(move || {
            while let Ok(received) = filer.channel.recv() {
                filer.answer(received.message);
            }
        });
        worker
    }

    fn send(&self, message: &FilerToWorker) {
        // A worker that has ended needs no answer.
        let _ = self.channel.send(message, &[]);
    }

    fn answer(&mut self, message: WorkerToFiler) {
        let home = Arc::clone(&self.home);
        let mut home = home.lock().unwrap();
        let not_found = |op| FilerToWorker::Failed { op, error: ErrorCode::NotFound };
        match message {
            WorkerToFiler::Stat { op, path } => match home.entry(&path) {
                Some((entry, _)) => self.send(&FilerToWorker::Entry { op, entry }),
                None => self.send(&not_found(op)),
            },
            WorkerToFiler::List { op, .. } => {
                self.send(&FilerToWorker::Entries { op, entries: Vec::new(), last: false });
            }
            WorkerToFiler::ListMore { op } if self.upload_lists.remove(&op) => {
                self.send(&FilerToWorker::Uploads { op, uploads: Vec::new(), last: true });
            }
            WorkerToFiler::ListMore { op } => {
                home.last += 1;
                let last = home.last.is_multiple_of(3);
                self.send(&FilerToWorker::Entries { op, entries: Vec::new(), last });
            }
            WorkerToFiler::OpenRead { op, path } => {
                home.asked_for_reading += 1;
                let Some((entry, fingerprint)) = home.entry(&path) else {
                    return self.send(&not_found(op));
                };
                home.last += 1;
                let file = File::open(home.file(path.as_str())).unwrap();
                let handle = Handle(home.last);
                self.reading.insert(handle);
                let opened = FilerToWorker::Opened { op, handle, entry, fingerprint, md5: None };
                let _ = self.channel.send(&opened, &[file.as_fd()]);
                home.untaken += 1;
                assert!(home.untaken <= MAX_UNTAKEN);
            }
            WorkerToFiler::KeepMd5 { op, md5, .. } => {
                home.md5s.push(md5);
                match home.changes_while_hashed {
                    true => {
                        self.send(&FilerToWorker::Failed { op, error: ErrorCode::SourceChanged })
                    }
                    false => self.send(&FilerToWorker::Done { op }),
                }
            }
            WorkerToFiler::CloseRead { handle } => assert!(self.reading.remove(&handle)),
            WorkerToFiler::OpenUpload { op, upload } => {
                home.last += 1;
                let handle = Handle(home.last);
                let (file, limit) = match upload.source {
                    PutSource::File(file) => (Some(file), file.size),
                    PutSource::Stream => (None, home.room.min(LEASE_BYTES)),
                };
                let resumable = file.is_some_and(|file| file.size > SMALL_UPLOAD_BYTES);
                let staged =
                    |kind: &str| home.directory.path().join(format!("{kind}-{}", home.last));
                let found = home.open.get(&upload.path).filter(|found| Some(found.2) == file);
                let (resumed, data, journal) = match found {
                    Some((data, journal, _)) => (true, data.clone(), Some(journal.clone())),
                    None => (false, staged("data"), resumable.then(|| staged("journal"))),
                };
                let open = |path: &PathBuf| {
                    let mut options = OpenOptions::new();
                    options.read(true).write(true).create(true).truncate(false);
                    options.open(path).unwrap()
                };
                let files: Vec<File> =
                    [Some(&data), journal.as_ref()].into_iter().flatten().map(open).collect();
                let descriptors: Vec<_> = files.iter().map(File::as_fd).collect();
                let started_over = false;
                let opened = FilerToWorker::UploadOpened {
                    op,
                    handle,
                    resumable,
                    resumed,
                    started_over,
                    limit: file.is_none().then_some(limit),
                };
                let _ = self.channel.send(&opened, &descriptors);
                home.untaken += 1;
                assert!(home.untaken <= MAX_UNTAKEN);
                let (path, source) = (upload.path, upload.source);
                if let (Some(journal), Some(source)) = (&journal, file) {
                    home.open.insert(path.clone(), (data.clone(), journal.clone(), source));
                }
                self.uploads.insert(handle, Upload { path, data, journal, source, limit });
            }
            WorkerToFiler::Extend { op, handle, least } => {
                let upload = self.uploads.get_mut(&handle).unwrap();
                assert_eq!(upload.source, PutSource::Stream);
                home.extends.push(least);
                if least > home.room {
                    let error = ErrorCode::DiskFull;
                    return self.send(&FilerToWorker::Failed { op, error });
                }
                upload.limit = least.max(upload.limit.saturating_add(LEASE_BYTES)).min(home.room);
                let extended = FilerToWorker::Extended { op, limit: upload.limit };
                match home.holds_extends {
                    true => home.held.push(extended),
                    false => self.send(&extended),
                }
            }
            WorkerToFiler::Commit { op, handle, digest } => {
                let upload = self.uploads.remove(&handle).unwrap();
                assert_eq!(holders(&upload.data), 0, "the worker has closed the data");
                let journal = upload.journal.as_ref();
                assert_eq!(journal.map_or(0, |journal| holders(journal)), 0, "and the journal");
                let size = fs::metadata(&upload.data).unwrap().len();
                match upload.source {
                    PutSource::File(file) => assert_eq!(size, file.size),
                    PutSource::Stream => assert!(size <= upload.limit),
                }
                let target = home.file(upload.path.as_str());
                let replaced = target.exists();
                fs::rename(&upload.data, target).unwrap();
                home.open.remove(&upload.path);
                home.digests.insert(upload.path, digest);
                self.send(&FilerToWorker::Committed { op, replaced, usage: usage() });
            }
            WorkerToFiler::CloseUpload { op, handle, keep } => {
                let upload = self.uploads.remove(&handle).unwrap();
                assert_eq!(holders(&upload.data), 0, "the worker has closed the data");
                let journal = upload.journal.as_ref();
                assert_eq!(journal.map_or(0, |journal| holders(journal)), 0, "and the journal");
                home.closed.push(keep);
                if !keep {
                    home.open.remove(&upload.path);
                }
                self.send(&FilerToWorker::Done { op });
            }
            WorkerToFiler::PutFiles { op, files } => {
                let results = files.into_iter().map(|file| home.put_small(file)).collect();
                self.send(&FilerToWorker::FilesPut { op, results, usage: Some(usage()) });
            }
            WorkerToFiler::ReadFiles { op, paths } => {
                let files = paths.iter().map(|path| home.read_small(path)).collect();
                self.send(&FilerToWorker::FilesRead { op, files });
            }
            WorkerToFiler::StatFiles { op, paths } => {
                let stated = paths.iter().map(|path| match home.entry(path) {
                    Some((entry, _)) => StatResult::Entry(entry),
                    None => StatResult::Failed(ErrorCode::NotFound),
                });
                let results = stated.collect();
                self.send(&FilerToWorker::FilesStated { op, results });
            }
            WorkerToFiler::Usage { op } => {
                home.held.drain(..).for_each(|held| self.send(&held));
                self.send(&FilerToWorker::Usage { op, usage: usage() });
            }
            WorkerToFiler::Uploads { op } => {
                self.upload_lists.insert(op);
                self.send(&FilerToWorker::Uploads { op, uploads: Vec::new(), last: false });
            }
            WorkerToFiler::MakeDirectory { op, .. }
            | WorkerToFiler::Remove { op, .. }
            | WorkerToFiler::Rename { op, .. }
            | WorkerToFiler::SetNote { op, .. }
            | WorkerToFiler::AbortUpload { op, .. } => self.send(&FilerToWorker::Done { op }),
            WorkerToFiler::DescriptorsTaken { messages } => home.untaken -= messages as usize,
            WorkerToFiler::ListStop { .. } => {}
        }
    }
}

/// Descriptors of this process, the worker's threads among it, that are open on a file.
fn holders(path: &Path) -> usize {
    let path = path.canonicalize().unwrap();
    let open = fs::read_dir("/proc/self/fd").unwrap();
    open.filter(|entry| fs::read_link(entry.as_ref().unwrap().path()).is_ok_and(|to| to == path))
        .count()
}

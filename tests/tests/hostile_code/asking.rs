//! A worker's puppet that asks a real filer.

use berth_common::channel::Message as _;
use berth_common::digest::Md5;
use berth_common::entry::{Existing, SourceFingerprint};
use berth_common::filer_protocol::{FilerToWorker, OpenUpload, WorkerToFiler};
use berth_common::ids::{Handle, OpId, UploadToken};
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use berth_tests::puppets::{Fate, Puppet, log_in};

use crate::scene::Scene;

/// A worker after its login.
pub(crate) struct Asking {
    pub(crate) puppet: Puppet,
    pub(crate) filer: i32,
    next: u32,
}

/// An upload that was opened.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) handle: Handle,
    /// The data, and the journal of a resumable one.
    pub(crate) files: Vec<u64>,
    pub(crate) limit: Option<u64>,
}

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

pub(crate) fn upload(at: &str, size: Option<u64>) -> OpenUpload {
    let source = |size| SourceFingerprint { size, mtime_ns: 0, ctime_ns: 0, inode: 9 };
    OpenUpload {
        path: path(at),
        source: size.map_or(berth_common::entry::PutSource::Stream, |size| source(size).into()),
        token: UploadToken([3; 16]),
        mode: 0o7777,
        existing: Existing::Replace,
        note: NoteChange::Keep,
    }
}

impl Asking {
    /// alice's.
    pub(crate) fn new(scene: &Scene) -> Self {
        Self::of(scene, "alice", "a")
    }

    pub(crate) fn of(scene: &Scene, user: &str, password: &str) -> Self {
        let mut puppet = scene.server.puppet();
        let filer = log_in(&mut puppet, user, password);
        Self { puppet, filer, next: 100 }
    }

    pub(crate) fn op(&mut self) -> OpId {
        self.next += 1;
        OpId(self.next)
    }

    pub(crate) fn tell(&mut self, message: &WorkerToFiler) -> Result<(), Fate> {
        self.puppet.send(self.filer, message)
    }

    /// Asks, and takes the answer with its descriptors.
    pub(crate) fn ask(
        &mut self,
        question: impl FnOnce(OpId) -> WorkerToFiler,
    ) -> Result<(FilerToWorker, Vec<i32>), Fate> {
        let op = self.op();
        self.tell(&question(op))?;
        let (answer, files) = self.puppet.receive::<FilerToWorker>(self.filer)?;
        if answer.descriptors() > 0 {
            self.tell(&WorkerToFiler::DescriptorsTaken { messages: 1 })?;
        }
        Ok((answer, files))
    }

    pub(crate) fn open(&mut self, at: &str, size: Option<u64>) -> Upload {
        match self.ask(|op| WorkerToFiler::OpenUpload { op, upload: upload(at, size) }).unwrap() {
            (FilerToWorker::UploadOpened { handle, limit, .. }, files) => {
                let files = files.into_iter().map(|file| file as u64).collect();
                Upload { handle, files, limit }
            }
            (other, _) => panic!("{at}: {other:?}"),
        }
    }

    pub(crate) fn write(&mut self, file: u64, bytes: &[u8], at: u64) -> Result<u64, Fate> {
        let address = self.puppet.put(bytes)?;
        self.puppet.call(libc::SYS_pwrite64, &[file, address, bytes.len() as u64, at])
    }

    pub(crate) fn close(&mut self, file: u64) {
        self.puppet.call(libc::SYS_close, &[file]).unwrap();
    }

    pub(crate) fn commit(&mut self, handle: Handle) -> Result<FilerToWorker, Fate> {
        let digest = Md5::of(b"whatever");
        Ok(self.ask(|op| WorkerToFiler::Commit { op, handle, digest })?.0)
    }
}

/// The same upload somewhere else.
pub(crate) fn at(upload: OpenUpload, path: RelPath) -> OpenUpload {
    OpenUpload { path, ..upload }
}

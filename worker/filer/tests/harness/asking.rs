//! What a test asks of the filer, in one call each.

use std::fs::{self, File};
use std::io::Write as _;

use berth_common::batch::{PutResult, SmallPut};
use berth_common::digest::Md5;
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{FilerToWorker, OpenUpload, WorkerToFiler};
use berth_common::ids::{Handle, OpId};

use super::{Bench, Upload, after_starting, rel, source, upload};

impl Bench {
    pub fn make_directory(&mut self, path: &str, parents: bool) -> Result<(), ErrorCode> {
        let path = rel(path);
        self.change(|op| WorkerToFiler::MakeDirectory { op, path, parents })
    }

    pub fn remove(&mut self, path: &str, recursive: bool) -> Result<(), ErrorCode> {
        let path = rel(path);
        self.change(|op| WorkerToFiler::Remove { op, path, recursive })
    }

    pub fn rename(&mut self, from: &str, to: &str, overwrite: bool) -> Result<(), ErrorCode> {
        let (from, to) = (rel(from), rel(to));
        self.change(|op| WorkerToFiler::Rename { op, from, to, overwrite })
    }

    pub fn open(&mut self, request: OpenUpload) -> Result<Upload, ErrorCode> {
        let op = self.begin(|op| WorkerToFiler::OpenUpload { op, upload: request });
        match self.answer(op) {
            (FilerToWorker::UploadOpened { handle, resumed, started_over, limit, .. }, files) => {
                let files = files.into_iter().map(File::from).collect();
                Ok(Upload { handle, files, resumed, started_over, limit })
            }
            (FilerToWorker::Failed { error, .. }, _) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// Closes the upload's files and asks for its commit, without waiting.
    pub fn begin_commit(&mut self, upload: Upload, bytes: &[u8]) -> OpId {
        drop(upload.files);
        after_starting();
        let handle = upload.handle;
        self.begin(|op| WorkerToFiler::Commit { op, handle, digest: Md5::of(bytes) })
    }

    /// Asks for more room: the bytes that may be written then.
    pub fn extend(&mut self, handle: Handle, least: u64) -> Result<u64, ErrorCode> {
        match self.ask(|op| WorkerToFiler::Extend { op, handle, least }) {
            FilerToWorker::Extended { limit, .. } => Ok(limit),
            FilerToWorker::Failed { error, .. } => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// Closes an upload whose files are closed.
    pub fn close(&mut self, handle: Handle, keep: bool) {
        after_starting();
        let closed = self.change(|op| WorkerToFiler::CloseUpload { op, handle, keep });
        assert_eq!(closed, Ok(()));
    }

    /// The end of a commit: whether it replaced a file.
    pub fn committed(&mut self, op: OpId) -> Result<bool, ErrorCode> {
        match self.answer(op).0 {
            FilerToWorker::Committed { replaced, .. } => Ok(replaced),
            FilerToWorker::Failed { error, .. } => Err(error),
            other => panic!("{other:?}"),
        }
    }

    pub fn commit(&mut self, upload: Upload, bytes: &[u8]) -> Result<bool, ErrorCode> {
        let op = self.begin_commit(upload, bytes);
        self.committed(op)
    }

    /// A whole put: whether it replaced a file.
    pub fn put(&mut self, path: &str, bytes: &[u8], overwrite: bool) -> Result<bool, ErrorCode> {
        let mut opened = self.open(upload(path, source(bytes.len(), 0), overwrite))?;
        opened.files[0].write_all(bytes).unwrap();
        self.commit(opened, bytes)
    }

    /// Small files in one message: what came of each.
    pub fn put_together(&mut self, files: Vec<SmallPut>) -> Vec<PutResult> {
        match self.ask(|op| WorkerToFiler::PutFiles { op, files }) {
            FilerToWorker::FilesPut { results, usage, .. } => {
                let done = results.iter().any(|result| matches!(result, PutResult::Done { .. }));
                assert_eq!(usage.is_some(), done, "{results:?}");
                results
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.home.join(path)).unwrap()
    }
}

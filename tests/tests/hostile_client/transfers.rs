//! Puts as the tests of a hostile client begin them, right or wrong.

use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::digest::{Md5, TreeDigest, leaves};
use berth_common::entry::{Existing, PutSource, SourceFingerprint};
use berth_common::frame::BlockHeader;
use berth_common::ids::{RequestId, UploadToken};
use berth_common::limits::BLOCK_SIZE;
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use berth_tests::Raw;

pub(crate) fn source(size: u64) -> SourceFingerprint {
    SourceFingerprint { size, mtime_ns: 1_000_000_007, ctime_ns: 2, inode: 3 }
}

/// A put of a file of this size to this path.
pub(crate) fn put(path: &str, size: u64) -> Put {
    Put {
        id: RequestId(0),
        path: RelPath::new(path).unwrap(),
        source: source(size).into(),
        token: UploadToken([9; 16]),
        mode: 0o644,
        existing: Existing::Replace,
        base: None,
        note: NoteChange::Keep,
    }
}

pub(crate) fn small(path: &str, size: usize) -> Put {
    put(path, size as u64)
}

/// A put of unknown size.
pub(crate) fn stream(path: &str) -> Put {
    Put { source: PutSource::Stream, ..put(path, 0) }
}

/// Sends a put under a new number, whatever the answer.
pub(crate) fn begin(raw: &mut Raw, put: Put) -> RequestId {
    let id = raw.id();
    raw.send(&ClientToWorker::Put(Put { id, ..put }));
    id
}

/// Opens an upload of which the server has nothing.
pub(crate) fn open(raw: &mut Raw, put: Put) -> RequestId {
    let id = begin(raw, put);
    match raw.message() {
        WorkerToClient::PutReady { leaves: 0, .. } => id,
        other => panic!("instead of an open upload: {other:?}"),
    }
}

pub(crate) fn header(transfer: RequestId, offset: u64, data: &[u8]) -> BlockHeader {
    BlockHeader { transfer, offset, leaves: leaves(data) }
}

/// Sends the content in blocks.
pub(crate) fn send_blocks(raw: &mut Raw, id: RequestId, content: &[u8]) {
    for (number, block) in content.chunks(BLOCK_SIZE).enumerate() {
        raw.send_block(&header(id, (number * BLOCK_SIZE) as u64, block), block);
    }
}

/// Sends the content and its end.
pub(crate) fn send_all(raw: &mut Raw, id: RequestId, content: &[u8]) {
    send_blocks(raw, id, content);
    raw.send(&end(id, content));
}

pub(crate) fn end(id: RequestId, content: &[u8]) -> ClientToWorker {
    let source = source(content.len() as u64).into();
    ClientToWorker::PutEnd { id, digest: tree(content), source }
}

pub(crate) fn tree(content: &[u8]) -> Md5 {
    let mut tree = TreeDigest::new();
    for block in content.chunks(BLOCK_SIZE) {
        tree.extend(&leaves(block));
    }
    tree.finish()
}

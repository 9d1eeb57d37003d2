//! The storm's puts and gets: every byte made from its file's number and checked against it.

use std::ops::Range;

use berth_common::batch::SmallPut;
use berth_common::client_protocol::{ClientToWorker, Put, WorkerToClient};
use berth_common::digest::{TreeDigest, leaves};
use berth_common::entry::{Existing, PutSource, SourceEnd, SourceFingerprint, Usage};
use berth_common::frame::BlockHeader;
use berth_common::ids::{RequestId, UploadToken};
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE, LEAVES_PER_BLOCK};
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;

use super::arena::Arena;
use super::connection::{Connection, Cut};
use super::content::Content;
use super::file::{File, Reader};
use super::history::End;
use super::plan::BrokenOff;
use super::session::ended_by;
use super::tree::Step;
use crate::raw::Received;

/// A file that is or was being sent.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Where to.
    pub path: RelPath,
    /// What it holds.
    pub content: Content,
    /// Stands for the source's times and inode.
    pub source: u64,
    /// Whose it is.
    pub token: UploadToken,
    /// What becomes of a file that stands there.
    pub existing: Existing,
    /// Whether it is sent as something of unknown size.
    pub streams: bool,
}

/// How a put went.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) end: End,
    pub(super) hangs_up: bool,
    pub(super) usage: Option<Usage>,
    /// Whether the server had a part of it already.
    pub(super) resumed: bool,
}

/// Sends a file, from where the server has it. Nothing can have come of it before the end was sent.
pub(super) fn put(
    connection: &mut Connection,
    upload: &Upload,
    broken_off: Option<BrokenOff>,
    arena: &Arena,
) -> Sent {
    let id = connection.id();
    let mut reached = Reached::default();
    let answer = try_put(connection, id, upload, broken_off, arena, &mut reached);
    let Reached { asked, resumed } = reached;
    let not_known = if asked { End::CutOff } else { End::NotAsked };
    match answer {
        Err(Cut) => Sent { end: not_known, hangs_up: true, usage: None, resumed },
        Ok(None) => {
            let hangs_up = broken_off.is_some_and(|how| !how.hangs);
            Sent { end: End::NotAsked, hangs_up, usage: None, resumed }
        }
        Ok(Some(answer)) => {
            let usage = match &answer {
                WorkerToClient::PutDone { usage, .. } => Some(*usage),
                _ => None,
            };
            let end = match ended_by(&answer) {
                End::CutOff => not_known,
                end => end,
            };
            Sent { end, hangs_up: false, usage, resumed }
        }
    }
}

/// How far a put came.
#[derive(Default)]
struct Reached {
    /// Whether its end was sent.
    asked: bool,
    resumed: bool,
}

/// The last answer; `None` when the put was broken off as planned.
fn try_put(
    connection: &mut Connection,
    id: RequestId,
    upload: &Upload,
    broken_off: Option<BrokenOff>,
    arena: &Arena,
    reached: &mut Reached,
) -> Result<Option<WorkerToClient>, Cut> {
    let Upload { content, existing, .. } = upload;
    connection.send(&ClientToWorker::Put(upload.announced(id)))?;
    let there = match connection.answer(id)? {
        WorkerToClient::PutReady { leaves, .. } => leaves,
        answer => return Ok(Some(answer)),
    };
    let most = if upload.streams { 0 } else { content.leaf_count() };
    assert!(there <= most, "the server has leaves that were not sent");
    if let Some(answer) = check_journal(connection, id, *content, there)? {
        return Ok(Some(answer));
    }
    if there > 0 {
        reached.resumed = true;
        arena.tally.resumed(*existing);
    }
    let stop = match broken_off {
        Some(how) => there + (content.leaf_count() - there) * how.permille / 1000,
        None => content.leaf_count(),
    };
    upload.send_blocks(connection, id, there..stop)?;
    if broken_off.is_some() {
        return Ok(None);
    }
    reached.asked = true;
    connection.send(&upload.ended(id))?;
    Ok(Some(connection.answer(id)?))
}

/// Compares the leaves that the server says it has with those of the file. The last answer, if there
/// was another instead.
fn check_journal(
    connection: &mut Connection,
    id: RequestId,
    content: Content,
    there: u64,
) -> Result<Option<WorkerToClient>, Cut> {
    let mut next = 0;
    while next < there {
        match connection.answer(id)? {
            WorkerToClient::JournalLeaves { leaves, .. } => {
                for leaf in leaves {
                    assert_eq!(leaf, content.leaf_digest(next), "leaf {next} in the journal");
                    next += 1;
                }
            }
            answer => return Ok(Some(answer)),
        }
    }
    assert_eq!(next, there, "leaves in the journal");
    Ok(None)
}

/// Fetches a file and checks each byte; what it holds, if it came whole.
pub(super) fn get(connection: &mut Connection, path: &RelPath) -> Result<(Option<File>, End), Cut> {
    let id = connection.id();
    connection.send(&ClientToWorker::Get { id, path: path.clone(), resume: None })?;
    let size = match connection.answer(id)? {
        WorkerToClient::GetReady { entry, .. } => entry.size,
        answer => return Ok((None, ended_by(&answer))),
    };
    let (mut reader, mut tree) = (Reader::default(), TreeDigest::new());
    let mut rest = size;
    loop {
        match connection.next(id)? {
            Received::Block(header, data) => {
                let offset = tree.leaves() * LEAF_SIZE as u64;
                assert_eq!(header.offset, offset, "{path}: blocks in order");
                assert!(data.len() <= BLOCK_SIZE, "{path}: a large block");
                assert_eq!(leaves(&data), header.leaves, "{path}: digests of a block");
                assert!(reader.take(&data), "{path}: what came from {offset} on is no file's");
                tree.extend(&header.leaves);
                rest = rest.checked_sub(data.len() as u64).expect("no more than was stated");
            }
            Received::Message(WorkerToClient::GetEnd { digest, .. }) => {
                assert_eq!(tree.finish(), digest, "{path}: tree digest");
                assert_eq!(rest, 0, "{path}: not all bytes have come");
                let file = reader.finish();
                assert!(file.is_some(), "{path} ends within a content");
                connection.send(&ClientToWorker::GetDone { id })?;
                return Ok((file, End::Acknowledged));
            }
            Received::Message(answer) => return Ok((None, ended_by(&answer))),
            Received::Closed => return Err(Cut),
        }
    }
}

impl Upload {
    /// What it does to the home.
    pub(super) fn step(&self) -> Step {
        let Self { path, content, existing, .. } = self;
        Step::Put { path: path.clone(), content: *content, existing: *existing }
    }

    /// What is said before its first byte.
    pub(super) fn announced(&self, id: RequestId) -> Put {
        let Self { path, token, existing, .. } = self;
        let source = self.source().0;
        Put {
            id,
            path: path.clone(),
            source,
            token: *token,
            mode: 0o644,
            existing: *existing,
            base: None,
            note: NoteChange::Keep,
        }
    }

    /// All of it, for a message with others.
    pub(super) fn whole(&self) -> SmallPut {
        let (content, leaves) = match self.content.leaf_count() {
            0 => (Vec::new(), Vec::new()),
            _ => self.content.block(0),
        };
        assert!(leaves.len() <= 1, "{} bytes are no small file", content.len());
        SmallPut {
            path: self.path.clone(),
            md5: self.content.digest(),
            content,
            mtime_ns: self.source.cast_signed(),
            mode: 0o644,
            overwrite: self.existing == Existing::Replace,
            note: NoteChange::Keep,
        }
    }

    /// What is said after its last byte.
    pub(super) fn ended(&self, id: RequestId) -> ClientToWorker {
        ClientToWorker::PutEnd { id, digest: self.content.digest(), source: self.source().1 }
    }

    /// Sends these of its leaves.
    pub(super) fn send_blocks(
        &self,
        connection: &mut Connection,
        transfer: RequestId,
        leaves: Range<u64>,
    ) -> Result<(), Cut> {
        for first in leaves.step_by(LEAVES_PER_BLOCK) {
            let (data, leaves) = self.content.block(first);
            let offset = first * LEAF_SIZE as u64;
            connection.send_block(&BlockHeader { transfer, offset, leaves }, &data)?;
        }
        Ok(())
    }

    /// What is said of it before the first byte and after the last.
    fn source(&self) -> (PutSource, SourceEnd) {
        let size = self.content.size;
        if self.streams {
            return (PutSource::Stream, SourceEnd::Stream { size });
        }
        let time = self.source.cast_signed();
        let file = SourceFingerprint { size, mtime_ns: time, ctime_ns: time, inode: self.source };
        (file.into(), file.into())
    }
}

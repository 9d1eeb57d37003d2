//! Small files many at a time: verified, or digested, on a helper, and moved by the filer. And what stands at many
//! paths, which the filer says.
//!
//! No actor and no queue of blocks: a batch is one question to the filer and one answer of the client's. Whether
//! what came is a batch at all is checked before ([`berth_common::batch`]).

use berth_common::batch::{GetResult, PutResult, ReadResult, SmallPut};
use berth_common::broker_protocol::{Direction, WorkerToDaemon};
use berth_common::client_protocol::WorkerToClient;
use berth_common::digest::{self, Md5};
use berth_common::error_code::ErrorCode;
use berth_common::ids::RequestId;
use berth_common::rel_path::RelPath;

use super::Services;
use crate::broker::Broker;
use crate::filesystem::{Answer, FilesPut, PutFiles, ReadFiles, SmallFiles, StatFiles};

/// What moving small files takes.
#[derive(Clone)]
pub(crate) struct Batches {
    pub(crate) files: SmallFiles,
    pub(crate) services: Services,
    pub(crate) broker: Broker,
}

impl Batches {
    /// Puts the files that are what their sender says; the others are not stored.
    pub(crate) async fn put(&self, id: RequestId, files: Vec<SmallPut>) -> Answer<WorkerToClient> {
        let sizes: Vec<usize> = files.iter().map(|file| file.content.len()).collect();
        let verified = self.services.helpers.io.run(move || {
            let same = are_as_digested(&files);
            (files, same)
        });
        let (files, same) = verified.await.map_err(|_| ErrorCode::Internal)?;
        let mut same_again = same.iter();
        let sound: Vec<SmallPut> =
            files.into_iter().filter(|_| same_again.next() == Some(&true)).collect();
        let FilesPut { results, usage } = match sound.is_empty() {
            true => FilesPut { results: Vec::new(), usage: None },
            false => {
                let put = self.files.put.send(PutFiles(sound)).await;
                put.unwrap_or(Err(ErrorCode::Internal))?
            }
        };
        let results = beside_those_that_differ(&same, results)?;
        let done = results.iter().zip(sizes).filter(|(result, _)| is_done(result));
        let (moved, bytes) =
            done.fold((0, 0), |(files, bytes), (_, size)| (files + 1, bytes + size));
        self.report(Direction::Put, moved, bytes, results.len());
        Ok(WorkerToClient::FilesPut { id, results, usage })
    }

    /// Reads the files, and digests what was read.
    pub(crate) async fn get(&self, id: RequestId, paths: Vec<RelPath>) -> Answer<WorkerToClient> {
        let count = paths.len();
        let read = self.files.read.send(ReadFiles(paths)).await;
        let read = read.unwrap_or(Err(ErrorCode::Internal))?;
        // The filer answers for each, or it is broken.
        if read.len() != count {
            return Err(ErrorCode::Internal);
        }
        let digested = self.services.helpers.io.run(move || digested(read));
        let files = digested.await.map_err(|_| ErrorCode::Internal)?;
        let sizes = files.iter().filter_map(|file| match file {
            GetResult::File { content, .. } => Some(content.len()),
            GetResult::TooLarge | GetResult::Failed(_) => None,
        });
        let (moved, bytes) = sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size));
        self.report(Direction::Get, moved, bytes, count);
        Ok(WorkerToClient::FilesGot { id, files })
    }

    /// Asks what stands at the paths.
    pub(crate) async fn stat(&self, id: RequestId, paths: Vec<RelPath>) -> Answer<WorkerToClient> {
        let count = paths.len();
        let stated = self.files.stat.send(StatFiles(paths)).await;
        let results = stated.unwrap_or(Err(ErrorCode::Internal))?;
        // As with files: it answers for each.
        if results.len() != count {
            return Err(ErrorCode::Internal);
        }
        Ok(WorkerToClient::FilesStated { id, results })
    }

    fn report(&self, direction: Direction, moved: usize, bytes: usize, of: usize) {
        // A batch has few files.
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (files, failed) = (number(moved), number(of - moved));
        let bytes = bytes as u64;
        self.broker.report(WorkerToDaemon::BatchEnded { direction, files, bytes, failed });
    }
}

fn is_done(result: &PutResult) -> bool {
    matches!(result, PutResult::Done { .. })
}

/// For each file whether its bytes have the digest that was sent with them.
fn are_as_digested(files: &[SmallPut]) -> Vec<bool> {
    let contents: Vec<&[u8]> = files.iter().map(|file| &file.content[..]).collect();
    let digests = digest::of_each(&contents);
    files.iter().zip(digests).map(|(file, digest)| file.md5 == digest).collect()
}

/// Puts what came of the sound ones back into the order in which all were sent.
fn beside_those_that_differ(
    same: &[bool],
    results: Vec<PutResult>,
) -> Result<Vec<PutResult>, ErrorCode> {
    let sound = same.iter().filter(|same| **same).count();
    if results.len() != sound {
        return Err(ErrorCode::Internal);
    }
    let mut results = results.into_iter();
    let differs = || PutResult::Failed(ErrorCode::IntegrityMismatch { offset: 0 });
    let merged = same.iter().map(|same| match same {
        true => results.next().unwrap_or_else(differs),
        false => differs(),
    });
    Ok(merged.collect())
}

/// With the digest of what was read; what is not what was stored is rot on the disk.
fn digested(files: Vec<ReadResult>) -> Vec<GetResult> {
    let contents: Vec<&[u8]> = files
        .iter()
        .filter_map(|file| match file {
            ReadResult::File { content, .. } => Some(&content[..]),
            ReadResult::TooLarge | ReadResult::Failed(_) => None,
        })
        .collect();
    let mut digests = digest::of_each(&contents).into_iter();
    let mut next = || digests.next().unwrap_or_else(|| Md5::of(b""));
    let file = |file| match file {
        ReadResult::File { entry, content } => match (next(), entry.digest) {
            (md5, Some(stored)) if stored != md5 => GetResult::Failed(ErrorCode::DigestMismatch),
            (md5, _) => GetResult::File { entry, content, md5 },
        },
        ReadResult::TooLarge => GetResult::TooLarge,
        ReadResult::Failed(error) => GetResult::Failed(error),
    };
    files.into_iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use berth_common::entry::{Entry, EntryKind};

    use super::*;

    #[test]
    fn files_that_differ_keep_their_place() {
        let done = |replaced| PutResult::Done { replaced };
        let merged = beside_those_that_differ(&[true, false, true], vec![done(true), done(false)]);
        let differs = PutResult::Failed(ErrorCode::IntegrityMismatch { offset: 0 });
        assert_eq!(merged, Ok(vec![done(true), differs, done(false)]));
        assert!(beside_those_that_differ(&[true, false], vec![]).is_err(), "one too few");
        assert!(beside_those_that_differ(&[false], vec![done(true)]).is_err(), "one too many");
    }

    #[test]
    fn what_is_read_is_held_against_what_was_stored() {
        let file = |content: &[u8], digest| ReadResult::File {
            entry: Entry {
                name: "a".into(),
                kind: EntryKind::File,
                size: content.len() as u64,
                mtime_ns: 0,
                mode: 0o600,
                digest,
                note: None,
            },
            content: content.to_vec(),
        };
        let files = vec![
            file(b"one", None),
            ReadResult::TooLarge,
            file(b"", Some(Md5::of(b""))),
            file(b"rot", Some(Md5::of(b"not"))),
            ReadResult::Failed(ErrorCode::NotFound),
        ];
        let got = digested(files);
        let md5s: Vec<Option<Md5>> = got
            .iter()
            .map(|file| match file {
                GetResult::File { md5, .. } => Some(*md5),
                GetResult::TooLarge | GetResult::Failed(_) => None,
            })
            .collect();
        assert_eq!(md5s, [Some(Md5::of(b"one")), None, Some(Md5::of(b"")), None, None]);
        assert_eq!(got[3], GetResult::Failed(ErrorCode::DigestMismatch));
        assert_eq!(
            (&got[1], &got[4]),
            (&GetResult::TooLarge, &GetResult::Failed(ErrorCode::NotFound))
        );
    }
}

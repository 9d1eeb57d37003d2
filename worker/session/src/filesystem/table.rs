//! The questions that the filer has not answered yet, and what is a right answer to each.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use berth_common::batch::{ReadResult, StatResult};
use berth_common::channel::Received;
use berth_common::entry::{Entry, UploadSummary, Usage};
use berth_common::filer_protocol::FilerToWorker;
use berth_common::ids::{Handle, OpId};
use rustix::fs::FileType;
use tokio::sync::{mpsc, oneshot};

use super::messages::{Answer, Committed, FilesPut, OpenFile, OpenedUpload, Part};

/// An open question, by what its answer is.
#[derive(Debug)]
pub(super) enum Question {
    Entry(oneshot::Sender<Answer<Entry>>),
    Usage(oneshot::Sender<Answer<Usage>>),
    Done(oneshot::Sender<Answer<()>>),
    OpenRead(oneshot::Sender<Answer<OpenFile>>),
    OpenUpload(oneshot::Sender<Answer<OpenedUpload>>),
    Extend(oneshot::Sender<Answer<u64>>),
    Commit(oneshot::Sender<Answer<Committed>>),
    FilesPut(oneshot::Sender<Answer<FilesPut>>),
    FilesRead(oneshot::Sender<Answer<Vec<ReadResult>>>),
    FilesStated(oneshot::Sender<Answer<Vec<StatResult>>>),
    Entries(mpsc::UnboundedSender<Answer<Part<Entry>>>),
    Uploads(mpsc::UnboundedSender<Answer<Part<UploadSummary>>>),
}

/// What is to be done after an answer was delivered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// Nothing.
    Taken,
    /// Whoever asked has gone: close this file.
    UnwantedRead(Handle),
    /// Whoever asked has gone: close this upload.
    UnwantedUpload(Handle),
    /// Whoever asked has gone: stop this listing.
    UnwantedListing(OpId),
}

/// The filer answered what was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filer answered what was not asked, or handed over what is no file")]
pub(super) struct WrongAnswer;

/// The open questions.
#[derive(Debug, Default)]
pub(super) struct Table {
    open: HashMap<OpId, Question>,
    last: u32,
}

impl Table {
    /// Opens a question under a number that is not in use.
    pub(super) fn open(&mut self, question: Question) -> OpId {
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.open.contains_key(&OpId(self.last)) {
                self.open.insert(OpId(self.last), question);
                return OpId(self.last);
            }
        }
    }

    /// Whether more parts may come to this question.
    pub(super) fn is_open(&self, op: OpId) -> bool {
        self.open.contains_key(&op)
    }

    /// Gives an answer to who asked.
    ///
    /// # Errors
    /// When there is no such question, or the answer is not one to it.
    pub(super) fn deliver(
        &mut self,
        received: Received<FilerToWorker>,
    ) -> Result<Delivered, WrongAnswer> {
        if !received.descriptors.iter().all(is_regular_file) {
            return Err(WrongAnswer);
        }
        let op = op_of(&received.message);
        let question = self.open.remove(&op).ok_or(WrongAnswer)?;
        let mut descriptors = received.descriptors.into_iter();
        match (question, received.message) {
            (question, FilerToWorker::Failed { error, .. }) => fail(question, error),
            (Question::Entry(asker), FilerToWorker::Entry { entry, .. }) => {
                let _ = asker.send(Ok(entry));
            }
            (Question::Usage(asker), FilerToWorker::Usage { usage, .. }) => {
                let _ = asker.send(Ok(usage));
            }
            (Question::Done(asker), FilerToWorker::Done { .. }) => {
                let _ = asker.send(Ok(()));
            }
            (
                Question::OpenRead(asker),
                FilerToWorker::Opened { handle, entry, fingerprint, md5, .. },
            ) => {
                let file = descriptors.next().ok_or(WrongAnswer)?;
                let open = OpenFile { handle, file, entry, fingerprint, md5 };
                if asker.send(Ok(open)).is_err() {
                    return Ok(Delivered::UnwantedRead(handle));
                }
            }
            (
                Question::OpenUpload(asker),
                FilerToWorker::UploadOpened {
                    handle, resumable, resumed, started_over, limit, ..
                },
            ) => {
                let data = descriptors.next().ok_or(WrongAnswer)?;
                let journal: Option<OwnedFd> = descriptors.next();
                if journal.is_some() != resumable {
                    return Err(WrongAnswer);
                }
                let open = OpenedUpload { handle, data, journal, resumed, started_over, limit };
                if asker.send(Ok(open)).is_err() {
                    return Ok(Delivered::UnwantedUpload(handle));
                }
            }
            (Question::Extend(asker), FilerToWorker::Extended { limit, .. }) => {
                let _ = asker.send(Ok(limit));
            }
            (Question::Commit(asker), FilerToWorker::Committed { replaced, usage, .. }) => {
                let _ = asker.send(Ok(Committed { replaced, usage }));
            }
            (Question::FilesPut(asker), FilerToWorker::FilesPut { results, usage, .. }) => {
                let _ = asker.send(Ok(FilesPut { results, usage }));
            }
            (Question::FilesRead(asker), FilerToWorker::FilesRead { files, .. }) => {
                let _ = asker.send(Ok(files));
            }
            (Question::FilesStated(asker), FilerToWorker::FilesStated { results, .. }) => {
                let _ = asker.send(Ok(results));
            }
            (Question::Entries(asker), FilerToWorker::Entries { entries, last, .. }) => {
                let wanted = asker.send(Ok(Part { items: entries, last })).is_ok();
                match (last, wanted) {
                    (true, _) => {}
                    (false, true) => drop(self.open.insert(op, Question::Entries(asker))),
                    (false, false) => return Ok(Delivered::UnwantedListing(op)),
                }
            }
            (Question::Uploads(asker), FilerToWorker::Uploads { uploads, last, .. }) => {
                let wanted = asker.send(Ok(Part { items: uploads, last })).is_ok();
                match (last, wanted) {
                    (true, _) => {}
                    (false, true) => drop(self.open.insert(op, Question::Uploads(asker))),
                    (false, false) => return Ok(Delivered::UnwantedListing(op)),
                }
            }
            (
                Question::Entry(_)
                | Question::Usage(_)
                | Question::Done(_)
                | Question::OpenRead(_)
                | Question::OpenUpload(_)
                | Question::Extend(_)
                | Question::Commit(_)
                | Question::FilesPut(_)
                | Question::FilesRead(_)
                | Question::FilesStated(_)
                | Question::Entries(_)
                | Question::Uploads(_),
                FilerToWorker::Done { .. }
                | FilerToWorker::Entry { .. }
                | FilerToWorker::Entries { .. }
                | FilerToWorker::Opened { .. }
                | FilerToWorker::UploadOpened { .. }
                | FilerToWorker::Extended { .. }
                | FilerToWorker::Committed { .. }
                | FilerToWorker::FilesPut { .. }
                | FilerToWorker::FilesRead { .. }
                | FilerToWorker::FilesStated { .. }
                | FilerToWorker::Usage { .. }
                | FilerToWorker::Uploads { .. },
            ) => return Err(WrongAnswer),
        }
        Ok(Delivered::Taken)
    }
}

/// A receiver that has gone needs no error either.
fn fail(question: Question, error: berth_common::error_code::ErrorCode) {
    match question {
        Question::Entry(asker) => drop(asker.send(Err(error))),
        Question::Usage(asker) => drop(asker.send(Err(error))),
        Question::Done(asker) => drop(asker.send(Err(error))),
        Question::OpenRead(asker) => drop(asker.send(Err(error))),
        Question::OpenUpload(asker) => drop(asker.send(Err(error))),
        Question::Extend(asker) => drop(asker.send(Err(error))),
        Question::Commit(asker) => drop(asker.send(Err(error))),
        Question::FilesPut(asker) => drop(asker.send(Err(error))),
        Question::FilesRead(asker) => drop(asker.send(Err(error))),
        Question::FilesStated(asker) => drop(asker.send(Err(error))),
        Question::Entries(asker) => drop(asker.send(Err(error))),
        Question::Uploads(asker) => drop(asker.send(Err(error))),
    }
}

/// A filer that was taken over could hand over a pipe, on which a helper would wait for ever.
fn is_regular_file(descriptor: &OwnedFd) -> bool {
    let stat = rustix::fs::fstat(descriptor);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

fn op_of(message: &FilerToWorker) -> OpId {
    match message {
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

#[cfg(test)]
mod tests {
    use berth_common::entry::{EntryKind, HomeFingerprint};
    use berth_common::error_code::ErrorCode;

    use super::*;

    fn plain(message: FilerToWorker) -> Received<FilerToWorker> {
        Received { message, descriptors: Vec::new() }
    }

    fn entry() -> Entry {
        let name = "a".to_owned();
        Entry {
            name,
            kind: EntryKind::File,
            size: 1,
            mtime_ns: 2,
            mode: 0o600,
            digest: None,
            note: None,
        }
    }

    #[test]
    fn answers_find_who_asked_in_any_order() {
        let mut table = Table::default();
        let (first, mut first_answer) = oneshot::channel();
        let (second, mut second_answer) = oneshot::channel();
        let first = table.open(Question::Entry(first));
        let second = table.open(Question::Done(second));
        table.deliver(plain(FilerToWorker::Done { op: second })).unwrap();
        let error = ErrorCode::NotFound;
        table.deliver(plain(FilerToWorker::Failed { op: first, error })).unwrap();
        assert_eq!(first_answer.try_recv().unwrap(), Err(ErrorCode::NotFound));
        assert_eq!(second_answer.try_recv().unwrap(), Ok(()));
        assert_eq!(table.deliver(plain(FilerToWorker::Done { op: second })), Err(WrongAnswer));
    }

    #[test]
    fn an_answer_to_another_question_is_refused() {
        let mut table = Table::default();
        let (asker, _answer) = oneshot::channel();
        let op = table.open(Question::Done(asker));
        let wrong = FilerToWorker::Entry { op, entry: entry() };
        assert_eq!(table.deliver(plain(wrong)), Err(WrongAnswer));
    }

    #[test]
    fn what_nobody_waits_for_is_closed_again() {
        let mut table = Table::default();
        let (asker, answer) = oneshot::channel();
        let op = table.open(Question::OpenRead(asker));
        drop(answer);
        let fingerprint = HomeFingerprint { inode: 1, ctime_ns: 2, size: 1, digest: None };
        let handle = Handle(9);
        let message = FilerToWorker::Opened { op, handle, entry: entry(), fingerprint, md5: None };
        let descriptors = vec![tempfile::tempfile().unwrap().into()];
        let delivered = table.deliver(Received { message, descriptors });
        assert_eq!(delivered, Ok(Delivered::UnwantedRead(handle)));
    }

    #[test]
    fn a_listing_stays_open_until_its_last_part() {
        let mut table = Table::default();
        let (asker, mut parts) = mpsc::unbounded_channel();
        let op = table.open(Question::Entries(asker));
        for last in [false, true] {
            let part = FilerToWorker::Entries { op, entries: vec![entry()], last };
            assert_eq!(table.deliver(plain(part)), Ok(Delivered::Taken));
            assert_eq!(parts.try_recv().unwrap().unwrap().last, last);
            assert_eq!(table.is_open(op), !last);
        }
    }
}

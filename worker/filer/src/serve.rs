//! The role *serve*: a loop over the daemon's channel, the worker's channel and the helper, with the table
//! of what a worker may ask.
//!
//! The loop never waits inside an operation. What the daemon says is taken first, and what it wakes runs at
//! once: a ticket is used and given back before anything else is looked at, but where files are placed on the
//! thread that makes small ones. At the end of a turn all that has become ready is sent to the daemon together, and
//! one sync of staging is begun for all who wait for it.

use std::cell::Cell;
use std::rc::Rc;

use berth_common::batch;
use berth_common::channel::{ChannelError, Received};
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{FilerToWorker, WorkerToFiler};
use berth_common::ids::OpId;
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::commit::commit;
use crate::helper::Helper;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::outbox::{Flushed, Outbox, WorkerChannel};
use crate::run::{DaemonChannel, RunError};
use crate::session::{End, Operation, Session};
use crate::staging::Staging;
use crate::{batches, listing, mkdir, notes, reading, remove, rename, sys, uploads};

/// How long the loop sleeps while the uid has too many descriptors in flight.
const IN_FLIGHT_RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// How long nothing has to happen until freed memory is given back.
const REST_AFTER: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// Something that can be read, or its peer has gone, which reading tells.
const READABLE: PollFlags = PollFlags::IN.union(PollFlags::HUP).union(PollFlags::ERR);

/// A filer that serves a session.
pub(crate) struct Server {
    session: Rc<Session>,
    /// Nothing has happened since freed memory was given back.
    rested: Cell<bool>,
}

impl Server {
    pub(crate) fn new(
        daemon: DaemonChannel,
        worker: WorkerChannel,
        home: Home,
        staging: Staging,
        helper: Helper,
    ) -> std::io::Result<Self> {
        let end = Rc::new(End::default());
        let ledger = Ledger::new(daemon, Rc::clone(&end), helper.names());
        let outbox = Outbox::new(worker)?;
        Ok(Self {
            session: Rc::new(Session::new(home, staging, ledger, helper, outbox, end)),
            rested: Cell::new(false),
        })
    }

    /// Hands no opened files over as long as `crowd` says so.
    #[cfg(test)]
    pub(crate) fn in_a_crowd(mut self, crowd: crate::tests::Crowd) -> Self {
        if let Some(session) = Rc::get_mut(&mut self.session) {
            session.outbox.set_crowd(crowd);
        }
        self
    }

    /// Tells the daemon that the role is taken.
    pub(crate) fn joined(self) -> Self {
        self.session.ledger.send(&FilerToDaemon::Joined);
        self
    }

    /// Serves until a peer closes its channel or breaks the protocol.
    pub(crate) fn serve(self) -> Result<(), RunError> {
        let mut flushed = Flushed::Empty;
        loop {
            if let Some(end) = self.session.end.take() {
                // The operations hold the session; what is half-way is for the daemon to replay.
                self.session.tasks.clear();
                return end;
            }
            let ready = self.wait(flushed)?;
            if ready.helper {
                self.rested.set(false);
                self.session.helper.acknowledge();
            }
            self.session.tasks.run_woken();
            if ready.daemon {
                self.hear_daemon();
                self.session.tasks.run_woken();
            }
            if ready.worker {
                self.rested.set(false);
                self.hear_worker();
                self.session.tasks.run_woken();
            }
            self.session.pacer.turn();
            self.session.tasks.run_woken();
            // What became ready in this turn goes together.
            self.session.begin_sync();
            self.session.ledger.send_waiting();
            flushed = self.flush();
        }
    }

    fn wait(&self, flushed: Flushed) -> Result<Ready, RunError> {
        let session = &self.session;
        let mut for_worker = PollFlags::empty();
        // A worker that does not take its answers is not asked for more questions.
        if !session.outbox.is_full() {
            for_worker |= PollFlags::IN;
        }
        if flushed == Flushed::Blocked {
            for_worker |= PollFlags::OUT;
        }
        let timeout = if session.pacer.is_awaited() || session.tasks.has_woken() {
            Some(&AT_ONCE)
        } else if flushed == Flushed::TooManyInFlight {
            Some(&IN_FLIGHT_RETRY)
        } else if !self.rested.get() && session.is_idle() {
            Some(&REST_AFTER)
        } else {
            None
        };
        let mut waiting = [
            PollFd::new(session.ledger.channel(), PollFlags::IN),
            PollFd::new(session.outbox.channel(), for_worker),
            PollFd::new(&session.helper, PollFlags::IN),
        ];
        match rustix::event::poll(&mut waiting, timeout) {
            Ok(0) if timeout.is_some_and(|timeout| *timeout == REST_AFTER) => {
                sys::give_memory_back();
                self.rested.set(true);
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(RunError::Broken(format!("poll: {errno}"))),
        }
        let [daemon, worker, helper] = waiting.map(|waited| waited.revents().intersects(READABLE));
        Ok(Ready { daemon, worker, helper })
    }

    fn flush(&self) -> Flushed {
        if self.session.outbox.is_overfull() {
            self.session.end.misbehaved("it does not take its answers".into());
        }
        match self.session.outbox.flush() {
            Ok(Flushed::GaveUp) => {
                self.refuse_what_waits();
                // Nothing with descriptors is left that could be given up again.
                self.flush()
            }
            Ok(flushed) => flushed,
            Err(ChannelError::Closed) => {
                self.session.end.closed();
                Flushed::Empty
            }
            Err(error) => {
                self.session.end.broken(format!("cannot tell the worker: {error}"));
                Flushed::Empty
            }
        }
    }

    /// Answers those whose opened files cannot be handed over.
    fn refuse_what_waits(&self) {
        let session = &self.session;
        for message in session.outbox.take_waiting() {
            match message {
                FilerToWorker::Opened { op, handle, .. } => {
                    session.handles.borrow_mut().take_reading(handle);
                    session.outbox.tell(FilerToWorker::Failed { op, error: ErrorCode::Internal });
                }
                FilerToWorker::UploadOpened { op, handle, .. } => {
                    let own = Rc::clone(session);
                    session.tasks.spawn(uploads::not_handed_over(own, op, handle));
                }
                other => session.end.broken(format!("{other:?} was sent with descriptors")),
            }
        }
    }

    fn hear_daemon(&self) {
        match self.session.ledger.channel().recv() {
            // Nothing is done for it, so that there is nothing to rest from.
            Ok(Received { message: DaemonToFiler::Ping, .. }) => {
                self.session.ledger.send(&FilerToDaemon::Alive);
            }
            Ok(received) => {
                self.rested.set(false);
                self.session.ledger.deliver(received.message);
            }
            Err(ChannelError::Closed) => self.session.end.closed(),
            Err(error) => self.session.end.broken(format!("cannot hear the daemon: {error}")),
        }
    }

    fn hear_worker(&self) {
        match self.session.outbox.channel().recv() {
            Ok(received) => {
                if let Err(reason) = self.dispatch(received.message) {
                    self.session.end.misbehaved(reason);
                }
            }
            Err(ChannelError::WouldBlock) => {}
            Err(ChannelError::Closed) => self.session.end.closed(),
            // Not the worker's doing: memory is short, for example.
            Err(ChannelError::Io(error)) => {
                self.session.end.broken(format!("cannot hear the worker: {error}"));
            }
            Err(error) => self.session.end.misbehaved(error.to_string()),
        }
    }

    /// What a worker may ask. An `Err` says how it breaks the protocol, which ends both.
    fn dispatch(&self, message: WorkerToFiler) -> Result<(), String> {
        let session = &self.session;
        let own = Rc::clone(session);
        match message {
            WorkerToFiler::Stat { op, path } => {
                self.begin(op)?;
                session.answer(
                    op,
                    match reading::stat(session, &path) {
                        Ok(entry) => FilerToWorker::Entry { op, entry },
                        Err(error) => FilerToWorker::Failed { op, error },
                    },
                );
            }
            WorkerToFiler::List { op, path, notes } => listing::begin(session, op, path, notes)?,
            WorkerToFiler::ListMore { op } => listing::more(session, op)?,
            WorkerToFiler::ListStop { op } => listing::stop(session, op)?,
            WorkerToFiler::OpenRead { op, path } => {
                self.begin(op)?;
                self.check_handles()?;
                match reading::open(session, op, &path) {
                    Ok((answer, file)) => session.answer_with_files(op, answer, vec![file]),
                    Err(error) => session.answer(op, FilerToWorker::Failed { op, error }),
                }
            }
            WorkerToFiler::KeepMd5 { op, handle, md5 } => {
                self.begin(op)?;
                let kept = reading::keep_md5(session, handle, md5);
                session.answer_done(op, kept.ok_or_else(|| unknown("file", handle))?);
            }
            WorkerToFiler::CloseRead { handle } => {
                let closed = session.handles.borrow_mut().take_reading(handle);
                closed.ok_or_else(|| unknown("file", handle))?;
            }
            WorkerToFiler::OpenUpload { op, upload } => {
                self.begin(op)?;
                self.check_handles()?;
                session.tasks.spawn(uploads::open(own, op, upload));
            }
            WorkerToFiler::Extend { op, handle, least } => {
                self.begin(op)?;
                let begun = session.handles.borrow_mut().begin_extend(handle);
                let begun = begun.ok_or_else(|| unknown("upload to extend", handle))?;
                session.tasks.spawn(uploads::extend(own, op, handle, begun, least));
            }
            WorkerToFiler::Commit { op, handle, digest } => {
                self.begin(op)?;
                let upload = session.handles.borrow_mut().take_upload(handle);
                let upload = upload.ok_or_else(|| unknown("upload", handle))?;
                session.tasks.spawn(commit(own, op, upload, digest));
            }
            WorkerToFiler::CloseUpload { op, handle, keep } => {
                self.begin(op)?;
                let upload = session.handles.borrow_mut().take_upload(handle);
                let upload = upload.ok_or_else(|| unknown("upload", handle))?;
                session.tasks.spawn(async move {
                    let closed = uploads::close(&own, upload, keep).await;
                    own.answer_done(op, closed);
                });
            }
            WorkerToFiler::PutFiles { op, files } => {
                if !batch::is_put(&files) {
                    return Err("a batch of no files, or of too many or too large ones".into());
                }
                session.begin(op, Operation::Batch)?;
                session.tasks.spawn(batches::put(own, op, files));
            }
            WorkerToFiler::ReadFiles { op, paths } => {
                if !batch::is_get(&paths) {
                    return Err("a question for no files, or for too many".into());
                }
                session.begin(op, Operation::Batch)?;
                session.tasks.spawn(reading::read_files(own, op, paths));
            }
            WorkerToFiler::StatFiles { op, paths } => {
                if !batch::is_stat(&paths) {
                    return Err("a question about no paths, or about too many".into());
                }
                session.begin(op, Operation::Batch)?;
                session.tasks.spawn(reading::stat_files(own, op, paths));
            }
            WorkerToFiler::MakeDirectory { op, path, parents } => {
                self.begin(op)?;
                session.tasks.spawn(async move {
                    let made = mkdir::make_directory(&own, &path, parents).await;
                    own.answer_done(op, made);
                });
            }
            WorkerToFiler::Remove { op, path, recursive } => {
                self.begin(op)?;
                session.tasks.spawn(async move {
                    let removed = remove::remove(&own, &path, recursive).await;
                    own.answer_done(op, removed.as_ref().map(drop).map_err(Clone::clone));
                    if let Ok(Some(left)) = removed {
                        own.clear(left).await;
                    }
                });
            }
            WorkerToFiler::Rename { op, from, to, overwrite } => {
                self.begin(op)?;
                session.tasks.spawn(async move {
                    let renamed = rename::rename(&own, &from, &to, overwrite).await;
                    own.answer_done(op, renamed.as_ref().map(drop).map_err(Clone::clone));
                    if let Ok(Some(left)) = renamed {
                        own.clear(left).await;
                    }
                });
            }
            WorkerToFiler::SetNote { op, path, note } => {
                self.begin(op)?;
                session.tasks.spawn(async move {
                    let set = notes::set(&own, &path, note.as_ref()).await;
                    own.answer_done(op, set);
                });
            }
            WorkerToFiler::Usage { op } => {
                self.begin(op)?;
                session.tasks.spawn(async move {
                    let usage = own.ledger.usage().await;
                    own.answer(
                        op,
                        match usage {
                            Ok(usage) => FilerToWorker::Usage { op, usage },
                            Err(error) => FilerToWorker::Failed { op, error },
                        },
                    );
                });
            }
            WorkerToFiler::Uploads { op } => listing::begin_uploads(session, op)?,
            WorkerToFiler::AbortUpload { op, upload } => {
                self.begin(op)?;
                session.tasks.spawn(async move {
                    let aborted = uploads::abort(&own, upload).await;
                    own.answer_done(op, aborted);
                });
            }
            WorkerToFiler::DescriptorsTaken { messages } => {
                if !session.outbox.taken(messages) {
                    return Err(format!("it took {messages} messages that it was not sent"));
                }
            }
        }
        Ok(())
    }

    fn begin(&self, op: OpId) -> Result<(), String> {
        self.session.begin(op, Operation::Plain)
    }

    fn check_handles(&self) -> Result<(), String> {
        match self.session.handles.borrow().is_full() {
            true => Err("more files open than it may have".into()),
            false => Ok(()),
        }
    }
}

/// What `poll` said.
struct Ready {
    daemon: bool,
    worker: bool,
    helper: bool,
}

fn unknown(what: &str, handle: berth_common::ids::Handle) -> String {
    format!("it has no open {what} {handle}")
}

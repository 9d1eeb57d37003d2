//! What the worker is to be told and has not taken yet.
//!
//! The worker is not trusted to read: its channel does not block here, and what does not fit waits in this
//! queue until `poll` says that there is room. Messages with descriptors wait until the worker has taken
//! earlier ones, since descriptors in flight count for the whole uid, and not for ever where others of the uid have
//! too many there.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Instant;

use berth_common::channel::{Channel, ChannelError};
use berth_common::filer_protocol::{FilerToWorker, MAX_OPERATIONS, MAX_UNTAKEN, WorkerToFiler};
use rustix::io::Errno;

use crate::crowding::{Crowding, PATIENCE, Refused};
use crate::errors::log;
use crate::tasks::{Filler, slot};

/// The worker's channel, as this process holds it.
pub(crate) type WorkerChannel = Channel<FilerToWorker, WorkerToFiler>;

/// Messages after which nothing more is read from the worker until some were taken.
const FULL: usize = 32;

/// More messages than all operations together can have caused: the worker does not read.
const OVERFULL: usize = 4 * MAX_OPERATIONS;

/// Why nothing more was sent for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing is left that may be sent.
    Empty,
    /// The channel is full.
    Blocked,
    /// Too many descriptors of this uid are in flight; to be tried again soon.
    TooManyInFlight,
    /// The same, for so long that what waits is to be taken back ([`Outbox::take_waiting`]).
    GaveUp,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Outbox {
    channel: WorkerChannel,
    state: RefCell<State>,
    #[cfg(test)]
    crowd: crate::tests::Crowd,
}

#[derive(Debug, Default)]
struct State {
    plain: VecDeque<FilerToWorker>,
    with_files: VecDeque<(FilerToWorker, Vec<OwnedFd>)>,
    untaken: usize,
    crowding: Crowding,
    waiting_for_room: Vec<Filler<()>>,
}

impl Outbox {
    /// Takes the channel over.
    pub(crate) fn new(channel: WorkerChannel) -> io::Result<Self> {
        channel.set_nonblocking(true)?;
        Ok(Self {
            channel,
            state: RefCell::default(),
            #[cfg(test)]
            crowd: Default::default(),
        })
    }

    /// The kernel refuses as long as `crowd` says so, and nobody waits for it.
    #[cfg(test)]
    pub(crate) fn set_crowd(&mut self, crowd: crate::tests::Crowd) {
        self.state.borrow_mut().crowding = Crowding::with_patience(std::time::Duration::ZERO);
        self.crowd = crowd;
    }

    /// The channel, to wait for its messages and to receive them.
    pub(crate) fn channel(&self) -> &WorkerChannel {
        &self.channel
    }

    /// Puts a message into the queue.
    pub(crate) fn tell(&self, message: FilerToWorker) {
        self.state.borrow_mut().plain.push_back(message);
    }

    /// Puts a message with descriptors into the queue. They are closed here once they are sent.
    pub(crate) fn hand_over(&self, message: FilerToWorker, files: Vec<OwnedFd>) {
        self.state.borrow_mut().with_files.push_back((message, files));
    }

    /// The worker has taken so many messages with descriptors; `false` when it was not sent as many.
    pub(crate) fn taken(&self, messages: u32) -> bool {
        let mut state = self.state.borrow_mut();
        let left =
            usize::try_from(messages).ok().and_then(|taken| state.untaken.checked_sub(taken));
        state.untaken = left.unwrap_or(state.untaken);
        left.is_some()
    }

    /// Whether so much waits that no new request is to be read.
    pub(crate) fn is_full(&self) -> bool {
        self.state.borrow().plain.len() >= FULL
    }

    /// Waits until the worker has taken enough. For what makes more messages than one an operation.
    pub(crate) async fn has_room(&self) {
        while self.is_full() {
            let (filler, slot) = slot();
            self.state.borrow_mut().waiting_for_room.push(filler);
            slot.await;
        }
    }

    /// Whether more waits than a worker that reads can have caused.
    pub(crate) fn is_overfull(&self) -> bool {
        self.state.borrow().plain.len() >= OVERFULL
    }

    /// Sends what can be sent, and wakes those that wait for room if there is some.
    pub(crate) fn flush(&self) -> Result<Flushed, ChannelError> {
        let flushed = self.send_waiting();
        if !self.is_full() {
            let waiting = std::mem::take(&mut self.state.borrow_mut().waiting_for_room);
            waiting.into_iter().for_each(|filler| filler.fill(()));
        }
        flushed
    }

    fn send_waiting(&self) -> Result<Flushed, ChannelError> {
        let mut state = self.state.borrow_mut();
        while let Some(message) = state.plain.front() {
            match self.channel.send(message, &[]) {
                Ok(()) => drop(state.plain.pop_front()),
                Err(ChannelError::WouldBlock) => return Ok(Flushed::Blocked),
                Err(error) => return Err(error),
            }
        }
        while state.untaken < MAX_UNTAKEN {
            let Some((message, files)) = state.with_files.front() else {
                break;
            };
            match self.send_with_files(message, files) {
                Ok(()) => {}
                Err(ChannelError::WouldBlock) => return Ok(Flushed::Blocked),
                Err(ChannelError::Io(error)) if is_too_many_in_flight(&error) => {
                    return Ok(state.refused());
                }
                Err(error) => return Err(error),
            }
            if state.crowding.sent() {
                log(format_args!("opened files can be handed over again"));
            }
            state.with_files.pop_front();
            state.untaken += 1;
        }
        Ok(Flushed::Empty)
    }

    fn send_with_files(
        &self,
        message: &FilerToWorker,
        files: &[OwnedFd],
    ) -> Result<(), ChannelError> {
        #[cfg(test)]
        self.crowd.check()?;
        let files: Vec<BorrowedFd<'_>> = files.iter().map(|file| file.as_fd()).collect();
        self.channel.send(message, &files)
    }

    /// Takes back the messages with descriptors that were not sent; the descriptors are closed.
    pub(crate) fn take_waiting(&self) -> Vec<FilerToWorker> {
        let waiting = std::mem::take(&mut self.state.borrow_mut().with_files);
        waiting.into_iter().map(|(message, _)| message).collect()
    }
}

impl State {
    /// The kernel has refused to send descriptors.
    fn refused(&mut self) -> Flushed {
        match self.crowding.refused(Instant::now()) {
            Refused::Wait => Flushed::TooManyInFlight,
            Refused::Tell => {
                log(format_args!(
                    "opened files wait to be handed over: too many descriptors of this system user \
                     are in flight (ETOOMANYREFS), which another session's filer and worker may cause"
                ));
                Flushed::TooManyInFlight
            }
            Refused::GiveUp { tell } => {
                if tell {
                    log(format_args!(
                        "opened files could not be handed over for {} s, since too many descriptors of \
                         this system user are in flight; transfers are refused while it lasts",
                        PATIENCE.as_secs()
                    ));
                }
                Flushed::GaveUp
            }
        }
    }
}

fn is_too_many_in_flight(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::TOOMANYREFS.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use berth_common::ids::{Handle, OpId};

    use super::*;
    use crate::tasks::Tasks;

    fn done(n: u32) -> FilerToWorker {
        FilerToWorker::Done { op: OpId(n) }
    }

    fn opened(n: u32) -> FilerToWorker {
        FilerToWorker::UploadOpened {
            op: OpId(n),
            handle: Handle(n),
            resumable: false,
            resumed: false,
            started_over: false,
            limit: None,
        }
    }

    #[test]
    fn a_worker_that_does_not_read_blocks_nothing_but_itself() {
        let (ours, theirs) = WorkerChannel::pair().unwrap();
        let outbox = Outbox::new(ours).unwrap();
        for n in 0..2000 {
            outbox.tell(done(n));
        }
        assert_eq!(outbox.flush().unwrap(), Flushed::Blocked);
        assert!(outbox.is_full());
        for n in 0..2000 {
            if n % 50 == 0 {
                outbox.flush().unwrap();
            }
            assert_eq!(theirs.recv().unwrap().message, done(n));
        }
        assert_eq!(outbox.flush().unwrap(), Flushed::Empty);
        assert!(!outbox.is_full());
    }

    #[test]
    fn descriptors_are_handed_over_as_earlier_ones_are_taken() {
        let (ours, theirs) = WorkerChannel::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let outbox = Outbox::new(ours).unwrap();
        for n in 0..20 {
            outbox.hand_over(opened(n), vec![tempfile::tempfile().unwrap().into()]);
        }
        let received = || {
            outbox.flush().unwrap();
            std::iter::from_fn(|| theirs.recv().ok()).count()
        };
        assert_eq!(received(), MAX_UNTAKEN);
        assert_eq!(received(), 0);
        outbox.tell(done(1));
        assert_eq!(received(), 1, "what carries none is not held up");
        assert!(outbox.taken(3));
        assert_eq!(received(), 3);
        assert!(!outbox.taken(9), "it was not sent as many");
        assert!(outbox.taken(8));
        assert_eq!(received(), 8);
    }

    #[test]
    fn who_makes_many_messages_waits_until_there_is_room() {
        let (ours, theirs) = WorkerChannel::pair().unwrap();
        let outbox = Rc::new(Outbox::new(ours).unwrap());
        let tasks = Tasks::default();
        let told = Rc::new(Cell::new(0));
        let (own, count) = (Rc::clone(&outbox), Rc::clone(&told));
        tasks.spawn(async move {
            for n in 0..5000 {
                own.has_room().await;
                own.tell(done(n));
                count.set(n + 1);
            }
        });
        tasks.run_woken();
        assert_eq!(told.get() as usize, FULL, "nothing was sent yet");
        for n in 0..5000 {
            if n % 10 == 0 {
                outbox.flush().unwrap();
                tasks.run_woken();
                assert!(outbox.state.borrow().plain.len() <= FULL);
                outbox.flush().unwrap();
            }
            assert_eq!(theirs.recv().unwrap().message, done(n));
        }
        assert_eq!(told.get(), 5000);
    }
}

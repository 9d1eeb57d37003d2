//! The actor of one upload: opens it, takes its blocks one after the other, and commits it.
//!
//! It owns the staged files and the queue of the upload's blocks. The session sends it what the client
//! says of this transfer, and `Stop`. It never hashes or writes itself: that is the helpers' work, one
//! block at a time, while the connection reads the next ones. Before it commits or gives up it has
//! closed both files, and no helper holds them any more.

mod base;
mod blocks;
mod extending;
mod telling;

use std::rc::Rc;
use std::time::Instant;

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message,
    WrapFuture as _,
};
use berth_common::broker_protocol::Direction;
use berth_common::client_protocol::{Put, WorkerToClient};
use berth_common::digest::Md5;
use berth_common::entry::{PutSource, SourceEnd};
use berth_common::error_code::ErrorCode;
use berth_common::ids::Handle;
use berth_common::journal::{DurablePolicy, JournalError};

use super::journal::{Prepared, StagedFiles, error_code};
use super::pipeline::{Block, BlockQueue};
use super::plan::{ReceivingPlan, Room, Verdict};
use super::{Observers, Outcome, Over, Services, Started, Stop, TICK, Totals};
use crate::filesystem::{
    Answer, CloseUpload, Commit, Committed, OpenUpload, OpenedUpload, Reading, Uploading,
};
use crate::helper::HelperGone;
use base::Base;

/// What the client says of its upload, beside the blocks.
#[derive(Debug)]
pub(crate) enum PutControl {
    /// All blocks were sent.
    End {
        /// The sender's tree digest.
        digest: Md5,
        /// The source, looked at again.
        source: SourceEnd,
    },
    /// End it, resumably.
    Cancel,
}

impl Message for PutControl {
    type Result = ();
}

/// The actor.
pub(crate) struct PutActor {
    put: Put,
    services: Services,
    uploading: Uploading,
    reading: Reading,
    observers: Observers,
    stage: Stage,
    base: Option<Base>,
    /// Why it ends, when something has ended it before it could commit.
    fate: Option<Fate>,
    totals: Option<Totals>,
}

enum Stage {
    /// The filer opens the upload, and a helper reads its journal.
    Opening,
    /// Blocks come.
    Receiving(Box<Receiving>),
    /// The files are closed; the filer has the last word, or it is over.
    Closed,
}

/// An upload whose files are ready.
struct Opened {
    handle: Handle,
    prepared: Prepared,
    /// Of an upload of unknown size.
    room: Option<Room>,
    started_over: bool,
}

impl Opened {
    fn is_resumable(&self) -> bool {
        self.prepared.files.is_resumable()
    }
}

struct Receiving {
    handle: Handle,
    files: StagedFiles,
    queue: Rc<BlockQueue>,
    plan: ReceivingPlan,
    policy: DurablePolicy,
    /// Of an upload of unknown size.
    room: Option<Room>,
    /// A block that has no room yet: the next one has to wait, too.
    held: Option<Block>,
    /// The MD5s of the next block, which was hashed together with the one before it.
    hashed: Option<Vec<Md5>>,
    /// A helper writes a block: the next has to wait.
    storing: bool,
    /// The client is being told something: the next block has to wait, but not the end.
    telling: bool,
    /// A helper reads the journal for the client.
    looking_up: bool,
    /// A helper flushes.
    marking: bool,
    /// A future waits for the next block.
    waiting: bool,
    last_step: Instant,
}

impl Receiving {
    /// Whether a helper holds the files.
    fn is_with_a_helper(&self) -> bool {
        self.storing || self.marking || self.looking_up
    }

    /// Whether the filer has been asked for room, and has not answered. It wants no other word before.
    fn is_asking_for_room(&self) -> bool {
        self.room.as_ref().is_some_and(Room::is_asking)
    }
}

enum Fate {
    Failed { error: ErrorCode, keep: bool },
    Violation,
}

impl Fate {
    /// An end after which a later session may go on.
    fn resumable(error: ErrorCode) -> Self {
        Self::Failed { error, keep: true }
    }

    /// An end after which nothing of the upload can be used.
    fn dropped(error: ErrorCode) -> Self {
        Self::Failed { error, keep: false }
    }
}

type Ctx = Context<PutActor>;

impl Actor for PutActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.open(ctx);
    }
}

impl Handler<PutControl> for PutActor {
    type Result = ();

    fn handle(&mut self, control: PutControl, ctx: &mut Self::Context) {
        match (&mut self.stage, control) {
            (Stage::Receiving(receiving), PutControl::End { digest, source }) => {
                receiving.plan.ends(digest, source);
            }
            // The client has not been told that it may send.
            (Stage::Opening, PutControl::End { .. }) => {
                self.fate.get_or_insert(Fate::Violation);
            }
            (Stage::Opening | Stage::Receiving(_), PutControl::Cancel) => {
                self.fate.get_or_insert(Fate::resumable(ErrorCode::Cancelled));
            }
            // The answer is on its way.
            (Stage::Closed, PutControl::End { .. } | PutControl::Cancel) => {}
        }
        self.step(ctx);
    }
}

impl Handler<Stop> for PutActor {
    type Result = ();

    fn handle(&mut self, Stop(error): Stop, ctx: &mut Self::Context) {
        self.fate.get_or_insert(Fate::resumable(error));
        self.step(ctx);
    }
}

impl PutActor {
    /// The upload that the client asks for.
    pub(crate) fn new(
        put: Put,
        services: Services,
        uploading: Uploading,
        reading: Reading,
        observers: Observers,
    ) -> Self {
        let (stage, base, fate, totals) = (Stage::Opening, None, None, None);
        Self { put, services, uploading, reading, observers, stage, base, fate, totals }
    }

    fn open(&mut self, ctx: &mut Ctx) {
        let request = OpenUpload {
            path: self.put.path.clone(),
            source: self.put.source,
            token: self.put.token,
            mode: self.put.mode,
            existing: self.put.existing,
            note: self.put.note.clone(),
        };
        let opened = self.uploading.open.send(request).into_actor(self);
        ctx.spawn(opened.map(
            |opened, actor, ctx| match opened.unwrap_or(Err(ErrorCode::Internal)) {
                Ok(upload) => actor.prepare(upload, ctx),
                Err(error) => actor.over(Outcome::Failed(error), ctx),
            },
        ));
    }

    fn prepare(&mut self, upload: OpenedUpload, ctx: &mut Ctx) {
        let OpenedUpload { handle, data, journal, resumed, started_over, limit } = upload;
        let Put { id, path, source, .. } = self.put.clone();
        let size = match source {
            PutSource::File(file) => Some(file.size),
            PutSource::Stream => None,
        };
        let started = Started { id, direction: Direction::Put, path, size };
        self.observers.started.do_send(started);
        self.totals = Some(Totals::default());
        let boot = self.services.boot;
        let prepared = self.services.helpers.io.run(move || match source {
            PutSource::File(file) => StagedFiles::prepare(data, journal, resumed, &file, boot),
            PutSource::Stream => Ok(StagedFiles::of_stream(data)),
        });
        ctx.spawn(prepared.into_actor(self).map(move |prepared, actor, ctx| match prepared {
            Ok(Ok(prepared)) => {
                let room = limit.map(Room::new);
                actor.open_base(Opened { handle, prepared, room, started_over }, ctx);
            }
            // Whether the old journal is gone from the disk is unknown.
            Ok(Err(error @ JournalError::FlushFailed)) => {
                actor.close(handle, &Fate::dropped(error_code(&error)), ctx)
            }
            Ok(Err(error)) => actor.close(handle, &Fate::resumable(error_code(&error)), ctx),
            Err(HelperGone) => actor.close(handle, &Fate::resumable(ErrorCode::Internal), ctx),
        }));
    }

    fn ready(&mut self, opened: Opened, ctx: &mut Ctx) {
        let Opened { handle, prepared, room, started_over } = opened;
        let Prepared { files, tree } = prepared;
        let leaves = tree.leaves();
        if let Some(totals) = &mut self.totals {
            totals.resumed_leaves = leaves;
        }
        self.stage = Stage::Receiving(Box::new(Receiving {
            handle,
            files,
            // Before the client is told, which may send at once.
            queue: self.services.routes.add(self.put.id),
            plan: ReceivingPlan::new(self.put.source, tree),
            policy: DurablePolicy::new(Instant::now()),
            room,
            held: None,
            hashed: None,
            storing: false,
            telling: true,
            looking_up: false,
            marking: false,
            waiting: false,
            last_step: Instant::now(),
        }));
        self.tell_ready(leaves, started_over, ctx);
        ctx.run_interval(TICK, Self::tick);
    }

    /// Does what comes next. Called after everything that happens to the upload.
    fn step(&mut self, ctx: &mut Ctx) {
        let Stage::Receiving(receiving) = &self.stage else {
            return;
        };
        if receiving.storing || receiving.held.is_some() {
            return;
        }
        if self.fate.is_none() && !receiving.telling {
            self.fate = match receiving.plan.verdict(receiving.queue.is_empty()) {
                Verdict::Wait => None,
                Verdict::Whole(digest) => return self.commit(digest, ctx),
                Verdict::SourceChanged => Some(Fate::dropped(ErrorCode::SourceChanged)),
                Verdict::Mismatch => Some(Fate::dropped(ErrorCode::DigestMismatch)),
                Verdict::Contradicted => Some(Fate::Violation),
            };
        }
        if self.fate.is_some() {
            return self.give_up(ctx);
        }
        if receiving.telling {
            return;
        }
        if receiving.files.is_resumable()
            && !receiving.marking
            && receiving.policy.is_due(Instant::now())
        {
            self.mark(ctx);
        }
        self.take_block(ctx);
    }

    /// Closes the files, so that no writable descriptor is left here, and has the filer commit.
    fn commit(&mut self, digest: Md5, ctx: &mut Ctx) {
        let Some(handle) = self.take_files() else {
            return;
        };
        let committed = self.uploading.commit.send(Commit { handle, digest }).into_actor(self);
        ctx.spawn(committed.map(|committed, actor, ctx| {
            let id = actor.put.id;
            let committed: Answer<Committed> = committed.unwrap_or(Err(ErrorCode::Internal));
            let outcome = match committed {
                Ok(Committed { replaced, usage }) => {
                    Outcome::Done(Some(WorkerToClient::PutDone { id, replaced, usage }))
                }
                Err(error) => Outcome::Failed(error),
            };
            actor.over(outcome, ctx);
        }));
    }

    fn give_up(&mut self, ctx: &mut Ctx) {
        // The fate stays as long as the files cannot be had.
        let Some(handle) = self.take_files() else {
            return;
        };
        if let Some(fate) = self.fate.take() {
            self.close(handle, &fate, ctx);
        }
    }

    /// Drops the files, when no helper holds them and the filer is asked for nothing; counts what was moved.
    fn take_files(&mut self) -> Option<Handle> {
        let Stage::Receiving(receiving) = &self.stage else {
            return None;
        };
        if receiving.is_with_a_helper() || receiving.is_asking_for_room() {
            return None;
        }
        let (handle, moved) = (receiving.handle, receiving.plan.moved_leaves());
        if let Some(totals) = &mut self.totals {
            totals.moved_leaves = moved;
        }
        self.services.routes.remove(self.put.id);
        self.stage = Stage::Closed;
        Some(handle)
    }

    /// Has the filer keep or drop the upload, whose files are closed. The client hears of it, and the session
    /// ends, only afterwards: an upload that is to be dropped would else outlive a client that leaves at once.
    fn close(&mut self, handle: Handle, fate: &Fate, ctx: &mut Ctx) {
        self.stage = Stage::Closed;
        let (keep, outcome) = match fate {
            Fate::Failed { error, keep } => (*keep, Outcome::Failed(error.clone())),
            Fate::Violation => (true, Outcome::Violation),
        };
        let closed = self.uploading.close.send(CloseUpload { handle, keep });
        // The outcome is the same when that failed; the filer has said why in the log.
        ctx.spawn(closed.into_actor(self).map(move |_, actor, ctx| actor.over(outcome, ctx)));
    }

    fn over(&mut self, outcome: Outcome, ctx: &mut Ctx) {
        self.stage = Stage::Closed;
        self.close_base();
        self.observers.over.do_send(Over { id: self.put.id, totals: self.totals, outcome });
        ctx.stop();
    }

    fn tick(&mut self, ctx: &mut Ctx) {
        let Stage::Receiving(receiving) = &self.stage else {
            return;
        };
        let moved_at = receiving.queue.moved_at().max(receiving.last_step);
        // Neither is a slow disk a stall, nor a pipe into which nobody writes for a while: its upload could not be
        // gone on with. Whether the client is still there the kernel asks.
        let may_stall = self.put.source != PutSource::Stream && !receiving.is_with_a_helper();
        let stalled = may_stall && moved_at.elapsed() >= self.services.stall;
        if stalled && self.fate.is_none() {
            let seconds = u32::try_from(self.services.stall.as_secs()).unwrap_or(u32::MAX);
            self.fate = Some(Fate::resumable(ErrorCode::Stalled { seconds }));
        }
        // Also for a durable mark that has become due.
        self.step(ctx);
    }
}

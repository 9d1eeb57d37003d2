//! The actor that owns the filer's channel: every file operation of the session is a message to it.
//!
//! It turns domain words into the filer's protocol and back, and keeps the table of questions that are
//! open. Session and transfers send to it. It never touches a file, and never waits for an answer in a
//! handler: each is answered when the filer's own answer comes, in any order.

mod messages;
mod table;

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, Handler, Recipient,
    ResponseFuture, WrapFuture as _,
};
use berth_common::batch::{ReadResult, StatResult};
use berth_common::channel::{Channel, ChannelError, Received};
use berth_common::entry::{Entry, UploadSummary, Usage};
use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{self, FilerToWorker, WorkerToFiler};
use berth_common::ids::OpId;
use tokio::sync::{mpsc, oneshot};

pub(crate) use messages::*;
use table::{Delivered, Question, Table, WrongAnswer};

use crate::channel_io::{self, AsyncChannel};
use crate::sys;

/// The actor.
pub(crate) struct FilesystemActor {
    channel: Rc<AsyncChannel<WorkerToFiler, FilerToWorker>>,
    table: Table,
    /// What the channel had no room for. Bounded by the requests that a session may have open.
    unsent: VecDeque<WorkerToFiler>,
    lost: Recipient<FilerLost>,
}

impl Actor for FilesystemActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.listen(ctx);
    }
}

/// Questions with one answer: which question they open, and how the filer is asked.
macro_rules! asks {
    ($($request:pat => $kind:ident, $type:ty, $answer:ty, |$op:ident| $message:expr;)*) => {$(
        impl Handler<$type> for FilesystemActor {
            type Result = ResponseFuture<Answer<$answer>>;

            fn handle(&mut self, $request: $type, ctx: &mut Self::Context) -> Self::Result {
                self.ask(Question::$kind, |$op| $message, ctx)
            }
        }
    )*};
}

asks! {
    Stat(path) => Entry, Stat, Entry, |op| WorkerToFiler::Stat { op, path };
    GetUsage => Usage, GetUsage, Usage, |op| WorkerToFiler::Usage { op };
    OpenRead(path) => OpenRead, OpenRead, OpenFile, |op| WorkerToFiler::OpenRead { op, path };
    KeepMd5 { handle, md5 } => Done, KeepMd5, (),
        |op| WorkerToFiler::KeepMd5 { op, handle, md5 };
    Extend { handle, least } => Extend, Extend, u64,
        |op| WorkerToFiler::Extend { op, handle, least };
    CloseUpload { handle, keep } => Done, CloseUpload, (),
        |op| WorkerToFiler::CloseUpload { op, handle, keep };
    Commit { handle, digest } => Commit, Commit, Committed,
        |op| WorkerToFiler::Commit { op, handle, digest };
    OpenUpload { path, source, token, mode, existing, note } => OpenUpload, OpenUpload, OpenedUpload,
        |op| WorkerToFiler::OpenUpload {
            op,
            upload: filer_protocol::OpenUpload { path, source, token, mode, existing, note },
        };
    PutFiles(files) => FilesPut, PutFiles, FilesPut, |op| WorkerToFiler::PutFiles { op, files };
    ReadFiles(paths) => FilesRead, ReadFiles, Vec<ReadResult>,
        |op| WorkerToFiler::ReadFiles { op, paths };
    StatFiles(paths) => FilesStated, StatFiles, Vec<StatResult>,
        |op| WorkerToFiler::StatFiles { op, paths };
    change => Done, Change, (), |op| match change {
        Change::MakeDirectory { path, parents } => {
            WorkerToFiler::MakeDirectory { op, path, parents }
        }
        Change::Remove { path, recursive } => WorkerToFiler::Remove { op, path, recursive },
        Change::Rename { from, to, overwrite } => {
            WorkerToFiler::Rename { op, from, to, overwrite }
        }
        Change::SetNote { path, note } => WorkerToFiler::SetNote { op, path, note },
        Change::AbortUpload(upload) => WorkerToFiler::AbortUpload { op, upload },
    };
}

impl Handler<List> for FilesystemActor {
    type Result = ResponseFuture<Parts<Entry>>;

    fn handle(&mut self, List { path, notes }: List, ctx: &mut Self::Context) -> Self::Result {
        let (part, parts) = mpsc::unbounded_channel();
        let op = self.table.open(Question::Entries(part));
        self.post(WorkerToFiler::List { op, path, notes }, ctx);
        Box::pin(async move { Parts { op, parts } })
    }
}

impl Handler<ListUploads> for FilesystemActor {
    type Result = ResponseFuture<Parts<UploadSummary>>;

    fn handle(&mut self, _: ListUploads, ctx: &mut Self::Context) -> Self::Result {
        let (part, parts) = mpsc::unbounded_channel();
        let op = self.table.open(Question::Uploads(part));
        self.post(WorkerToFiler::Uploads { op }, ctx);
        Box::pin(async move { Parts { op, parts } })
    }
}

impl Handler<ListMore> for FilesystemActor {
    type Result = ();

    fn handle(&mut self, ListMore(op): ListMore, ctx: &mut Self::Context) {
        if self.table.is_open(op) {
            self.post(WorkerToFiler::ListMore { op }, ctx);
        }
    }
}

impl Handler<CloseRead> for FilesystemActor {
    type Result = ();

    fn handle(&mut self, CloseRead(handle): CloseRead, ctx: &mut Self::Context) {
        self.post(WorkerToFiler::CloseRead { handle }, ctx);
    }
}

impl FilesystemActor {
    /// Takes over the channel to the filer; `lost` is told when it fails.
    ///
    /// # Errors
    /// When the descriptor is no channel, or the system refuses.
    pub(crate) fn start_on(filer: OwnedFd, lost: Recipient<FilerLost>) -> io::Result<Filesystem> {
        let channel: Channel<WorkerToFiler, FilerToWorker> = Channel::from_descriptor(filer)?;
        channel.set_nonblocking(true)?;
        let channel = Rc::new(sys::register(Arc::new(channel))?);
        let actor = Self { channel, table: Table::default(), unsent: VecDeque::new(), lost };
        let actor = actor.start();
        Ok(Filesystem {
            stat: actor.clone().recipient(),
            usage: actor.clone().recipient(),
            list: actor.clone().recipient(),
            list_more: actor.clone().recipient(),
            list_uploads: actor.clone().recipient(),
            change: actor.clone().recipient(),
            reading: Reading {
                open: actor.clone().recipient(),
                keep_md5: actor.clone().recipient(),
                close: actor.clone().recipient(),
            },
            uploading: Uploading {
                open: actor.clone().recipient(),
                extend: actor.clone().recipient(),
                commit: actor.clone().recipient(),
                close: actor.clone().recipient(),
            },
            small: SmallFiles {
                put: actor.clone().recipient(),
                read: actor.clone().recipient(),
                stat: actor.recipient(),
            },
        })
    }

    /// Waits for the filer's next message, and for the one after it.
    fn listen(&self, ctx: &mut Context<Self>) {
        let channel = Rc::clone(&self.channel);
        let next = async move { channel_io::receive(&channel).await };
        ctx.spawn(next.into_actor(self).map(|received, actor, ctx| {
            let taken = match received {
                Ok(received) => actor.take(received, ctx).map_err(|error| Some(error.to_string())),
                // It has ended.
                Err(ChannelError::Closed) => Err(None),
                Err(error) => Err(Some(error.to_string())),
            };
            match taken {
                Ok(()) => actor.listen(ctx),
                Err(why) => {
                    if let Some(why) = why {
                        // The daemon logs it with the session's end. A pipe that is gone is ignored.
                        let _ = writeln!(io::stderr(), "berth-worker: its filer: {why}");
                    }
                    actor.give_up(ctx);
                }
            }
        }));
    }

    fn take(
        &mut self,
        received: Received<FilerToWorker>,
        ctx: &mut Context<Self>,
    ) -> Result<(), WrongAnswer> {
        if !received.descriptors.is_empty() {
            // Before anything else, since the filer holds back others until it hears of this.
            self.post(WorkerToFiler::DescriptorsTaken { messages: 1 }, ctx);
        }
        match self.table.deliver(received)? {
            Delivered::Taken => {}
            Delivered::UnwantedRead(handle) => self.post(WorkerToFiler::CloseRead { handle }, ctx),
            Delivered::UnwantedUpload(handle) => {
                // Nobody waits for the answer either.
                let (answer, _) = oneshot::channel();
                let op = self.table.open(Question::Done(answer));
                let keep = true;
                self.post(WorkerToFiler::CloseUpload { op, handle, keep }, ctx);
            }
            Delivered::UnwantedListing(op) => self.post(WorkerToFiler::ListStop { op }, ctx),
        }
        Ok(())
    }

    /// Sends now, or when the channel has room again; in order.
    fn post(&mut self, message: WorkerToFiler, ctx: &mut Context<Self>) {
        if !self.unsent.is_empty() {
            return self.unsent.push_back(message);
        }
        match self.channel.get_ref().send(&message, &[]) {
            Ok(()) => {}
            Err(ChannelError::WouldBlock) => {
                self.unsent.push_back(message);
                self.send_rest(ctx);
            }
            Err(_) => self.give_up(ctx),
        }
    }

    fn send_rest(&self, ctx: &mut Context<Self>) {
        let Some(first) = self.unsent.front().cloned() else {
            return;
        };
        let channel = Rc::clone(&self.channel);
        let sent = async move { channel_io::send(&channel, &first).await };
        ctx.spawn(sent.into_actor(self).map(|sent, actor, ctx| {
            actor.unsent.pop_front();
            match sent {
                Ok(()) => actor.send_rest(ctx),
                Err(_) => actor.give_up(ctx),
            }
        }));
    }

    /// Tells the session, and drops all open questions, which tells those who asked.
    fn give_up(&mut self, ctx: &mut Context<Self>) {
        // One message in the life of a session, and before all answers that are none.
        self.lost.do_send(FilerLost);
        self.table = Table::default();
        self.unsent.clear();
        ctx.stop();
    }

    /// Asks a question that has one answer.
    fn ask<T: 'static>(
        &mut self,
        question: impl FnOnce(oneshot::Sender<Answer<T>>) -> Question,
        message: impl FnOnce(OpId) -> WorkerToFiler,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<Answer<T>> {
        let (answer, answered) = oneshot::channel();
        let op = self.table.open(question(answer));
        self.post(message(op), ctx);
        // Dropped without an answer: the filer is lost, which ends the session.
        Box::pin(async move { answered.await.unwrap_or(Err(ErrorCode::Internal)) })
    }
}

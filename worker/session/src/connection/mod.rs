//! The connection to the client: one task reads, one writes, both bounded in bytes.

mod buffers;
pub(crate) mod reader;
mod wire;
mod writer;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix::{Message, Recipient};
use berth_common::client_protocol::WorkerToClient;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub(crate) use buffers::{Buffer, BufferPool};
pub(crate) use reader::{Incoming, ReadEnd};
pub(crate) use wire::{Traffic, Wire};
pub(crate) use writer::{ConnectionGone, Outgoing};

use crate::transfer::pipeline::Routes;

/// Longest time for the last message to reach the client.
const FAREWELL: Duration = Duration::from_secs(2);

/// The reading or the writing has ended by itself.
#[derive(Debug)]
pub(crate) struct ConnectionEnded(pub(crate) ReadEnd);

impl Message for ConnectionEnded {
    type Result = ();
}

/// Who hears of what comes in.
pub(crate) struct Listeners {
    /// Takes the client's messages.
    pub(crate) inbox: Recipient<Incoming>,
    /// Is told when the connection ends.
    pub(crate) ended: Recipient<ConnectionEnded>,
}

/// The two tasks of a connection.
pub(crate) struct Connection {
    outgoing: Outgoing,
    ending: Rc<Notify>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

/// What a connection is made of before it is opened, so that those who send may hold `outgoing` already.
pub(crate) struct Parts {
    /// The way to the client.
    pub(crate) outgoing: Outgoing,
    queue: writer::OutgoingQueue,
}

impl Parts {
    /// An empty queue.
    pub(crate) fn new() -> Self {
        let (outgoing, queue) = Outgoing::new();
        Self { outgoing, queue }
    }

    /// Starts both tasks on the runtime's thread.
    pub(crate) fn open<S: AsyncRead + AsyncWrite + Unpin + 'static>(
        self,
        stream: S,
        listeners: Listeners,
        routes: Rc<Routes>,
        pool: Rc<BufferPool>,
    ) -> Connection {
        let Self { outgoing, queue } = self;
        let Listeners { inbox, ended } = listeners;
        let (mut read_half, write_half) = tokio::io::split(stream);
        let ending = Rc::new(Notify::new());

        let writing = writer::write(write_half, queue, outgoing.clone(), Rc::clone(&pool));
        let write_ended = ended.clone();
        let writer = actix_rt::spawn(async move {
            if let Err(error) = writing.await {
                let _ = write_ended.send(ConnectionEnded(lost(error))).await;
            }
        });

        let told = Rc::clone(&ending);
        let reader = actix_rt::spawn(async move {
            let end = tokio::select! {
                end = reader::read(&mut read_half, &inbox, &routes, &pool) => end,
                () = told.notified() => return reader::drain(&mut read_half).await,
            };
            // Dropped before the session is told, which may otherwise wait for its own address to go.
            drop(inbox);
            let farewell = matches!(end, ReadEnd::Frame(_) | ReadEnd::BeforeLogin);
            let _ = ended.send(ConnectionEnded(end)).await;
            if farewell {
                reader::drain(&mut read_half).await;
            }
        });
        Connection { outgoing, ending, reader, writer }
    }
}

#[cfg(test)]
impl Parts {
    /// What is queued, until the last one.
    pub(crate) async fn messages(self) -> Vec<WorkerToClient> {
        drop(self.outgoing);
        self.queue.messages().await
    }
}

impl Connection {
    /// Writes what is queued and then `last`, ends the stream, and waits for the client to close; all
    /// within [`FAREWELL`].
    pub(crate) async fn close(self, last: Option<WorkerToClient>) {
        self.outgoing.finish(last.as_ref());
        self.ending.notify_one();
        let both = async {
            let _ = self.writer.await;
            let _ = self.reader.await;
        };
        let _ = tokio::time::timeout(FAREWELL, both).await;
    }

    /// Ends without another word, when the connection is gone.
    pub(crate) fn abandon(self) {
        self.outgoing.finish(None);
        self.reader.abort();
        self.writer.abort();
    }
}

/// A write that failed because the client has gone is not a fault of the network.
fn lost(error: io::Error) -> ReadEnd {
    match error.kind() {
        io::ErrorKind::BrokenPipe => ReadEnd::Left,
        _ => ReadEnd::Network(error),
    }
}

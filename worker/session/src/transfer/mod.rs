//! Transfers: one actor each, the plans they follow, and the pipeline that moves the blocks.

pub(crate) mod batch;
pub(crate) mod get;
pub(crate) mod journal;
pub(crate) mod leaves;
pub(crate) mod md5;
pub(crate) mod pipeline;
pub(crate) mod plan;
pub(crate) mod put;
mod read;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use actix::{Message, Recipient};
use berth_common::broker_protocol::Direction;
use berth_common::client_protocol::WorkerToClient;
use berth_common::error_code::ErrorCode;
use berth_common::ids::RequestId;
use berth_common::journal::BootId;
use berth_common::rel_path::RelPath;

use crate::connection::{BufferPool, Outgoing, Traffic};
use crate::helper::Helpers;
use pipeline::Routes;

/// How often a running transfer looks at the clock, for a stall and for durable marks.
const TICK: Duration = Duration::from_secs(1);

/// What all transfers of a session use.
#[derive(Clone)]
pub(crate) struct Services {
    /// The way to the client.
    pub(crate) outgoing: Outgoing,
    /// The way of blocks from the client.
    pub(crate) routes: Rc<Routes>,
    /// Buffers for blocks.
    pub(crate) pool: Rc<BufferPool>,
    /// What the socket does.
    pub(crate) traffic: Rc<Traffic>,
    /// The helper threads.
    pub(crate) helpers: Rc<Helpers>,
    /// Bytes moved.
    pub(crate) moved: Rc<Moved>,
    /// The boot, by which journals tell what to trust.
    pub(crate) boot: BootId,
    /// Time without a byte after which a transfer ends.
    pub(crate) stall: Duration,
}

/// File bytes that were moved since the last report.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    received: Cell<u64>,
    sent: Cell<u64>,
}

impl Moved {
    fn received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
    }

    fn sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// Received and sent; counts from zero again.
    pub(crate) fn take(&self) -> (u64, u64) {
        (self.received.take(), self.sent.take())
    }
}

/// Who hears of a transfer: the session.
#[derive(Clone)]
pub(crate) struct Observers {
    /// Is told that a transfer began to move.
    pub(crate) started: Recipient<Started>,
    /// Is told, as the last thing, how it ended.
    pub(crate) over: Recipient<Over>,
}

/// A transfer's file is open. Sent at most once, before [`Over`].
#[derive(Debug)]
pub(crate) struct Started {
    /// Which.
    pub(crate) id: RequestId,
    /// Which way.
    pub(crate) direction: Direction,
    /// Of which file.
    pub(crate) path: RelPath,
    /// Its size in bytes, where it is known.
    pub(crate) size: Option<u64>,
}

impl Message for Started {
    type Result = ();
}

/// A transfer is over: its files are closed, and its id may be used again.
#[derive(Debug)]
pub(crate) struct Over {
    /// Which.
    pub(crate) id: RequestId,
    /// What it moved, if it was [`Started`].
    pub(crate) totals: Option<Totals>,
    /// How it ended.
    pub(crate) outcome: Outcome,
}

impl Message for Over {
    type Result = ();
}

/// What a transfer moved, in leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// There already when it began.
    pub(crate) resumed_leaves: u64,
    /// Moved, blocks sent again included.
    pub(crate) moved_leaves: u64,
}

/// How a transfer ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It succeeded; the client is still to be told this.
    Done(Option<WorkerToClient>),
    /// It failed, and the client is to be told so.
    Failed(ErrorCode),
    /// The client broke the protocol: the session ends.
    Violation,
}

/// The session ends, or its daemon shuts down: end the transfer, resumably.
#[derive(Debug)]
pub(crate) struct Stop(pub(crate) ErrorCode);

impl Message for Stop {
    type Result = ();
}

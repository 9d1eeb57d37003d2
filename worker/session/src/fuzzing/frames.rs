//! A stream of frames through the reader, compared with what a plain reading of `docs/PROTOCOL.md` makes of it.
//!
//! An input is a byte that says whether the client has logged in (odd: it has) and into pieces of which length
//! the network cuts the stream, and then the stream.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as Polled, Poll};

use actix::{Actor, Context, Handler};
use actix_rt::{System, SystemRunner};
use berth_common::client_protocol::ClientToWorker;
use berth_common::codec;
use berth_common::ids::RequestId;
use tokio::io::{AsyncRead, ReadBuf};

use crate::connection::BufferPool;
use crate::connection::reader::{self, Incoming, ReadEnd};
use crate::transfer::pipeline::{BlockQueue, Routes};

/// The uploads that are open; blocks of others are thrown away.
const UPLOADS: u32 = 3;

thread_local! {
    /// One for all inputs: starting it costs more than most of them.
    static SYSTEM: SystemRunner = System::new();
}

/// Reads a stream to its end.
pub fn frames(data: &[u8]) {
    let Some((knob, stream)) = data.split_first() else { return };
    let (is_open, piece) = (knob % 2 == 1, usize::from(knob / 2) + 1);
    let read = SYSTEM.with(|system| system.block_on(read(stream, is_open, piece)));
    assert_eq!(read, expected(stream, is_open));
}

/// A block that came through: its upload, its offset, its bytes.
type Came = (u32, u64, Vec<u8>);

#[derive(Debug, PartialEq)]
struct Read {
    messages: Vec<ClientToWorker>,
    /// Those of each upload, in order.
    blocks: Vec<Vec<Came>>,
    end: End,
}

#[derive(Debug, PartialEq)]
enum End {
    Left,
    Frame,
    BeforeLogin,
}

/// What the stream means.
fn expected(mut stream: &[u8], is_open: bool) -> Read {
    let mut messages = Vec::new();
    let mut blocks = vec![Vec::new(); UPLOADS as usize];
    let end = loop {
        let Some((&[a, b, c, d, kind], rest)) = stream.split_first_chunk() else { break End::Left };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let most = if kind == 0 { 1 << 18 } else { 13 + 8 * 16 + (1 << 20) };
        if length == 0 || kind > 1 || length - 1 > most {
            break End::Frame;
        }
        if !is_open && (kind == 1 || length - 1 > 8192) {
            break End::BeforeLogin;
        }
        let Some((body, rest)) = rest.split_at_checked(length - 1) else { break End::Left };
        stream = rest;
        if kind == 0 {
            match codec::decode(body) {
                Ok(message) => messages.push(message),
                Err(_) => break End::Frame,
            }
            continue;
        }
        let Some((upload, offset, data)) = block(body) else { break End::Frame };
        if let Some(came) = blocks.get_mut(upload as usize) {
            came.push((upload, offset, data.to_vec()));
        }
    };
    Read { messages, blocks, end }
}

fn block(body: &[u8]) -> Option<(u32, u64, &[u8])> {
    let (upload, rest) = body.split_first_chunk()?;
    let (offset, rest) = rest.split_first_chunk()?;
    let (leaves, rest) = rest.split_first()?;
    let (_, data) = rest.split_at_checked(16 * usize::from(*leaves))?;
    let offset = u64::from_be_bytes(*offset);
    let whole = (1..=8).contains(leaves)
        && (data.is_empty() || data.len().div_ceil(1 << 17) == usize::from(*leaves))
        && offset.is_multiple_of(1 << 17)
        && offset.checked_add(data.len() as u64).is_some_and(|end| end <= i64::MAX as u64);
    whole.then_some((u32::from_be_bytes(*upload), offset, data))
}

async fn read(stream: &[u8], is_open: bool, piece: usize) -> Read {
    let routes = Rc::new(Routes::default());
    if is_open {
        routes.open();
    }
    let came: Rc<RefCell<Vec<Came>>> = Rc::default();
    let queues: Vec<_> = (0..UPLOADS).map(|id| routes.add(RequestId(id))).collect();
    for queue in &queues {
        actix_rt::spawn(take_blocks(Rc::clone(queue), Rc::clone(&came)));
    }
    let messages: Rc<RefCell<Vec<ClientToWorker>>> = Rc::default();
    let inbox = Inbox(Rc::clone(&messages)).start().recipient();
    let pool = Rc::new(BufferPool::default());

    let mut network = Network { rest: stream, piece };
    let end = match reader::read(&mut network, &inbox, &routes, &pool).await {
        ReadEnd::Left => End::Left,
        ReadEnd::Frame(_) => End::Frame,
        ReadEnd::BeforeLogin => End::BeforeLogin,
        end @ (ReadEnd::Network(_) | ReadEnd::SessionOver) => panic!("{end:?}"),
    };
    while queues.iter().any(|queue| !queue.is_empty()) {
        tokio::task::yield_now().await;
    }
    (0..UPLOADS).for_each(|id| routes.remove(RequestId(id)));
    let of = |id| came.borrow().iter().filter(|(upload, ..)| *upload == id).cloned().collect();
    let blocks = (0..UPLOADS).map(of).collect();
    Read { messages: messages.take(), blocks, end }
}

/// An upload that takes its blocks as they come.
async fn take_blocks(queue: Rc<BlockQueue>, came: Rc<RefCell<Vec<Came>>>) {
    loop {
        Rc::clone(&queue).arrived().await;
        let Some(block) = queue.pop() else { return };
        let header = block.header;
        came.borrow_mut().push((header.transfer.0, header.offset, block.data.to_vec()));
    }
}

/// A session that takes every message.
struct Inbox(Rc<RefCell<Vec<ClientToWorker>>>);

impl Actor for Inbox {
    type Context = Context<Self>;
}

impl Handler<Incoming> for Inbox {
    type Result = ();

    fn handle(&mut self, Incoming(message): Incoming, _: &mut Self::Context) {
        self.0.borrow_mut().push(message);
    }
}

/// A connection that delivers so many bytes at a time.
struct Network<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl AsyncRead for Network<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Polled<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = self.rest.len().min(self.piece).min(buffer.remaining());
        let (now, later) = self.rest.split_at(len);
        buffer.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

//! A program's standard input: written as it reads, and acknowledged to the client, who sends no more than that ahead.

use std::cell::Cell;
use std::os::fd::OwnedFd;

use berth_common::client_protocol::WorkerToClient;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::Id;
use crate::connection::Outgoing;

/// What the client sent.
#[derive(Debug)]
pub(super) enum Input {
    Data(Vec<u8>),
    End,
}

/// Feeds the program until its pump is dropped. What a program does not read any more is taken all the same, so that
/// a client that has more of it hears of the program's end.
pub(super) async fn feed(
    id: Id,
    pipe: AsyncFd<OwnedFd>,
    mut input: mpsc::UnboundedReceiver<Input>,
    window: &Cell<usize>,
    outgoing: &Outgoing,
) {
    let mut pipe = Some(pipe);
    while let Some(input) = input.recv().await {
        match input {
            Input::Data(data) => {
                if let Some(open) = &pipe
                    && write(open, &data).await.is_err()
                {
                    pipe = None;
                }
                // Before the client hears of it, or it could be ahead of this count.
                window.set(window.get() + data.len());
                let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
                let taken = WorkerToClient::ExecInputTaken { id, bytes };
                if outgoing.send(&taken).await.is_err() {
                    return;
                }
            }
            Input::End => pipe = None,
        }
    }
}

async fn write(pipe: &AsyncFd<OwnedFd>, mut data: &[u8]) -> std::io::Result<()> {
    while !data.is_empty() {
        let mut ready = pipe.writable().await?;
        match rustix::io::write(pipe.get_ref(), data) {
            Ok(written) => data = data.get(written..).unwrap_or_default(),
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

//! The two tasks of a session: one hands each frame that comes to its exchange, the other puts on
//! the line what the exchanges send, from one bounded queue, so that transfers share the line
//! fairly and none runs ahead of it.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use berth_common::client_protocol::WorkerToClient;
use berth_common::ids::RequestId;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::routes::Routes;
use crate::buffers::{Buffer, Pool};
use crate::connection::{ConnectionError, Frame, read_frame};

/// How long the last words to a server, or from it, may take.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What is put on the line.
pub(super) enum Outgoing {
    /// A message, or a block's header and its data.
    Frame { head: Vec<u8>, data: Option<Buffer> },
    /// Nothing more: close the connection, and say when that is done.
    Close(oneshot::Sender<()>),
}

/// The reading task: hands each frame to its exchange until the connection ends.
pub(super) async fn read<R: AsyncRead + Unpin>(
    mut line: R,
    routes: Arc<Routes>,
    pool: Pool,
    moved: Arc<AtomicBool>,
) {
    let reason = loop {
        let frame = match read_frame(&mut line, &pool).await {
            Ok(frame) => frame,
            Err(reason) => break reason,
        };
        let id = match &frame {
            Frame::Block(block) => {
                moved.store(true, Ordering::Relaxed);
                block.header.transfer
            }
            Frame::Message(WorkerToClient::Refused { error }) => {
                break ConnectionError::Refused(error.clone());
            }
            Frame::Message(message) => match id_of(message) {
                Some(id) => id,
                None => break ConnectionError::unexpected("message of a login"),
            },
        };
        // What comes for a number that is not in use was on its way when the exchange was dropped.
        if let Some(exchange) = routes.find(id) {
            let _ = exchange.send(frame).await;
        }
    };
    routes.end(reason);
}

/// The writing task: puts the queue on the line until it is closed or the line is.
pub(super) async fn write<W: AsyncWrite + Unpin>(
    mut line: W,
    mut queue: mpsc::Receiver<Outgoing>,
    routes: Arc<Routes>,
) {
    let mut over = routes.over();
    let failed = loop {
        let next = tokio::select! {
            next = queue.recv() => next,
            _ = over.wait_for(|over| *over) => return,
        };
        match next {
            Some(Outgoing::Frame { head, data }) => {
                let data = data.as_deref().unwrap_or_default();
                if let Err(error) = put_on_line(&mut line, &head, data, queue.is_empty()).await {
                    break error;
                }
            }
            close => {
                let _ = line.shutdown().await;
                if let Some(Outgoing::Close(done)) = close {
                    let _ = done.send(());
                }
                return routes.end(ConnectionError::Closed);
            }
        }
    };
    // The server may have said why before it closed: the reading task is given time to find it.
    let _ = timeout(CLOSE_TIMEOUT, over.wait_for(|over| *over)).await;
    routes.end(failed.into());
}

/// Puts both parts on the line as one stream, so that a block's header shares a TLS record with its data.
async fn put_on_line<W: AsyncWrite + Unpin>(
    line: &mut W,
    mut head: &[u8],
    mut data: &[u8],
    flush: bool,
) -> io::Result<()> {
    while !head.is_empty() {
        let written = line.write_vectored(&[IoSlice::new(head), IoSlice::new(data)]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_head = written.min(head.len());
        head = &head[of_head..];
        data = &data[written - of_head..];
    }
    line.write_all(data).await?;
    if flush { line.flush().await } else { Ok(()) }
}

/// The request that an answer belongs to; `None` for those that belong to a login.
fn id_of(message: &WorkerToClient) -> Option<RequestId> {
    match message {
        WorkerToClient::Hello { .. }
        | WorkerToClient::SiteAccepted
        | WorkerToClient::LoginChallenge { .. }
        | WorkerToClient::LoginAccepted { .. }
        | WorkerToClient::JoinChallenge { .. }
        | WorkerToClient::Joined { .. }
        | WorkerToClient::Refused { .. } => None,
        WorkerToClient::CredentialChallenge { id, .. }
        | WorkerToClient::Devices { id, .. }
        | WorkerToClient::Failed { id, .. }
        | WorkerToClient::Done { id }
        | WorkerToClient::Entry { id, .. }
        | WorkerToClient::Entries { id, .. }
        | WorkerToClient::Usage { id, .. }
        | WorkerToClient::Uploads { id, .. }
        | WorkerToClient::Md5 { id, .. }
        | WorkerToClient::Leaves { id, .. }
        | WorkerToClient::Echoed { id, .. }
        | WorkerToClient::PutReady { id, .. }
        | WorkerToClient::JournalLeaves { id, .. }
        | WorkerToClient::Again { id, .. }
        | WorkerToClient::PutDone { id, .. }
        | WorkerToClient::FilesPut { id, .. }
        | WorkerToClient::FilesGot { id, .. }
        | WorkerToClient::FilesStated { id, .. }
        | WorkerToClient::GetReady { id, .. }
        | WorkerToClient::GetEnd { id, .. }
        | WorkerToClient::ExecStarted { id }
        | WorkerToClient::ExecOutput { id, .. }
        | WorkerToClient::ExecInputTaken { id, .. }
        | WorkerToClient::ExecDone { id, .. } => Some(*id),
    }
}

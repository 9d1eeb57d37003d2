//! A logged-in session: requests and transfers by number, on one connection.
//!
//! Many of them share it; each is an `Exchange` with a number of its own. The two tasks that move
//! frames between the exchanges and the connection are in `line`.

mod farewell;
mod line;
mod pace;
mod routes;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::frame::{self, BlockHeader};
use berth_common::ids::{RequestId, UploadToken, UserName};
use berth_common::rel_path::RelPath;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use self::farewell::{Lingering, Place, WITHIN, see_off};
use self::line::{CLOSE_TIMEOUT, Outgoing, read, write};
use self::pace::{Pace, Paced};
use self::routes::Routes;
use crate::buffers::{Buffer, Pool};
use crate::client_key::ClientKey;
use crate::connection::{Connection, ConnectionError, Frame};
use crate::trust::Fingerprint;

/// Messages and blocks that wait for the line: at most 4 MiB.
const OUTGOING: usize = 4;

/// Frames that wait for one exchange: at most 2 MiB. The reading task waits when it is full, so
/// whoever has an exchange takes what comes or drops it.
const INCOMING: usize = 2;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The server refused it; the session goes on.
    #[error(transparent)]
    Server(#[from] ErrorCode),
    /// The session is over.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// What both sides said when the session began.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// The user.
    pub user: UserName,
    /// The server's name and version; may be empty.
    pub server: String,
    /// The version of the protocol that both speak.
    pub protocol: u16,
    /// Transfers that the session may have at once; at least 1.
    pub max_transfers: u32,
    /// The TLS exporter, to which a change of password is bound too.
    pub exporter: [u8; 32],
}

/// A session. Clones share it; with the last one, and what it was asked for and is not finished, the connection closes.
/// Two tasks of the runtime on which it began send, receive and close; while nobody drives that runtime, nothing is
/// closed before it is dropped.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
    tokens: Arc<Tokens>,
}

struct Shared {
    info: SessionInfo,
    routes: Arc<Routes>,
    outgoing: mpsc::Sender<Outgoing>,
    pool: Pool,
    reader: AbortHandle,
    /// On which it began: what is dropped may be dropped elsewhere.
    runtime: Handle,
    /// From the server, and to it.
    rates: [Pace; 2],
    /// Whether a block was sent or came.
    moved: Arc<AtomicBool>,
}

/// What the tokens of uploads are made from.
#[derive(Debug)]
struct Tokens {
    key: ClientKey,
    server: Fingerprint,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("user", &self.shared.info.user).finish_non_exhaustive()
    }
}

impl Session {
    /// Begins a session on a connection that has logged in. Needs a tokio runtime.
    pub(crate) fn start<S>(connection: Connection<S>, info: SessionInfo) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (incoming, line) = tokio::io::split(connection.stream);
        let (outgoing, queue) = mpsc::channel(OUTGOING);
        let routes = Arc::new(Routes::new());
        let pool = Pool::default();
        let (rates, moved) = ([Pace::default(), Pace::default()], Arc::new(AtomicBool::new(false)));
        let [from_server, to_server] = rates.clone();
        let incoming = Paced::new(incoming, from_server);
        let line = Paced::new(line, to_server);
        let reader = tokio::spawn(read(incoming, routes.clone(), pool.clone(), moved.clone()));
        tokio::spawn(write(line, queue, routes.clone()));
        let reader = reader.abort_handle();
        // Of the server nothing has to be said in what no other session can make.
        let key = ClientKey::of_session(&info.exporter);
        let tokens = Arc::new(Tokens { key, server: Fingerprint::from_bytes([0; 32]) });
        let runtime = Handle::current();
        let shared = Shared { info, routes, outgoing, pool, reader, runtime, rates, moved };
        Self { shared: Arc::new(shared), tokens }
    }

    /// The same, with uploads that other sessions of this key can take over.
    pub(crate) fn with_client_key(self, key: ClientKey, server: Fingerprint) -> Self {
        Self { tokens: Arc::new(Tokens { key, server }), ..self }
    }

    /// By which an upload to this path is taken over.
    pub(crate) fn upload_token(&self, path: &RelPath) -> UploadToken {
        self.tokens.key.token(&self.tokens.server, &self.info().user, path)
    }

    /// What both sides said when it began.
    #[must_use]
    pub fn info(&self) -> &SessionInfo {
        &self.shared.info
    }

    /// Whether the connection has ended, as far as is known here.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        *self.shared.routes.over().borrow()
    }

    /// Returns when nothing lingers of transfers that were dropped, here and at the server, or when that has had its
    /// time, which is 12 s. Then the same transfer can begin again.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn settled(&self) {
        self.quiet().await;
        let _ = timeout(WITHIN, self.shared.routes.farewells().over(Place::Server)).await;
    }

    /// Returns when no thread works for a transfer that was dropped, which might still tell its progress, or after 2 s.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn quiet(&self) {
        let _ = timeout(CLOSE_TIMEOUT, self.shared.routes.farewells().over(Place::Here)).await;
    }

    /// From now on at most so many bytes a second go in each direction, or as many as can.
    pub fn limit_rate(&self, bytes_per_second: Option<u64>) {
        self.shared.rates.iter().for_each(|rate| rate.limit(bytes_per_second));
    }

    /// Whether a file's bytes have moved on it.
    #[must_use]
    pub fn has_moved_data(&self) -> bool {
        self.shared.moved.load(Ordering::Relaxed)
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// Begins an exchange under a number that is not in use.
    #[must_use]
    pub(crate) fn exchange(&self) -> Exchange {
        let (sender, incoming) = mpsc::channel(INCOMING);
        let id = self.shared.routes.add(sender);
        Exchange { id, incoming, session: self.clone(), cancel: false }
    }

    /// Sends a request that has one answer.
    ///
    /// # Errors
    /// What the server refused it with, or why the session is over.
    ///
    /// # Cancel safety
    /// Dropping it leaves open whether the server carries the request out.
    pub(crate) async fn request(
        &self,
        message: impl FnOnce(RequestId) -> ClientToWorker,
    ) -> Result<WorkerToClient, RequestError> {
        let mut exchange = self.exchange();
        exchange.send(&message(exchange.id)).await?;
        exchange.message().await
    }

    /// Waits until all that was sent is on the line, and closes the connection, whoever else shares the session; after
    /// 2 s it waits no longer.
    ///
    /// # Cancel safety
    /// Dropping it leaves open whether the connection is closed now or with the last one who shares the session.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        let farewell = async {
            if self.shared.outgoing.send(Outgoing::Close(done)).await.is_ok() {
                let _ = closed.await;
            }
        };
        let _ = timeout(CLOSE_TIMEOUT, farewell).await;
    }
}

/// One request or transfer. Dropped, its number is forgotten, and what still comes for it too; of a transfer that is
/// cancelled thereby, when the server has ended it.
pub(crate) struct Exchange {
    /// Its number.
    pub(crate) id: RequestId,
    incoming: mpsc::Receiver<Frame>,
    session: Session,
    cancel: bool,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Sends a message.
    ///
    /// # Errors
    /// Why the session is over.
    pub(crate) async fn send(&self, message: &ClientToWorker) -> Result<(), ConnectionError> {
        self.queue(frame::encode_message(message)?, None).await
    }

    /// Sends a block of this transfer without copying its data.
    pub(crate) async fn send_block(
        &self,
        header: &BlockHeader,
        data: Buffer,
    ) -> Result<(), ConnectionError> {
        let moves = !data.is_empty();
        self.queue(header.encode(data.len())?, Some(data)).await?;
        self.session.shared.moved.fetch_or(moves, Ordering::Relaxed);
        Ok(())
    }

    async fn queue(&self, head: Vec<u8>, data: Option<Buffer>) -> Result<(), ConnectionError> {
        let sent = self.session.shared.outgoing.send(Outgoing::Frame { head, data }).await;
        sent.map_err(|_| self.session.shared.routes.reason())
    }

    /// From now on, dropping the exchange tells the server that the transfer is cancelled.
    pub(crate) fn cancel_when_dropped(&mut self) {
        self.cancel = true;
    }

    /// For a thread that works for this transfer and may outlive it.
    pub(crate) fn lingering(&self) -> Lingering {
        Lingering::new(&self.session.shared.routes, Place::Here)
    }

    /// The transfer has ended: there is nothing to cancel.
    pub(crate) fn finished(&mut self) {
        self.cancel = false;
    }

    /// The next frame for this exchange.
    ///
    /// # Errors
    /// Why the session is over, after all frames that came before.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub(crate) async fn frame(&mut self) -> Result<Frame, ConnectionError> {
        match self.incoming.recv().await {
            Some(frame) => Ok(frame),
            None => Err(self.session.shared.routes.reason()),
        }
    }

    /// The next message, where no block can come. `Failed` is the error that it carries.
    ///
    /// # Errors
    /// What the server refused it with, or why the session is over.
    pub(crate) async fn message(&mut self) -> Result<WorkerToClient, RequestError> {
        match self.frame().await? {
            Frame::Message(WorkerToClient::Failed { error, .. }) => {
                self.finished();
                Err(error.into())
            }
            Frame::Message(message) => Ok(message),
            Frame::Block(_) => Err(ConnectionError::unexpected("data block").into()),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Shared { routes, outgoing, runtime, .. } = &*self.session.shared;
        if !self.cancel {
            return routes.remove(self.id);
        }
        let incoming = std::mem::replace(&mut self.incoming, mpsc::channel(1).1);
        runtime.spawn(see_off(self.id, incoming, Lingering::new(routes, Place::Server)));
        if let Ok(head) = frame::encode_message(&ClientToWorker::Cancel { id: self.id }) {
            let full = outgoing.try_send(Outgoing::Frame { head, data: None });
            // A drop cannot wait for room, and other transfers go on over this connection.
            if let Err(TrySendError::Full(frame)) = full {
                let outgoing = outgoing.clone();
                runtime.spawn(async move { outgoing.send(frame).await });
            }
        }
    }
}

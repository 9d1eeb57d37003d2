//! The life of a worker, in the order that its sandbox needs: demotion, set-up, one client, the end.

use std::io::{self, Write as _};
use std::net;
use std::os::fd::OwnedFd;
use std::panic;
use std::process::{self, ExitCode};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_common::broker_protocol::{CloseReason, DaemonToWorker, WorkerSetup, WorkerToDaemon};
use berth_common::channel::{ChannelError, Received};
use berth_common::error_code::ErrorCode;
use berth_common::journal::BootId;
use berth_common::points;
use berth_sandbox::DemotionError;
use rustls::ServerConfig;
use serde_bytes::ByteArray;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time;

use crate::broker::Broker;
use crate::connection::{BufferPool, Parts, Traffic};
use crate::helper::Helpers;
use crate::session::{SessionActor, SessionParts};
use crate::signer::{BrokerChannel, BrokerKey};
use crate::sys;
use crate::tls;
use crate::transfer::Services;
use crate::transfer::pipeline::Routes;

/// Why a worker could not serve. The sentence goes to the daemon's log by the panic pipe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    /// A step of the demotion failed.
    #[error("demotion: {0}")]
    Demotion(#[from] DemotionError),
    /// The channel to the daemon failed.
    #[error("channel to the daemon: {0}")]
    Channel(#[from] ChannelError),
    /// The daemon said something else than the phase allows.
    #[error("the daemon sent something that was not expected")]
    Unexpected,
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The system refused something that is needed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A client that the daemon has handed over.
struct Client {
    socket: OwnedFd,
    site_challenge: Option<ByteArray<32>>,
}

/// Runs the worker. An orderly end, for whatever reason, is a success: the daemon was told the reason.
pub(crate) fn run() -> ExitCode {
    abort_on_panic();
    sys::fail_writes_beyond_the_limit();
    match live() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln`, which panics when the daemon has read enough from the pipe and closed it.
            let _ = writeln!(io::stderr(), "berth-worker: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lets no actor or helper go missing while the others wait for it: a panic is told to the daemon by
/// standard error, and then it ends the process.
fn abort_on_panic() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        tell(info);
        process::abort();
    }));
}

fn live() -> Result<(), WorkerError> {
    // For ps and the kernel's log, which else have the number of the descriptor by which it was executed.
    rustix::thread::set_name(c"berth-worker").map_err(io::Error::from)?;
    points::from_argument()?;
    let channel = berth_sandbox::demote_worker()?;
    let channel = Arc::new(BrokerChannel::from_descriptor(channel)?);
    let Some(setup) = await_setup(&channel)? else {
        return Ok(());
    };
    let confined = berth_sandbox::confine_worker(setup.sandbox)?;
    let prepared = Prepared::new(channel, setup)?;
    confined.seal()?;
    prepared.serve()
}

/// A worker that has all that starts a thread or allocates for good, before any client is known.
pub(crate) struct Prepared {
    channel: Arc<BrokerChannel>,
    setup: WorkerSetup,
    config: Arc<ServerConfig>,
    system: actix_rt::SystemRunner,
    helpers: Helpers,
}

impl Prepared {
    /// Makes the TLS configuration, the runtime and the helper threads, and waits until these are up.
    pub(crate) fn new(
        channel: Arc<BrokerChannel>,
        setup: WorkerSetup,
    ) -> Result<Self, WorkerError> {
        let key = BrokerKey::new(setup.signature_scheme, Arc::clone(&channel));
        let config = tls::configuration(&setup, key)?;
        let system = actix_rt::System::new();
        let helpers = Helpers::start()?;
        Ok(Self { channel, setup, config, system, helpers })
    }

    /// Serves one client. Called by a demoted process, and by tests.
    ///
    /// # Errors
    /// See [`WorkerError`]. A daemon that closes the channel before there is a client ends the worker without
    /// an error: it was a spare.
    pub(crate) fn serve(self) -> Result<(), WorkerError> {
        let Self { channel, setup, config, system, helpers } = self;
        channel.send(&WorkerToDaemon::Ready, &[])?;
        let Some(client) = await_client(&channel)? else {
            return Ok(());
        };

        let session = serve_client(client, setup, config, helpers, Arc::clone(&channel));
        let reason = system.block_on(session)?;
        // The daemon always reads; that there is no room just now must not cost it the last word.
        channel.set_nonblocking(false)?;
        match channel.send(&WorkerToDaemon::Closing { reason }, &[]) {
            // A daemon that is gone needs no reason.
            Ok(()) | Err(ChannelError::Closed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

pub(crate) fn await_setup(channel: &BrokerChannel) -> Result<Option<WorkerSetup>, WorkerError> {
    match channel.recv() {
        Ok(Received { message: DaemonToWorker::Setup(setup), .. }) => Ok(Some(setup)),
        Ok(_) => Err(WorkerError::Unexpected),
        Err(ChannelError::Closed) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits, as a spare, for a client. A shutdown ends a spare.
fn await_client(channel: &BrokerChannel) -> Result<Option<Client>, WorkerError> {
    match channel.recv() {
        Ok(Received { message: DaemonToWorker::Client { site_challenge, .. }, descriptors }) => {
            let socket = descriptors.into_iter().next().ok_or(WorkerError::Unexpected)?;
            Ok(Some(Client { socket, site_challenge }))
        }
        Ok(Received { message: DaemonToWorker::Shutdown { .. }, .. })
        | Err(ChannelError::Closed) => Ok(None),
        Ok(_) => Err(WorkerError::Unexpected),
        Err(error) => Err(error.into()),
    }
}

/// The handshake and the session; the reason why it ended.
async fn serve_client(
    client: Client,
    setup: WorkerSetup,
    config: Arc<ServerConfig>,
    helpers: Helpers,
    channel: Arc<BrokerChannel>,
) -> Result<CloseReason, WorkerError> {
    let login_deadline = Instant::now() + Duration::from_secs(setup.login_seconds.into());
    let socket = net::TcpStream::from(client.socket);
    socket.set_nonblocking(true)?;
    let socket = TcpStream::from_std(socket)?;

    let traffic = Traffic::new();
    let handshake = tls::accept(socket, config, Rc::clone(&traffic));
    let accepted = match time::timeout_at(login_deadline.into(), handshake).await {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(error)) => return Ok(error.reason()),
        // Without TLS there is no way to tell the client.
        Err(_) => {
            return Ok(CloseReason::Refused { error: ErrorCode::TimedOut });
        }
    };

    // From here on the channel is the broker's.
    let broker = Broker::new(channel)?;
    broker.report(WorkerToDaemon::Handshaken { exporter: accepted.exporter });

    let connection = Parts::new();
    let services = Services {
        outgoing: connection.outgoing.clone(),
        routes: Rc::new(Routes::default()),
        pool: Rc::new(BufferPool::default()),
        traffic,
        helpers: Rc::new(helpers),
        moved: Rc::default(),
        boot: BootId::from_bytes(setup.boot_id),
        stall: Duration::from_secs(setup.stall_seconds.into()),
    };
    let (done, ended) = oneshot::channel();
    let site_challenge = client.site_challenge;
    let parts = SessionParts {
        setup,
        site_challenge,
        login_deadline,
        broker: broker.clone(),
        services,
        done: Some(done),
    };
    SessionActor::start_on(accepted.stream, connection, parts);
    // The actor is never dropped without a word: a panic has ended the process.
    let reason = ended.await.unwrap_or(CloseReason::Told);
    broker.flush();
    Ok(reason)
}

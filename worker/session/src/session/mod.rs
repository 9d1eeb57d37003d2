//! The actor of the conversation: what the client may say when, and who answers it.
//!
//! It owns the session's state, the connection's two ends, and the list of running transfers. The
//! connection sends it the client's messages, the broker the daemon's orders, the transfers how they
//! went. It relays the login, starts a `TransferActor` (`PutActor`, `GetActor`) for each transfer, and
//! has requests answered by the filesystem. It never sees a password, a path on disk or a data block.

mod ending;
mod login;
mod programs;
mod requests;
pub(crate) mod state;
mod transfers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use actix::fut::{self, LocalBoxActorFuture};
use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, ResponseActFuture,
    WrapFuture as _,
};
use berth_common::batch::AT_ONCE;
use berth_common::broker_protocol::{CloseReason, WorkerSetup};
use berth_common::client_protocol::WorkerToClient;
use berth_common::error_code::ErrorCode;
use berth_common::exec::MOST_PROGRAMS;
use berth_common::filer_protocol::MAX_OPERATIONS;
use berth_common::ids::RequestId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, oneshot};

use berth_sandbox::WORKER_LIMITS;

use crate::broker::{Broker, Order};
use crate::connection::{Connection, ConnectionEnded, Incoming, Listeners, Parts, ReadEnd};
use crate::exec::Program;
use crate::filesystem::{FilerLost, Filesystem};
use crate::transfer::Services;
use ending::Ending;
use requests::Answering;
use state::{Refusal, Request, State, Step};
use transfers::Running;

/// Requests, beside transfers, that may be open; when there are so many, nothing more is read.
const MOST_REQUESTS: usize = 192;

/// Transfers that a session may have at once, whatever the daemon says: each has up to 3 MiB of blocks on their way,
/// and a worker has 96.
const MOST_TRANSFERS: u32 = 16;

/// Descriptors of a worker that has a client and a filer: its runtime's, its channels, and the socket.
const OWN_DESCRIPTORS: u32 = 11;

/// An upload holds its data, its journal and the file that it replaces.
const DESCRIPTORS_OF_A_TRANSFER: u32 = 3;

/// A program holds the other ends of its three pipes.
const DESCRIPTORS_OF_A_PROGRAM: u32 = 3;

/// What is handed over beyond the limit is lost, which ends the session.
const _: () = assert!(
    OWN_DESCRIPTORS
        + DESCRIPTORS_OF_A_TRANSFER * MOST_TRANSFERS
        + DESCRIPTORS_OF_A_PROGRAM * MOST_PROGRAMS as u32
        + requests::HASHED_AT_ONCE as u32
        <= WORKER_LIMITS.descriptors as u32
);

/// Bytes of an echo from which on the rate is measured, so that reading in large pieces is worth it, as for uploads.
const LARGE_ECHO: usize = 16 * 1024;

/// Each request, each batch and each transfer has at most one operation at the filer, which ends a worker with more.
const _: () = assert!(MOST_REQUESTS + AT_ONCE + MOST_TRANSFERS as usize <= MAX_OPERATIONS);

/// What a session is started with.
pub(crate) struct SessionParts {
    /// What the daemon said of this worker.
    pub(crate) setup: WorkerSetup,
    /// Random bytes for the site challenge, when the site has a secret.
    pub(crate) site_challenge: Option<serde_bytes::ByteArray<32>>,
    /// Until when the client must have logged in.
    pub(crate) login_deadline: Instant,
    /// The daemon.
    pub(crate) broker: Broker,
    /// What transfers use.
    pub(crate) services: Services,
    /// Is told how the session ended; gone when it was.
    pub(crate) done: Option<oneshot::Sender<CloseReason>>,
}

impl SessionParts {
    fn done_with(&mut self, reason: CloseReason) {
        if let Some(done) = self.done.take() {
            let _ = done.send(reason);
        }
    }
}

/// The actor.
pub(crate) struct SessionActor {
    parts: SessionParts,
    state: State,
    stage: Stage,
    connection: Option<Connection>,
    transfers: HashMap<RequestId, Running>,
    programs: HashMap<RequestId, Program>,
    requests: Arc<Semaphore>,
    batches: Arc<Semaphore>,
    active_at: Instant,
    /// A timer for the next report runs.
    reporting: bool,
    /// A timer runs after which memory is given back.
    resting: bool,
}

enum Stage {
    /// Until the login.
    Login,
    /// The filer is there.
    Serving(Box<Serving>),
    /// Transfers end, then the client is told.
    Ending(Ending),
    /// Only the process is left to end.
    Over,
}

struct Serving {
    filesystem: Filesystem,
    answering: Answering,
}

/// The last part of an answer to a request.
struct Answered(RequestId, WorkerToClient);

impl Message for Answered {
    type Result = ();
}

type Ctx = Context<SessionActor>;

/// Done when the session takes the client's next message.
type Taken = LocalBoxActorFuture<SessionActor, ()>;

impl Actor for SessionActor {
    type Context = Ctx;

    fn started(&mut self, ctx: &mut Self::Context) {
        let listening = self.parts.broker.clone().listen(ctx.address().recipient());
        actix_rt::spawn(listening);
        let left = self.parts.login_deadline.saturating_duration_since(Instant::now());
        ctx.run_later(left, |actor, ctx| {
            if matches!(actor.stage, Stage::Login) {
                actor.refuse(ErrorCode::TimedOut, ctx);
            }
        });
    }
}

impl Handler<Incoming> for SessionActor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Incoming(message): Incoming, ctx: &mut Self::Context) -> Self::Result {
        self.active_at = Instant::now();
        match self.state.take(message) {
            Ok(step) => self.carry_out(step, ctx),
            Err(Refusal) => {
                self.refuse(ErrorCode::Protocol, ctx);
                taken()
            }
        }
    }
}

impl Handler<Answered> for SessionActor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Answered(id, answer): Answered, ctx: &mut Self::Context) -> Self::Result {
        self.active_at = Instant::now();
        self.rest_soon(ctx);
        // Before the client has the answer, since it may use the id again then.
        self.state.free(id);
        let answer = self.tells_answers().then_some(answer);
        Box::pin(self.tell(answer).map(|(), actor, ctx| actor.end_if_told(ctx)))
    }
}

impl Handler<Order> for SessionActor {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Self::Context) {
        match order {
            Order::Program(id, news) => self.program_news(id, news),
            Order::Refuse(error) => self.refuse(error, ctx),
            Order::Shutdown { grace_seconds } => self.shut_down(grace_seconds, ctx),
            Order::Lost => self.lost(ctx),
        }
    }
}

impl Handler<ConnectionEnded> for SessionActor {
    type Result = ();

    fn handle(&mut self, ConnectionEnded(end): ConnectionEnded, ctx: &mut Self::Context) {
        match end {
            ReadEnd::Left => self.end(Ending::quiet(CloseReason::ClientLeft), ctx),
            ReadEnd::Network(_) => self.end(Ending::quiet(CloseReason::Network), ctx),
            ReadEnd::Frame(_) | ReadEnd::BeforeLogin => self.refuse(ErrorCode::Protocol, ctx),
            ReadEnd::SessionOver => {}
        }
    }
}

impl Handler<FilerLost> for SessionActor {
    type Result = ();

    fn handle(&mut self, _: FilerLost, ctx: &mut Self::Context) {
        self.refuse(ErrorCode::Internal, ctx);
    }
}

impl SessionActor {
    /// Starts the conversation on a stream whose TLS handshake is done.
    pub(crate) fn start_on<S>(stream: S, connection: Parts, parts: SessionParts)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        Self::create(|ctx| {
            let me = ctx.address();
            let listeners = Listeners { inbox: me.clone().recipient(), ended: me.recipient() };
            let (routes, pool) = (parts.services.routes.clone(), parts.services.pool.clone());
            let connection = connection.open(stream, listeners, routes, pool);
            Self {
                state: State::new(parts.setup.max_transfers.min(MOST_TRANSFERS)),
                stage: Stage::Login,
                connection: Some(connection),
                transfers: HashMap::new(),
                programs: HashMap::new(),
                requests: Arc::new(Semaphore::new(MOST_REQUESTS)),
                batches: Arc::new(Semaphore::new(AT_ONCE)),
                active_at: Instant::now(),
                reporting: false,
                resting: false,
                parts,
            }
        });
    }

    fn carry_out(&mut self, step: Step, ctx: &mut Ctx) -> Taken {
        match step {
            Step::Greet(version) => self.greet(version, ctx),
            Step::SiteProof(proof) => self.site_proof(proof),
            Step::LoginFirst(message) => self.login_first(message),
            Step::LoginFinal(message) => self.login_final(message),
            Step::LoginDevice(user, key, signature) => self.login_device(user, key, signature),
            Step::JoinFirst(message, account) => self.join_first(message, account),
            Step::JoinFinal(message) => self.join_final(message),
            Step::CredentialFirst(id, message, credential) => {
                self.credential_first(id, message, credential)
            }
            Step::Devices(id) => self.devices(id),
            Step::RevokeDevices(id, devices) => self.revoke_devices(id, devices),
            Step::CredentialFinal(id, message) => self.credential_final(id, message),
            Step::Request(id, request) => self.request(id, request, ctx),
            Step::Batch(id, request) => self.batch(id, request),
            Step::Echo(id, payload) => self.echo(id, payload, ctx),
            Step::Put(put) => self.start_put(put, ctx),
            Step::Get(get) => self.start_get(get, ctx),
            Step::PutControl(id, word) => match self.transfers.get(&id) {
                Some(Running::Put { control, .. }) => self.pass_on(control.send(word)),
                _ => taken(),
            },
            Step::GetControl(id, word) => match self.transfers.get(&id) {
                Some(Running::Get { control, .. }) => self.pass_on(control.send(word)),
                _ => taken(),
            },
            Step::Exec(id, program, arguments, directory) => {
                self.exec(id, program, arguments, directory, ctx)
            }
            Step::ExecInput(id, data) => self.exec_input(id, data, ctx),
            Step::ExecInputEnd(id) => self.exec_input_end(id, ctx),
            Step::ExecCancel(id) => self.exec_cancel(id),
            Step::TooManyPrograms(id) => {
                let error = ErrorCode::TooManyPrograms { limit: MOST_PROGRAMS as u32 };
                self.tell(Some(WorkerToClient::Failed { id, error }))
            }
            Step::TooManyTransfers(id) => {
                let limit = self.parts.setup.max_transfers.min(MOST_TRANSFERS);
                let error = ErrorCode::TooManyTransfers { limit };
                self.tell(Some(WorkerToClient::Failed { id, error }))
            }
            Step::ShuttingDown(id) => {
                let error = ErrorCode::ShuttingDown;
                self.tell(Some(WorkerToClient::Failed { id, error }))
            }
            Step::Ignore => taken(),
        }
    }

    /// A transfer that has just ended takes nothing more, which is as it should be.
    fn pass_on<T: 'static>(&self, sent: impl Future<Output = T> + 'static) -> Taken {
        Box::pin(sent.into_actor(self).map(|_, _, _| ()))
    }

    fn request(&mut self, id: RequestId, request: Request, ctx: &mut Ctx) -> Taken {
        let Stage::Serving(serving) = &self.stage else {
            return taken();
        };
        // There is one: the last request was taken when another could follow it.
        let slot = Arc::clone(&self.requests).try_acquire_owned();
        let (answering, me) = (serving.answering.clone(), ctx.address());
        // A task of its own, since the actor's futures are all polled together.
        actix_rt::spawn(async move {
            let answer = answering.answer(id, request).await;
            let _ = me.send(Answered(id, answer)).await;
            drop(slot);
        });
        let requests = Arc::clone(&self.requests);
        let room = async move { drop(requests.acquire().await) };
        Box::pin(room.into_actor(self))
    }

    /// As [`SessionActor::request`], once there are fewer batches than there may be: till then nothing more is read.
    fn batch(&mut self, id: RequestId, request: Request) -> Taken {
        self.parts.services.traffic.set_bulk(true);
        let slot = Arc::clone(&self.batches).acquire_owned();
        Box::pin(slot.into_actor(self).map(move |slot, actor, ctx| {
            let Stage::Serving(serving) = &actor.stage else {
                return;
            };
            let (answering, me) = (serving.answering.clone(), ctx.address());
            actix_rt::spawn(async move {
                let answer = answering.answer(id, request).await;
                let _ = me.send(Answered(id, answer)).await;
                drop(slot);
            });
        }))
    }

    /// Sends bytes back. Nothing more is read until they have their place in the client's queue, so that echoes are
    /// answered in order, and a client that does not take them is not listened to.
    fn echo(&mut self, id: RequestId, payload: Vec<u8>, ctx: &mut Ctx) -> Taken {
        if payload.len() >= LARGE_ECHO {
            self.parts.services.traffic.set_bulk(true);
        }
        self.rest_soon(ctx);
        self.tell(Some(WorkerToClient::Echoed { id, payload }))
    }

    /// Queues a message for the client; done when there was room.
    fn tell(&self, message: Option<WorkerToClient>) -> Taken {
        let Some(message) = message else {
            return taken();
        };
        let outgoing = self.parts.services.outgoing.clone();
        // A connection that is gone is reported by itself.
        let told = async move {
            let _ = outgoing.send(&message).await;
        };
        Box::pin(told.into_actor(self))
    }
}

fn taken() -> Taken {
    Box::pin(fut::ready(()))
}

//! The actor of the conversation: what the client may say when, and who answers it.
//!
//! It owns the session's state, the connection's two ends, and the list of running transfers. The
//! connection sends it the client's messages, the broker the daemon's orders, the transfers how they
//! went. It relays the login, starts a `TransferActor` (`PutActor`, `GetActor`) for each transfer, and
//! has requests answered by the filesystem. It never sees a password, a path on disk or a data block.

mod ending;
mod login;
mod requests;
mod state;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::fut::{self, LocalBoxActorFuture};
use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, Recipient,
    ResponseActFuture, WrapFuture as _,
};
use berth_common::broker_protocol::{CloseReason, WorkerSetup, WorkerToDaemon};
use berth_common::client_protocol::WorkerToClient;
use berth_common::error_code::ErrorCode;
use berth_common::ids::RequestId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, oneshot};

use crate::broker::{Broker, Order};
use crate::connection::{Connection, ConnectionEnded, Incoming, Listeners, Parts, ReadEnd};
use crate::filesystem::{FilerLost, Filesystem};
use crate::sys;
use crate::transfer::get::{GetActor, GetControl};
use crate::transfer::put::{PutActor, PutControl};
use crate::transfer::{Observers, Outcome, Over, Services, Started, Stop};
use ending::Ending;
use requests::Answering;
use state::{Refusal, Request, State, Step};

/// Requests, beside transfers, that may be open; when there are so many, nothing more is read.
const MOST_REQUESTS: usize = 256;

/// Transfers that a session may have at once, whatever the daemon says: each holds two descriptors, and
/// a worker has 64.
const MOST_TRANSFERS: u32 = 20;

/// How often the daemon hears of progress.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// How long after its last transfer a session gives its memory back.
const REST_AFTER: Duration = Duration::from_millis(500);

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
    requests: Arc<Semaphore>,
    active_at: Instant,
    /// A timer for the next report runs.
    reporting: bool,
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

/// How to reach a running transfer.
enum Running {
    Put {
        control: Recipient<PutControl>,
        stop: Recipient<Stop>,
    },
    Get {
        control: Recipient<GetControl>,
        stop: Recipient<Stop>,
    },
}

impl Running {
    fn stop(&self) -> &Recipient<Stop> {
        match self {
            Self::Put { stop, .. } | Self::Get { stop, .. } => stop,
        }
    }
}

/// The last part of an answer to a request.
struct Answered(RequestId, WorkerToClient);

impl Message for Answered {
    type Result = ();
}

type Ctx = Context<SessionActor>;

/// Done when the session takes the client's next message.
type Taken = LocalBoxActorFuture<SessionActor, ()>;

impl SessionActor {
    /// Starts the conversation on a stream whose TLS handshake is done.
    pub(crate) fn start_on<S>(stream: S, connection: Parts, parts: SessionParts)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        Self::create(|ctx| {
            let me = ctx.address();
            let listeners = Listeners {
                inbox: me.clone().recipient(),
                ended: me.recipient(),
            };
            let (routes, pool) = (parts.services.routes.clone(), parts.services.pool.clone());
            let connection = connection.open(stream, listeners, routes, pool);
            Self {
                state: State::new(parts.setup.max_transfers.min(MOST_TRANSFERS)),
                stage: Stage::Login,
                connection: Some(connection),
                transfers: HashMap::new(),
                requests: Arc::new(Semaphore::new(MOST_REQUESTS)),
                active_at: Instant::now(),
                reporting: false,
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
            Step::PasswordFirst(id, message, verifier) => {
                self.password_first(id, message, verifier)
            }
            Step::PasswordFinal(id, message) => self.password_final(id, message),
            Step::Request(id, request) => self.request(id, request, ctx),
            Step::Put(put) => {
                let Stage::Serving(serving) = &self.stage else {
                    return taken();
                };
                let (id, uploading) = (put.id, serving.filesystem.uploading.clone());
                self.parts.services.traffic.set_bulk(true);
                let services = self.parts.services.clone();
                let actor = PutActor::new(put, services, uploading, observers(ctx)).start();
                let (control, stop) = (actor.clone().recipient(), actor.recipient());
                self.transfers.insert(id, Running::Put { control, stop });
                taken()
            }
            Step::Get(get) => {
                let Stage::Serving(serving) = &self.stage else {
                    return taken();
                };
                let (id, reading) = (get.id, serving.filesystem.reading.clone());
                let services = self.parts.services.clone();
                let actor = GetActor::new(get, services, reading, observers(ctx)).start();
                let (control, stop) = (actor.clone().recipient(), actor.recipient());
                self.transfers.insert(id, Running::Get { control, stop });
                taken()
            }
            Step::PutControl(id, word) => match self.transfers.get(&id) {
                Some(Running::Put { control, .. }) => self.pass_on(control.send(word)),
                _ => taken(),
            },
            Step::GetControl(id, word) => match self.transfers.get(&id) {
                Some(Running::Get { control, .. }) => self.pass_on(control.send(word)),
                _ => taken(),
            },
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

    /// Reports progress as long as there is some.
    fn report(&mut self, ctx: &mut Ctx) {
        let (received, sent) = self.parts.services.moved.take();
        if received + sent > 0 {
            self.parts
                .broker
                .report(&WorkerToDaemon::Progress { received, sent });
        }
        self.reporting = received + sent > 0 || !self.transfers.is_empty();
        if self.reporting {
            ctx.run_later(REPORT_EVERY, Self::report);
        }
    }

    /// Gives back the memory of transfers, unless the next one has begun.
    fn rest(&mut self, _: &mut Ctx) {
        if self.transfers.is_empty() {
            self.parts.services.traffic.set_bulk(false);
            self.parts.services.pool.clear();
            sys::give_memory_back();
        }
    }
}

fn taken() -> Taken {
    Box::pin(fut::ready(()))
}

fn observers(ctx: &Ctx) -> Observers {
    Observers {
        started: ctx.address().recipient(),
        over: ctx.address().recipient(),
    }
}

impl Actor for SessionActor {
    type Context = Ctx;

    fn started(&mut self, ctx: &mut Self::Context) {
        let listening = self.parts.broker.clone().listen(ctx.address().recipient());
        actix_rt::spawn(listening);
        let left = self
            .parts
            .login_deadline
            .saturating_duration_since(Instant::now());
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

    fn handle(&mut self, Answered(id, answer): Answered, _: &mut Self::Context) -> Self::Result {
        self.active_at = Instant::now();
        // Before the client has the answer, since it may use the id again then.
        self.state.free(id);
        Box::pin(
            self.tell(Some(answer))
                .map(|(), actor, ctx| actor.end_if_told(ctx)),
        )
    }
}

impl Handler<Started> for SessionActor {
    type Result = ();

    fn handle(&mut self, started: Started, ctx: &mut Self::Context) {
        let Started {
            id,
            direction,
            path,
            size,
        } = started;
        self.parts.broker.report(&WorkerToDaemon::TransferStarted {
            id,
            direction,
            path,
            size,
        });
        if !self.reporting {
            self.reporting = true;
            ctx.run_later(REPORT_EVERY, Self::report);
        }
    }
}

impl Handler<Over> for SessionActor {
    type Result = ();

    fn handle(
        &mut self,
        Over {
            id,
            totals,
            outcome,
        }: Over,
        ctx: &mut Self::Context,
    ) {
        self.active_at = Instant::now();
        self.transfers.remove(&id);
        self.state.free(id);
        let (error, answer) = match outcome {
            Outcome::Done(answer) => (None, answer),
            Outcome::Failed(error) => (
                Some(error.clone()),
                Some(WorkerToClient::Failed { id, error }),
            ),
            Outcome::Violation => (Some(ErrorCode::Protocol), None),
        };
        let violated = matches!(error, Some(ErrorCode::Protocol)) && answer.is_none();
        if let Some(totals) = totals {
            let (resumed_leaves, moved_leaves) = (totals.resumed_leaves, totals.moved_leaves);
            let ended = WorkerToDaemon::TransferEnded {
                id,
                resumed_leaves,
                moved_leaves,
                error,
            };
            self.parts.broker.report(&ended);
        }
        if violated {
            self.refuse(ErrorCode::Protocol, ctx);
        }
        if self.transfers.is_empty() {
            ctx.run_later(REST_AFTER, Self::rest);
        }
        match self.stage {
            Stage::Ending(_) | Stage::Over => self.finish_if_quiet(ctx),
            Stage::Login | Stage::Serving(_) => {
                let told = self.tell(answer);
                ctx.spawn(told.map(|(), actor, ctx| actor.end_if_told(ctx)));
            }
        }
    }
}

impl Handler<Order> for SessionActor {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Self::Context) {
        match order {
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

//! What a worker may ask of the daemon, and tell it, once the TLS handshake is done.
//!
//! The session asks one question at a time; [`Broker::listen`] is the channel's only reader. The daemon
//! never stops reading, so a channel that is full is a broken one.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Message, Recipient};
use berth_common::broker_protocol::{DaemonToWorker, WorkerToDaemon};
use berth_common::channel::{ChannelError, Received};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use berth_common::scram::ScramVerifier;
use rustix::net::Shutdown;
use tokio::sync::oneshot;

use crate::channel_io::{self, AsyncChannel};
use crate::signer::BrokerChannel;
use crate::sys;

/// What the daemon orders without having been asked.
#[derive(Debug)]
pub(crate) enum Order {
    /// Tell the client this and end.
    Refuse(ErrorCode),
    /// Take no new requests, and end when the running ones have ended or this many seconds have passed.
    Shutdown {
        /// The grace time.
        grace_seconds: u32,
    },
    /// The daemon is gone, or broken: end at once.
    Lost,
}

impl Message for Order {
    type Result = ();
}

/// The question cannot be answered any more. [`Order::Refuse`] or [`Order::Lost`] says why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    /// No answer will come.
    #[error("the daemon does not answer")]
    Gone,
    /// The answer is to another question.
    #[error("the daemon answered another question")]
    Unexpected,
    /// The question could not be sent.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

/// An accepted login.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// SCRAM's server-final-message.
    pub(crate) message: Vec<u8>,
    /// The user.
    pub(crate) user: UserName,
    /// The channel to the user's filer.
    pub(crate) filer: OwnedFd,
}

type Pending = oneshot::Sender<Received<DaemonToWorker>>;

/// A handle to the daemon's end of the worker's channel.
#[derive(Clone)]
pub(crate) struct Broker {
    channel: Rc<AsyncChannel<WorkerToDaemon, DaemonToWorker>>,
    pending: Rc<RefCell<Option<Pending>>>,
}

impl Broker {
    /// Takes the channel over from the handshake; it does not block from now on.
    ///
    /// # Errors
    /// When the runtime or the system refuses.
    pub(crate) fn new(channel: Arc<BrokerChannel>) -> io::Result<Self> {
        channel.set_nonblocking(true)?;
        Ok(Self {
            channel: Rc::new(sys::register(channel)?),
            pending: Rc::default(),
        })
    }

    /// Whether the client knows the site secret.
    ///
    /// # Errors
    /// See [`BrokerError`]; a wrong proof is an [`Order::Refuse`].
    pub(crate) async fn site_proof(&self, proof: [u8; 32]) -> Result<(), BrokerError> {
        match self.ask(WorkerToDaemon::SiteProof { proof }).await?.message {
            DaemonToWorker::SiteAccepted => Ok(()),
            _ => Err(BrokerError::Unexpected),
        }
    }

    /// Relays SCRAM's client-first-message; gives the server-first-message.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub(crate) async fn login_first(&self, message: Vec<u8>) -> Result<Vec<u8>, BrokerError> {
        match self
            .ask(WorkerToDaemon::LoginFirst { message })
            .await?
            .message
        {
            DaemonToWorker::LoginChallenge { message } => Ok(message),
            _ => Err(BrokerError::Unexpected),
        }
    }

    /// Relays SCRAM's client-final-message.
    ///
    /// # Errors
    /// See [`BrokerError`]; a refused login is an [`Order::Refuse`].
    pub(crate) async fn login_final(&self, message: Vec<u8>) -> Result<Accepted, BrokerError> {
        let answer = self.ask(WorkerToDaemon::LoginFinal { message }).await?;
        match (answer.message, answer.descriptors.into_iter().next()) {
            (DaemonToWorker::LoginAccepted { message, user }, Some(filer)) => Ok(Accepted {
                message,
                user,
                filer,
            }),
            _ => Err(BrokerError::Unexpected),
        }
    }

    /// Relays the beginning of a change of password; `None` when the daemon refuses it at once.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub(crate) async fn password_first(
        &self,
        message: Vec<u8>,
        verifier: ScramVerifier,
    ) -> Result<Option<Vec<u8>>, BrokerError> {
        match self
            .ask(WorkerToDaemon::PasswordFirst { message, verifier })
            .await?
            .message
        {
            DaemonToWorker::PasswordChallenge { message } => Ok(Some(message)),
            DaemonToWorker::PasswordRefused => Ok(None),
            _ => Err(BrokerError::Unexpected),
        }
    }

    /// Relays the end of a change of password; says whether it was changed.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub(crate) async fn password_final(&self, message: Vec<u8>) -> Result<bool, BrokerError> {
        match self
            .ask(WorkerToDaemon::PasswordFinal { message })
            .await?
            .message
        {
            DaemonToWorker::PasswordChanged => Ok(true),
            DaemonToWorker::PasswordRefused => Ok(false),
            _ => Err(BrokerError::Unexpected),
        }
    }

    /// Tells the daemon something that it does not answer: the handshake, transfers, progress.
    /// When it cannot be told the channel is closed, which [`Broker::listen`] turns into the end.
    pub(crate) fn report(&self, event: &WorkerToDaemon) {
        if self.channel.get_ref().send(event, &[]).is_err() {
            let _ = rustix::net::shutdown(&*self.channel, Shutdown::Both);
        }
    }

    async fn ask(&self, question: WorkerToDaemon) -> Result<Received<DaemonToWorker>, BrokerError> {
        let (answer, answered) = oneshot::channel();
        // Before sending, so that the answer cannot come before it is expected.
        self.pending.replace(Some(answer));
        self.channel.get_ref().send(&question, &[])?;
        answered.await.map_err(|_| BrokerError::Gone)
    }

    /// Reads the channel until it fails: answers go to who asked, orders to `orders`.
    pub(crate) async fn listen(self, orders: Recipient<Order>) {
        loop {
            let order = match channel_io::receive(&self.channel).await {
                Ok(received) => match received.message {
                    DaemonToWorker::Refuse { error } => Some(Order::Refuse(error)),
                    DaemonToWorker::Shutdown { grace_seconds } => {
                        Some(Order::Shutdown { grace_seconds })
                    }
                    DaemonToWorker::Setup(_)
                    | DaemonToWorker::Client { .. }
                    | DaemonToWorker::Signed { .. } => Some(Order::Lost),
                    DaemonToWorker::SiteAccepted
                    | DaemonToWorker::LoginChallenge { .. }
                    | DaemonToWorker::LoginAccepted { .. }
                    | DaemonToWorker::PasswordChallenge { .. }
                    | DaemonToWorker::PasswordChanged
                    | DaemonToWorker::PasswordRefused => match self.pending.take() {
                        Some(asker) => {
                            let _ = asker.send(received);
                            None
                        }
                        None => Some(Order::Lost),
                    },
                },
                Err(_) => Some(Order::Lost),
            };
            let Some(order) = order else { continue };
            if !matches!(order, Order::Shutdown { .. }) {
                // Whoever waits for an answer learns that none will come.
                self.pending.take();
            }
            let last = matches!(order, Order::Lost);
            if orders.send(order).await.is_err() || last {
                return;
            }
        }
    }
}

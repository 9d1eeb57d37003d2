//! What a worker may ask of the daemon, and tell it, once the TLS handshake is done.
//!
//! The session asks one question at a time; [`Broker::listen`] is the channel's only reader. The daemon
//! never stops reading, but it may be slower than a client with many small files for a while: what the
//! channel has no room for then waits here, in order, and its number is bounded.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Message, Recipient};
use berth_common::broker_protocol::{DaemonToWorker, WorkerToDaemon};
use berth_common::channel::{ChannelError, Received};
use berth_common::credentials::{DeviceId, DeviceKey, DeviceSummary, NewAccount, NewCredential};
use berth_common::error_code::ErrorCode;
use berth_common::ids::{RequestId, UserName};
use rustix::net::Shutdown;
use tokio::sync::oneshot;

use crate::channel_io::{self, AsyncChannel};
use crate::exec::News;
use crate::signer::BrokerChannel;
use crate::sys;

/// Messages that may wait for the daemon; it does not read any more when there are so many.
const MOST_UNSENT: usize = 1024;

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
    /// How a program that the client has asked for does.
    Program(RequestId, News),
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
    unsent: Rc<RefCell<VecDeque<WorkerToDaemon>>>,
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
            unsent: Rc::default(),
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
        match self.ask(WorkerToDaemon::LoginFirst { message }).await?.message {
            DaemonToWorker::LoginChallenge { message } => Ok(message),
            _ => Err(BrokerError::Unexpected),
        }
    }

    /// Relays SCRAM's client-final-message.
    ///
    /// # Errors
    /// See [`BrokerError`]; a refused login is an [`Order::Refuse`].
    pub(crate) async fn login_final(&self, message: Vec<u8>) -> Result<Accepted, BrokerError> {
        self.login(WorkerToDaemon::LoginFinal { message }).await
    }

    /// Relays a login by a device's key.
    ///
    /// # Errors
    /// See [`BrokerError`]; a refused login is an [`Order::Refuse`].
    pub(crate) async fn login_device(
        &self,
        user: UserName,
        key: DeviceKey,
        signature: [u8; 64],
    ) -> Result<Accepted, BrokerError> {
        self.login(WorkerToDaemon::LoginDevice { user, key, signature }).await
    }

    async fn login(&self, question: WorkerToDaemon) -> Result<Accepted, BrokerError> {
        let answer = self.ask(question).await?;
        match (answer.message, answer.descriptors.into_iter().next()) {
            (DaemonToWorker::LoginAccepted { message, user }, Some(filer)) => {
                Ok(Accepted { message, user, filer })
            }
            _ => Err(BrokerError::Unexpected),
        }
    }

    /// Relays the SCRAM client-first-message of an invitation; gives the server-first-message.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub(crate) async fn join_first(
        &self,
        message: Vec<u8>,
        account: NewAccount,
    ) -> Result<Vec<u8>, BrokerError> {
        match self.ask(WorkerToDaemon::JoinFirst { message, account }).await?.message {
            DaemonToWorker::JoinChallenge { message } => Ok(message),
            _ => Err(BrokerError::Unexpected),
        }
    }

    /// Relays the SCRAM client-final-message of an invitation; gives the server-final-message.
    ///
    /// # Errors
    /// See [`BrokerError`]; a refusal is an [`Order::Refuse`].
    pub(crate) async fn join_final(&self, message: Vec<u8>) -> Result<Vec<u8>, BrokerError> {
        match self.ask(WorkerToDaemon::JoinFinal { message }).await?.message {
            DaemonToWorker::Joined { message } => Ok(message),
            _ => Err(BrokerError::Unexpected),
        }
    }

    /// Relays the beginning of a new credential; gives the server-first-message, or why there is none.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub(crate) async fn credential_first(
        &self,
        message: Vec<u8>,
        credential: NewCredential,
    ) -> Result<Result<Vec<u8>, ErrorCode>, BrokerError> {
        match self.ask(WorkerToDaemon::CredentialFirst { message, credential }).await?.message {
            DaemonToWorker::CredentialChallenge { message } => Ok(Ok(message)),
            DaemonToWorker::CredentialsRefused { error } => Ok(Err(error)),
            _ => Err(BrokerError::Unexpected),
        }
    }

    /// Relays the end of a new credential; says why it was not stored.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub(crate) async fn credential_final(
        &self,
        message: Vec<u8>,
    ) -> Result<Result<(), ErrorCode>, BrokerError> {
        self.change(WorkerToDaemon::CredentialFinal { message }).await
    }

    /// The user's devices, or why they cannot be told.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub(crate) async fn devices(
        &self,
    ) -> Result<Result<Vec<DeviceSummary>, ErrorCode>, BrokerError> {
        match self.ask(WorkerToDaemon::Devices).await?.message {
            DaemonToWorker::Devices { devices } => Ok(Ok(devices)),
            DaemonToWorker::CredentialsRefused { error } => Ok(Err(error)),
            _ => Err(BrokerError::Unexpected),
        }
    }

    /// Has devices revoked; says why they were not.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub(crate) async fn revoke_devices(
        &self,
        devices: Vec<DeviceId>,
    ) -> Result<Result<(), ErrorCode>, BrokerError> {
        self.change(WorkerToDaemon::RevokeDevices { devices }).await
    }

    async fn change(&self, question: WorkerToDaemon) -> Result<Result<(), ErrorCode>, BrokerError> {
        match self.ask(question).await?.message {
            DaemonToWorker::CredentialsChanged => Ok(Ok(())),
            DaemonToWorker::CredentialsRefused { error } => Ok(Err(error)),
            _ => Err(BrokerError::Unexpected),
        }
    }

    /// Tells the daemon something that it does not answer: the handshake, transfers, progress.
    /// When it cannot be told the channel is closed, which [`Broker::listen`] turns into the end.
    pub(crate) fn report(&self, event: WorkerToDaemon) {
        let mut unsent = self.unsent.borrow_mut();
        if unsent.is_empty() {
            match self.channel.get_ref().send(&event, &[]) {
                Ok(()) => return,
                Err(ChannelError::WouldBlock) => {}
                Err(_) => return self.break_off(),
            }
        }
        if unsent.len() >= MOST_UNSENT {
            return self.break_off();
        }
        unsent.push_back(event);
        if unsent.len() == 1 {
            actix_rt::spawn(self.clone().send_rest());
        }
    }

    /// Sends what waits, now that the session is over and this thread has nothing else to do.
    pub(crate) fn flush(&self) {
        let channel = self.channel.get_ref();
        if channel.set_nonblocking(false).is_ok() {
            // A daemon that is gone needs to know nothing more.
            let _ = self.unsent.take().iter().try_for_each(|event| channel.send(event, &[]));
        }
    }

    async fn send_rest(self) {
        loop {
            let Some(first) = self.unsent.borrow().front().cloned() else {
                return;
            };
            if channel_io::send(&self.channel, &first).await.is_err() {
                return self.break_off();
            }
            self.unsent.borrow_mut().pop_front();
        }
    }

    fn break_off(&self) {
        let _ = rustix::net::shutdown(&*self.channel, Shutdown::Both);
    }

    async fn ask(&self, question: WorkerToDaemon) -> Result<Received<DaemonToWorker>, BrokerError> {
        let (answer, answered) = oneshot::channel();
        // Before sending, so that the answer cannot come before it is expected.
        self.pending.replace(Some(answer));
        self.report(question);
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
                    // From this task, so that an answer tells that the runtime still turns.
                    DaemonToWorker::Ping => {
                        self.report(WorkerToDaemon::Alive);
                        None
                    }
                    DaemonToWorker::ExecStarted { id, output_bytes } => {
                        // As many as the message states, or it would not have been received.
                        match <[OwnedFd; 3]>::try_from(received.descriptors) {
                            Ok(pipes) => {
                                Some(Order::Program(id, News::Started(pipes, output_bytes)))
                            }
                            Err(_) => Some(Order::Lost),
                        }
                    }
                    DaemonToWorker::ExecFailed { id, error } => {
                        Some(Order::Program(id, News::Failed(error)))
                    }
                    DaemonToWorker::ExecEnded { id, end } => {
                        Some(Order::Program(id, News::Ended(end)))
                    }
                    DaemonToWorker::Setup(_)
                    | DaemonToWorker::Client { .. }
                    | DaemonToWorker::Signed { .. } => Some(Order::Lost),
                    DaemonToWorker::SiteAccepted
                    | DaemonToWorker::LoginChallenge { .. }
                    | DaemonToWorker::LoginAccepted { .. }
                    | DaemonToWorker::JoinChallenge { .. }
                    | DaemonToWorker::Joined { .. }
                    | DaemonToWorker::CredentialChallenge { .. }
                    | DaemonToWorker::CredentialsChanged
                    | DaemonToWorker::CredentialsRefused { .. }
                    | DaemonToWorker::Devices { .. } => match self.pending.take() {
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
            if !matches!(order, Order::Shutdown { .. } | Order::Program(..)) {
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

#[cfg(test)]
mod tests {
    use berth_common::channel::Channel;

    use super::*;

    fn progress(received: u64) -> WorkerToDaemon {
        WorkerToDaemon::Progress { received, sent: 0 }
    }

    /// Reports until some wait; gives how many were reported.
    fn fill(broker: &Broker) -> u64 {
        let mut told = 0;
        while broker.unsent.borrow().len() < 50 {
            broker.report(progress(told));
            told += 1;
        }
        told
    }

    #[test]
    fn what_a_slow_daemon_has_not_read_waits_and_comes_in_order() {
        actix_rt::System::new().block_on(async {
            let (near, far) = Channel::<WorkerToDaemon, DaemonToWorker>::pair().unwrap();
            let broker = Broker::new(Arc::new(near)).unwrap();
            let told = fill(&broker);
            far.set_nonblocking(true).unwrap();
            let mut heard = 0;
            let hearing = async {
                while heard < told {
                    match far.recv() {
                        Ok(received) => {
                            assert_eq!(received.message, progress(heard));
                            heard += 1;
                        }
                        Err(ChannelError::WouldBlock) => tokio::task::yield_now().await,
                        Err(error) => panic!("{error}"),
                    }
                }
            };
            let patience = std::time::Duration::from_secs(20);
            tokio::time::timeout(patience, hearing).await.unwrap();
            assert!(broker.unsent.borrow().is_empty());
        });
    }

    #[test]
    fn what_still_waits_at_the_sessions_end_is_sent_then() {
        actix_rt::System::new().block_on(async {
            let (near, far) = Channel::<WorkerToDaemon, DaemonToWorker>::pair().unwrap();
            let broker = Broker::new(Arc::new(near)).unwrap();
            let told = fill(&broker);
            let heard = std::thread::spawn(move || {
                (0..told).all(|n| far.recv().unwrap().message == progress(n))
            });
            broker.flush();
            assert!(heard.join().unwrap());
        });
    }

    #[test]
    fn a_daemon_that_does_not_read_at_all_is_given_up() {
        actix_rt::System::new().block_on(async {
            let (near, far) = Channel::<WorkerToDaemon, DaemonToWorker>::pair().unwrap();
            let broker = Broker::new(Arc::new(near)).unwrap();
            for n in 0..100_000 {
                broker.report(progress(n));
            }
            assert_eq!(broker.unsent.borrow().len(), MOST_UNSENT);
            while far.recv().is_ok() {}
        });
    }
}

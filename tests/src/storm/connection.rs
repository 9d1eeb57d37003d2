//! A connection of the storm's: logged in, its processes known, and cut off at any time.
//!
//! It takes a cut for what it is, and anything that a server must never say for a fault, which
//! panics.

use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use berth_common::batch::PutResult;
use berth_common::client_protocol::{ClientToWorker, VERSIONS, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::frame::{BlockHeader, encode_message};
use berth_common::ids::RequestId;
use berth_common::scram::{ChannelBinding, ClientFirst};

use super::arena::Arena;
use crate::raw::{Raw, Received};

/// The connection is lost.
#[derive(Clone, Copy, Debug)]
pub struct Cut;

/// The processes behind a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helpers {
    /// The worker's number.
    pub worker: u32,
    /// The filer's number.
    pub filer: u32,
}

/// The errors that a session was told and that only a crash or an outage explains.
#[derive(Clone, Debug, Default)]
pub struct Doubts(Arc<Mutex<Vec<ErrorCode>>>);

impl Doubts {
    /// One more.
    pub fn note(&self, error: &ErrorCode) {
        let mut errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        errors.push(error.clone());
    }

    /// All of them, which are forgotten.
    #[must_use]
    pub fn take(&self) -> Vec<ErrorCode> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether an error is none that a server without a fault gives while nothing is killed and its ledger can be
/// written.
#[must_use]
pub fn is_doubtful(error: &ErrorCode) -> bool {
    matches!(error, ErrorCode::Internal | ErrorCode::ShuttingDown | ErrorCode::LedgerUnavailable)
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    raw: Raw,
    doubts: Doubts,
    /// Its processes.
    pub helpers: Helpers,
}

impl Connection {
    /// Connects and logs in, however often that is cut off.
    ///
    /// # Panics
    /// When the server refuses it, or the deadline passes.
    pub fn open(arena: &Arena, user: &str, password: &str, doubts: &Doubts) -> Self {
        crate::wait_for("a session", || Self::try_open(arena, user, password, doubts).ok())
    }

    fn try_open(arena: &Arena, user: &str, password: &str, doubts: &Doubts) -> Result<Self, Cut> {
        let socket = TcpStream::connect(arena.address()).map_err(|_| Cut)?;
        let raw = Raw::over(socket).map_err(|_| Cut)?;
        let peer = raw.local_address().map_err(|_| Cut)?;
        let helpers = Helpers { worker: 0, filer: 0 };
        let mut connection = Self { raw, doubts: doubts.clone(), helpers };
        connection.log_in(user, password)?;
        let session = arena.session_from(peer).map_err(|_| Cut)?;
        let filer = session.filer_pid.ok_or(Cut)?;
        connection.helpers = Helpers { worker: session.worker_pid, filer };
        Ok(connection)
    }

    fn log_in(&mut self, user: &str, password: &str) -> Result<(), Cut> {
        let client = "berth-storm".to_owned();
        self.send(&ClientToWorker::Hello { versions: VERSIONS.to_vec(), client })?;
        let WorkerToClient::Hello { .. } = self.message()? else { panic!("no hello") };
        let binding = ChannelBinding::login(self.raw.exporter());
        let first = ClientFirst::new(user, binding).expect("a user's name");
        self.send(&ClientToWorker::LoginFirst { message: first.message().to_vec() })?;
        let challenge = match self.message()? {
            WorkerToClient::LoginChallenge { message } => message,
            other => panic!("instead of a challenge: {other:?}"),
        };
        let last = first.answer(password, &challenge).expect("a challenge of RFC 5802");
        self.send(&ClientToWorker::LoginFinal { message: last.message().to_vec() })?;
        match self.message()? {
            WorkerToClient::LoginAccepted { message, .. } => {
                last.verify(&message).expect("the server proves that it knows the verifier");
                Ok(())
            }
            other => panic!("instead of an answer to the proof: {other:?}"),
        }
    }

    /// A request's number that was not used before.
    pub fn id(&mut self) -> RequestId {
        self.raw.id()
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn send(&mut self, message: &ClientToWorker) -> Result<(), Cut> {
        let bytes = encode_message(message).expect("a message");
        self.raw.try_send_bytes(&bytes).map_err(|_| Cut)
    }

    /// Sends a block.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn send_block(&mut self, header: &BlockHeader, data: &[u8]) -> Result<(), Cut> {
        let head = header.encode(data.len()).expect("a block");
        self.raw.try_send_bytes(&head).map_err(|_| Cut)?;
        self.raw.try_send_bytes(data).map_err(|_| Cut)
    }

    /// What comes next for this request. What comes for others, which nobody waits for any more, is
    /// dropped.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn next(&mut self, id: RequestId) -> Result<Received, Cut> {
        loop {
            let received = self.receive()?;
            let of = match &received {
                Received::Message(message) => request_of(message),
                Received::Block(header, _) => Some(header.transfer),
                Received::Closed => return Err(Cut),
            };
            if of == Some(id) {
                return Ok(received);
            }
        }
    }

    /// The next message that answers a request, and which.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn any_answer(&mut self) -> Result<(RequestId, WorkerToClient), Cut> {
        loop {
            if let Received::Message(message) = self.receive()?
                && let Some(id) = request_of(&message)
            {
                return Ok((id, message));
            }
        }
    }

    /// The next message for this request.
    ///
    /// # Errors
    /// When the connection is lost.
    ///
    /// # Panics
    /// When it is a block.
    pub fn answer(&mut self, id: RequestId) -> Result<WorkerToClient, Cut> {
        match self.next(id)? {
            Received::Message(message) => Ok(message),
            other => panic!("instead of an answer: {other:?}"),
        }
    }

    /// Asks something, and returns the first answer.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn ask(
        &mut self,
        question: impl FnOnce(RequestId) -> ClientToWorker,
    ) -> Result<WorkerToClient, Cut> {
        let id = self.id();
        self.send(&question(id))?;
        self.answer(id)
    }

    fn message(&mut self) -> Result<WorkerToClient, Cut> {
        match self.receive()? {
            Received::Message(message) => Ok(message),
            other => panic!("instead of a message: {other:?}"),
        }
    }

    fn receive(&mut self) -> Result<Received, Cut> {
        let received = self.raw.receive();
        if let Received::Message(
            WorkerToClient::Refused { error } | WorkerToClient::Failed { error, .. },
        ) = &received
            && is_doubtful(error)
        {
            self.doubts.note(error);
        }
        if let Received::Message(WorkerToClient::FilesPut { results, .. }) = &received {
            for result in results {
                if let PutResult::Failed(error) = result
                    && is_doubtful(error)
                {
                    self.doubts.note(error);
                }
            }
        }
        match received {
            Received::Closed => Err(Cut),
            Received::Message(WorkerToClient::Refused { error }) => match error {
                // The session's other half, or the daemon, has died; or another has taken over.
                ErrorCode::Ended => Err(Cut),
                error if is_doubtful(&error) => Err(Cut),
                error => panic!("the session was refused: {error:?}"),
            },
            received => Ok(received),
        }
    }
}

/// What a message answers; `None` of those that answer no request.
fn request_of(message: &WorkerToClient) -> Option<RequestId> {
    match message {
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
        WorkerToClient::Hello { .. }
        | WorkerToClient::SiteAccepted
        | WorkerToClient::LoginChallenge { .. }
        | WorkerToClient::LoginAccepted { .. }
        | WorkerToClient::JoinChallenge { .. }
        | WorkerToClient::Joined { .. }
        | WorkerToClient::Refused { .. } => None,
    }
}

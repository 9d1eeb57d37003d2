//! The conversation: which phase it is in, which ids are in use, and what a client may say when.
//!
//! A plain type, tested over all pairs of phase and message. A pair that is not allowed ends the session.

use std::collections::HashMap;

use berth_common::batch::{self, SmallPut};
use berth_common::client_protocol::{ClientToWorker, Put, VERSIONS};
use berth_common::credentials::{DeviceId, DeviceKey, MAX_DEVICES, NewAccount, NewCredential};
use berth_common::exec::{Arguments, MOST_PROGRAMS, ProgramName};
use berth_common::ids::{RequestId, UserName};
use berth_common::limits::{LEAVES_PER_MESSAGE, MAX_ECHO_BYTES, MAX_SCRAM_MESSAGE};
use berth_common::rel_path::RelPath;

use crate::filesystem::Change;
use crate::transfer::get::{Get, GetControl};
use crate::transfer::put::PutControl;

/// Most bytes of a client's name.
const CLIENT_NAME_BYTES: usize = 128;

/// Most versions that a client may name.
const MOST_VERSIONS: usize = 16;

/// Where the conversation is. While the daemon is being asked nothing is read from the client, so there
/// is no phase for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for `Hello`.
    Hello,
    /// Waits for the answer to the site challenge.
    Site,
    /// Waits for the first message of a login, or of somebody who was invited.
    LoginFirst,
    /// Waits for the second.
    LoginFinal,
    /// Waits for the second SCRAM message of an invitation.
    JoinFinal,
    /// The client has logged in.
    Serving,
    /// Nothing that the client says matters any more.
    Ending,
}

/// What a request that is open is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InUse {
    Request,
    /// What concerns the user's credentials: one at a time.
    Credential,
    Put,
    Get,
    Program,
}

/// What the session is to do.
#[derive(Debug)]
pub(crate) enum Step {
    /// Answer `Hello` with this version; `None`: there is none in common.
    Greet(Option<u16>),
    /// Have the site proof checked.
    SiteProof([u8; 32]),
    /// Relay.
    LoginFirst(Vec<u8>),
    /// Relay.
    LoginFinal(Vec<u8>),
    /// Relay.
    LoginDevice(UserName, DeviceKey, [u8; 64]),
    /// Relay.
    JoinFirst(Vec<u8>, NewAccount),
    /// Relay.
    JoinFinal(Vec<u8>),
    /// Relay.
    CredentialFirst(RequestId, Vec<u8>, NewCredential),
    /// Relay.
    CredentialFinal(RequestId, Vec<u8>),
    /// Ask for the devices.
    Devices(RequestId),
    /// Relay.
    RevokeDevices(RequestId, Vec<DeviceId>),
    /// Answer a request.
    Request(RequestId, Request),
    /// The same for one that holds the bytes of small files, or a manifest, of which there may be few at once.
    Batch(RequestId, Request),
    /// Send these bytes back, before anything else is read.
    Echo(RequestId, Vec<u8>),
    /// Begin an upload.
    Put(Put),
    /// Begin a download.
    Get(Get),
    /// Pass on to the upload.
    PutControl(RequestId, PutControl),
    /// Pass on to the download.
    GetControl(RequestId, GetControl),
    /// Have a program run.
    Exec(RequestId, ProgramName, Arguments, RelPath),
    /// Pass on to the program.
    ExecInput(RequestId, Vec<u8>),
    /// Tell the program that nothing more comes.
    ExecInputEnd(RequestId),
    /// Have the program ended.
    ExecCancel(RequestId),
    /// Answer that there are as many programs as there may be.
    TooManyPrograms(RequestId),
    /// Answer that there are as many transfers as there may be.
    TooManyTransfers(RequestId),
    /// Answer that the server is shutting down.
    ShuttingDown(RequestId),
    /// Nothing: it is about a transfer that is over, of which the client may not have heard yet, or the
    /// session is ending.
    Ignore,
}

/// A request that has an answer and no conversation.
#[derive(Debug)]
pub(crate) enum Request {
    /// One entry.
    Stat(RelPath),
    /// A directory's entries.
    List {
        /// Which.
        path: RelPath,
        /// With the files' notes.
        notes: bool,
    },
    /// A change of names or notes.
    Change(Change),
    /// Limits and usage.
    Usage,
    /// The open uploads.
    Uploads,
    /// A file's plain MD5.
    Md5(RelPath),
    /// A file's leaf digests, from one on and so many at most.
    Leaves(RelPath, u64, u64),
    /// Puts small files.
    PutFiles(Vec<SmallPut>),
    /// Small files.
    GetFiles(Vec<RelPath>),
    /// What stands at several paths.
    StatFiles(Vec<RelPath>),
}

/// The client said what it may not say now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client broke the protocol")]
pub(crate) struct Refusal;

/// The conversation's state.
#[derive(Debug)]
pub(crate) struct State {
    phase: Phase,
    in_use: HashMap<RequestId, InUse>,
    max_transfers: u32,
    shutting_down: bool,
    /// A new credential waits for its second message.
    challenged: Option<RequestId>,
}

impl State {
    /// A conversation that has not begun.
    pub(crate) fn new(max_transfers: u32) -> Self {
        Self {
            phase: Phase::Hello,
            in_use: HashMap::new(),
            max_transfers,
            shutting_down: false,
            challenged: None,
        }
    }

    /// Goes on to a later phase.
    pub(crate) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// The phase.
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// From now on new requests are refused.
    pub(crate) fn shut_down(&mut self) {
        self.shutting_down = true;
    }

    /// Whether they are.
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutting_down
    }

    /// A request is answered, or a transfer over: its id may be used again.
    pub(crate) fn free(&mut self, id: RequestId) {
        self.in_use.remove(&id);
        if self.challenged == Some(id) {
            self.challenged = None;
        }
    }

    /// Whether nothing is open but what waits for the client's own next word of a new credential.
    pub(crate) fn is_waiting_for_client(&self) -> bool {
        self.in_use.keys().all(|id| self.challenged == Some(*id))
    }

    /// Transfers that are open.
    pub(crate) fn transfers(&self) -> usize {
        self.in_use.values().filter(|kind| matches!(kind, InUse::Put | InUse::Get)).count()
    }

    /// Programs that are open.
    fn programs(&self) -> usize {
        self.in_use.values().filter(|kind| **kind == InUse::Program).count()
    }

    /// A new credential waits for its second message.
    pub(crate) fn challenge(&mut self, id: RequestId) {
        self.challenged = Some(id);
    }

    /// Takes a message from the client and says what to do.
    ///
    /// # Errors
    /// When it is not allowed in this phase, or contradicts what was said before.
    #[rustfmt::skip]
    pub(crate) fn take(&mut self, message: ClientToWorker) -> Result<Step, Refusal> {
        use ClientToWorker as C;
        match (self.phase, message) {
            (Phase::Hello, C::Hello { versions, client }) => greet(&versions, &client),
            (Phase::Site, C::SiteProof { proof }) => Ok(Step::SiteProof(proof)),
            (Phase::LoginFirst, C::LoginFirst { message }) => {
                Ok(Step::LoginFirst(scram(message)?))
            }
            (Phase::LoginFinal, C::LoginFinal { message }) => {
                Ok(Step::LoginFinal(scram(message)?))
            }
            (Phase::LoginFirst, C::LoginDevice { user, key, signature }) => {
                Ok(Step::LoginDevice(user, key, signature))
            }
            (Phase::LoginFirst, C::JoinFirst { message, account }) => {
                Ok(Step::JoinFirst(scram(message)?, account))
            }
            (Phase::JoinFinal, C::JoinFinal { message }) => {
                Ok(Step::JoinFinal(scram(message)?))
            }

            (Phase::Serving, C::CredentialFirst { id, message, credential }) => {
                let message = scram(message)?;
                self.credential(id, |id| Step::CredentialFirst(id, message, credential))
            }
            (Phase::Serving, C::Devices { id }) => self.credential(id, Step::Devices),
            (Phase::Serving, C::RevokeDevices { id, devices }) => {
                if devices.len() > MAX_DEVICES {
                    return Err(Refusal);
                }
                self.credential(id, |id| Step::RevokeDevices(id, devices))
            }
            (Phase::Serving, C::CredentialFinal { id, message }) => {
                let message = scram(message)?;
                self.challenged.take_if(|challenged| *challenged == id).ok_or(Refusal)?;
                Ok(Step::CredentialFinal(id, message))
            }
            (Phase::Serving, C::Stat { id, path }) => self.request(id, Request::Stat(path)),
            (Phase::Serving, C::List { id, path, notes }) => {
                self.request(id, Request::List { path, notes })
            }
            (Phase::Serving, C::MakeDirectory { id, path, parents }) => {
                self.request(id, Request::Change(Change::MakeDirectory { path, parents }))
            }
            (Phase::Serving, C::Remove { id, path, recursive }) => {
                self.request(id, Request::Change(Change::Remove { path, recursive }))
            }
            (Phase::Serving, C::Rename { id, from, to, overwrite }) => {
                self.request(id, Request::Change(Change::Rename { from, to, overwrite }))
            }
            (Phase::Serving, C::SetNote { id, path, note }) => {
                self.request(id, Request::Change(Change::SetNote { path, note }))
            }
            (Phase::Serving, C::Usage { id }) => self.request(id, Request::Usage),
            (Phase::Serving, C::Uploads { id }) => self.request(id, Request::Uploads),
            (Phase::Serving, C::AbortUpload { id, upload }) => {
                self.request(id, Request::Change(Change::AbortUpload(upload)))
            }
            (Phase::Serving, C::Md5 { id, path }) => self.request(id, Request::Md5(path)),
            (Phase::Serving, C::Leaves { id, path, from, most }) => {
                self.request(id, Request::Leaves(path, from, most))
            }
            (Phase::Serving, C::Echo { id, payload }) => {
                if payload.len() > MAX_ECHO_BYTES {
                    return Err(Refusal);
                }
                self.at_once(id, |id| Step::Echo(id, payload))
            }
            (Phase::Serving, C::Put(put)) => {
                self.begin(put.id, InUse::Put, |_| Step::Put(put))
            }
            (Phase::Serving, C::Get { id, path, resume }) => {
                self.begin(id, InUse::Get, |id| Step::Get(Get { id, path, resume }))
            }

            (Phase::Serving, C::PutFiles { id, files }) => {
                if !batch::is_put(&files) {
                    return Err(Refusal);
                }
                self.begin(id, InUse::Request, |id| Step::Batch(id, Request::PutFiles(files)))
            }
            (Phase::Serving, C::GetFiles { id, paths }) => {
                if !batch::is_get(&paths) {
                    return Err(Refusal);
                }
                self.begin(id, InUse::Request, |id| Step::Batch(id, Request::GetFiles(paths)))
            }
            (Phase::Serving, C::StatFiles { id, paths }) => {
                if !batch::is_stat(&paths) {
                    return Err(Refusal);
                }
                self.begin(id, InUse::Request, |id| Step::Batch(id, Request::StatFiles(paths)))
            }

            (Phase::Serving, C::PutEnd { id, digest, source }) => self.of(id, InUse::Put, || {
                Step::PutControl(id, PutControl::End { digest, source })
            }),
            (Phase::Serving, C::JournalLeaves { id, leaves }) => {
                if leaves.len() > LEAVES_PER_MESSAGE {
                    return Err(Refusal);
                }
                self.of(id, InUse::Get, || {
                    Step::GetControl(id, GetControl::JournalLeaves(leaves))
                })
            }
            (Phase::Serving, C::Again { id, offset }) => {
                self.of(id, InUse::Get, || Step::GetControl(id, GetControl::Again(offset)))
            }
            (Phase::Serving, C::GetDone { id }) => {
                self.of(id, InUse::Get, || Step::GetControl(id, GetControl::Done))
            }
            (Phase::Serving, C::Exec { id, program, arguments, directory }) => {
                self.begin(id, InUse::Program, |id| Step::Exec(id, program, arguments, directory))
            }
            (Phase::Serving, C::ExecInput { id, data }) => {
                self.of(id, InUse::Program, || Step::ExecInput(id, data))
            }
            (Phase::Serving, C::ExecInputEnd { id }) => {
                self.of(id, InUse::Program, || Step::ExecInputEnd(id))
            }
            (Phase::Serving, C::Cancel { id }) => match self.in_use.get(&id) {
                Some(InUse::Program) => Ok(Step::ExecCancel(id)),
                Some(InUse::Put) => Ok(Step::PutControl(id, PutControl::Cancel)),
                Some(InUse::Get) => Ok(Step::GetControl(id, GetControl::Cancel)),
                Some(InUse::Request | InUse::Credential) => Err(Refusal),
                None => Ok(Step::Ignore),
            },

            (Phase::Serving,
                C::Hello { .. } | C::SiteProof { .. } | C::LoginFirst { .. } | C::LoginFinal { .. }
                | C::LoginDevice { .. } | C::JoinFirst { .. } | C::JoinFinal { .. })
            | (Phase::Hello,
                C::SiteProof { .. } | C::LoginFirst { .. } | C::LoginFinal { .. }
                | C::LoginDevice { .. } | C::JoinFirst { .. } | C::JoinFinal { .. })
            | (Phase::Site,
                C::Hello { .. } | C::LoginFirst { .. } | C::LoginFinal { .. }
                | C::LoginDevice { .. } | C::JoinFirst { .. } | C::JoinFinal { .. })
            | (Phase::LoginFirst,
                C::Hello { .. } | C::SiteProof { .. } | C::LoginFinal { .. } | C::JoinFinal { .. })
            | (Phase::LoginFinal,
                C::Hello { .. } | C::SiteProof { .. } | C::LoginFirst { .. }
                | C::LoginDevice { .. } | C::JoinFirst { .. } | C::JoinFinal { .. })
            | (Phase::JoinFinal,
                C::Hello { .. } | C::SiteProof { .. } | C::LoginFirst { .. } | C::LoginFinal { .. }
                | C::LoginDevice { .. } | C::JoinFirst { .. })
            | (Phase::Hello | Phase::Site | Phase::LoginFirst | Phase::LoginFinal | Phase::JoinFinal,
                C::CredentialFirst { .. } | C::CredentialFinal { .. } | C::Devices { .. }
                | C::RevokeDevices { .. } | C::Stat { .. } | C::List { .. }
                | C::MakeDirectory { .. } | C::Remove { .. } | C::Rename { .. } | C::SetNote { .. } | C::Usage { .. }
                | C::Uploads { .. } | C::AbortUpload { .. } | C::Md5 { .. } | C::Leaves { .. } | C::Echo { .. } | C::Put(_)
                | C::PutFiles { .. } | C::GetFiles { .. } | C::StatFiles { .. }
                | C::PutEnd { .. } | C::Get { .. } | C::JournalLeaves { .. } | C::Again { .. }
                | C::GetDone { .. } | C::Exec { .. } | C::ExecInput { .. } | C::ExecInputEnd { .. }
                | C::Cancel { .. }) => Err(Refusal),

            (Phase::Ending,
                C::Hello { .. } | C::SiteProof { .. } | C::LoginFirst { .. } | C::LoginFinal { .. }
                | C::LoginDevice { .. } | C::JoinFirst { .. } | C::JoinFinal { .. }
                | C::CredentialFirst { .. } | C::CredentialFinal { .. } | C::Devices { .. }
                | C::RevokeDevices { .. } | C::Stat { .. } | C::List { .. }
                | C::MakeDirectory { .. } | C::Remove { .. } | C::Rename { .. } | C::SetNote { .. } | C::Usage { .. }
                | C::Uploads { .. } | C::AbortUpload { .. } | C::Md5 { .. } | C::Leaves { .. } | C::Echo { .. } | C::Put(_)
                | C::PutFiles { .. } | C::GetFiles { .. } | C::StatFiles { .. }
                | C::PutEnd { .. } | C::Get { .. } | C::JournalLeaves { .. } | C::Again { .. }
                | C::GetDone { .. } | C::Exec { .. } | C::ExecInput { .. } | C::ExecInputEnd { .. }
                | C::Cancel { .. }) => Ok(Step::Ignore),
        }
    }

    fn request(&mut self, id: RequestId, request: Request) -> Result<Step, Refusal> {
        self.begin(id, InUse::Request, |id| Step::Request(id, request))
    }

    /// What the daemon does with credentials, it does one after the other.
    fn credential(
        &mut self,
        id: RequestId,
        step: impl FnOnce(RequestId) -> Step,
    ) -> Result<Step, Refusal> {
        if self.in_use.values().any(|kind| *kind == InUse::Credential) {
            return Err(Refusal);
        }
        self.begin(id, InUse::Credential, step)
    }

    /// A request that is answered before the next message is taken, so that its id is never in use.
    fn at_once(
        &self,
        id: RequestId,
        step: impl FnOnce(RequestId) -> Step,
    ) -> Result<Step, Refusal> {
        if self.in_use.contains_key(&id) {
            return Err(Refusal);
        }
        Ok(if self.shutting_down { Step::ShuttingDown(id) } else { step(id) })
    }

    /// Puts an id to use, unless the request is refused at once.
    fn begin(
        &mut self,
        id: RequestId,
        kind: InUse,
        step: impl FnOnce(RequestId) -> Step,
    ) -> Result<Step, Refusal> {
        if self.in_use.contains_key(&id) {
            return Err(Refusal);
        }
        if self.shutting_down {
            return Ok(Step::ShuttingDown(id));
        }
        let is_transfer = matches!(kind, InUse::Put | InUse::Get);
        if is_transfer && self.transfers() as u64 >= u64::from(self.max_transfers) {
            return Ok(Step::TooManyTransfers(id));
        }
        if kind == InUse::Program && self.programs() >= MOST_PROGRAMS {
            return Ok(Step::TooManyPrograms(id));
        }
        self.in_use.insert(id, kind);
        Ok(step(id))
    }

    /// A message about an open transfer of this kind.
    fn of(&self, id: RequestId, kind: InUse, step: impl FnOnce() -> Step) -> Result<Step, Refusal> {
        match self.in_use.get(&id) {
            Some(in_use) if *in_use == kind => Ok(step()),
            Some(_) => Err(Refusal),
            None => Ok(Step::Ignore),
        }
    }
}

fn greet(versions: &[u16], client: &str) -> Result<Step, Refusal> {
    if versions.len() > MOST_VERSIONS || client.len() > CLIENT_NAME_BYTES {
        return Err(Refusal);
    }
    Ok(Step::Greet(versions.iter().copied().find(|version| VERSIONS.contains(version))))
}

fn scram(message: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    if message.len() > MAX_SCRAM_MESSAGE { Err(Refusal) } else { Ok(message) }
}

#[cfg(test)]
mod tests;

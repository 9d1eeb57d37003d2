//! A conversation: what a client says, what daemon and filer answer, how transfers end, in any order.
//!
//! An input is a row of pairs: a letter for what happens, and a digit for the request's number (its low three
//! bits) and a variant (the fourth). Of any other byte the low five or four bits count. Each message is put to
//! the session's state and to a plain model of it; what they make of it has to agree, and what is refused has to
//! leave the state as it was.

use std::collections::BTreeMap;

use berth_common::batch::{self, SmallPut};
use berth_common::client_protocol::{ClientToWorker, GetResume, Put};
use berth_common::credentials::{DeviceKey, MAX_DEVICES, NewAccount, NewCredential};
use berth_common::digest::Md5;
use berth_common::entry::{Existing, HomeFingerprint, PutSource, SourceEnd};
use berth_common::exec::{Arguments, MOST_PROGRAMS, ProgramName};
use berth_common::ids::{RequestId, StagingName, UploadToken, UserName};
use berth_common::limits::{BLOCK_SIZE, LEAVES_PER_MESSAGE, MAX_ECHO_BYTES, MAX_SCRAM_MESSAGE};
use berth_common::note::NoteChange;
use berth_common::rel_path::RelPath;
use berth_common::scram::ScramVerifier;

use super::downloads::Download;
use super::uploads::{Goes, Upload, source};
use crate::session::state::{Phase, Refusal, State, Step};
use crate::transfer::get::GetControl;
use crate::transfer::put::PutControl;

/// Transfers that the session may have at once.
const TRANSFERS: u32 = 3;

/// Runs one conversation.
pub fn sessions(data: &[u8]) {
    let verifier = ScramVerifier::new(vec![1; 16], 4096, [2; 32], [3; 32]);
    let (Ok(verifier), Ok(user)) = (verifier, UserName::new("alice")) else {
        return;
    };
    let has_site_secret = data.first().is_some_and(|first| first.is_ascii_uppercase());
    let mut conversation = Conversation {
        state: State::new(TRANSFERS),
        has_site_secret,
        user,
        verifier,
        question: None,
        logged_in: false,
        over: false,
        shutting_down: false,
        open: BTreeMap::new(),
        challenged: None,
        requests: 0,
    };
    for pair in data.chunks_exact(2).take(500) {
        conversation.happens(pair[0] & 31, pair[1]);
        conversation.check();
    }
}

/// What the daemon is asked. Meanwhile nothing is read from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Site,
    First,
    Final,
    JoinFirst,
    JoinFinal,
    CredentialFirst(u32),
    /// Any that is answered in one step.
    Credential(u32),
}

/// What a request is that has no answer yet.
enum Open {
    Request,
    Credential,
    Put(Box<Upload>),
    Get(Box<Download>),
    Program,
}

/// The session's state, and the model.
struct Conversation {
    state: State,
    has_site_secret: bool,
    user: UserName,
    verifier: ScramVerifier,
    question: Option<Question>,
    logged_in: bool,
    over: bool,
    shutting_down: bool,
    open: BTreeMap<u32, Open>,
    challenged: Option<u32>,
    requests: u32,
}

fn batch_of(too_many: bool) -> usize {
    batch::FILES + usize::from(too_many)
}

/// What the model makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Refused,
    Ignored,
    Greeting,
    Relayed,
    Begins,
    AnsweredAtOnce,
    OfTransfer,
    OfProgram,
}

impl Conversation {
    fn happens(&mut self, letter: u8, digit: u8) {
        let (id, variant) = (u32::from(digit & 7), digit & 8 != 0);
        match letter {
            // y, z: the daemon says yes or no
            25 => self.answered(true),
            26 => self.answered(false),
            // a: a request is answered, u: a transfer fails by itself
            1 if matches!(self.open.get(&id), Some(Open::Request | Open::Program)) => self.free(id),
            21 if matches!(self.open.get(&id), Some(Open::Put(_) | Open::Get(_))) => self.free(id),
            // x: the server shuts down, k: the session ends
            24 => {
                self.state.shut_down();
                self.shutting_down = true;
            }
            11 => self.end(),
            // b: the next block comes, i: another one, m, t: the helper finds it good or not, q: the filer has more room
            2 => self.upload(id, |upload| upload.block(0)),
            9 => self.upload(id, |upload| upload.block(4 + (digit >> 3 & 3))),
            13 => self.upload(id, |upload| upload.checked(true)),
            20 => self.upload(id, |upload| upload.checked(false)),
            17 => self.upload(id, |upload| upload.answer(1 << 22, variant)),
            // o: a block is sent
            15 => self.download(id, Download::send),
            _ if self.question.is_none() => {
                if let Some(message) = self.message(letter, id, variant) {
                    self.says(message, id);
                }
            }
            _ => {}
        }
    }

    fn account(&self) -> NewAccount {
        NewAccount { user: self.user.clone(), verifier: self.verifier.clone() }
    }

    /// What a client may say, sensible or not.
    fn message(&mut self, letter: u8, number: u32, variant: bool) -> Option<ClientToWorker> {
        use ClientToWorker as C;
        let id = RequestId(number);
        let scram = vec![b'n'; MAX_SCRAM_MESSAGE + usize::from(variant)];
        let path = RelPath::root();
        let leaf = Md5::of(b"");
        Some(match letter {
            8 => C::Hello {
                versions: vec![u16::from(!variant); 1 + usize::from(number == 7) * 16],
                client: "c".repeat(if number == 6 { 129 } else { 128 }),
            },
            19 => C::SiteProof { proof: [0; 32] },
            6 if number == 5 => C::LoginDevice {
                user: self.user.clone(),
                key: DeviceKey([1; 32]),
                signature: [2; 64],
            },
            6 => C::LoginFirst { message: scram },
            12 => C::LoginFinal { message: scram },
            29 => C::JoinFirst { message: scram, account: self.account() },
            30 => C::JoinFinal { message: scram },
            31 if number == 0 => C::Devices { id: RequestId(u32::from(variant)) },
            31 => {
                let count = MAX_DEVICES + usize::from(variant);
                C::RevokeDevices { id, devices: vec![DeviceKey([1; 32]).id(); count] }
            }
            23 => {
                let credential = NewCredential::Password(self.verifier.clone());
                C::CredentialFirst { id, message: scram, credential }
            }
            22 => C::CredentialFinal { id, message: scram },
            18 => {
                self.requests += 1;
                match (number + 8 * u32::from(variant)) % 11 {
                    0 => C::Stat { id, path },
                    1 => C::List { id, path, notes: variant },
                    2 => C::MakeDirectory { id, path, parents: variant },
                    3 => C::Remove { id, path, recursive: variant },
                    4 => C::Rename { id, from: path.clone(), to: path, overwrite: variant },
                    5 => C::Usage { id },
                    6 => C::Uploads { id },
                    7 => C::AbortUpload { id, upload: StagingName(1) },
                    9 => C::SetNote { id, path, note: None },
                    8 => C::Leaves { id, path, from: 0, most: u64::MAX },
                    _ => C::Md5 { id, path },
                }
            }
            16 => C::Put(Put {
                id,
                path,
                source: source(number),
                token: UploadToken([0; 16]),
                mode: 0o644,
                existing: if variant { Existing::Append } else { Existing::Keep },
                base: None,
                note: NoteChange::Keep,
            }),
            5 => {
                let (digest, source) = match self.open.get(&number) {
                    Some(Open::Put(upload)) => upload.honest_end(variant),
                    _ => (leaf, SourceEnd::Stream { size: 0 }),
                };
                C::PutEnd { id, digest, source }
            }
            4 => C::GetDone { id },
            7 => {
                let fingerprint = HomeFingerprint { inode: 1, ctime_ns: 1, size: 1, digest: None };
                let leaves = Download::resumed_leaves(number);
                let resume = variant.then_some(GetResume { fingerprint, leaves });
                C::Get { id, path, resume }
            }
            10 => {
                let count = if variant { LEAVES_PER_MESSAGE + 1 } else { 1 };
                C::JournalLeaves { id, leaves: vec![leaf; count] }
            }
            14 => {
                let odd = u64::from(variant) * 77;
                let block = self.requests as u64 % 4 * BLOCK_SIZE as u64;
                C::Again { id, offset: block + odd }
            }
            3 => C::Cancel { id },
            // `, {: small files together, or too many of them; what stands at as many paths
            0 => {
                let file = SmallPut {
                    path,
                    content: Vec::new(),
                    md5: leaf,
                    mtime_ns: 0,
                    mode: 0,
                    overwrite: variant,
                    note: NoteChange::Keep,
                };
                C::PutFiles { id, files: vec![file; batch_of(variant)] }
            }
            27 if number & 4 != 0 => C::StatFiles { id, paths: vec![path; batch_of(variant)] },
            27 => C::GetFiles { id, paths: vec![path; batch_of(variant)] },
            // |: a program, its input and the end of that; or bytes to send back, or too many of them
            28 if number & 1 != 0 && variant => C::Exec {
                id,
                program: ProgramName::new("du").ok()?,
                arguments: Arguments::default(),
                directory: path,
            },
            28 if number & 1 != 0 => C::ExecInput { id, data: vec![1] },
            28 if number == 6 => C::ExecInputEnd { id: RequestId(3) },
            28 => {
                C::Echo { id, payload: vec![number as u8; MAX_ECHO_BYTES + usize::from(variant)] }
            }
            _ => return None,
        })
    }

    fn says(&mut self, message: ClientToWorker, id: u32) {
        let text = format!("{message:?}");
        let text = text.get(..200).unwrap_or(&text).to_owned();
        let meaning = self.meaning(&message);
        let before = format!("{:?}", self.state);
        let step = self.state.take(message);
        let unchanged = before == format!("{:?}", self.state);
        let got = match &step {
            Err(Refusal) => Meaning::Refused,
            Ok(Step::Ignore) => Meaning::Ignored,
            Ok(Step::Greet(_)) => Meaning::Greeting,
            Ok(
                Step::SiteProof(_)
                | Step::LoginFirst(_)
                | Step::LoginFinal(_)
                | Step::LoginDevice(..)
                | Step::JoinFirst(..)
                | Step::JoinFinal(_)
                | Step::CredentialFinal(..),
            ) => Meaning::Relayed,
            Ok(
                Step::CredentialFirst(..)
                | Step::Devices(_)
                | Step::RevokeDevices(..)
                | Step::Request(..)
                | Step::Batch(..)
                | Step::Put(_)
                | Step::Get(_)
                | Step::Exec(..),
            ) => Meaning::Begins,
            Ok(
                Step::Echo(..)
                | Step::TooManyTransfers(_)
                | Step::TooManyPrograms(_)
                | Step::ShuttingDown(_),
            ) => Meaning::AnsweredAtOnce,
            Ok(Step::ExecInput(..) | Step::ExecInputEnd(_) | Step::ExecCancel(_)) => {
                Meaning::OfProgram
            }
            Ok(Step::PutControl(..) | Step::GetControl(..)) => Meaning::OfTransfer,
        };
        assert_eq!(got, meaning, "{text} when {before}");
        let may_change = got == Meaning::Begins || matches!(step, Ok(Step::CredentialFinal(..)));
        assert!(may_change || unchanged, "{text} is {got:?} and changed {before}");
        match step {
            Ok(step) => self.carry_out(step, id),
            Err(Refusal) => self.end(),
        }
    }

    /// What `docs/PROTOCOL.md` makes of a message now.
    fn meaning(&self, message: &ClientToWorker) -> Meaning {
        use ClientToWorker as C;
        let fits = |scram: &[u8]| scram.len() <= 1024;
        let relayed = |allowed| if allowed { Meaning::Relayed } else { Meaning::Refused };
        if self.over {
            return Meaning::Ignored;
        }
        let phase = self.state.phase();
        if !self.logged_in {
            return match message {
                C::Hello { versions, client } if phase == Phase::Hello => {
                    let fits = versions.len() <= 16 && client.len() <= 128;
                    if fits { Meaning::Greeting } else { Meaning::Refused }
                }
                C::SiteProof { .. } => relayed(phase == Phase::Site),
                C::LoginFirst { message } => relayed(phase == Phase::LoginFirst && fits(message)),
                C::LoginFinal { message } => relayed(phase == Phase::LoginFinal && fits(message)),
                C::LoginDevice { .. } => relayed(phase == Phase::LoginFirst),
                C::JoinFirst { message, .. } => {
                    relayed(phase == Phase::LoginFirst && fits(message))
                }
                C::JoinFinal { message } => relayed(phase == Phase::JoinFinal && fits(message)),
                _ => Meaning::Refused,
            };
        }
        match message {
            C::Hello { .. }
            | C::SiteProof { .. }
            | C::LoginFirst { .. }
            | C::LoginFinal { .. }
            | C::LoginDevice { .. }
            | C::JoinFirst { .. }
            | C::JoinFinal { .. } => Meaning::Refused,
            C::CredentialFirst { id, message, .. } => self.credential(id.0, fits(message)),
            C::Devices { id } => self.credential(id.0, true),
            C::RevokeDevices { id, devices } => self.credential(id.0, devices.len() <= MAX_DEVICES),
            C::CredentialFinal { id, message } => {
                relayed(self.challenged == Some(id.0) && fits(message))
            }
            C::Stat { id, .. }
            | C::List { id, .. }
            | C::MakeDirectory { id, .. }
            | C::Remove { id, .. }
            | C::Rename { id, .. }
            | C::SetNote { id, .. }
            | C::Usage { id }
            | C::Uploads { id }
            | C::AbortUpload { id, .. }
            | C::Md5 { id, .. }
            | C::Leaves { id, .. } => self.begins(id.0, false),
            C::PutFiles { id, files } if files.len() <= batch::FILES => self.begins(id.0, false),
            C::GetFiles { id, paths } if paths.len() <= batch::FILES => self.begins(id.0, false),
            C::StatFiles { id, paths } if paths.len() <= batch::FILES => self.begins(id.0, false),
            C::PutFiles { .. } | C::GetFiles { .. } | C::StatFiles { .. } => Meaning::Refused,
            C::Echo { id, payload } => {
                let refused = self.open.contains_key(&id.0) || payload.len() > 64 * 1024;
                if refused { Meaning::Refused } else { Meaning::AnsweredAtOnce }
            }
            C::Put(put) => self.begins(put.id.0, true),
            C::Get { id, .. } => self.begins(id.0, true),
            C::PutEnd { id, .. } => self.of(id.0, |open| matches!(open, Open::Put(_))),
            C::JournalLeaves { id, leaves } if leaves.len() <= LEAVES_PER_MESSAGE => {
                self.of(id.0, |open| matches!(open, Open::Get(_)))
            }
            C::JournalLeaves { .. } => Meaning::Refused,
            C::Again { id, .. } | C::GetDone { id } => {
                self.of(id.0, |open| matches!(open, Open::Get(_)))
            }
            C::Exec { id, .. } => match self.begins(id.0, false) {
                Meaning::Begins if self.programs() >= MOST_PROGRAMS => Meaning::AnsweredAtOnce,
                meaning => meaning,
            },
            C::ExecInput { id, .. } | C::ExecInputEnd { id } => self.of_program(id.0),
            C::Cancel { id } if matches!(self.open.get(&id.0), Some(Open::Program)) => {
                Meaning::OfProgram
            }
            C::Cancel { id } => self.of(id.0, |open| matches!(open, Open::Put(_) | Open::Get(_))),
        }
    }

    fn credential(&self, id: u32, fits: bool) -> Meaning {
        let another = self.open.values().any(|open| matches!(open, Open::Credential));
        if another || !fits { Meaning::Refused } else { self.begins(id, false) }
    }

    fn begins(&self, id: u32, is_transfer: bool) -> Meaning {
        if self.open.contains_key(&id) {
            Meaning::Refused
        } else if self.shutting_down || (is_transfer && self.transfers() >= TRANSFERS as usize) {
            Meaning::AnsweredAtOnce
        } else {
            Meaning::Begins
        }
    }

    fn of(&self, id: u32, kind: impl Fn(&Open) -> bool) -> Meaning {
        match self.open.get(&id) {
            Some(open) if kind(open) => Meaning::OfTransfer,
            Some(_) => Meaning::Refused,
            None => Meaning::Ignored,
        }
    }

    fn of_program(&self, id: u32) -> Meaning {
        match self.open.get(&id) {
            Some(Open::Program) => Meaning::OfProgram,
            Some(_) => Meaning::Refused,
            None => Meaning::Ignored,
        }
    }

    fn programs(&self) -> usize {
        self.open.values().filter(|open| matches!(open, Open::Program)).count()
    }

    fn transfers(&self) -> usize {
        self.open.values().filter(|open| matches!(open, Open::Put(_) | Open::Get(_))).count()
    }

    /// As the session's actor does it.
    fn carry_out(&mut self, step: Step, id: u32) {
        match step {
            Step::Greet(None) => self.end(),
            Step::Greet(Some(_)) => self.state.enter(match self.has_site_secret {
                true => Phase::Site,
                false => Phase::LoginFirst,
            }),
            Step::SiteProof(_) => self.question = Some(Question::Site),
            Step::LoginFirst(_) => self.question = Some(Question::First),
            Step::LoginFinal(_) => self.question = Some(Question::Final),
            Step::LoginDevice(..) => self.question = Some(Question::Final),
            Step::JoinFirst(..) => self.question = Some(Question::JoinFirst),
            Step::JoinFinal(_) => self.question = Some(Question::JoinFinal),
            Step::Devices(id) | Step::RevokeDevices(id, _) => {
                self.open.insert(id.0, Open::Credential);
                self.question = Some(Question::Credential(id.0));
            }
            Step::CredentialFirst(..) => {
                self.open.insert(id, Open::Credential);
                self.question = Some(Question::CredentialFirst(id));
            }
            Step::CredentialFinal(..) => {
                self.challenged = None;
                self.question = Some(Question::Credential(id));
            }
            Step::Request(..) | Step::Batch(..) => drop(self.open.insert(id, Open::Request)),
            Step::Exec(..) => drop(self.open.insert(id, Open::Program)),
            Step::Put(put) => {
                let resumed = matches!(put.source, PutSource::File(_)) && id % 2 == 1;
                self.open.insert(id, Open::Put(Box::new(Upload::new(id, resumed))));
            }
            Step::Get(get) => {
                let download = Download::new(id, get.resume.is_some());
                self.open.insert(id, Open::Get(Box::new(download)));
            }
            Step::PutControl(_, PutControl::End { digest, source }) => {
                self.upload(id, |upload| upload.ends(digest, source));
            }
            Step::GetControl(_, GetControl::JournalLeaves(leaves)) => {
                self.download(id, |download| download.client_has(leaves.len() as u64));
            }
            Step::GetControl(_, GetControl::Again(offset)) => {
                self.download(id, |download| download.again(offset));
            }
            Step::PutControl(_, PutControl::Cancel)
            | Step::GetControl(_, GetControl::Done | GetControl::Cancel) => self.free(id),
            Step::Echo(echoed, payload) => {
                assert_eq!(echoed, RequestId(id));
                assert!(payload == vec![id as u8; MAX_ECHO_BYTES], "other bytes are sent back");
            }
            Step::ExecCancel(id) => self.free(id.0),
            Step::TooManyTransfers(_)
            | Step::TooManyPrograms(_)
            | Step::ExecInput(..)
            | Step::ExecInputEnd(_)
            | Step::ShuttingDown(_)
            | Step::Ignore => {}
        }
    }

    /// The daemon answers, as far as it was asked. An answer while the session ends changes nothing.
    fn answered(&mut self, yes: bool) {
        let Some(question) = self.question.take().filter(|_| !self.over) else { return };
        match (question, yes) {
            (Question::Site | Question::JoinFinal, true) => self.state.enter(Phase::LoginFirst),
            (Question::JoinFirst, true) => self.state.enter(Phase::JoinFinal),
            (Question::First, true) => self.state.enter(Phase::LoginFinal),
            (Question::Final, true) => {
                self.state.enter(Phase::Serving);
                self.logged_in = true;
            }
            (Question::CredentialFirst(id), true) => {
                self.state.challenge(RequestId(id));
                self.challenged = Some(id);
            }
            (Question::CredentialFirst(id), false) | (Question::Credential(id), _) => {
                self.free(id);
            }
            (
                Question::Site
                | Question::First
                | Question::Final
                | Question::JoinFirst
                | Question::JoinFinal,
                false,
            ) => self.end(),
        }
    }

    fn upload(&mut self, id: u32, what: impl FnOnce(&mut Upload) -> Goes) {
        if let Some(Open::Put(upload)) = self.open.get_mut(&id)
            && what(upload) == Goes::Over
        {
            self.free(id);
        }
    }

    fn download(&mut self, id: u32, what: impl FnOnce(&mut Download) -> Goes) {
        if let Some(Open::Get(download)) = self.open.get_mut(&id)
            && what(download) == Goes::Over
        {
            self.free(id);
        }
    }

    /// The last word about a request: it has one answer, and its number may be used again.
    fn free(&mut self, id: u32) {
        assert!(self.open.remove(&id).is_some(), "a second answer");
        self.state.free(RequestId(id));
        self.challenged = self.challenged.filter(|challenged| *challenged != id);
    }

    fn end(&mut self) {
        self.state.enter(Phase::Ending);
        self.over = true;
    }

    fn check(&self) {
        assert_eq!(self.state.transfers(), self.transfers());
        assert!(self.transfers() <= TRANSFERS as usize);
        let waits = self.open.keys().all(|id| self.challenged == Some(*id));
        assert_eq!(self.state.is_waiting_for_client(), waits);
        assert!(self.logged_in || self.open.is_empty(), "something is open before the login");
        let serving = self.state.phase() == Phase::Serving;
        assert_eq!(serving, self.logged_in && !self.over);
    }
}

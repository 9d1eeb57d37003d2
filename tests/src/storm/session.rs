//! One of a user's sessions: it does what is planned and notes what it saw.

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UploadToken;
use berth_common::rel_path::RelPath;

use super::arena::Arena;
use super::batch::{self, Change};
use super::connection::{Connection, Cut, Helpers, is_doubtful};
use super::content::Content;
use super::history::{End, Operation};
use super::kind::{kind, kind_in_batch};
use super::number_in_batch;
use super::plan::{Action, BrokenOff};
use super::random::Random;
use super::shared::Shared;
use super::transfer::{self, Upload};
use super::tree::Step;

/// A session.
#[derive(Debug)]
pub struct Session {
    user: usize,
    number: usize,
    connection: Option<Connection>,
}

/// A user's name.
#[must_use]
pub fn user_name(user: usize) -> String {
    format!("user{user}")
}

/// Everybody's password.
pub const PASSWORD: &str = "storm";

impl Session {
    /// A session that is not connected yet.
    #[must_use]
    pub fn new(user: usize, number: usize) -> Self {
        Self { user, number, connection: None }
    }

    /// Its number among the user's.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// Connects, if it is not.
    pub fn connect(&mut self, arena: &Arena, shared: &Shared) -> &mut Connection {
        if self.connection.is_none() {
            let doubts = shared.doubts_of(self.number);
            let connection = Connection::open(arena, &user_name(self.user), PASSWORD, doubts);
            shared.helpers()[self.number] = Some(connection.helpers);
            self.connection = Some(connection);
        }
        self.connection.as_mut().expect("just connected")
    }

    /// Whether it is connected and the server still knows it. One that is not forgets its connection.
    pub fn is_alive(&mut self, shared: &Shared) -> Option<Helpers> {
        let connection = self.connection.as_mut()?;
        let (helpers, begun) = (connection.helpers, shared.tick());
        match connection.ask(|id| ClientToWorker::Usage { id }) {
            Ok(WorkerToClient::Usage { usage, .. }) => {
                shared.check_usage(&usage, shared.since(begun));
                Some(helpers)
            }
            Ok(WorkerToClient::Failed { .. }) | Err(Cut) => {
                self.connection = None;
                None
            }
            Ok(other) => panic!("instead of the usage: {other:?}"),
        }
    }

    /// Does what is planned, one operation or a batch of them, and tells how each went.
    ///
    /// # Panics
    /// When the server does what it must never do.
    pub fn perform(
        &mut self,
        arena: &Arena,
        shared: &Shared,
        action: &Action,
        number: u64,
    ) -> Vec<Operation> {
        let mut random = Random::of(&[number]);
        let begun = shared.tick();
        let random = &mut random;
        let mut doing = Doing { arena, shared, number, begun, random, resumed: false };
        let connection = self.connection.as_mut().expect("connected before");
        if let Action::Batch { changes } = action {
            let numbers = (0..).map(|place| number_in_batch(number, place));
            let changes: Vec<_> = changes.iter().cloned().zip(numbers).collect();
            let (changes, is_lost) = batch::perform(&mut doing, connection, &changes);
            if is_lost {
                self.connection = None;
            }
            return changes
                .into_iter()
                .map(|change| self.note_change(arena, shared, change))
                .collect();
        }
        let (steps, done) = doing.act(connection, action);
        let resumed = doing.resumed;
        let (end, hangs_up) = match done {
            Ok(Ended { end, hangs_up }) => (end, hangs_up),
            Err(Cut) => (End::CutOff, true),
        };
        // A reading that was cut off says nothing.
        let reads = !steps.iter().any(Step::changes);
        let end = if reads && end == End::CutOff { End::NotAsked } else { end };
        if hangs_up {
            self.connection = None;
        }
        let ended = shared.tick();
        let title = format!("{number:x} {action:?} {steps:?}");
        let session = self.number;
        let operation = Operation { title, session, steps, begun, ended, end, resumed };
        vec![note(arena, shared, kind(action), operation)]
    }

    fn note_change(&self, arena: &Arena, shared: &Shared, change: Change) -> Operation {
        let Change { action, number, step, begun, ended, end, .. } = change;
        let title = format!("{number:x} in a batch: {action:?}");
        let (session, steps) = (self.number, vec![step]);
        let operation = Operation { title, session, steps, begun, ended, end, resumed: false };
        note(arena, shared, kind_in_batch(&action), operation)
    }
}

/// Counts an operation, and checks that it was not refused without a reason.
fn note(arena: &Arena, shared: &Shared, kind: &'static str, operation: Operation) -> Operation {
    if let End::Refused(error) = &operation.end {
        let (bounds, span) = (shared.bounds(), (operation.begun, operation.ended));
        let allowed = bounds.allow_refusal(error, span);
        assert!(allowed, "refused without a reason: {error:?} in {span:?}, {bounds:?}");
    }
    arena.tally.ended(kind, &operation.end);
    operation
}

/// How an operation ended, and whether the connection is to be given up.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) end: End,
    pub(super) hangs_up: bool,
}

impl From<End> for Ended {
    fn from(end: End) -> Self {
        Self { end, hangs_up: false }
    }
}

/// What an operation needs besides its connection.
pub(super) struct Doing<'a> {
    arena: &'a Arena,
    pub(super) shared: &'a Shared,
    number: u64,
    begun: u64,
    random: &'a mut Random,
    /// Whether a put went on where it had stopped.
    resumed: bool,
}

type Done = Result<Ended, Cut>;

impl Doing<'_> {
    fn act(&mut self, connection: &mut Connection, action: &Action) -> (Vec<Step>, Done) {
        match action {
            Action::Put { broken_off, .. } => {
                let upload = self.upload(action, self.number).expect("a put");
                self.put(connection, &upload, *broken_off)
            }
            Action::Batch { .. } => panic!("a batch is no single operation"),
            Action::Resume { which, same_token } => {
                let Some(mut upload) = self.shared.some_upload(*which) else {
                    return (Vec::new(), Ok(End::NotAsked.into()));
                };
                if !same_token {
                    upload.token = self.token();
                }
                self.put(connection, &upload, None)
            }
            Action::Abort { which } => (Vec::new(), abort(connection, *which)),
            Action::MakeDirectory { path, parents } => {
                let steps = directories(path, *parents);
                let ask = |id| ClientToWorker::MakeDirectory {
                    id,
                    path: path.clone(),
                    parents: *parents,
                };
                (steps, simple(connection, ask))
            }
            Action::Remove { path, recursive } => {
                let step = Step::Remove { path: path.clone(), recursive: *recursive };
                let ask =
                    |id| ClientToWorker::Remove { id, path: path.clone(), recursive: *recursive };
                (vec![step], simple(connection, ask))
            }
            Action::Rename { from, to, overwrite } => {
                let (from, to, overwrite) = (from.clone(), to.clone(), *overwrite);
                let step = Step::Rename { from: from.clone(), to: to.clone(), overwrite };
                let ask = |id| ClientToWorker::Rename { id, from, to, overwrite };
                (vec![step], simple(connection, ask))
            }
            Action::Get { path } => {
                let (content, done) = match transfer::get(connection, path) {
                    Ok((content, end)) => (content, Ok(end.into())),
                    Err(cut) => (None, Err(cut)),
                };
                (vec![Step::Read { path: path.clone(), content }], done)
            }
            Action::List { path } => {
                (vec![Step::List { path: path.clone() }], list(connection, path))
            }
            Action::Usage => {
                let done =
                    connection.ask(|id| ClientToWorker::Usage { id }).map(|answer| match answer {
                        WorkerToClient::Usage { usage, .. } => {
                            self.shared.check_usage(&usage, self.shared.since(self.begun));
                            End::Acknowledged.into()
                        }
                        other => ended_by(&other).into(),
                    });
                (Vec::new(), done)
            }
        }
    }

    fn put(
        &mut self,
        connection: &mut Connection,
        upload: &Upload,
        broken_off: Option<BrokenOff>,
    ) -> (Vec<Step>, Done) {
        let sent = transfer::put(connection, upload, broken_off, self.arena);
        self.resumed = sent.resumed;
        match &sent.end {
            End::Acknowledged => self.arena.tally.acknowledged_bytes(upload.content.size),
            End::Refused(_) => {}
            End::CutOff | End::NotAsked => self.shared.remember(upload),
        }
        if let Some(usage) = &sent.usage {
            self.shared.check_usage(usage, self.shared.since(self.begun));
        }
        (vec![upload.step()], Ok(Ended { end: sent.end, hangs_up: sent.hangs_up }))
    }

    /// What a put sends.
    pub(super) fn upload(&mut self, action: &Action, number: u64) -> Option<Upload> {
        let Action::Put { path, size, existing, streams, .. } = action else {
            return None;
        };
        Some(Upload {
            path: path.clone(),
            content: Content::new(number, *size),
            source: number,
            token: self.token(),
            existing: *existing,
            streams: *streams,
        })
    }

    fn token(&mut self) -> UploadToken {
        let mut token = [0; 16];
        token[..8].copy_from_slice(&self.random.next().to_le_bytes());
        UploadToken(token)
    }
}

fn directories(path: &RelPath, parents: bool) -> Vec<Step> {
    if !parents {
        return vec![Step::MakeDirectory { path: path.clone(), or_there: false }];
    }
    let mut steps = Vec::new();
    let mut so_far = RelPath::root();
    for name in path.components() {
        so_far = so_far.join(name).expect("a path");
        steps.push(Step::MakeDirectory { path: so_far.clone(), or_there: true });
    }
    steps
}

fn simple(
    connection: &mut Connection,
    question: impl FnOnce(berth_common::ids::RequestId) -> ClientToWorker,
) -> Done {
    Ok(ended_by(&connection.ask(question)?).into())
}

fn abort(connection: &mut Connection, which: u64) -> Done {
    let id = connection.id();
    connection.send(&ClientToWorker::Uploads { id })?;
    let mut listed = Vec::new();
    loop {
        match connection.answer(id)? {
            WorkerToClient::Uploads { uploads, last, .. } => {
                listed.extend(uploads);
                if last {
                    break;
                }
            }
            other => return Ok(ended_by(&other).into()),
        }
    }
    if listed.is_empty() {
        return Ok(End::NotAsked.into());
    }
    let upload = listed[(which % listed.len() as u64) as usize].upload;
    simple(connection, |id| ClientToWorker::AbortUpload { id, upload })
}

fn list(connection: &mut Connection, path: &RelPath) -> Done {
    let id = connection.id();
    connection.send(&ClientToWorker::List { id, path: path.clone(), notes: false })?;
    loop {
        match connection.answer(id)? {
            WorkerToClient::Entries { last: false, .. } => {}
            WorkerToClient::Entries { last: true, .. } => return Ok(End::Acknowledged.into()),
            other => return Ok(ended_by(&other).into()),
        }
    }
}

/// How an answer ends an operation.
pub(super) fn ended_by(answer: &WorkerToClient) -> End {
    match answer {
        WorkerToClient::Done { .. } | WorkerToClient::PutDone { .. } => End::Acknowledged,
        WorkerToClient::Failed { error, .. } => ended_by_error(error),
        other => panic!("instead of an answer: {other:?}"),
    }
}

fn ended_by_error(error: &ErrorCode) -> End {
    match error {
        // A process behind the connection has died, and the rest could not say what came of it. The connection
        // has noted it, so that somebody asks whether anything was killed.
        error if is_doubtful(error) => End::CutOff,
        ErrorCode::Ended => End::CutOff,
        ErrorCode::QuotaExceeded { .. }
        | ErrorCode::NotFound
        | ErrorCode::AlreadyExists
        | ErrorCode::NotADirectory
        | ErrorCode::IsADirectory
        | ErrorCode::DirectoryNotEmpty
        | ErrorCode::NotPossible
        | ErrorCode::UploadBusy
        | ErrorCode::NoSuchUpload
        | ErrorCode::TooManyTransfers { .. }
        | ErrorCode::Busy => End::Refused(error.clone()),
        error => panic!("the server must not say {error:?} here"),
    }
}

//! Several changes of one session at once, each with its own end: none waits for another's answer.
//!
//! What a batch is for the server is its own affair: it may share transactions and tickets among these changes or
//! not, and may do them in any order. So each is an operation of its own to the judge, and all of them overlap.
//! In every other batch the puts go together in one message.

use berth_common::batch::PutResult;
use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::ids::RequestId;

use super::connection::{Connection, Cut};
use super::history::End;
use super::plan::Action;
use super::session::{Doing, ended_by};
use super::transfer::Upload;
use super::tree::Step;

/// One of them.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) action: Action,
    pub(super) number: u64,
    pub(super) step: Step,
    pub(super) begun: u64,
    pub(super) end: End,
    pub(super) ended: u64,
    id: RequestId,
    /// What is sent, if it is a put.
    upload: Option<Upload>,
    /// Whether it is sent in one message with others, whose request is this one's.
    together: bool,
    state: State,
}

/// How far one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was sent that can change the home.
    NotAsked,
    /// The server has said that it takes the file.
    Ready,
    /// It may have happened.
    Asked,
    /// It was answered.
    Over,
}

/// Does them, and tells how each ended, and whether the connection is lost.
pub(super) fn perform(
    doing: &mut Doing<'_>,
    connection: &mut Connection,
    changes: &[(Action, u64)],
) -> (Vec<Change>, bool) {
    let mut all: Vec<Change> =
        changes.iter().map(|(action, number)| change(doing, connection, action, *number)).collect();
    let lost = run(doing, connection, &mut all).is_err();
    let now = doing.shared.tick();
    for change in all.iter_mut().filter(|change| change.state != State::Over) {
        change.end = if change.state == State::Asked { End::CutOff } else { End::NotAsked };
        change.ended = now;
    }
    (all, lost)
}

fn change(
    doing: &mut Doing<'_>,
    connection: &mut Connection,
    action: &Action,
    number: u64,
) -> Change {
    let upload = doing.upload(action, number);
    Change {
        step: step(action, upload.as_ref()),
        action: action.clone(),
        number,
        begun: 0,
        end: End::NotAsked,
        ended: 0,
        id: connection.id(),
        upload,
        together: false,
        state: State::NotAsked,
    }
}

/// First the puts are announced that go by themselves, so that afterwards everything that changes the home is sent
/// in one go.
fn run(doing: &Doing<'_>, connection: &mut Connection, all: &mut [Change]) -> Result<(), Cut> {
    if all.first().is_some_and(|first| first.number % 2 == 0) {
        let id = connection.id();
        for change in all.iter_mut().filter(|change| change.upload.is_some()) {
            (change.id, change.together) = (id, true);
        }
    }
    for change in all.iter_mut().filter(|change| !change.together) {
        change.begun = doing.shared.tick();
        if let Some(upload) = &change.upload {
            connection.send(&ClientToWorker::Put(upload.announced(change.id)))?;
        }
    }
    let is_announced = |change: &Change| change.upload.is_some() && !change.together;
    while all.iter().any(|change| is_announced(change) && change.state == State::NotAsked) {
        take_answer(doing, connection, all)?;
    }
    send_together(doing, connection, all)?;
    for change in all.iter_mut().filter(|change| !change.together && change.state != State::Over) {
        if change.upload.is_none() {
            change.begun = doing.shared.tick();
        }
        send(connection, change)?;
    }
    while all.iter().any(|change| change.state == State::Asked) {
        take_answer(doing, connection, all)?;
    }
    Ok(())
}

fn send_together(
    doing: &Doing<'_>,
    connection: &mut Connection,
    all: &mut [Change],
) -> Result<(), Cut> {
    let mut files = Vec::new();
    let mut request = None;
    for change in all.iter_mut().filter(|change| change.together) {
        change.begun = doing.shared.tick();
        change.state = State::Asked;
        files.extend(change.upload.as_ref().map(Upload::whole));
        request = Some(change.id);
    }
    match request {
        Some(id) => connection.send(&ClientToWorker::PutFiles { id, files }),
        None => Ok(()),
    }
}

fn send(connection: &mut Connection, change: &mut Change) -> Result<(), Cut> {
    let id = change.id;
    if let Some(upload) = &change.upload {
        upload.send_blocks(connection, id, 0..upload.content.leaf_count())?;
    }
    change.state = State::Asked;
    match (&change.upload, &change.action) {
        (Some(upload), _) => connection.send(&upload.ended(id)),
        (None, Action::MakeDirectory { path, parents }) => {
            let (path, parents) = (path.clone(), *parents);
            connection.send(&ClientToWorker::MakeDirectory { id, path, parents })
        }
        (None, Action::Remove { path, recursive }) => {
            let (path, recursive) = (path.clone(), *recursive);
            connection.send(&ClientToWorker::Remove { id, path, recursive })
        }
        (None, Action::Rename { from, to, overwrite }) => {
            let (from, to, overwrite) = (from.clone(), to.clone(), *overwrite);
            connection.send(&ClientToWorker::Rename { id, from, to, overwrite })
        }
        (None, other) => panic!("{other:?} in a batch"),
    }
}

fn take_answer(
    doing: &Doing<'_>,
    connection: &mut Connection,
    all: &mut [Change],
) -> Result<(), Cut> {
    let (id, answer) = connection.any_answer()?;
    if let WorkerToClient::FilesPut { results, usage, .. } = answer {
        for (change, result) in all.iter_mut().filter(|change| change.id == id).zip(results) {
            let answer = match result {
                PutResult::Done { replaced } => {
                    let usage = usage.expect("what was put is counted");
                    WorkerToClient::PutDone { id, replaced, usage }
                }
                PutResult::Failed(error) => WorkerToClient::Failed { id, error },
            };
            ends(doing, change, &answer);
        }
        return Ok(());
    }
    // Others are of an upload that has fallen silent.
    let Some(change) = all.iter_mut().find(|change| change.id == id) else {
        return Ok(());
    };
    if let WorkerToClient::PutReady { leaves, .. } = answer {
        assert_eq!((change.state, leaves), (State::NotAsked, 0), "a small file's put is ready");
        change.state = State::Ready;
        return Ok(());
    }
    ends(doing, change, &answer);
    Ok(())
}

fn ends(doing: &Doing<'_>, change: &mut Change, answer: &WorkerToClient) {
    assert_ne!(change.state, State::Over, "a second answer: {answer:?}");
    change.end = match ended_by(answer) {
        End::CutOff if change.state != State::Asked => End::NotAsked,
        end => end,
    };
    change.ended = doing.shared.tick();
    change.state = State::Over;
    if let WorkerToClient::PutDone { usage, .. } = answer {
        doing.shared.check_usage(usage, (change.begun, change.ended));
    }
}

fn step(action: &Action, upload: Option<&Upload>) -> Step {
    match (upload, action) {
        (Some(upload), _) => upload.step(),
        (None, Action::MakeDirectory { path, .. }) => {
            Step::MakeDirectory { path: path.clone(), or_there: false }
        }
        (None, Action::Remove { path, recursive }) => {
            Step::Remove { path: path.clone(), recursive: *recursive }
        }
        (None, Action::Rename { from, to, overwrite }) => {
            Step::Rename { from: from.clone(), to: to.clone(), overwrite: *overwrite }
        }
        (None, other) => panic!("{other:?} in a batch"),
    }
}

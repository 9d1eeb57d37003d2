//! The phase table over all pairs, and the rules about ids.

use berth_common::digest::Md5;
use berth_common::entry::{Existing, SourceFingerprint};
use berth_common::ids::{StagingName, UploadToken};
use berth_common::note::NoteChange;
use berth_common::scram::ScramVerifier;

use super::*;

const PHASES: [Phase; 7] = [
    Phase::Hello,
    Phase::Site,
    Phase::LoginFirst,
    Phase::LoginFinal,
    Phase::JoinFinal,
    Phase::Serving,
    Phase::Ending,
];

fn path() -> RelPath {
    RelPath::new("a").unwrap()
}

fn source() -> SourceFingerprint {
    SourceFingerprint { size: 1, mtime_ns: 2, ctime_ns: 3, inode: 4 }
}

fn put(id: u32) -> ClientToWorker {
    ClientToWorker::Put(Put {
        id: RequestId(id),
        path: path(),
        source: source().into(),
        token: UploadToken([0; 16]),
        mode: 0o644,
        existing: Existing::Replace,
        base: None,
        note: NoteChange::Keep,
    })
}

fn get(id: u32) -> ClientToWorker {
    ClientToWorker::Get { id: RequestId(id), path: path(), resume: None }
}

fn exec(id: u32) -> ClientToWorker {
    ClientToWorker::Exec {
        id: RequestId(id),
        program: ProgramName::new("du").unwrap(),
        arguments: Arguments::default(),
        directory: path(),
    }
}

fn small_put(size: usize) -> SmallPut {
    SmallPut {
        path: path(),
        content: vec![0; size],
        md5: Md5::of(b""),
        mtime_ns: 1,
        mode: 0o600,
        overwrite: false,
        note: NoteChange::Keep,
    }
}

fn verifier() -> ScramVerifier {
    ScramVerifier::new(vec![1; 16], 4096, [2; 32], [3; 32]).unwrap()
}

fn credential() -> NewCredential {
    NewCredential::Password(verifier())
}

fn user() -> UserName {
    UserName::new("alice").unwrap()
}

/// One of each message, with the phase in which it is allowed.
fn every_message() -> Vec<(Phase, ClientToWorker)> {
    use ClientToWorker as C;
    let id = RequestId(1);
    let message = vec![1; 10];
    let digest = Md5::of(b"");
    let key = DeviceKey([1; 32]);
    let account = NewAccount { user: user(), verifier: verifier() };
    vec![
        (Phase::Hello, C::Hello { versions: vec![1], client: "test".into() }),
        (Phase::Site, C::SiteProof { proof: [0; 32] }),
        (Phase::LoginFirst, C::LoginFirst { message: message.clone() }),
        (Phase::LoginFinal, C::LoginFinal { message: message.clone() }),
        (Phase::LoginFirst, C::LoginDevice { user: user(), key, signature: [0; 64] }),
        (Phase::LoginFirst, C::JoinFirst { message: message.clone(), account }),
        (Phase::JoinFinal, C::JoinFinal { message: message.clone() }),
        (
            Phase::Serving,
            C::CredentialFirst { id, message: message.clone(), credential: credential() },
        ),
        (Phase::Serving, C::CredentialFinal { id, message }),
        (Phase::Serving, C::Devices { id }),
        (Phase::Serving, C::RevokeDevices { id, devices: vec![key.id()] }),
        (Phase::Serving, C::Stat { id, path: path() }),
        (Phase::Serving, C::List { id, path: path(), notes: true }),
        (Phase::Serving, C::MakeDirectory { id, path: path(), parents: true }),
        (Phase::Serving, C::Remove { id, path: path(), recursive: true }),
        (Phase::Serving, C::Rename { id, from: path(), to: path(), overwrite: true }),
        (Phase::Serving, C::SetNote { id, path: path(), note: None }),
        (Phase::Serving, C::Usage { id }),
        (Phase::Serving, C::Uploads { id }),
        (Phase::Serving, C::AbortUpload { id, upload: StagingName(1) }),
        (Phase::Serving, C::Md5 { id, path: path() }),
        (Phase::Serving, C::Leaves { id, path: path(), from: 0, most: 1 }),
        (Phase::Serving, C::Echo { id, payload: vec![1] }),
        (Phase::Serving, put(1)),
        (Phase::Serving, C::PutEnd { id, digest, source: source().into() }),
        (Phase::Serving, C::PutFiles { id, files: vec![small_put(1)] }),
        (Phase::Serving, C::GetFiles { id, paths: vec![path()] }),
        (Phase::Serving, C::StatFiles { id, paths: vec![path()] }),
        (Phase::Serving, get(1)),
        (Phase::Serving, C::JournalLeaves { id, leaves: vec![digest] }),
        (Phase::Serving, C::Again { id, offset: 0 }),
        (Phase::Serving, C::GetDone { id }),
        (Phase::Serving, exec(1)),
        (Phase::Serving, C::ExecInput { id, data: vec![1] }),
        (Phase::Serving, C::ExecInputEnd { id }),
        (Phase::Serving, C::Cancel { id }),
    ]
}

fn state_in(phase: Phase) -> State {
    let mut state = State::new(2);
    state.enter(phase);
    state
}

#[test]
fn each_message_is_allowed_in_its_phase_and_in_no_other() {
    for phase in PHASES {
        for (allowed_in, message) in every_message() {
            let mut state = state_in(phase);
            let is_final = matches!(message, ClientToWorker::CredentialFinal { .. });
            if is_final && phase == Phase::Serving {
                state.challenge(RequestId(1));
            }
            let text = format!("{message:?} in {phase:?}");
            match state.take(message) {
                Ok(Step::Ignore) if phase == Phase::Ending => {}
                Ok(_) => assert_eq!(allowed_in, phase, "{text}"),
                Err(Refusal) => assert_ne!(allowed_in, phase, "{text}"),
            }
        }
    }
}

#[test]
fn an_id_in_use_is_refused_until_it_is_free() {
    let mut state = state_in(Phase::Serving);
    let usage = || ClientToWorker::Usage { id: RequestId(7) };
    assert!(matches!(state.take(usage()), Ok(Step::Request(RequestId(7), Request::Usage))));
    assert_eq!(state.take(usage()).unwrap_err(), Refusal);
    assert!(!state.is_waiting_for_client());
    state.free(RequestId(7));
    assert!(state.is_waiting_for_client());
    assert!(state.take(usage()).is_ok());
    assert_eq!(state.take(put(7)).unwrap_err(), Refusal);
    assert_eq!(state.take(ClientToWorker::Cancel { id: RequestId(7) }).unwrap_err(), Refusal);
}

#[test]
fn transfers_are_counted_and_requests_are_not() {
    let mut state = state_in(Phase::Serving);
    state.take(ClientToWorker::Usage { id: RequestId(9) }).unwrap();
    assert!(matches!(state.take(put(1)), Ok(Step::Put(_))));
    assert!(matches!(state.take(get(2)), Ok(Step::Get(_))));
    assert!(matches!(state.take(get(3)), Ok(Step::TooManyTransfers(RequestId(3)))));
    state.free(RequestId(1));
    assert!(matches!(state.take(get(3)), Ok(Step::Get(_))));
    assert_eq!(state.transfers(), 2);
}

#[test]
fn words_about_a_transfer_go_to_one_of_the_right_kind() {
    use ClientToWorker as C;
    let mut state = state_in(Phase::Serving);
    state.take(put(1)).unwrap();
    state.take(get(2)).unwrap();
    let (id, digest) = (RequestId(1), Md5::of(b""));
    let end = |id| C::PutEnd { id, digest, source: source().into() };
    assert!(matches!(state.take(end(id)), Ok(Step::PutControl(..))));
    assert_eq!(state.take(end(RequestId(2))).unwrap_err(), Refusal);
    assert!(matches!(state.take(end(RequestId(3))), Ok(Step::Ignore)), "it may be over");
    assert_eq!(state.take(C::GetDone { id }).unwrap_err(), Refusal);
    assert!(matches!(state.take(C::GetDone { id: RequestId(2) }), Ok(Step::GetControl(..))));
    assert!(matches!(state.take(C::Cancel { id }), Ok(Step::PutControl(..))));
    assert!(matches!(state.take(C::Cancel { id: RequestId(3) }), Ok(Step::Ignore)));
    let leaves = vec![digest; LEAVES_PER_MESSAGE + 1];
    let id = RequestId(2);
    assert_eq!(state.take(C::JournalLeaves { id, leaves }).unwrap_err(), Refusal);
}

#[test]
fn programs_are_counted_by_themselves_and_words_about_one_go_to_none_else() {
    use ClientToWorker as C;
    let mut state = state_in(Phase::Serving);
    state.take(put(90)).unwrap();
    state.take(put(91)).unwrap();
    for id in 0..MOST_PROGRAMS as u32 {
        assert!(matches!(state.take(exec(id)), Ok(Step::Exec(..))));
    }
    assert!(matches!(state.take(exec(80)), Ok(Step::TooManyPrograms(RequestId(80)))));
    assert_eq!(state.take(exec(0)).unwrap_err(), Refusal);
    let input = |id| C::ExecInput { id: RequestId(id), data: vec![1] };
    assert!(matches!(state.take(input(0)), Ok(Step::ExecInput(..))));
    assert!(matches!(state.take(input(80)), Ok(Step::Ignore)), "it was refused, or is over");
    assert_eq!(state.take(input(90)).unwrap_err(), Refusal, "a put is no program");
    let end = |id| C::ExecInputEnd { id: RequestId(id) };
    assert!(matches!(state.take(end(1)), Ok(Step::ExecInputEnd(_))));
    assert_eq!(state.take(end(90)).unwrap_err(), Refusal);
    let cancel = C::Cancel { id: RequestId(2) };
    assert!(matches!(state.take(cancel), Ok(Step::ExecCancel(RequestId(2)))));
    assert!(!state.is_waiting_for_client());
    state.free(RequestId(3));
    assert!(matches!(state.take(exec(80)), Ok(Step::Exec(..))));
}

#[test]
fn a_batch_is_bounded() {
    use ClientToWorker as C;
    let id = RequestId(1);
    let take = |message| state_in(Phase::Serving).take(message);
    let put = |files| take(C::PutFiles { id, files });
    assert!(matches!(put(vec![small_put(batch::FILE_BYTES)]), Ok(Step::Batch(..))));
    assert_eq!(put(vec![]).unwrap_err(), Refusal);
    assert_eq!(put(vec![small_put(batch::FILE_BYTES + 1)]).unwrap_err(), Refusal);
    assert_eq!(put(vec![small_put(0); batch::FILES + 1]).unwrap_err(), Refusal);
    let get = |count| take(C::GetFiles { id, paths: vec![path(); count] });
    assert!(matches!(get(batch::FILES), Ok(Step::Batch(..))));
    assert_eq!((get(0).unwrap_err(), get(batch::FILES + 1).unwrap_err()), (Refusal, Refusal));
    let stat = |count| take(C::StatFiles { id, paths: vec![path(); count] });
    assert!(matches!(stat(batch::FILES), Ok(Step::Batch(..))));
    assert_eq!((stat(0).unwrap_err(), stat(batch::FILES + 1).unwrap_err()), (Refusal, Refusal));
}

#[test]
fn an_echo_is_bounded_and_its_id_is_free_at_once() {
    let mut state = state_in(Phase::Serving);
    let echo = |size| ClientToWorker::Echo { id: RequestId(1), payload: vec![7; size] };
    for _ in 0..2 {
        let step = state.take(echo(MAX_ECHO_BYTES));
        let Ok(Step::Echo(RequestId(1), payload)) = step else { panic!("{step:?}") };
        assert!(payload == vec![7; MAX_ECHO_BYTES]);
        assert!(state.is_waiting_for_client());
    }
    assert_eq!(state.take(echo(MAX_ECHO_BYTES + 1)).unwrap_err(), Refusal);
    state.take(ClientToWorker::Usage { id: RequestId(1) }).unwrap();
    assert_eq!(state.take(echo(0)).unwrap_err(), Refusal, "the id is in use");
    state.free(RequestId(1));
    state.shut_down();
    assert!(matches!(state.take(echo(0)), Ok(Step::ShuttingDown(RequestId(1)))));
}

#[test]
fn what_concerns_credentials_is_one_at_a_time_and_in_order() {
    use ClientToWorker as C;
    let mut state = state_in(Phase::Serving);
    let first = |id| C::CredentialFirst { id, message: vec![], credential: credential() };
    let last = |id| C::CredentialFinal { id, message: vec![] };
    let (one, two) = (RequestId(1), RequestId(2));
    assert_eq!(state.take(last(one)).unwrap_err(), Refusal);
    assert!(matches!(state.take(first(one)), Ok(Step::CredentialFirst(..))));
    assert_eq!(state.take(last(one)).unwrap_err(), Refusal, "no challenge yet");
    assert_eq!(state.take(first(two)).unwrap_err(), Refusal);
    state.challenge(one);
    assert_eq!(state.take(C::Devices { id: two }).unwrap_err(), Refusal);
    assert!(state.is_waiting_for_client());
    assert!(matches!(state.take(last(one)), Ok(Step::CredentialFinal(..))));
    assert!(!state.is_waiting_for_client());
    state.free(one);
    let devices = vec![DeviceKey([1; 32]).id(); MAX_DEVICES + 1];
    let revoke = |count| C::RevokeDevices { id: two, devices: devices[..count].to_vec() };
    assert_eq!(state.take(revoke(MAX_DEVICES + 1)).unwrap_err(), Refusal);
    assert!(matches!(state.take(revoke(MAX_DEVICES)), Ok(Step::RevokeDevices(..))));
    state.free(two);
    assert!(matches!(state.take(first(two)), Ok(Step::CredentialFirst(..))));
}

#[test]
fn lengths_and_versions_are_checked() {
    use ClientToWorker as C;
    let hello = |versions, client: &str| C::Hello { versions, client: client.into() };
    let take = |phase, message| state_in(phase).take(message);
    assert!(matches!(take(Phase::Hello, hello(vec![9, 1], "x")), Ok(Step::Greet(Some(1)))));
    assert!(matches!(take(Phase::Hello, hello(vec![9], "x")), Ok(Step::Greet(None))));
    assert!(matches!(take(Phase::Hello, hello(vec![], "x")), Ok(Step::Greet(None))));
    assert!(take(Phase::Hello, hello(vec![1; 17], "x")).is_err());
    assert!(take(Phase::Hello, hello(vec![1], &"x".repeat(129))).is_err());
    let long = vec![0; MAX_SCRAM_MESSAGE + 1];
    assert!(take(Phase::LoginFirst, C::LoginFirst { message: long.clone() }).is_err());
    let account = NewAccount { user: user(), verifier: verifier() };
    let join = C::JoinFirst { message: long.clone(), account };
    assert!(take(Phase::LoginFirst, join).is_err());
    assert!(take(Phase::JoinFinal, C::JoinFinal { message: long.clone() }).is_err());
    assert!(take(Phase::LoginFinal, C::LoginFinal { message: long }).is_err());
}

#[test]
fn a_server_that_shuts_down_takes_no_new_requests_but_lets_transfers_end() {
    let mut state = state_in(Phase::Serving);
    state.take(get(1)).unwrap();
    state.shut_down();
    assert!(matches!(state.take(put(2)), Ok(Step::ShuttingDown(RequestId(2)))));
    let done = ClientToWorker::GetDone { id: RequestId(1) };
    assert!(matches!(state.take(done), Ok(Step::GetControl(..))));
}

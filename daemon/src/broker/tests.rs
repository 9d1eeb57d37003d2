//! The broker's table over all pairs, and what follows from it.

use berth_common::broker_protocol::{CloseReason, Direction, ExecStopped};
use berth_common::credentials::{DeviceKey, NewAccount, NewCredential};
use berth_common::exec::{Arguments, ProgramName};
use berth_common::ids::{RequestId, UserName};
use berth_common::rel_path::RelPath;
use berth_common::scram::ScramVerifier;

use super::*;

fn messages() -> [WorkerToDaemon; 20] {
    let verifier = ScramVerifier::new(vec![0; 16], 4096, [0; 32], [0; 32]).unwrap();
    let account = NewAccount { user: UserName::new("alice").unwrap(), verifier: verifier.clone() };
    let credential = NewCredential::Password(verifier);
    let id = RequestId(1);
    [
        WorkerToDaemon::Ready,
        WorkerToDaemon::Sign { scheme: 0, message: vec![] },
        WorkerToDaemon::Handshaken { exporter: [0; 32] },
        WorkerToDaemon::SiteProof { proof: [0; 32] },
        WorkerToDaemon::LoginFirst { message: vec![] },
        WorkerToDaemon::LoginFinal { message: vec![] },
        WorkerToDaemon::LoginDevice {
            user: account.user.clone(),
            key: DeviceKey([0; 32]),
            signature: [0; 64],
        },
        WorkerToDaemon::JoinFirst { message: vec![], account },
        WorkerToDaemon::JoinFinal { message: vec![] },
        WorkerToDaemon::CredentialFirst { message: vec![], credential },
        WorkerToDaemon::CredentialFinal { message: vec![] },
        WorkerToDaemon::Devices,
        WorkerToDaemon::RevokeDevices { devices: vec![] },
        WorkerToDaemon::TransferStarted {
            id,
            direction: Direction::Put,
            path: RelPath::root(),
            size: None,
        },
        WorkerToDaemon::Progress { received: 0, sent: 0 },
        WorkerToDaemon::TransferEnded { id, resumed_leaves: 0, moved_leaves: 0, error: None },
        WorkerToDaemon::ExecStart {
            id,
            program: ProgramName::new("du").unwrap(),
            arguments: Arguments::default(),
            directory: RelPath::root(),
        },
        WorkerToDaemon::ExecStop { id, why: ExecStopped::Cancelled },
        WorkerToDaemon::Alive,
        WorkerToDaemon::Closing { reason: CloseReason::ClientLeft },
    ]
}

/// One row a phase, one column a message in the order above: `.` ends the session, `i` is ignored,
/// any other letter is the step.
const TABLE: [&str; 17] = [
    "r...................",
    "....................",
    ".s.................c",
    "..h................c",
    "...p...............c",
    "....l.dj...........c",
    "...................c",
    ".....f.............c",
    "...................c",
    "...................c",
    "........k..........c",
    "...................c",
    ".........a.tunnnxyvc",
    ".............nnnxyvc",
    "..........b..nnnxyvc",
    ".............nnnxyvc",
    "...iiiiiiiiiiiiiiiic",
];

#[test]
fn the_table_is_this_one_over_all_pairs() {
    for (phase, row) in Phase::ALL.into_iter().zip(TABLE) {
        for (message, letter) in messages().iter().zip(row.chars()) {
            let expected = match letter {
                'r' => Step::Ready,
                's' => Step::Sign,
                'h' => Step::Handshaken,
                'p' => Step::SiteProof,
                'l' => Step::LoginFirst,
                'f' => Step::LoginFinal,
                'd' => Step::LoginDevice,
                'j' => Step::JoinFirst,
                'k' => Step::JoinFinal,
                'a' => Step::CredentialFirst,
                'b' => Step::CredentialFinal,
                't' => Step::Devices,
                'u' => Step::RevokeDevices,
                'n' => Step::Note,
                'x' => Step::ExecStart,
                'y' => Step::ExecStop,
                'v' => Step::Alive,
                'c' => Step::Closing,
                'i' => Step::Ignore,
                _ => Step::Break,
            };
            assert_eq!(step(phase, message), expected, "{phase:?} {}", name(message));
        }
    }
}

#[test]
fn a_signature_is_given_once_and_only_during_the_handshake() {
    let sign = WorkerToDaemon::Sign { scheme: 0, message: vec![] };
    let signing: Vec<Phase> =
        Phase::ALL.into_iter().filter(|phase| step(*phase, &sign) == Step::Sign).collect();
    assert_eq!(signing, [Phase::Handshake]);
}

#[test]
fn nothing_of_a_users_is_reached_before_the_login() {
    for phase in Phase::ALL.into_iter().filter(|phase| !phase.is_logged_in()) {
        for message in messages() {
            assert!(
                !matches!(
                    step(phase, &message),
                    Step::CredentialFirst
                        | Step::CredentialFinal
                        | Step::Devices
                        | Step::RevokeDevices
                        | Step::Note
                        | Step::ExecStart
                        | Step::ExecStop
                        | Step::Alive
                ),
                "{phase:?} {}",
                name(&message)
            );
        }
    }
}

//! The broker's table over all pairs, and what follows from it.

use berth_common::broker_protocol::{CloseReason, Direction};
use berth_common::ids::RequestId;
use berth_common::rel_path::RelPath;
use berth_common::scram::ScramVerifier;

use super::*;

fn messages() -> [WorkerToDaemon; 13] {
    let verifier = ScramVerifier::new(vec![0; 16], 4096, [0; 32], [0; 32]).unwrap();
    let id = RequestId(1);
    [
        WorkerToDaemon::Ready,
        WorkerToDaemon::Sign { scheme: 0, message: vec![] },
        WorkerToDaemon::Handshaken { exporter: [0; 32] },
        WorkerToDaemon::SiteProof { proof: [0; 32] },
        WorkerToDaemon::LoginFirst { message: vec![] },
        WorkerToDaemon::LoginFinal { message: vec![] },
        WorkerToDaemon::PasswordFirst { message: vec![], verifier },
        WorkerToDaemon::PasswordFinal { message: vec![] },
        WorkerToDaemon::TransferStarted {
            id,
            direction: Direction::Put,
            path: RelPath::root(),
            size: None,
        },
        WorkerToDaemon::Progress { received: 0, sent: 0 },
        WorkerToDaemon::TransferEnded { id, resumed_leaves: 0, moved_leaves: 0, error: None },
        WorkerToDaemon::Alive,
        WorkerToDaemon::Closing { reason: CloseReason::ClientLeft },
    ]
}

/// One row a phase, one column a message in the order above: `.` ends the session, `i` is ignored,
/// any other letter is the step.
const TABLE: [&str; 14] = [
    "r............",
    ".............",
    ".s..........c",
    "..h.........c",
    "...p........c",
    "....l.......c",
    "............c",
    ".....f......c",
    "............c",
    "......a.nnnvc",
    "........nnnvc",
    ".......bnnnvc",
    "........nnnvc",
    "...iiiiiiiiic",
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
                'a' => Step::PasswordFirst,
                'b' => Step::PasswordFinal,
                'n' => Step::Note,
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
                    Step::PasswordFirst | Step::PasswordFinal | Step::Note | Step::Alive
                ),
                "{phase:?} {}",
                name(&message)
            );
        }
    }
}

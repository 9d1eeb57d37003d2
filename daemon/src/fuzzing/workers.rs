//! A worker at the broker: what it sends is encoded, decoded, and put to the table.
//!
//! The model knows nothing of the table: it counts what the worker has been given.

use std::time::Instant;

use berth_common::broker_protocol::{CloseReason, Direction, ExecStopped, WorkerToDaemon};
use berth_common::codec;
use berth_common::credentials::{DeviceKey, NewAccount, NewCredential};
use berth_common::exec::{Arguments, ProgramName};
use berth_common::ids::{RequestId, SessionId, UserName};
use berth_common::rel_path::RelPath;
use berth_common::scram::ScramVerifier;

use crate::broker::{Phase, Step, step};
use crate::sessions::{Sessions, Transfer};

/// Transfers that a session may have at once.
const TRANSFERS: u32 = 2;

/// What came of something that happened.
pub(super) enum Became {
    Nothing,
    /// Its client has proved who it is.
    LoggedIn,
    /// It tells of a transfer.
    Noted(WorkerToDaemon),
    Over,
}

/// A worker, and what it was given.
pub(super) struct Worker {
    phase: Phase,
    has_site_secret: bool,
    signatures: u32,
    site_passed: bool,
    challenges: u32,
    proofs: u32,
    /// An invitation's challenges and proofs: any number, one after the other.
    invitations: u32,
    claims: u32,
    logged_in: bool,
}

impl Worker {
    pub(super) fn new(has_site_secret: bool) -> Self {
        Self {
            phase: Phase::Starting,
            has_site_secret,
            signatures: 0,
            site_passed: !has_site_secret,
            challenges: 0,
            proofs: 0,
            invitations: 0,
            claims: 0,
            logged_in: false,
        }
    }

    /// It sends something, or the daemon has an answer.
    pub(super) fn happens(&mut self, letter: u8, variant: u8) -> Became {
        match letter {
            // y, z: the daemon says yes or no; o: it hands the client over, e: it tells the worker to end
            25 => self.answered(true),
            26 => self.answered(false),
            15 if self.phase == Phase::Spare => {
                self.phase = Phase::Handshake;
                Became::Nothing
            }
            5 => {
                self.phase = Phase::Closing;
                Became::Nothing
            }
            _ => match message(letter, variant) {
                Some(message) => self.sends(&message),
                None => Became::Nothing,
            },
        }
    }

    fn sends(&mut self, message: &WorkerToDaemon) -> Became {
        let mut packet = Vec::new();
        assert!(codec::encode_into(message, &mut packet).is_ok());
        let Ok(message) = codec::decode::<WorkerToDaemon>(&packet) else {
            panic!("{message:?} does not arrive");
        };
        let before = self.phase;
        match step(self.phase, &message) {
            Step::Ready => self.phase = Phase::Spare,
            Step::Sign => {
                self.signatures += 1;
                assert_eq!(self.signatures, 1, "a second signature");
                self.phase = Phase::Signed;
            }
            Step::Handshaken => {
                assert_eq!(self.signatures, 1, "a handshake without a signature");
                let site = self.has_site_secret;
                self.phase = if site { Phase::SitePending } else { Phase::LoginPending };
            }
            Step::SiteProof => {
                assert!(!self.site_passed, "a site proof that nobody asked for");
                self.phase = Phase::LoginChecking;
                // The daemon checks it at once.
                return Became::Nothing;
            }
            Step::LoginFirst => {
                assert!(self.site_passed && !self.logged_in, "{before:?}");
                self.challenges += 1;
                assert_eq!(self.challenges, 1, "a second challenge");
                self.phase = Phase::LoginLookup;
            }
            Step::LoginFinal => {
                self.proofs += 1;
                assert!(self.proofs == 1 && !self.logged_in, "a second try at a password");
                self.phase = Phase::LoginChecking;
            }
            Step::LoginDevice => {
                self.proofs += 1;
                assert!(self.site_passed && self.proofs == 1 && !self.logged_in);
                self.phase = Phase::LoginChecking;
            }
            Step::JoinFirst => {
                assert!(self.site_passed && !self.logged_in && self.challenges == 0);
                self.invitations += 1;
                self.phase = Phase::JoinLookup;
            }
            Step::JoinFinal => {
                self.claims += 1;
                assert!(self.claims <= self.invitations, "a claim without a challenge");
                self.phase = Phase::JoinChecking;
            }
            Step::Devices | Step::RevokeDevices => {
                assert!(self.logged_in, "somebody's devices before the login");
                self.phase = Phase::CredentialChecking;
            }
            Step::CredentialFirst => {
                assert!(self.logged_in, "a password is changed before the login");
                self.phase = Phase::CredentialLookup;
            }
            Step::CredentialFinal => {
                assert!(self.logged_in && self.phase == Phase::CredentialChallenged);
                self.phase = Phase::CredentialChecking;
            }
            Step::Note => {
                assert!(self.logged_in, "a transfer before the login");
                return Became::Noted(message);
            }
            Step::ExecStart | Step::ExecStop => {
                assert!(self.logged_in, "a program before the login");
            }
            Step::Alive => assert!(self.logged_in, "an answer before anybody asks"),
            Step::Ignore => assert_eq!(self.phase, Phase::Closing),
            Step::Closing | Step::Break => return Became::Over,
        }
        Became::Nothing
    }

    fn answered(&mut self, yes: bool) -> Became {
        self.phase = match (self.phase, yes) {
            (Phase::LoginChecking, true) if !self.site_passed => {
                self.site_passed = true;
                Phase::LoginPending
            }
            (Phase::LoginLookup, true) => Phase::LoginChallenged,
            (Phase::LoginChecking, true) => {
                assert_eq!(self.proofs, 1, "logged in without a proof");
                self.logged_in = true;
                self.phase = Phase::Serving;
                return Became::LoggedIn;
            }
            (Phase::JoinLookup, true) => Phase::JoinChallenged,
            (Phase::JoinChecking, true) => Phase::LoginPending,
            (
                Phase::LoginLookup | Phase::LoginChecking | Phase::JoinLookup | Phase::JoinChecking,
                false,
            ) => Phase::Closing,
            (Phase::CredentialLookup, true) => Phase::CredentialChallenged,
            (Phase::CredentialLookup, false) | (Phase::CredentialChecking, _) => Phase::Serving,
            (phase, _) => phase,
        };
        Became::Nothing
    }
}

fn message(letter: u8, variant: u8) -> Option<WorkerToDaemon> {
    let id = RequestId(variant.into());
    let verifier = || ScramVerifier::new(vec![0; 16], 4096, [0; 32], [0; 32]).ok();
    Some(match letter {
        18 => WorkerToDaemon::Ready,
        19 => WorkerToDaemon::Sign { scheme: 1, message: vec![0x20; 64] },
        8 => WorkerToDaemon::Handshaken { exporter: [1; 32] },
        20 => WorkerToDaemon::SiteProof { proof: [2; 32] },
        6 if variant == 2 => {
            let (user, key) = (UserName::new("alice").ok()?, DeviceKey([1; 32]));
            WorkerToDaemon::LoginDevice { user, key, signature: [2; 64] }
        }
        6 if variant == 3 => {
            let account = NewAccount { user: UserName::new("alice").ok()?, verifier: verifier()? };
            WorkerToDaemon::JoinFirst { message: vec![7], account }
        }
        6 => WorkerToDaemon::LoginFirst { message: vec![3] },
        12 if variant == 3 => WorkerToDaemon::JoinFinal { message: vec![8] },
        12 => WorkerToDaemon::LoginFinal { message: vec![4] },
        23 => {
            let credential = NewCredential::Password(verifier()?);
            WorkerToDaemon::CredentialFirst { message: vec![5], credential }
        }
        22 if variant == 2 => WorkerToDaemon::Devices,
        22 if variant == 3 => {
            WorkerToDaemon::RevokeDevices { devices: vec![DeviceKey([1; 32]).id()] }
        }
        22 => WorkerToDaemon::CredentialFinal { message: vec![6] },
        2 => WorkerToDaemon::TransferStarted {
            id,
            direction: Direction::Put,
            path: RelPath::root(),
            size: None,
        },
        13 => WorkerToDaemon::Progress { received: u64::MAX, sent: u64::from(variant) },
        14 => WorkerToDaemon::TransferEnded {
            id,
            resumed_leaves: 0,
            moved_leaves: u64::MAX,
            error: None,
        },
        7 => WorkerToDaemon::BatchEnded {
            direction: Direction::Get,
            files: u32::MAX,
            bytes: u64::MAX,
            failed: 0,
        },
        25 if variant == 2 => WorkerToDaemon::ExecStart {
            id,
            program: ProgramName::new("du").ok()?,
            arguments: Arguments::default(),
            directory: RelPath::root(),
        },
        25 if variant == 3 => WorkerToDaemon::ExecStop { id, why: ExecStopped::Output },
        25 => WorkerToDaemon::Alive,
        24 => WorkerToDaemon::Closing { reason: CloseReason::ClientLeft },
        _ => return None,
    })
}

/// What a worker tells of its transfers goes into the table, as far as it can be true.
pub(super) fn note(
    sessions: &mut Sessions<()>,
    session: SessionId,
    message: WorkerToDaemon,
    now: Instant,
) -> bool {
    let count = |sessions: &Sessions<()>| {
        let (page, _) = sessions.page(None, usize::MAX, now);
        page.iter().find(|row| row.session == session).map_or(0, |row| row.transfers)
    };
    let before = count(sessions);
    let (is_true, difference) = match message {
        WorkerToDaemon::TransferStarted { id, direction, path, size } => {
            let transfer = Transfer { direction, path, size, begun: now };
            let begun = sessions.transfer_started(session, id, transfer, TRANSFERS);
            (begun, i64::from(begun))
        }
        WorkerToDaemon::TransferEnded { id, .. } => {
            let ended = sessions.transfer_ended(session, id, now).is_some();
            (ended, -i64::from(ended))
        }
        WorkerToDaemon::Progress { received, sent } => {
            sessions.progress(session, received, sent, now);
            (true, 0)
        }
        _ => (true, 0),
    };
    assert_eq!(i64::from(count(sessions)), i64::from(before) + difference);
    assert!(count(sessions) <= TRANSFERS, "a transfer too many");
    is_true
}

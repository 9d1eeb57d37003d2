//! The daemon's tables: which helper may send what, who holds a ticket, who is in the table of sessions.
//!
//! An input beginning with `=` is a packet, put to the tables of all phases. Any other is a row of pairs: a letter
//! for what happens, and a digit of which the low two bits are a session's number and the others a variant. Of
//! any other byte the low five or four bits count.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use berth_common::broker_protocol::WorkerToDaemon;
use berth_common::codec;
use berth_common::ids::{SessionId, UserName};
use berth_common::ledger_protocol::FilerToDaemon;

use super::filers::Homes;
use super::workers::{Became, Worker};
use crate::asked::{self, FilerPhase};
use crate::broker::{self, Phase, Step};
use crate::sessions::Sessions;

/// Sessions at once.
const SESSIONS: usize = 4;

/// Sessions that one user may have.
const OF_A_USER: u32 = 2;

/// Runs one input.
pub fn tables(data: &[u8]) {
    match data.split_first() {
        Some((b'=', packet)) => packet_in_every_phase(packet),
        _ => Daemon::new().run(data),
    }
}

fn packet_in_every_phase(packet: &[u8]) {
    const FILERS: [FilerPhase; 6] = [
        FilerPhase::Starting,
        FilerPhase::Spare,
        FilerPhase::Joining,
        FilerPhase::Serving,
        FilerPhase::Recovering,
        FilerPhase::Walking,
    ];
    if let Ok(message) = codec::decode::<WorkerToDaemon>(packet) {
        let allowed = |phase: &Phase| broker::step(*phase, &message) != Step::Break;
        let phases = Phase::ALL.into_iter().filter(allowed).count();
        assert!((1..=15).contains(&phases), "{} in {phases}", broker::name(&message));
    }
    if let Ok(message) = codec::decode::<FilerToDaemon>(packet) {
        let phases = FILERS.into_iter().filter(|phase| asked::may_send(*phase, &message)).count();
        assert!((1..=2).contains(&phases), "{} in {phases}", asked::name(&message));
        for phase in FILERS {
            let answers = asked::answers(phase, &message).is_some();
            assert!(!answers || asked::may_send(phase, &message));
        }
    }
}

/// The tables, and the sessions in them.
struct Daemon {
    now: Instant,
    sessions: Sessions<()>,
    homes: Homes,
    workers: [Option<(SessionId, Worker)>; SESSIONS],
    /// Of those that ended, their numbers and whose they were; they are to be replayed.
    dead: Vec<(SessionId, Option<UserName>)>,
    last: SessionId,
}

impl Daemon {
    fn new() -> Self {
        Self {
            now: Instant::now(),
            sessions: Sessions::default(),
            homes: Homes::default(),
            workers: Default::default(),
            dead: Vec::new(),
            last: SessionId(0),
        }
    }

    fn run(mut self, data: &[u8]) {
        for pair in data.chunks_exact(2).take(500) {
            let (slot, variant) = (usize::from(pair[1] & 3), pair[1] >> 2 & 3);
            match pair[0] & 31 {
                // c: a connection comes
                3 => self.connect(slot, variant),
                // k: its helpers are killed
                11 => self.end(slot),
                // p: the oldest dead session is replayed
                16 => self.replay(),
                letter => self.happens(slot, letter, variant),
            }
            self.check();
        }
    }

    fn connect(&mut self, slot: usize, variant: u8) {
        if self.workers[slot].is_some() {
            return;
        }
        let id = self.sessions.number();
        assert!(id > self.last, "a number is used twice");
        self.last = id;
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        self.sessions.insert(id, peer, 1, (), self.now);
        self.workers[slot] = Some((id, Worker::new(variant & 1 == 1)));
    }

    fn happens(&mut self, slot: usize, letter: u8, variant: u8) {
        let Some((id, worker)) = &mut self.workers[slot] else { return };
        let id = *id;
        // Two users, one for two slots each and both for the others.
        let user = user_of(slot ^ usize::from(variant & 1));
        match worker.happens(letter, variant) {
            Became::LoggedIn => {
                let living = self.living(&user, id);
                let fits = self.sessions.log_in(id, &user, None, OF_A_USER);
                assert_eq!(fits, living < OF_A_USER as usize);
                if fits {
                    self.homes.join(id, &user);
                } else {
                    self.end(slot);
                }
            }
            Became::Over => self.end(slot),
            Became::Noted(message) => {
                if !super::workers::note(&mut self.sessions, id, message, self.now) {
                    self.end(slot);
                }
            }
            Became::Nothing => {
                if self.homes.happens(id, letter, variant, self.now).is_err() {
                    self.end(slot);
                }
            }
        }
    }

    /// Sessions of a user that count, but for this one.
    fn living(&self, user: &UserName, but: SessionId) -> usize {
        let living = |slot: &&Option<(SessionId, Worker)>| {
            slot.as_ref().is_some_and(|(id, _)| {
                *id != but
                    && self.sessions.get(*id).and_then(|entry| entry.user.as_ref()) == Some(user)
            })
        };
        self.workers.iter().filter(living).count()
    }

    fn end(&mut self, slot: usize) {
        let Some((id, _)) = self.workers[slot].take() else { return };
        let user = self.sessions.get(id).and_then(|entry| entry.user.clone());
        self.homes.died(id, self.now);
        self.sessions.set_reaped(id);
        self.dead.push((id, user));
    }

    fn replay(&mut self) {
        if self.dead.is_empty() {
            return;
        }
        let (id, user) = self.dead.remove(0);
        assert!(self.sessions.get(id).is_some(), "it is out of the table and not replayed");
        if let Some(user) = user {
            self.homes.replayed(&user, id, self.now);
        }
        self.sessions.remove(id);
    }

    fn check(&self) {
        let here = self.workers.iter().flatten().count();
        assert_eq!(self.sessions.len(), here + self.dead.len());
        let (page, last) = self.sessions.page(None, 3, self.now);
        assert_eq!((page.len(), last), (self.sessions.len().min(3), self.sessions.len() <= 3));
        for user in [user_of(0), user_of(1)] {
            assert!(self.living(&user, SessionId(0)) <= OF_A_USER as usize);
        }
        self.homes.check();
    }
}

fn user_of(slot: usize) -> UserName {
    match UserName::new(if slot.is_multiple_of(2) { "alice" } else { "bob" }) {
        Ok(user) => user,
        Err(error) => panic!("{error}"),
    }
}

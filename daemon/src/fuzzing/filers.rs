//! Filers that ask, and the tickets of their users, compared with a plain line of those who wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use berth_common::ids::{OpId, SessionId, UserName};
use berth_common::limits::MAX_FILER_REQUESTS;

use super::noting::Noting;
use crate::asked::{Asked, AskedTooMuch};
use crate::tickets::{Grant, Tickets};

/// The filers that serve, and the tickets.
#[derive(Default)]
pub(super) struct Homes {
    tickets: Tickets<OpId>,
    filers: BTreeMap<SessionId, Filer>,
    homes: BTreeMap<UserName, Home>,
}

/// What a filer has asked.
struct Filer {
    user: UserName,
    asked: Asked,
    last: u32,
    open: BTreeSet<OpId>,
    noted: usize,
    noting: Noting,
}

/// Who has the ticket of a home, and who waits for it.
#[derive(Default)]
struct Home {
    holder: Option<Holder>,
    waiting: VecDeque<(SessionId, OpId)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Live(SessionId, OpId),
    Dead(SessionId),
}

impl Homes {
    /// A session has logged in, and has its filer.
    pub(super) fn join(&mut self, id: SessionId, user: &UserName) {
        let filer = Filer {
            user: user.clone(),
            asked: Asked::default(),
            last: 0,
            open: BTreeSet::new(),
            noted: 0,
            noting: Noting::default(),
        };
        self.filers.insert(id, filer);
    }

    /// A session's filer sends something, or the daemon has an answer for it.
    ///
    /// # Errors
    /// When it is to be ended.
    pub(super) fn happens(
        &mut self,
        id: SessionId,
        letter: u8,
        variant: u8,
        now: Instant,
    ) -> Result<(), AskedTooMuch> {
        let Some(filer) = self.filers.get_mut(&id) else { return Ok(()) };
        // A new number, or one that it may have used.
        let op = OpId(if variant == 3 { filer.last } else { filer.last + 1 });
        match letter {
            // q: a question, a: the answer to the oldest
            17 => {
                let result = filer.asked.ask(op);
                filer.check_question(op, result)
            }
            1 => {
                let line = self.homes.get(&filer.user).map(|home| &home.waiting);
                let waits = |op: &OpId| line.is_some_and(|line| line.contains(&(id, *op)));
                if let Some(op) = filer.open.iter().copied().find(|op| !waits(op)) {
                    filer.open.remove(&op);
                    filer.asked.answered(op);
                }
                Ok(())
            }
            // i: an intent, g: it gives the ticket back
            9 => self.intent(id, op, now),
            7 => self.release(id, variant, now),
            // u, d: names that nobody has to answer for, and that they were dealt with
            21 => filer.note(4096 << variant),
            4 => {
                filer.asked.noted(filer.noted);
                filer.noted = 0;
                Ok(())
            }
            // j: who waits for the ticket of its home is turned away
            10 => {
                let user = filer.user.clone();
                self.turn_away(&user);
                Ok(())
            }
            _ => filer.noting.happens(letter, variant),
        }
    }

    fn intent(&mut self, id: SessionId, op: OpId, now: Instant) -> Result<(), AskedTooMuch> {
        let Some(filer) = self.filers.get_mut(&id) else { return Ok(()) };
        let home = self.homes.entry(filer.user.clone()).or_default();
        let has = matches!(home.holder, Some(Holder::Live(holder, _)) if holder == id);
        let waits = home.waiting.iter().any(|(waiting, _)| *waiting == id);
        let result = filer.asked.ask_ticket(op);
        if has || waits {
            assert_eq!(result, Err(AskedTooMuch::Ticket), "two tickets of one filer");
            return result;
        }
        filer.check_question(op, result)?;
        let ask = Grant { session: id, op, payload: op };
        let granted = self.tickets.request(&filer.user, ask, now);
        assert_eq!(granted.is_some(), home.holder.is_none(), "a ticket with two holders");
        if granted.is_none() {
            home.waiting.push_back((id, op));
            return Ok(());
        }
        let user = filer.user.clone();
        self.granted(&user, granted);
        Ok(())
    }

    fn release(&mut self, id: SessionId, variant: u8, now: Instant) -> Result<(), AskedTooMuch> {
        let Some(filer) = self.filers.get_mut(&id) else { return Ok(()) };
        let user = filer.user.clone();
        let holder = self.homes.get(&user).and_then(|home| home.holder);
        let held = match holder {
            Some(Holder::Live(session, op)) if session == id => Some(op),
            _ => None,
        };
        let op = match variant {
            3 => OpId(filer.last),
            _ => held.unwrap_or(OpId(0)),
        };
        let result = filer.asked.released(op);
        assert_eq!(result.is_ok(), held == Some(op), "{op} of {id}, {holder:?}");
        result?;
        match self.tickets.release(&user, id, op, now) {
            Ok(next) => self.granted(&user, next),
            Err(error) => panic!("the two tables disagree: {error}"),
        }
        Ok(())
    }

    /// The ticket was granted to nobody, or to the first in line, or to the one who asked when it was free.
    fn granted(&mut self, user: &UserName, grant: Option<Grant<OpId>>) {
        let Some(home) = self.homes.get_mut(user) else {
            panic!("{user}'s ticket, for which nobody has asked");
        };
        let next = home.waiting.pop_front();
        let to = grant.as_ref().map(|grant| (grant.session, grant.op));
        assert!(next.is_none() || next == to, "{to:?} was not the first in line");
        home.holder = to.map(|(session, op)| Holder::Live(session, op));
        let Some(Grant { session, op, payload }) = grant else { return };
        assert_eq!(op, payload, "another's names");
        let Some(filer) = self.filers.get_mut(&session) else {
            panic!("{session} is dead and has got the ticket");
        };
        assert_eq!(&filer.user, user);
        filer.open.remove(&op);
        filer.asked.answered(op);
    }

    fn turn_away(&mut self, user: &UserName) {
        let Some(home) = self.homes.get_mut(user) else { return };
        for Grant { session, op, .. } in self.tickets.turn_away(user) {
            assert_eq!(home.waiting.pop_front(), Some((session, op)));
            if let Some(filer) = self.filers.get_mut(&session) {
                filer.open.remove(&op);
                filer.asked.refused(op);
            }
        }
        assert!(home.waiting.is_empty(), "somebody waits, and nobody knows");
    }

    /// Its helpers are gone. What it holds stays locked.
    pub(super) fn died(&mut self, id: SessionId, now: Instant) {
        let Some(filer) = self.filers.remove(&id) else { return };
        filer.noting.end();
        let held = self.tickets.died(&filer.user, id, now);
        let home = self.homes.entry(filer.user).or_default();
        home.waiting.retain(|(session, _)| *session != id);
        let has = matches!(home.holder, Some(Holder::Live(holder, _)) if holder == id);
        assert_eq!(held, has);
        if has {
            home.holder = Some(Holder::Dead(id));
        }
    }

    /// Its rows are replayed.
    pub(super) fn replayed(&mut self, user: &UserName, id: SessionId, now: Instant) {
        let held = self.homes.get(user).and_then(|home| home.holder) == Some(Holder::Dead(id));
        let next = self.tickets.replayed(user, id, now);
        if held {
            self.granted(user, next);
        } else {
            assert_eq!(next, None, "the ticket of another passes on");
        }
    }

    pub(super) fn check(&self) {
        for (user, home) in &self.homes {
            let waiting: Vec<_> = self.tickets.waiting(user).copied().collect();
            let expected: Vec<_> = home.waiting.iter().map(|(_, op)| *op).collect();
            assert_eq!(waiting, expected);
            assert!(home.holder.is_some() || home.waiting.is_empty(), "all wait and nobody has it");
        }
        for filer in self.filers.values() {
            assert!(filer.open.len() <= MAX_FILER_REQUESTS);
        }
    }
}

impl Filer {
    fn check_question(
        &mut self,
        op: OpId,
        result: Result<(), AskedTooMuch>,
    ) -> Result<(), AskedTooMuch> {
        let expected = if self.open.len() >= MAX_FILER_REQUESTS {
            Err(AskedTooMuch::Requests)
        } else if self.open.contains(&op) {
            Err(AskedTooMuch::Number)
        } else {
            Ok(())
        };
        assert_eq!(result, expected);
        if result.is_ok() {
            self.open.insert(op);
            self.last = op.0;
        }
        result
    }

    fn note(&mut self, names: usize) -> Result<(), AskedTooMuch> {
        let result = self.asked.note(names);
        assert_eq!(result.is_ok(), self.noted + names <= 32_768);
        self.noted += names;
        result
    }
}

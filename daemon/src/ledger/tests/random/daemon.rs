//! What happens to sessions and to the daemon: ends, restarts, crashes, outages.

use rusqlite::Connection;

use super::super::model::{Kind, Sums};
use super::super::*;
use super::{User, World};

impl World {
    /// The session's left-overs are gone.
    pub(super) async fn gone(&mut self, user: usize, session: u64) {
        let settled = self.bench.ledger.orphans_of(SessionId(session)).await.unwrap().leftovers;
        let model = &self.users[user].model;
        assert!(!settled.iter().any(|name| model.rows.contains_key(name)));
        self.bench.ledger.gone(SessionId(session), settled).await.unwrap();
    }

    pub(super) async fn end_session(&mut self, user: usize, session: u64) {
        let orphans = self.bench.ledger.orphans_of(SessionId(session)).await.unwrap();
        self.replay(user, &orphans.intents).await;
        self.bench.ledger.session_ended(SessionId(session)).await.unwrap();
        let model = &mut self.users[user].model;
        model.rows.retain(|_, row| row.session != Some(session) || row.kind.is_upload());
        for row in model.rows.values_mut().filter(|row| row.session == Some(session)) {
            (row.session, row.touched_s) = (None, self.now_s);
        }
    }

    pub(super) async fn restart(&mut self) {
        self.bench.reopen().await;
        self.recover().await;
    }

    /// The database and its log are taken as they lie there, with nothing closed before.
    pub(super) async fn crash(&mut self) {
        let dir = directory();
        for file in ["ledger.sqlite", "ledger.sqlite-wal"] {
            std::fs::copy(self.bench.dir.path().join(file), dir.path().join(file)).unwrap();
        }
        self.bench.ledger.close().await;
        self.bench.dir = dir;
        (self.bench.ledger, self.bench.fatal) =
            super::super::open(self.bench.path(), &self.bench.outside).unwrap();
        self.recover().await;
    }

    /// All that was answered is there; what was in memory is not.
    async fn recover(&mut self) {
        for user in 0..self.users.len() {
            let User { name: of, model } = &mut self.users[user];
            model.rows.retain(|_, row| row.kind != Kind::Reservation);
            model.rows.values_mut().for_each(|row| row.session = None);
            let of = of.clone();
            let names = |model: &super::super::model::Model, wanted: fn(&Kind) -> bool| {
                let rows = model.rows.iter().filter(|(_, row)| wanted(&row.kind));
                rows.map(|(name, _)| *name).collect::<Vec<_>>()
            };
            let pending = self.bench.ledger.pending(&of).await.unwrap();
            let intents: Vec<_> = pending.intents.iter().map(|row| row.name).collect();
            assert_eq!(intents, names(model, Kind::is_intent));
            self.replay(user, &pending.intents).await;
            let pending = self.bench.ledger.pending(&of).await.unwrap();
            assert_eq!(pending.uploads, names(&self.users[user].model, Kind::is_upload));
            assert_eq!(pending.intents, []);
        }
    }

    /// A delete while another program holds the ledger: its intent is refused, and it is owed.
    pub(super) async fn owe(&mut self, user: usize, session: u64, most: Sums) {
        let Some(taken) = self.users[user].model.take_out(most) else {
            return;
        };
        self.bench.run("PRAGMA busy_timeout = 1").await;
        let foreign = Connection::open(self.bench.path()).unwrap();
        foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (name, items) = (&self.users[user].name, vec![IntentItem::Take]);
        let refused = self.bench.ledger.intent(name, SessionId(session), items).await;
        assert_eq!(refused, Err(LedgerError::Unavailable));
        let owed = self.bench.ledger.owe().await.unwrap();
        foreign.execute_batch("ROLLBACK").unwrap();
        self.bench.ledger.until_it_works().await;
        self.is_fresh(owed.0);
        self.users[user].model.owed.push(taken);
    }

    /// What is owed gets the name of its intent; it left the home before.
    pub(super) async fn take_owed(&mut self, user: usize, session: u64) {
        let Some(taken) = self.users[user].model.owed.pop() else {
            return;
        };
        let (of, items) = (&self.users[user].name, vec![IntentItem::Take]);
        let name = self.bench.ledger.intent(of, SessionId(session), items).await.unwrap()[0];
        self.is_fresh(name.0);
        let kind = Kind::Take { over: false, taken: Some(taken) };
        let reserved = Sums::default();
        let row = super::super::model::Row { session: Some(session), kind, reserved, touched_s: 0 };
        self.users[user].model.rows.insert(name, row);
    }
}

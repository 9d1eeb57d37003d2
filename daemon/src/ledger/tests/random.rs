//! Random requests of two users, with crashes, against a plain model of what is used and reserved.
//!
//! Each request is made of a real ledger and of the model, and after each all sums must agree. `ops` has
//! the requests, `intents`, `uploads` and `daemon` carry them out.

mod daemon;
mod intents;
mod ops;
mod uploads;

use std::collections::BTreeSet;

use berth_common::admin_protocol::Change;
use berth_common::limits::LEASE_BYTES;
use proptest::prelude::*;

use super::model::{Kind, Model, Row, Sums};
use super::*;
use ops::{Op, Turn, turn};

const LIMIT: Sums = Sums { bytes: 60, entries: 8 };

struct User {
    name: UserName,
    model: Model,
}

struct World {
    bench: Bench,
    users: [User; 2],
    /// All names that were ever given, for staging or for what is owed.
    names: BTreeSet<u64>,
    now_s: i64,
}

impl World {
    async fn new() -> Self {
        let limits = limits(LIMIT.bytes.cast_unsigned(), LIMIT.entries.cast_unsigned());
        let bench = Bench::new(limits).await;
        let bob = name("bob");
        bench.ledger.add_user(&bob, verifier(1), limits).await.unwrap();
        bench.ledger.activate_user(&bob).await.unwrap();
        let user = |name| User { name, model: Model { limit: LIMIT, ..Model::default() } };
        let users = [user(bench.alice.clone()), user(bob)];
        Self { bench, users, names: BTreeSet::new(), now_s: 100 }
    }

    fn is_fresh(&mut self, name: u64) {
        assert!(self.names.insert(name), "{name} was given twice");
    }

    async fn step(&mut self, Turn { user, session, op }: &Turn) {
        // No two users have a session of the same number.
        let (user, session) = (*user, *session + 3 * *user as u64);
        match *op {
            Op::Reserve { bytes, entries } => self.reserve(user, session, bytes, entries).await,
            Op::Lease { entries, room } => self.lease(user, session, entries, room).await,
            Op::Extend { pick, least, room } => self.extend(user, session, pick, least, room).await,
            Op::Open { source, growth } => self.open(user, session, source, growth).await,
            Op::Claim { pick } => self.claim(user, session, pick).await,
            Op::ClaimExpired => self.claim_expired(user, session).await,
            Op::GiveUpClaims => self.give_up_claims(user, session).await,
            Op::LetGo { pick } => self.let_go(user, session, pick).await,
            Op::Drop { pick } => self.drop(user, session, pick).await,
            Op::Intend { ref items } => self.intend(user, session, items).await,
            Op::Act { pick, most } => {
                let model = &mut self.users[user].model;
                if let Some((name, _)) = model.pick(session, pick, Kind::is_intent) {
                    model.act(name, most);
                }
            }
            Op::Settle { ref picks } => self.settle(user, session, picks).await,
            Op::SettleAndIntend { ref picks, ref items } => {
                self.settle_and_intend(user, session, picks, items).await
            }
            Op::Owe { most } => self.owe(user, session, most).await,
            Op::TakeOwed => self.take_owed(user, session).await,
            Op::Limit { bytes, entries } => self.set_limits(user, bytes, entries).await,
            Op::Gone => self.gone(user, session).await,
            Op::End => self.end_session(user, session).await,
            Op::Later { seconds } => {
                self.now_s += seconds;
                self.bench.at(self.now_s);
            }
            Op::Restart => self.restart().await,
            Op::Crash => self.crash().await,
        }
    }

    async fn reserve(&mut self, user: usize, session: u64, bytes: u64, entries: u64) {
        let User { name: of, model } = &self.users[user];
        let reserved = self.bench.ledger.reserve(of, SessionId(session), bytes, entries).await;
        let admitted = model.admits(bytes.into(), entries.into());
        assert_eq!(reserved.is_ok(), admitted, "{reserved:?}");
        if let Ok(name) = reserved {
            self.reserved(user, session, name, bytes, entries);
        }
    }

    async fn lease(&mut self, user: usize, session: u64, entries: u64, room: u64) {
        let User { name: of, model } = &self.users[user];
        let leased = self.bench.ledger.lease(of, SessionId(session), entries, room).await;
        assert_eq!(leased.is_ok(), model.admits(0, entries.into()), "{leased:?}");
        if let Ok((name, bytes)) = leased {
            let left = model.left().bytes.cast_unsigned();
            assert_eq!(bytes, LEASE_BYTES.min(left).min(room));
            self.reserved(user, session, name, bytes, entries);
        }
    }

    fn reserved(&mut self, user: usize, session: u64, name: StagingName, bytes: u64, entries: u64) {
        self.is_fresh(name.0);
        let reserved = Sums::of(bytes.cast_signed(), entries.cast_signed());
        let kind = Kind::Reservation;
        let row = Row { session: Some(session), kind, reserved, touched_s: 0 };
        self.users[user].model.rows.insert(name, row);
    }

    async fn extend(&mut self, user: usize, session: u64, pick: usize, least: u64, room: u64) {
        let User { name: of, model } = &mut self.users[user];
        let Some((name, row)) = model.pick(session, pick, |kind| *kind == Kind::Reservation) else {
            return;
        };
        let before = row.reserved.bytes.cast_unsigned();
        let missing = least.saturating_sub(before);
        let extended = self.bench.ledger.extend(of, SessionId(session), name, least, room).await;
        if !model.admits(missing.into(), 0) {
            return assert!(over_quota(&extended.unwrap_err()));
        }
        if missing > room {
            return assert_eq!(extended, Err(LedgerError::Refused(ErrorCode::DiskFull)));
        }
        let left = model.left().bytes.cast_unsigned();
        let bytes = before + LEASE_BYTES.max(missing).min(left).min(room);
        assert_eq!(extended, Ok(bytes));
        let reserved = Sums { bytes: bytes.cast_signed(), ..row.reserved };
        model.rows.insert(name, Row { reserved, ..row });
    }

    async fn drop(&mut self, user: usize, session: u64, pick: usize) {
        let User { name: of, model } = &mut self.users[user];
        if let Some((name, _)) = model.pick(session, pick, Kind::is_open) {
            self.bench.ledger.drop_name(of, SessionId(session), name).await.unwrap();
            model.rows.remove(&name);
        }
    }

    async fn set_limits(&mut self, user: usize, bytes: Option<u64>, entries: Option<u64>) {
        let User { name: of, model } = &mut self.users[user];
        let change = |limit: Option<u64>| limit.map_or(Change::Keep, Change::To);
        self.bench.ledger.set_limits(of, change(bytes), change(entries)).await.unwrap();
        let now = |limit: Option<u64>, before| limit.map_or(before, u64::cast_signed);
        model.limit = Sums::of(now(bytes, model.limit.bytes), now(entries, model.limit.entries));
    }

    /// What every user's sums must fulfil; `before` is what each had used and reserved.
    async fn check(&self, before: [Sums; 2]) {
        for (User { name, model }, before) in self.users.iter().zip(before) {
            let usage = self.bench.ledger.usage(name).await.unwrap();
            let reserved =
                Sums::of(usage.reserved_bytes.cast_signed(), usage.reserved_entries.cast_signed());
            let used = Sums::of(usage.used_bytes, usage.used_entries);
            assert_eq!((used, reserved), (model.used, model.reserved()), "{name}");
            let charged = used + reserved;
            assert!(Sums::default().is_within(charged));
            assert!(charged.bytes <= before.bytes.max(model.limit.bytes), "{name}: {charged:?}");
            assert!(charged.entries <= before.entries.max(model.limit.entries), "{charged:?}");
            assert!((model.home + model.owed()).is_within(charged), "{name}: {model:?}");
            let at_rest = !model.rows.values().any(|row| row.kind.is_intent());
            assert!(!at_rest || used == model.home + model.owed(), "{name}: {model:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn sums_agree_with_a_plain_model(turns in proptest::collection::vec(turn(), 1..80)) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for turn in &turns {
                let before = world.users.each_ref().map(|it| it.model.used + it.model.reserved());
                world.step(turn).await;
                world.check(before).await;
            }
            check_sums_of_rows(&world.bench).await;
        });
    }
}

/// The sums that are kept are those of the rows.
async fn check_sums_of_rows(bench: &Bench) {
    let differences = bench.ledger.read(|tx| {
        let sql = "SELECT count(*) FROM users WHERE \
            reserved_bytes <> \
                (SELECT coalesce(sum(reserved_bytes), 0) FROM intents WHERE user = users.id) \
                + (SELECT coalesce(sum(reserved_bytes), 0) FROM uploads WHERE user = users.id) \
            OR reserved_entries <> \
                (SELECT coalesce(sum(reserved_entries), 0) FROM intents WHERE user = users.id) \
                + (SELECT coalesce(sum(reserved_entries), 0) FROM uploads WHERE user = users.id)";
        let durable: i64 = tx.db.query_row(sql, [], |row| row.get(0))?;
        let sql = "SELECT count(*) FROM temp.sums WHERE \
            reserved_bytes <> (SELECT coalesce(sum(bytes), 0) FROM temp.names \
                WHERE hold = 'reservation' AND names.user = sums.user) \
            OR leftover_bytes <> (SELECT coalesce(sum(bytes), 0) FROM temp.names \
                WHERE hold = 'leftover' AND names.user = sums.user)";
        let in_memory: i64 = tx.db.query_row(sql, [], |row| row.get(0))?;
        Ok((durable, in_memory))
    });
    assert_eq!(differences.await.unwrap(), (0, 0));
}

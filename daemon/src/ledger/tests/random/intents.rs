//! Intents and their ends: alone, in batches, and the settles of one batch with the intents of the next.

use super::super::model::{Kind, Model, Row, Sums};
use super::super::*;
use super::ops::Item;
use super::{User, World};

/// Intents of one request, and what they make of the user's rows.
#[derive(Default)]
struct Plan {
    items: Vec<IntentItem>,
    rows: Vec<Row>,
    /// By how much what is reserved grows.
    more: (i128, i128),
    /// A size is among them that no file has.
    impossible: bool,
}

impl Plan {
    /// Without what the session has nothing for, or has named already.
    fn of(model: &Model, session: u64, items: &[Item]) -> Self {
        let mut plan = Self::default();
        let mut staged = Vec::new();
        for item in items {
            match *item {
                Item::Take => plan.take(session, IntentItem::Take, false),
                Item::Over => plan.take(session, IntentItem::Over, true),
                Item::Stage { pick, size, replaces } => {
                    let Some((name, row)) = model.pick(session, pick, Kind::is_open) else {
                        continue;
                    };
                    if !staged.contains(&name) {
                        staged.push(name);
                        plan.stage(name, row, size, replaces);
                    }
                }
            }
        }
        plan
    }

    fn take(&mut self, session: u64, item: IntentItem, over: bool) {
        let kind = Kind::Take { over, taken: None };
        let reserved = Sums::default();
        self.items.push(item);
        self.rows.push(Row { session: Some(session), kind, reserved, touched_s: 0 });
    }

    fn stage(&mut self, name: StagingName, row: Row, size: u64, replaces: Option<u64>) {
        self.items.push(stage(name, size, replaces));
        self.impossible |= size == u64::MAX;
        let (size, replaces) = (size.cast_signed(), replaces.map(u64::cast_signed));
        let growth = (size - replaces.unwrap_or(0)).max(0);
        let reserved = Sums::of(growth, i64::from(replaces.is_none()));
        self.more.0 += i128::from(reserved.bytes - row.reserved.bytes);
        self.more.1 += i128::from(reserved.entries - row.reserved.entries);
        let kind = Kind::Stage { size, replaces, upload: row.kind.source(), placed: false };
        self.rows.push(Row { kind, reserved, ..row });
    }
}

impl World {
    pub(super) async fn intend(&mut self, user: usize, session: u64, items: &[Item]) {
        let User { name, model } = &self.users[user];
        let plan = Plan::of(model, session, items);
        if !plan.items.is_empty() {
            let items = plan.items.clone();
            let written = self.bench.ledger.intent(name, SessionId(session), items).await;
            self.intended(user, plan, written);
        }
    }

    fn intended(
        &mut self,
        user: usize,
        plan: Plan,
        written: Result<Vec<StagingName>, LedgerError>,
    ) {
        let admitted = self.users[user].model.admits(plan.more.0, plan.more.1);
        let names = match written {
            Ok(names) => names,
            Err(LedgerError::Protocol(_)) => return assert!(plan.impossible),
            Err(refused) => {
                return assert!(over_quota(&refused) && !admitted && !plan.impossible);
            }
        };
        assert!(admitted && !plan.impossible, "{:?} beyond the limit", plan.items);
        assert_eq!(names.len(), plan.items.len());
        for ((name, item), row) in names.into_iter().zip(plan.items).zip(plan.rows) {
            match item {
                IntentItem::Stage { name: stated, .. } => assert_eq!(name, stated),
                IntentItem::Take | IntentItem::Over => self.is_fresh(name.0),
            }
            self.users[user].model.rows.insert(name, row);
        }
    }

    /// Ends intents in the model, and says what the ledger has to be told.
    fn settles(&mut self, user: usize, session: u64, picks: &[usize]) -> Vec<SettleItem> {
        let model = &mut self.users[user].model;
        let mut settles: Vec<SettleItem> = Vec::new();
        for pick in picks {
            if let Some((name, _)) = model.pick(session, *pick, Kind::is_intent) {
                settles.push(SettleItem { name, outcome: model.end(name).0 });
            }
        }
        settles
    }

    pub(super) async fn settle(&mut self, user: usize, session: u64, picks: &[usize]) {
        let settles = self.settles(user, session, picks);
        let settled = self.bench.ledger.settle(&self.users[user].name, SessionId(session), settles);
        settled.await.unwrap();
    }

    pub(super) async fn settle_and_intend(
        &mut self,
        user: usize,
        session: u64,
        picks: &[usize],
        items: &[Item],
    ) {
        let settles = self.settles(user, session, picks);
        let User { name, model } = &self.users[user];
        let plan = Plan::of(model, session, items);
        if plan.items.is_empty() {
            let settled = self.bench.ledger.settle(name, SessionId(session), settles);
            settled.await.unwrap();
            return;
        }
        let (session, items) = (SessionId(session), plan.items.clone());
        let (settled, written) =
            self.bench.ledger.settle_and_intent(name, session, settles, items).await;
        settled.unwrap();
        self.intended(user, plan, written);
    }

    /// Replays intents one by one, in any order.
    pub(super) async fn replay(&mut self, user: usize, rows: &[IntentRow]) {
        let User { name: of, model } = &mut self.users[user];
        for row in rows {
            let (_, finding) = model.end(row.name);
            if let Some(upload) = model.rows.get_mut(&row.name) {
                upload.touched_s = self.now_s;
            }
            let verdicts = vec![(row.name, decide(row, &finding).unwrap())];
            self.bench.ledger.settle_replayed(of, verdicts).await.unwrap();
        }
    }
}

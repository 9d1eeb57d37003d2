//! Random requests against a plain model of what is used and reserved.

use proptest::prelude::*;

use super::model::{ENTRIES, Kind, LIMIT, Model, Row, admits_instead, is_intent};
use super::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    Reserve { session: u64, growth: u64, entries: u64 },
    Upload { session: u64, path: u8, source: u64, growth: u64 },
    Stage { session: u64, pick: usize, size: u64, replaces: Option<u64> },
    Take { session: u64 },
    Act { session: u64, pick: usize, bytes: u64 },
    Settle { session: u64, pick: usize },
    Drop { session: u64, pick: usize },
    LetGo { session: u64, pick: usize },
    Gone { session: u64 },
    End { session: u64 },
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let session = || 0..3_u64;
    let size = || prop_oneof![4 => 0..30_u64, 1 => Just(u64::MAX)];
    let small = || proptest::option::of(0..20_u64);
    let pick = || any::<usize>();
    prop_oneof![
        4 => (session(), size(), 0..2_u64)
            .prop_map(|(session, growth, entries)| Op::Reserve { session, growth, entries }),
        4 => (session(), 0..2_u8, 0..2_u64, size())
            .prop_map(|(session, path, source, growth)| {
                Op::Upload { session, path, source, growth }
            }),
        6 => (session(), pick(), size(), small())
            .prop_map(|(session, pick, size, replaces)| {
                Op::Stage { session, pick, size, replaces }
            }),
        2 => session().prop_map(|session| Op::Take { session }),
        6 => (session(), pick(), 0..30_u64)
            .prop_map(|(session, pick, bytes)| Op::Act { session, pick, bytes }),
        5 => (session(), pick()).prop_map(|(session, pick)| Op::Settle { session, pick }),
        1 => (session(), pick()).prop_map(|(session, pick)| Op::Drop { session, pick }),
        1 => (session(), pick()).prop_map(|(session, pick)| Op::LetGo { session, pick }),
        1 => session().prop_map(|session| Op::Gone { session }),
        1 => session().prop_map(|session| Op::End { session }),
        1 => Just(Op::Restart),
    ]
}

/// Replays intents one by one, in any order.
async fn replay(bench: &Bench, model: &mut Model, rows: &[IntentRow]) {
    for row in rows {
        let (_, finding) = model.end(row.name);
        let verdicts = vec![(row.name, decide(row, &finding).unwrap())];
        bench.ledger.settle_replayed(&bench.alice, verdicts).await.unwrap();
    }
}

async fn step(bench: &mut Bench, model: &mut Model, op: Op) {
    let alice = &bench.alice;
    match op {
        Op::Reserve { session, growth, entries } => {
            let name = bench.ledger.reserve(alice, SessionId(session), growth, entries).await;
            assert_eq!(name.is_ok(), model.admits(growth.into(), entries.into()), "{name:?}");
            if let Ok(name) = name {
                let (bytes, entries) = (growth.cast_signed(), entries.cast_signed());
                let row = Row { session: Some(session), kind: Kind::Reservation, bytes, entries };
                assert!(model.rows.insert(name, row).is_none(), "a name was used twice");
            }
        }
        Op::Upload { session, path, source, growth } => {
            let request = upload(["a", "b"][usize::from(path)], 1, source, 1);
            let request = UploadRequest { growth, ..request };
            let opening = bench.open_upload(SessionId(session), &request).await;
            let kind = Kind::Upload { path, source };
            let same = |kind: &Kind| match *kind {
                Kind::Upload { path: p, source: s } => (p, s) == (path, source),
                Kind::Stage { upload, .. } => upload == Some((path, source)),
                _ => false,
            };
            let found = model.rows.iter().find(|(_, row)| same(&row.kind));
            let found = found.map(|(name, row)| (*name, *row));
            let superseded = model.rows.iter().find(|(_, row)| {
                row.session.is_none() && row.kind == Kind::Upload { path, source: 1 - source }
            });
            let superseded = superseded.map(|(name, row)| (*name, *row));
            let before = match (&found, &superseded) {
                (Some((_, row)), _) | (None, Some((_, row))) => (row.bytes, row.entries),
                (None, None) => (0, 0),
            };
            let more = (i128::from(growth) - i128::from(before.0), 1 - i128::from(before.1));
            let row = Row { session: Some(session), kind, bytes: growth.cast_signed(), entries: 1 };
            match found {
                Some((_, row)) if row.session == Some(session) => {
                    assert_eq!(opening, Err(LedgerError::Refused(ErrorCode::UploadBusy)));
                }
                Some((_, Row { session: Some(other), .. })) => {
                    let session = SessionId(other);
                    assert_eq!(opening, Ok(UploadOpening::HeldBy { session, same_token: true }));
                }
                _ if !admits_instead(model, &found, more, growth) => {
                    assert!(over_quota(&opening.unwrap_err()));
                }
                Some((name, _)) => {
                    let expected = UploadOpening::Opened { name, resumed: true, superseded: None };
                    assert_eq!(opening, Ok(expected));
                    model.rows.insert(name, row);
                }
                None => {
                    let Ok(UploadOpening::Opened { name, resumed: false, superseded: old }) =
                        opening
                    else {
                        panic!("{opening:?}")
                    };
                    assert_eq!(old, superseded.map(|(name, _)| name));
                    if let Some((old, row)) = superseded {
                        let row = Row { session: Some(session), bytes: 0, entries: 0, ..row };
                        model.rows.insert(old, row);
                    }
                    assert!(model.rows.insert(name, row).is_none(), "a name was used twice");
                }
            }
        }
        Op::Stage { session, pick, size, replaces } => {
            let open = |kind: &Kind| matches!(kind, Kind::Reservation | Kind::Upload { .. });
            let Some((name, row)) = model.pick(session, pick, open) else {
                return;
            };
            let intent = bench.intend(SessionId(session), stage(name, size, replaces)).await;
            if size == u64::MAX {
                assert!(is_protocol(intent));
                return;
            }
            let size = size.cast_signed();
            let bytes = (size - replaces.unwrap_or(0).cast_signed()).max(0);
            let entries = i64::from(replaces.is_none());
            let more = (bytes - row.bytes, entries - row.entries);
            assert_eq!(intent.is_ok(), model.admits(more.0.into(), more.1.into()), "{intent:?}");
            if intent.is_ok() {
                let upload = match row.kind {
                    Kind::Upload { path, source } => Some((path, source)),
                    _ => None,
                };
                let kind = Kind::Stage { size, replaces, upload, placed: false };
                model.rows.insert(name, Row { kind, bytes, entries, ..row });
            }
        }
        Op::Take { session } => {
            let name = bench.intend(SessionId(session), IntentItem::Take).await.unwrap();
            let kind = Kind::Take { taken: None };
            let row = Row { session: Some(session), kind, bytes: 0, entries: 0 };
            assert!(model.rows.insert(name, row).is_none(), "a name was used twice");
        }
        Op::Act { session, pick, bytes } => {
            let Some((name, _)) = model.pick(session, pick, is_intent) else {
                return;
            };
            model.act(name, bytes.cast_signed());
        }
        Op::Settle { session, pick } => {
            let Some((name, _)) = model.pick(session, pick, is_intent) else {
                return;
            };
            let (outcome, _) = model.end(name);
            bench.settle(SessionId(session), name, outcome).await.unwrap();
        }
        Op::Drop { session, pick } => {
            let open = |kind: &Kind| matches!(kind, Kind::Reservation | Kind::Upload { .. });
            let Some((name, _)) = model.pick(session, pick, open) else {
                return;
            };
            bench.ledger.drop_name(alice, SessionId(session), name).await.unwrap();
            model.rows.remove(&name);
        }
        Op::LetGo { session, pick } => {
            let open = |kind: &Kind| matches!(kind, Kind::Upload { .. });
            let Some((name, row)) = model.pick(session, pick, open) else {
                return;
            };
            bench.ledger.let_go(alice, SessionId(session), name).await.unwrap();
            model.rows.insert(name, Row { session: None, ..row });
        }
        Op::Gone { session } => {
            let names = bench.ledger.orphans_of(SessionId(session)).await.unwrap().names;
            let settled = names.into_iter().filter(|name| !model.rows.contains_key(name));
            bench.ledger.gone(SessionId(session), settled.collect()).await.unwrap();
        }
        Op::End { session } => {
            let orphans = bench.ledger.orphans_of(SessionId(session)).await.unwrap();
            replay(bench, model, &orphans.intents).await;
            bench.ledger.session_ended(SessionId(session)).await.unwrap();
            model.rows.retain(|_, row| {
                row.session != Some(session) || matches!(row.kind, Kind::Upload { .. })
            });
            let rows = model.rows.values_mut().filter(|row| row.session == Some(session));
            rows.for_each(|row| row.session = None);
        }
        Op::Restart => {
            bench.reopen().await;
            model.rows.retain(|_, row| row.kind != Kind::Reservation);
            model.rows.values_mut().for_each(|row| row.session = None);
            let pending = bench.ledger.pending(&bench.alice).await.unwrap();
            replay(bench, model, &pending.intents).await;
            let uploads = bench.ledger.pending(&bench.alice).await.unwrap().uploads;
            assert_eq!(uploads, model.rows.keys().copied().collect::<Vec<_>>());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn sums_agree_with_a_plain_model(ops in proptest::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let limits = limits(LIMIT.cast_unsigned(), ENTRIES.cast_unsigned());
            let mut bench = Bench::new(limits).await;
            let mut model = Model::default();
            for op in ops {
                step(&mut bench, &mut model, op).await;
                let reserved = model.reserved();
                let expected = (
                    model.used.0,
                    reserved.0.cast_unsigned(),
                    model.used.1,
                    reserved.1.cast_unsigned(),
                );
                assert_eq!(bench.sums().await, expected, "after {op:?}");
                assert!(model.used.0 + reserved.0 >= 0 && model.used.1 + reserved.1 >= 0);
                assert!(model.used.0 + reserved.0 <= LIMIT && model.home.0 <= LIMIT);
                let at_rest = !model.rows.values().any(|row| is_intent(&row.kind));
                assert!(!at_rest || model.used == model.home, "after {op:?}");
            }
            check_sums_of_rows(&bench).await;
        });
    }
}

/// The sums that are kept are those of the rows.
async fn check_sums_of_rows(bench: &Bench) {
    let differences = bench.ledger.read(|tx| {
        let sql = "SELECT count(*) FROM users WHERE \
            reserved_bytes <> (SELECT coalesce(sum(reserved_bytes), 0) FROM intents) \
                + (SELECT coalesce(sum(reserved_bytes), 0) FROM uploads) \
            OR reserved_entries <> (SELECT coalesce(sum(reserved_entries), 0) FROM intents) \
                + (SELECT coalesce(sum(reserved_entries), 0) FROM uploads)";
        let durable: i64 = tx.db.query_row(sql, [], |row| row.get(0))?;
        let sql = "SELECT count(*) FROM temp.sums WHERE \
            reserved_bytes <> (SELECT coalesce(sum(bytes), 0) FROM temp.names \
                WHERE hold = 'reservation') \
            OR leftover_bytes <> (SELECT coalesce(sum(bytes), 0) FROM temp.names \
                WHERE hold = 'leftover')";
        let in_memory: i64 = tx.db.query_row(sql, [], |row| row.get(0))?;
        Ok((durable, in_memory))
    });
    assert_eq!(differences.await.unwrap(), (0, 0));
}

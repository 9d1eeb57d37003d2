//! That an operation costs the same with 10,000 users as with ten: no statement reads a whole table, but for those
//! that are named here, and equal operations execute equal statements in equal steps.

use std::collections::BTreeSet;
use std::sync::Mutex;

use berth_common::admin_protocol::Change;
use berth_common::credentials::{DeviceKey, DeviceName, InvitationId, NewAccount};
use berth_common::ledger_protocol::{FileReservation, Finding};
use rusqlite::StatementStatus;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::*;

/// Statements of a table that has one row.
const ONE_ROW: [&str; 4] = [
    "SELECT next_name FROM sequence",
    "UPDATE sequence SET next_name = ?1",
    "SELECT next_name, end_name FROM temp.lease",
    "UPDATE temp.lease SET next_name = ?1, end_name = ?2",
];

/// Statements that read all there is, and when that is done.
const READ_ALL: [(&str, &str); 5] = [
    ("SELECT count(*) FROM users", "`berthctl status` says how many there are"),
    (
        "SELECT name FROM users WHERE unverified = 1 ORDER BY name",
        "at the start, and when an administrator has a user verified",
    ),
    (
        "UPDATE users SET unverified = 1",
        "when staging could not be synced and nobody's sums are sure",
    ),
    (
        "UPDATE uploads SET touched_s = max(touched_s, ?1) WHERE name IN \
         (SELECT name FROM temp.names WHERE hold IN (?2, ?3))",
        "with each round of expiry, hours apart, of names in memory",
    ),
    ("DELETE FROM temp.names WHERE user = ?1", "when a user is removed, of names in memory"),
];

/// Statements in the order of their ends, each with the steps of SQLite's machine that it took since it was
/// prepared.
#[derive(Clone, Default)]
pub(super) struct Executed(Arc<Mutex<Vec<(String, i32)>>>);

impl Executed {
    /// Notes what this connection executes from now on.
    pub(super) fn note(&self, db: &mut rusqlite::Connection) {
        let executed = self.0.clone();
        let note = move |event: TraceEvent<'_>| {
            if let TraceEvent::Profile(statement, _) = event {
                let steps = statement.get_status(StatementStatus::VmStep);
                executed.lock().unwrap().push((statement.sql().into_owned(), steps));
            }
        };
        db.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(note)).unwrap();
    }

    fn take(&self) -> Vec<(String, i32)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A ledger with alice and so many others, each of whom has a session with an open upload, and an intent.
async fn among(others: u32) -> (Bench, Executed) {
    let dir = directory();
    let executed = Executed::default();
    let outside = Outside { executed: Some(executed.clone()), ..Outside::default() };
    outside.clock.store(100, Ordering::Relaxed);
    let (ledger, fatal) = open(dir.path().join("ledger.sqlite"), &outside).unwrap();
    let alice = name("alice");
    ledger.add_user(&alice, verifier(1), limits(1 << 30, 1000)).await.unwrap();
    ledger.activate_user(&alice).await.unwrap();
    let all = format!(
        "WITH RECURSIVE numbers (n) AS \
         (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {others}) \
         INSERT INTO users (name, state, locked, salt, iterations, stored_key, server_key, \
         created_s) SELECT format('other%05d', n), 'active', 0, x'00', 1, zeroblob(32), \
         zeroblob(32), 0 FROM numbers;
         CREATE TEMP TABLE others AS SELECT id, (1 << 40) + 2 * id AS name FROM users \
         WHERE name LIKE 'other%';
         INSERT INTO uploads SELECT name, id, 'a', zeroblob(16), 1, 1, 1, 1, 0, 0, 0, 0 FROM others;
         INSERT INTO intents SELECT name + 1, id, 'take', NULL, NULL, NULL, 0, 0 FROM others;
         INSERT INTO temp.names SELECT name, id, name, 'upload', 0, 0 FROM others;
         INSERT INTO temp.sums SELECT id, 0, 0, 0 FROM others;"
    );
    ledger.write(move |tx| Ok(tx.db.execute_batch(&all)?)).await.unwrap();
    executed.take();
    (Bench { dir, ledger, outside, fatal, alice }, executed)
}

/// Asks the ledger everything that it can be asked. What is refused on purpose executes statements too.
async fn everything(bench: &Bench) {
    users_come_and_go(bench).await;
    sessions_change_homes(bench).await;
    uploads_are_gone_on_with(bench).await;
    sessions_die(bench).await;
}

async fn users_come_and_go(bench: &Bench) {
    let (ledger, alice, bob) = (&bench.ledger, &bench.alice, &name("bob"));
    ledger.add_unverified_user(bob, verifier(2), Limits::default()).await.unwrap();
    ledger.activate_user(bob).await.unwrap();
    ledger.user(bob).await.unwrap().unwrap();
    ledger.users(None, 5).await.unwrap();
    ledger.user_states(0, 5).await.unwrap();
    ledger.state_of(bob).await.unwrap();
    ledger.count_users().await.unwrap();
    devices_come_and_go(ledger, bob).await;
    somebody_is_invited(ledger).await;
    ledger.set_verifier(bob, verifier(3)).await.unwrap();
    ledger.change_verifier(bob, verifier(3), verifier(4)).await.unwrap();
    ledger.set_locked(bob, true).await.unwrap();
    ledger.set_limits(alice, Change::To(1000), Change::To(100)).await.unwrap();
    ledger.unverified_users().await.unwrap();
    ledger.mark_unverified(alice).await.unwrap();
    ledger.settle_stopped(alice, Vec::new(), (900, 9)).await.unwrap();
    ledger.correct(alice, -900, -9).await.unwrap();
    ledger.mark_all_unverified().await.unwrap();
    ledger.begin_removal(bob).await.unwrap();
    ledger.finish_removal(bob).await.unwrap();
}

async fn devices_come_and_go(ledger: &Ledger, user: &UserName) {
    let (key, called) = (DeviceKey([1; 32]), DeviceName::new("laptop").unwrap());
    for _ in 0..2 {
        let registered = ledger.register_device(user, verifier(2), key, called.clone());
        registered.await.unwrap();
    }
    ledger.device_used(user, key).await.unwrap();
    ledger.device(user, key).await.unwrap().unwrap();
    assert_eq!(ledger.devices(user).await.unwrap().len(), 1);
    assert_eq!(ledger.revoke_devices(user, None).await.unwrap(), [key.id()]);
    let program = berth_common::exec::ProgramName::new("du").unwrap();
    ledger.allow_programs(user, vec![program.clone()]).await.unwrap();
    assert!(ledger.may_run(user, program.clone()).await.unwrap());
    ledger.deny_programs(user, vec![program]).await.unwrap();
    ledger.deny_programs(user, Vec::new()).await.unwrap();
}

async fn somebody_is_invited(ledger: &Ledger) {
    let (id, carol) = (InvitationId([1; 8]), name("carol"));
    let invitation = Invitation { verifier: verifier(9), user: None, limits: Limits::default() };
    ledger.add_invitation(id, invitation, 100).await.unwrap();
    assert_eq!(ledger.invitations(None, 5).await.unwrap().len(), 1);
    let account = NewAccount { user: carol.clone(), verifier: verifier(2) };
    ledger.join(id, verifier(9), account).await.unwrap();
    ledger.take_back_join(id, &carol).await.unwrap();
    ledger.revoke_invitation(id).await.unwrap();
}

async fn sessions_change_homes(bench: &Bench) {
    let (ledger, alice) = (&bench.ledger, &bench.alice);
    bench.put(S1, 5).await;
    bench.put(S1, 5).await;
    let (lease, _) = ledger.lease(alice, S1, 1, ROOM).await.unwrap();
    ledger.extend(alice, S1, lease, 10, ROOM).await.unwrap();
    ledger.note(alice, S1, vec![Note::Dropped(lease)]).await.unwrap();
    let over = bench.reserve(S1, 7).await.unwrap();
    let intents = vec![stage(over, 7, Some(5)), IntentItem::Over];
    let [over, renamed] = ledger.intent(alice, S1, intents).await.unwrap()[..] else { panic!() };
    let settles = vec![
        SettleItem { name: over, outcome: Outcome::Placed { replaced: Some(5) } },
        SettleItem { name: renamed, outcome: Outcome::NotHappened },
    ];
    let (settled, took) =
        ledger.settle_and_intent(alice, S1, settles, vec![IntentItem::Take]).await;
    settled.unwrap();
    let taken = Outcome::Removed { bytes: 7, entries: 1 };
    let took = took.unwrap()[0];
    bench.settle(S1, took, taken).await.unwrap();
    ledger.note(alice, S1, vec![Note::Gone(vec![over, took])]).await.unwrap();

    // What is placed and not settled is taken out and settled: what is used is below zero for the moment.
    let placed = bench.reserve(S1, 100).await.unwrap();
    bench.intend(S1, stage(placed, 100, None)).await.unwrap();
    let took = bench.intend(S2, IntentItem::Take).await.unwrap();
    bench.settle(S2, took, Outcome::Removed { bytes: 100, entries: 1 }).await.unwrap();
    bench.settle(S1, placed, PLACED).await.unwrap();
    assert!(over_quota(&bench.reserve(S1, 2000).await.unwrap_err()));
    ledger.mint().await.unwrap();
    ledger.write(names::take_in).await.unwrap();
    bench.sums().await;
}

async fn uploads_are_gone_on_with(bench: &Bench) {
    let (ledger, alice) = (&bench.ledger, &bench.alice);
    let request = upload("a", 1, 1, 30);
    let first = bench.opened(S1, &request).await;
    ledger.note(alice, S1, vec![Note::LetGo(first)]).await.unwrap();
    assert_eq!(bench.opened(S2, &request).await, first);
    ledger.let_go_uploads(S2).await.unwrap();
    let second = bench.opened(S2, &upload("a", 1, 2, 40)).await;
    ledger.drop_name(alice, S2, first).await.unwrap();
    bench.intend(S2, stage(second, 40, None)).await.unwrap();
    bench.settle(S2, second, Outcome::NotHappened).await.unwrap();
    bench.intend(S2, stage(second, 40, None)).await.unwrap();
    bench.settle(S2, second, PLACED).await.unwrap();

    let third = bench.opened(S1, &upload("b", 1, 3, 50)).await;
    ledger.touch_held_uploads().await.unwrap();
    ledger.session_ended(S1).await.unwrap();
    assert_eq!(ledger.claim(alice, S2, third).await, Ok(Claiming::Claimed));
    ledger.give_up_claims(S2).await.unwrap();
    assert_eq!(ledger.uploads(alice, None, 5).await.unwrap().0.len(), 1);
    bench.at(100 + EXPIRY_S);
    assert_eq!(ledger.claim_expired(alice, S2).await.unwrap(), [third]);
    ledger.give_up_claims(S2).await.unwrap();
    ledger.drop_uploads(alice, vec![third]).await.unwrap();
}

async fn sessions_die(bench: &Bench) {
    let (ledger, alice) = (&bench.ledger, &bench.alice);
    let held = bench.reserve(S1, 1).await.unwrap();
    let sent = bench.opened(S1, &upload("sent", 1, 4, 10)).await;
    let lost = bench.opened(S1, &upload("lost", 1, 5, 10)).await;
    let placed = bench.reserve(S1, 10).await.unwrap();
    let staged = [sent, lost, placed].map(|name| stage(name, 10, None));
    ledger.intent(alice, S1, staged.to_vec()).await.unwrap();
    let orphans = ledger.orphans_of(S1).await.unwrap();
    ledger.pending(alice).await.unwrap();
    let verdicts = orphans.intents.iter().map(|row| {
        let there = Finding::File { inode: 7, size: 10, links: 1 };
        let finding = if row.name == lost { there } else { Finding::Missing };
        (row.name, decide(row, &finding).unwrap())
    });
    ledger.settle_replayed(alice, verdicts.collect()).await.unwrap();
    ledger.removed(S1, vec![held]).await.unwrap();
    ledger.session_ended(S1).await.unwrap();
}

/// A text of SQL in one line, as it is written in a source or was executed.
fn in_a_line(text: &str) -> String {
    text.lines().map(|line| line.trim_start().trim_end_matches('\\')).collect()
}

/// The texts in the ledger's sources that begin like a statement or a condition. What makes the tables, and what
/// works on copies of them, has no users in it.
fn sql_in_the_sources() -> BTreeSet<String> {
    const BEGINS: [&str; 5] = ["\"SELECT ", "\"INSERT ", "\"UPDATE ", "\"DELETE ", "\"WHERE "];
    const OTHERS: [&str; 3] = ["schema.rs", "migrations.rs", "backup.rs"];
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger");
    let mut found = BTreeSet::new();
    for source in std::fs::read_dir(sources).unwrap().map(|entry| entry.unwrap().path()) {
        if !source.is_file() || OTHERS.iter().any(|other| source.ends_with(other)) {
            continue;
        }
        let text = std::fs::read_to_string(&source).unwrap();
        // What is done with a restored ledger is done once, to all of it.
        let text = match source.ends_with("restored.rs") {
            true => text.split_once("fn unverified(").unwrap().1,
            false => &text,
        };
        for (at, _) in BEGINS.iter().flat_map(|begin| text.match_indices(begin)) {
            found.insert(in_a_line(text[at + 1..].split('"').next().unwrap()));
        }
    }
    assert!(found.len() > 40, "{}", found.len());
    found
}

/// Whether a statement has a text of the sources in it, where `{}` stands for anything.
fn has(statement: &str, text: &str) -> bool {
    let mut rest = statement;
    let fixed = text.split('{').map(|part| part.split_once('}').map_or(part, |(_, part)| part));
    for part in fixed {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

/// The tables that a statement reads as a whole, by SQLite's own plan.
async fn scans(bench: &Bench, statement: &str) -> Vec<String> {
    let explain = format!("EXPLAIN QUERY PLAN {statement}");
    let plan = move |tx: &super::super::request::Tx<'_>| {
        let mut plan = tx.db.prepare(&explain)?;
        // Nothing is bound: plans do not depend on what is (`SQLITE_DBCONFIG_ENABLE_QPSG`).
        let mut rows = plan.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next()? {
            steps.push(row.get::<_, String>(3)?);
        }
        Ok(steps)
    };
    let steps = bench.ledger.read(plan).await.unwrap();
    // A part of the statement itself is named in parentheses.
    let whole = |step: &String| step.starts_with("SCAN ") && !step.starts_with("SCAN (");
    steps.into_iter().filter(whole).collect()
}

#[tokio::test]
async fn no_statement_reads_a_whole_table_but_those_that_are_named_here() {
    let (bench, executed) = among(10).await;
    everything(&bench).await;
    let statements: BTreeSet<_> = executed.take().into_iter().map(|(sql, _)| sql).collect();
    let unseen = |text: &String| !statements.iter().any(|statement| has(statement, text));
    let unseen: Vec<_> = sql_in_the_sources().into_iter().filter(unseen).collect();
    assert_eq!(unseen, [""; 0], "`everything` executes each statement");

    let read_all = READ_ALL.map(|(statement, _)| statement);
    let mut expected: BTreeSet<_> = ONE_ROW.into_iter().chain(read_all).collect();
    for statement in &statements {
        if ["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|verb| statement.starts_with(verb)) {
            let scans = scans(&bench, statement).await;
            assert_eq!(!scans.is_empty(), expected.remove(&**statement), "{statement}: {scans:?}");
        }
    }
    assert_eq!(expected, BTreeSet::new(), "these are not executed, or read no whole table");
}

#[tokio::test]
async fn equal_operations_take_equal_statements_and_steps_with_10_and_10_000_users() {
    let mut runs = Vec::new();
    for others in [10, 10_000] {
        let (bench, executed) = among(others).await;
        everything(&bench).await;
        let mut run = executed.take();
        let reads_all = |sql: &str| READ_ALL.iter().any(|(statement, _)| *statement == sql);
        for (_, steps) in run.iter_mut().filter(|(sql, _)| reads_all(sql)) {
            *steps = 0;
        }
        runs.push(run);
    }
    assert!(runs[0].len() > 500, "{}", runs[0].len());
    for (few, many) in runs[0].iter().zip(&runs[1]) {
        assert_eq!(few, many);
    }
    assert_eq!(runs[0].len(), runs[1].len());
}

#[tokio::test]
async fn reserving_takes_equal_steps_with_a_name_and_with_10_000() {
    let mut runs = Vec::new();
    for names in [1, 10_000] {
        let (bench, executed) = among(10).await;
        let given = format!(
            "WITH RECURSIVE numbers (n) AS \
             (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {names}) \
             INSERT INTO temp.names SELECT (1 << 50) + n, 1, {}, 'leftover', 0, 0 FROM numbers",
            S1.0
        );
        bench.ledger.write(move |tx| Ok(tx.db.execute_batch(&given)?)).await.unwrap();
        // They are counted once.
        bench.reserve(S1, 1).await.unwrap();
        executed.take();
        let file = FileReservation { growth: 5, entries: 1, stages: 5 };
        bench.ledger.reserve_files(&bench.alice, S1, vec![file; 9]).await.unwrap();
        runs.push(executed.take());
    }
    assert!(runs[0].len() > 9, "{runs:?}");
    assert_eq!(runs[0], runs[1]);
}

/// What a session does over and over: a small file, an upload that can be gone on with, a delete of both, its end.
async fn a_session(bench: &Bench) {
    let (ledger, alice) = (&bench.ledger, &bench.alice);
    ledger.user(alice).await.unwrap().unwrap();
    bench.put(S1, 5).await;
    let name = bench.opened(S1, &upload("a", 1, 1, 30)).await;
    ledger.note(alice, S1, vec![Note::LetGo(name)]).await.unwrap();
    assert_eq!(bench.opened(S1, &upload("a", 1, 1, 30)).await, name);
    assert_eq!(ledger.uploads(alice, None, 5).await.unwrap().0.len(), 1);
    bench.intend(S1, stage(name, 30, None)).await.unwrap();
    bench.settle(S1, name, PLACED).await.unwrap();
    let took = bench.intend(S1, IntentItem::Take).await.unwrap();
    bench.settle(S1, took, Outcome::Removed { bytes: 35, entries: 2 }).await.unwrap();
    ledger.note(alice, S1, vec![Note::Gone(vec![took])]).await.unwrap();
    ledger.orphans_of(S1).await.unwrap();
    ledger.session_ended(S1).await.unwrap();
}

/// Calls by which the ledger's thread has read and written files, as the kernel counts them for a thread.
async fn calls(bench: &Bench) -> [u64; 2] {
    let look = |_: &super::super::request::Tx<'_>| {
        Ok(std::fs::read_to_string("/proc/thread-self/io").unwrap())
    };
    let io = bench.ledger.read(look).await.unwrap();
    ["syscr: ", "syscw: "].map(|field| {
        let line = io.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|number| number.parse().ok()).unwrap()
    })
}

/// Pages of the database that are kept in memory; a table of 10,000 rows has more than 200.
const CACHED_PAGES: i32 = 64;

/// The calls of so many sessions, among so many others.
async fn calls_of_sessions(sessions: u64, others: u32) -> [u64; 2] {
    let (bench, _) = among(others).await;
    // The log begins empty: it is copied into the database when it has become long, whoever made it so.
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let db = rusqlite::Connection::open(bench.path()).unwrap();
    let busy = db.query_row(checkpoint, (), |row| row.get::<_, i64>(0));
    assert_eq!(busy, Ok(0));
    drop(db);
    // Memory for what a session needs, and not for a table.
    let small = |tx: &super::super::request::Tx<'_>| {
        Ok(tx.db.pragma_update(None, "cache_size", CACHED_PAGES)?)
    };
    bench.ledger.read(small).await.unwrap();
    // Afterwards those pages are in it.
    a_session(&bench).await;
    let before = calls(&bench).await;
    for _ in 0..sessions {
        a_session(&bench).await;
    }
    let after = calls(&bench).await;
    [after[0] - before[0], after[1] - before[1]]
}

#[test]
fn sessions_cause_equal_system_calls_with_10_and_10_000_users() {
    const SESSIONS: u64 = 15;
    // Without a driver: one would be woken by writing to it, now and then.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let [few, many] =
        [10, 10_000].map(|others| runtime.block_on(calls_of_sessions(SESSIONS, others)));
    assert!(few[1] > 20 * SESSIONS, "reads and writes: {few:?}");
    assert_eq!(few, many, "reads and writes");
}

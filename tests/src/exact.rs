//! Whether a server is exact: the ledger equals the disk, for every user.
//!
//! At rest, with no session of anybody's, [`faults`] is empty: what is used is what a walk finds, what is
//! reserved is what the open uploads have, no intent is left, and staging has each upload's file and nothing
//! without a row. While somebody works the same look may find faults that are none.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::Connection;

use crate::Server;
use crate::disk::{self, Sums};
use crate::ledger;
use crate::wait::{wait_until, within};

/// How long the last left-overs may take to go from staging, after the sessions have ended.
const SETTLING: Duration = Duration::from_secs(3);

/// Claims that the server is exact, once all sessions have ended.
///
/// # Panics
/// When it is not, with all that is wrong.
#[track_caller]
pub fn assert_exact(server: &Server) {
    let faults = faults_at_rest(server);
    assert!(faults.is_empty(), "not exact:\n  {}", faults.join("\n  "));
}

/// What is wrong once all sessions have ended, each fault a sentence. Waits for a while until nothing is.
#[must_use]
pub fn faults_at_rest(server: &Server) -> Vec<String> {
    wait_until("all sessions have ended", || {
        server.sessions().iter().all(|session| session.user.is_none())
    });
    let mut last = Vec::new();
    within(SETTLING, || {
        last = faults(server);
        last.is_empty().then_some(())
    });
    last
}

/// What is wrong now.
///
/// # Panics
/// When the ledger cannot be read.
#[must_use]
pub fn faults(server: &Server) -> Vec<String> {
    let db = ledger::open(&server.data());
    users(&db).iter().flat_map(|user| faults_of(server, &db, user)).collect()
}

/// A user's row.
struct User {
    id: i64,
    name: String,
    used: (i64, i64),
    reserved: (i64, i64),
    limit_bytes: Option<i64>,
    limit_entries: Option<i64>,
}

fn users(db: &Connection) -> Vec<User> {
    let sql = "SELECT id, name, used_bytes, used_entries, reserved_bytes, reserved_entries,
                      limit_bytes, limit_entries FROM users ORDER BY name";
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        Ok(User {
            id: row.get(0)?,
            name: row.get(1)?,
            used: (row.get(2)?, row.get(3)?),
            reserved: (row.get(4)?, row.get(5)?),
            limit_bytes: row.get(6)?,
            limit_entries: row.get(7)?,
        })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn faults_of(server: &Server, db: &Connection, user: &User) -> Vec<String> {
    let name = &user.name;
    let mut faults = Vec::new();
    let Sums { bytes, entries } = server.home_sums(name);
    let walked = (bytes as i64, entries as i64);
    if user.used != walked {
        faults
            .push(format!("{name}: the ledger has {:?} used, a walk finds {walked:?}", user.used));
    }
    let both = |table: &str| -> (i64, i64) {
        let sql = format!(
            "SELECT ifnull(sum(reserved_bytes), 0), ifnull(sum(reserved_entries), 0)
             FROM {table} WHERE user = ?1"
        );
        db.query_row(&sql, [user.id], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    let uploads = both("uploads");
    if user.reserved != uploads {
        faults.push(format!(
            "{name}: {:?} reserved, the open uploads have {uploads:?}",
            user.reserved
        ));
    }
    let told = server.user(name);
    let told = (told["reserved_bytes"].as_i64(), told["reserved_entries"].as_i64());
    if told != (Some(uploads.0), Some(uploads.1)) {
        faults.push(format!("{name}: {told:?} reserved with memory, in rows {uploads:?}"));
    }
    let names = |table: &str| -> BTreeSet<u64> {
        let sql = format!("SELECT name FROM {table} WHERE user = ?1");
        let mut statement = db.prepare(&sql).unwrap();
        let rows = statement.query_map([user.id], |row| row.get::<_, i64>(0)).unwrap();
        rows.map(|name| name.unwrap() as u64).collect()
    };
    let intents = names("intents");
    if !intents.is_empty() {
        faults.push(format!("{name}: intents are left: {intents:?}"));
    }
    faults.extend(staging_faults(server, name, &names("uploads")));
    let over = |used: i64, limit: Option<i64>| limit.is_some_and(|limit| used > limit);
    if over(walked.0, user.limit_bytes) || over(walked.1, user.limit_entries) {
        let limits = (user.limit_bytes, user.limit_entries);
        faults.push(format!("{name}: the home has {walked:?}, its limits are {limits:?}"));
    }
    faults
}

/// Staging has each upload's file, may have its journal, and has nothing else.
fn staging_faults(server: &Server, user: &str, uploads: &BTreeSet<u64>) -> Vec<String> {
    use berth_common::ids::StagingName;
    let files: BTreeSet<String> = disk::entries(&server.staging(user))
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    let names = || uploads.iter().map(|name| StagingName(*name));
    let needed: BTreeSet<String> = names().map(|name| name.file_name()).collect();
    let journals: BTreeSet<String> = names().map(|name| name.journal_name()).collect();
    let orphans = files.difference(&needed).filter(|file| !journals.contains(*file));
    let orphans = orphans.map(|file| format!("{user}: {file} stands in staging without a row"));
    let missing = needed.difference(&files);
    orphans.chain(missing.map(|file| format!("{user}: {file} has a row and no file"))).collect()
}

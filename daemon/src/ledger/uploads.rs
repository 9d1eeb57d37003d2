//! Resumable uploads: their rows, claimed, let go, dropped and listed.
//!
//! An upload's row outlives sessions; who works on it is in memory. An upload that an intent
//! commits cannot be opened, claimed or dropped by anyone until the intent is settled or replayed.

use berth_common::entry::SourceFingerprint;
use berth_common::error_code::ErrorCode;
use berth_common::ids::{SessionId, StagingName, UploadToken, UserName};
use berth_common::ledger_protocol::UploadRow;
use berth_common::rel_path::RelPath;
use rusqlite::{OptionalExtension as _, Row};

use super::account::{self, Change, UserId};
use super::admission::Amount;
use super::damage;
use super::memory::{self, Hold, Holding};
use super::model::{Claiming, LedgerError};
use super::request::{Failure, Tx};

/// An upload's row, with who works on it.
#[derive(Clone, Debug)]
pub(super) struct Upload {
    pub(super) name: StagingName,
    pub(super) token: UploadToken,
    pub(super) source: SourceFingerprint,
    pub(super) reserved: Amount,
    pub(super) owner: Option<SessionId>,
    pub(super) committing: bool,
}

const COLUMNS: &str = "uploads.name, token, source_size, source_mtime_ns, source_ctime_ns, \
    source_inode, uploads.reserved_bytes, uploads.reserved_entries, names.session, \
    intents.name IS NOT NULL";
const FROM: &str = "uploads LEFT JOIN temp.names AS names ON names.name = uploads.name \
    LEFT JOIN intents ON intents.upload = uploads.name";

impl Upload {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        damage::named("uploads", row, Self::parse)
    }

    fn parse(row: &Row<'_>) -> rusqlite::Result<Self> {
        let unsigned = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        let session = row.get::<_, Option<i64>>(8)?;
        Ok(Self {
            name: StagingName(unsigned(0)?),
            token: UploadToken(row.get(1)?),
            source: source(row, 2)?,
            reserved: Amount { bytes: row.get(6)?, entries: row.get(7)? },
            owner: session.map(|session| SessionId(session.cast_unsigned())),
            committing: row.get(9)?,
        })
    }

    pub(super) fn is_free(&self) -> bool {
        self.owner.is_none() && !self.committing
    }
}

fn path(row: &Row<'_>, column: usize) -> rusqlite::Result<RelPath> {
    RelPath::new(&row.get::<_, String>(column)?).map_err(damage::value)
}

/// The names of a user's uploads, each of whose rows is read whole: nothing is served beside a damaged one.
pub(super) fn names_of(tx: &Tx<'_>, user: UserId) -> Result<Vec<StagingName>, Failure> {
    let condition = "WHERE uploads.user = ?1 ORDER BY uploads.name";
    let sql = format!("SELECT {COLUMNS}, path FROM {FROM} {condition}");
    let mut select = tx.db.prepare_cached(&sql)?;
    let rows = select.query_map([user.0], |row| {
        let upload = Upload::from_row(row)?;
        damage::named("uploads", row, |row| path(row, 10))?;
        Ok(upload.name)
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn source(row: &Row<'_>, first: usize) -> rusqlite::Result<SourceFingerprint> {
    Ok(SourceFingerprint {
        size: row.get::<_, i64>(first)?.cast_unsigned(),
        mtime_ns: row.get(first + 1)?,
        ctime_ns: row.get(first + 2)?,
        inode: row.get::<_, i64>(first + 3)?.cast_unsigned(),
    })
}

pub(super) fn at_path(tx: &Tx<'_>, user: UserId, path: &RelPath) -> Result<Vec<Upload>, Failure> {
    let condition = "WHERE uploads.user = ?1 AND path = ?2 ORDER BY uploads.name";
    let mut select = tx.db.prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} {condition}"))?;
    let rows = select.query_map((user.0, path.as_str()), Upload::from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn find(tx: &Tx<'_>, user: UserId, name: StagingName) -> Result<Option<Upload>, Failure> {
    let condition = "WHERE uploads.name = ?1 AND uploads.user = ?2";
    let mut select = tx.db.prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} {condition}"))?;
    Ok(select.query_row([name.0.cast_signed(), user.0], Upload::from_row).optional()?)
}

/// How many uploads a user has besides this one, counted no further than `most`.
pub(super) fn count_up_to(
    tx: &Tx<'_>,
    user: UserId,
    besides: Option<StagingName>,
    most: u32,
) -> Result<u32, Failure> {
    let mut select = tx.db.prepare_cached(
        "SELECT count(*) FROM \
         (SELECT 1 FROM uploads WHERE user = ?1 AND name IS NOT ?2 LIMIT ?3)",
    )?;
    let besides = besides.map(|name| name.0.cast_signed());
    Ok(select.query_row((user.0, besides, most), |row| row.get(0))?)
}

pub(super) fn own(
    tx: &Tx<'_>,
    user: UserId,
    session: SessionId,
    name: StagingName,
) -> Result<(), Failure> {
    memory::put(tx, Holding { name, user, session, hold: Hold::Upload, amount: Amount::default() })
}

/// What an upload's row reserves.
pub(super) fn reserved(tx: &Tx<'_>, name: StagingName) -> Result<Amount, Failure> {
    let sql = "SELECT reserved_bytes, reserved_entries FROM uploads WHERE name = ?1";
    let mut select = tx.db.prepare_cached(sql)?;
    Ok(select.query_row([name.0.cast_signed()], |row| {
        Ok(Amount { bytes: row.get(0)?, entries: row.get(1)? })
    })?)
}

/// Sets what an upload's row reserves; the caller changes the user's sums.
pub(super) fn reserve(tx: &Tx<'_>, name: StagingName, amount: Amount) -> Result<(), Failure> {
    let mut update = tx.db.prepare_cached(
        "UPDATE uploads SET reserved_bytes = ?2, reserved_entries = ?3 WHERE name = ?1",
    )?;
    update.execute([name.0.cast_signed(), amount.bytes, amount.entries])?;
    Ok(())
}

pub(super) fn change_reserved(
    tx: &Tx<'_>,
    user: UserId,
    before: Amount,
    after: Amount,
) -> Result<(), Failure> {
    let mut change = Change::default();
    change.release(before);
    change.reserve(after);
    account::add(tx, user, change)
}

/// Removes an upload's row; the caller changes the user's sums.
pub(super) fn delete(tx: &Tx<'_>, name: StagingName) -> Result<(), Failure> {
    let mut delete = tx.db.prepare_cached("DELETE FROM uploads WHERE name = ?1")?;
    delete.execute([name.0.cast_signed()])?;
    Ok(())
}

/// From now on it takes the whole time until the upload expires.
pub(super) fn touch(tx: &Tx<'_>, name: StagingName) -> Result<(), Failure> {
    let mut update = tx.db.prepare_cached("UPDATE uploads SET touched_s = ?2 WHERE name = ?1")?;
    update.execute([name.0.cast_signed(), tx.now_s])?;
    Ok(())
}

/// The same for all that sessions work on, of whichever user. A clock that goes back ages nothing.
pub(super) fn touch_held(tx: &Tx<'_>) -> Result<(), Failure> {
    let mut update = tx.db.prepare_cached(
        "UPDATE uploads SET touched_s = max(touched_s, ?1) \
         WHERE name IN (SELECT name FROM temp.names WHERE hold IN (?2, ?3))",
    )?;
    update.execute((tx.now_s, Hold::Upload, Hold::Intent))?;
    Ok(())
}

pub(super) fn claim(
    tx: &Tx<'_>,
    user: &UserName,
    session: SessionId,
    name: StagingName,
) -> Result<Claiming, Failure> {
    let account = account::of_active(tx, user)?;
    let upload = find(tx, account.id, name)?;
    let upload = upload.ok_or(LedgerError::Refused(ErrorCode::NoSuchUpload))?;
    match upload.owner {
        Some(owner) if owner != session => Ok(Claiming::HeldBy(owner)),
        _ if upload.committing => Err(LedgerError::Refused(ErrorCode::UploadBusy).into()),
        Some(_) => Ok(Claiming::Claimed),
        None => {
            own(tx, account.id, session, name)?;
            Ok(Claiming::Claimed)
        }
    }
}

pub(super) fn claim_expired(
    tx: &Tx<'_>,
    user: &UserName,
    session: SessionId,
) -> Result<Vec<StagingName>, Failure> {
    let account = account::of_active(tx, user)?;
    let mut select = tx.db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE uploads.user = ?1 AND touched_s <= ?2"
    ))?;
    let touched_s = tx.now_s.saturating_sub(tx.upload_expiry_s);
    let rows = select.query_map((account.id.0, touched_s), Upload::from_row)?;
    let old = rows.collect::<Result<Vec<_>, _>>()?;
    let free = old.iter().filter(|upload| upload.is_free());
    let names: Vec<StagingName> = free.map(|upload| upload.name).collect();
    for name in &names {
        own(tx, account.id, session, *name)?;
    }
    Ok(names)
}

pub(super) fn drop_name(
    tx: &Tx<'_>,
    user: &UserName,
    session: SessionId,
    name: StagingName,
) -> Result<(), Failure> {
    let account = account::of(tx, user)?;
    match memory::find_own(tx, account.id, session, name)?.hold {
        Hold::Reservation => {}
        Hold::Upload => drop_row(tx, account.id, name)?,
        Hold::Intent | Hold::Leftover => {
            return Err(LedgerError::Protocol("what is dropped has an intent").into());
        }
    }
    memory::forget(tx, name)
}

fn drop_row(tx: &Tx<'_>, user: UserId, name: StagingName) -> Result<(), Failure> {
    let before = reserved(tx, name)?;
    delete(tx, name)?;
    change_reserved(tx, user, before, Amount::default())
}

pub(super) fn let_go(
    tx: &Tx<'_>,
    user: &UserName,
    session: SessionId,
    name: StagingName,
) -> Result<(), Failure> {
    let account = account::of(tx, user)?;
    if memory::find_own(tx, account.id, session, name)?.hold != Hold::Upload {
        return Err(LedgerError::Protocol("what is let go is no open upload").into());
    }
    touch(tx, name)?;
    memory::forget(tx, name)
}

pub(super) fn drop_missing(
    tx: &Tx<'_>,
    user: &UserName,
    names: &[StagingName],
) -> Result<(), Failure> {
    let account = account::of(tx, user)?;
    for name in names {
        match find(tx, account.id, *name)? {
            None => {}
            Some(upload) if upload.is_free() => drop_row(tx, account.id, *name)?,
            Some(_) => return Err(LedgerError::Protocol("the upload is in use").into()),
        }
    }
    Ok(())
}

pub(super) fn page(
    tx: &Tx<'_>,
    user: &UserName,
    after: Option<StagingName>,
    count: usize,
) -> Result<(Vec<UploadRow>, bool), Failure> {
    let account = account::of(tx, user)?;
    let mut select = tx.db.prepare_cached(
        "SELECT uploads.name, path, source_size, source_mtime_ns, source_ctime_ns, source_inode, \
         opened_s, touched_s, names.session IS NOT NULL FROM uploads \
         LEFT JOIN temp.names AS names ON names.name = uploads.name \
         WHERE uploads.user = ?1 AND uploads.name > ?2 ORDER BY uploads.name LIMIT ?3",
    )?;
    let after = after.map_or(0, |name| name.0.cast_signed());
    // One more, to know whether there is one more.
    let limit = i64::try_from(count).unwrap_or(i64::MAX).saturating_add(1);
    let rows = select.query_map([account.id.0, after, limit], |row| {
        damage::named("uploads", row, |row| {
            Ok(UploadRow {
                name: StagingName(row.get::<_, i64>(0)?.cast_unsigned()),
                path: path(row, 1)?,
                source: source(row, 2)?,
                opened_s: row.get(6)?,
                expires_s: row.get::<_, i64>(7)?.saturating_add(tx.upload_expiry_s),
                active: row.get(8)?,
            })
        })
    })?;
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    let last = rows.len() <= count;
    rows.truncate(count);
    Ok((rows, last))
}

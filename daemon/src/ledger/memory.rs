//! What sessions have in memory: reservations, the uploads and intents that they own, and names
//! whose left-overs wait to be unlinked.
//!
//! It is a temporary table, so that a rolled-back transaction takes it back with the rest. A name
//! with a durable row is in it only to say whose it is.

use std::collections::HashMap;

use berth_common::error_code::ErrorCode;
use berth_common::ids::{SessionId, StagingName, UserName};
use berth_common::ledger_protocol::{FileReservation, ReservationResult};
use berth_common::limits::LEASE_BYTES;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, OptionalExtension as _, Row};

use super::account::{self, UserId};
use super::admission::Amount;
use super::model::{LedgerError, Note, Orphans};
use super::request::{Failure, Tx};
use super::{intents, names, runs, uploads};

/// Names that a session may have, before a batch of intents. An honest one has some for each of its
/// transfers; a filer that was taken over must not fill the daemon's memory with them.
const MAX_NAMES: i64 = 16_384;

/// Why a session has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Set aside in memory; no row.
    Reservation,
    /// An open upload, which has a row.
    Upload,
    /// An intent, which has a row; and the upload that it commits, if it does.
    Intent,
    /// Settled, or dropped after an intent; what stands there is to be unlinked. No row.
    Leftover,
}

impl Hold {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Reservation, "reservation"),
        (Self::Upload, "upload"),
        (Self::Intent, "intent"),
        (Self::Leftover, "leftover"),
    ];
}

impl FromSql for Hold {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        let found = Self::ALL.into_iter().find(|(_, name)| *name == text);
        found.map(|(hold, _)| hold).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for Hold {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let name = Self::ALL.into_iter().find(|(hold, _)| hold == self);
        Ok(name.map(|(_, name)| name).unwrap_or_default().into())
    }
}

/// A name that a session has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    pub(super) name: StagingName,
    pub(super) user: UserId,
    pub(super) session: SessionId,
    pub(super) hold: Hold,
    /// Reserved in memory, or of a left-over; nothing where there is a durable row.
    pub(super) amount: Amount,
}

impl Holding {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: StagingName(row.get::<_, i64>(0)?.cast_unsigned()),
            user: UserId(row.get(1)?),
            session: SessionId(row.get::<_, i64>(2)?.cast_unsigned()),
            hold: row.get(3)?,
            amount: Amount { bytes: row.get(4)?, entries: row.get(5)? },
        })
    }

    /// What this one adds to the sums in memory.
    fn weight(&self) -> Weight {
        match self.hold {
            Hold::Reservation => Weight { reserved: self.amount, leftover: 0 },
            Hold::Leftover => Weight { reserved: Amount::default(), leftover: self.amount.bytes },
            Hold::Upload | Hold::Intent => Weight::default(),
        }
    }
}

/// What names add to their user's sums in memory, gathered so that these are written once for many names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    reserved: Amount,
    /// Bytes left over.
    leftover: i64,
}

impl Weight {
    fn add(&mut self, holding: &Holding) -> Result<(), LedgerError> {
        self.combine(&holding.weight(), i64::checked_add)
    }

    /// Without what this name adds.
    pub(super) fn take(&mut self, holding: &Holding) -> Result<(), LedgerError> {
        self.combine(&holding.weight(), i64::checked_sub)
    }

    fn combine(
        &mut self,
        by: &Self,
        combine: impl Fn(i64, i64) -> Option<i64>,
    ) -> Result<(), LedgerError> {
        let combine = |now, by| combine(now, by).ok_or(LedgerError::Imbalance);
        self.reserved.bytes = combine(self.reserved.bytes, by.reserved.bytes)?;
        self.reserved.entries = combine(self.reserved.entries, by.reserved.entries)?;
        self.leftover = combine(self.leftover, by.leftover)?;
        Ok(())
    }

    /// Adds it to the user's sums.
    pub(super) fn write(self, tx: &Tx<'_>, user: UserId) -> Result<(), Failure> {
        if self == Self::default() {
            return Ok(());
        }
        account::add_in_memory(tx, user, self.reserved, self.leftover)
    }
}

/// Who has a name.
pub(super) fn find(tx: &Tx<'_>, name: StagingName) -> Result<Option<Holding>, Failure> {
    let sql = "SELECT name, user, session, hold, bytes, entries FROM temp.names WHERE name = ?1";
    let mut select = tx.db.prepare_cached(sql)?;
    Ok(select.query_row([name.0.cast_signed()], Holding::from_row).optional()?)
}

/// The name, if this session of this user has it.
pub(super) fn find_own(
    tx: &Tx<'_>,
    user: UserId,
    session: SessionId,
    name: StagingName,
) -> Result<Holding, Failure> {
    let own = find(tx, name)?.filter(|it| it.user == user && it.session == session);
    Ok(own.ok_or(LedgerError::Protocol("a name that is not the session's"))?)
}

/// The same of several names, each of which is there once and can be taken out once.
///
/// # Errors
/// Also when a name is not the session's, or is given twice.
pub(super) fn find_each_own(
    tx: &Tx<'_>,
    user: UserId,
    session: SessionId,
    names: &[StagingName],
) -> Result<HashMap<StagingName, Holding>, Failure> {
    let sql = "SELECT name, user, session, hold, bytes, entries FROM temp.names \
        WHERE name BETWEEN ?1 AND ?2";
    let mut select = tx.db.prepare_cached(sql)?;
    let mut found = HashMap::with_capacity(names.len());
    for run in runs::of(names.iter().copied()) {
        for holding in select.query_map([run.start(), run.end()], Holding::from_row)? {
            let holding = holding?;
            if holding.user == user && holding.session == session {
                found.insert(holding.name, holding);
            }
        }
    }
    match found.len() == names.len() {
        true => Ok(found),
        false => Err(LedgerError::Protocol("a name that is not the session's").into()),
    }
}

/// Makes names intents that reserve nothing here any more. The weight is the caller's to write.
pub(super) fn become_intents(tx: &Tx<'_>, names: &[StagingName]) -> Result<(), Failure> {
    let sql =
        "UPDATE temp.names SET hold = ?3, bytes = 0, entries = 0 WHERE name BETWEEN ?1 AND ?2";
    let mut update = tx.db.prepare_cached(sql)?;
    for run in runs::of(names.iter().copied()) {
        update.execute((run.start(), run.end(), Hold::Intent))?;
    }
    Ok(())
}

/// Takes names from whatever sessions have them. The weight is the caller's to write.
pub(super) fn remove_each(tx: &Tx<'_>, names: &[StagingName]) -> Result<(), Failure> {
    let mut delete = tx.db.prepare_cached("DELETE FROM temp.names WHERE name BETWEEN ?1 AND ?2")?;
    for run in runs::of(names.iter().copied()) {
        delete.execute([run.start(), run.end()])?;
    }
    Ok(())
}

/// Gives a session a name, or another reason to have it.
pub(super) fn put(tx: &Tx<'_>, holding: Holding) -> Result<(), Failure> {
    forget(tx, holding.name)?;
    let mut weight = Weight::default();
    Inserting::new(tx)?.insert(&holding, &mut weight)?;
    weight.write(tx, holding.user)
}

/// Gives sessions names that no session has, of which a batch has many.
pub(super) struct Inserting<'a>(CachedStatement<'a>);

impl<'a> Inserting<'a> {
    pub(super) fn new(tx: &Tx<'a>) -> Result<Self, Failure> {
        let sql = "INSERT INTO temp.names VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        Ok(Self(tx.db.prepare_cached(sql)?))
    }

    /// The weight is the caller's to write.
    pub(super) fn insert(&mut self, holding: &Holding, weight: &mut Weight) -> Result<(), Failure> {
        self.0.execute((
            holding.name.0.cast_signed(),
            holding.user.0,
            holding.session.0.cast_signed(),
            holding.hold,
            holding.amount.bytes,
            holding.amount.entries,
        ))?;
        Ok(weight.add(holding)?)
    }
}

/// Gives the session that has the name another reason to have it. The weight is the caller's to write.
pub(super) fn change(
    tx: &Tx<'_>,
    from: &Holding,
    (hold, amount): (Hold, Amount),
    weight: &mut Weight,
) -> Result<(), Failure> {
    let sql = "UPDATE temp.names SET hold = ?2, bytes = ?3, entries = ?4 WHERE name = ?1";
    let mut update = tx.db.prepare_cached(sql)?;
    update.execute((from.name.0.cast_signed(), hold, amount.bytes, amount.entries))?;
    weight.take(from)?;
    Ok(weight.add(&Holding { hold, amount, ..*from })?)
}

/// Takes the name from the session that has it. The weight is the caller's to write.
pub(super) fn remove(tx: &Tx<'_>, holding: &Holding, weight: &mut Weight) -> Result<(), Failure> {
    let mut delete = tx.db.prepare_cached("DELETE FROM temp.names WHERE name = ?1")?;
    delete.execute([holding.name.0.cast_signed()])?;
    Ok(weight.take(holding)?)
}

/// Takes a name from whatever session has it.
pub(super) fn forget(tx: &Tx<'_>, name: StagingName) -> Result<(), Failure> {
    let Some(holding) = find(tx, name)? else {
        return Ok(());
    };
    let mut weight = Weight::default();
    remove(tx, &holding, &mut weight)?;
    weight.write(tx, holding.user)
}

/// Refuses a session more names while it has too many. They are counted when there may be too many, and not each
/// time, which would take the longer the more there are: after so many were given, or used in intents.
pub(super) fn check_room(tx: &Tx<'_>, session: SessionId, more: usize) -> Result<(), Failure> {
    let (session, more) = (session.0.cast_signed(), i64::try_from(more).unwrap_or(MAX_NAMES));
    let sql = "UPDATE temp.counts SET names = names + ?2 WHERE session = ?1 AND names < ?3";
    if tx.db.prepare_cached(sql)?.execute([session, more, MAX_NAMES])? == 1 {
        return Ok(());
    }
    let sql = "SELECT count(*) FROM \
        (SELECT 1 FROM temp.names WHERE session = ?1 LIMIT ?2)";
    let mut select = tx.db.prepare_cached(sql)?;
    let count: i64 = select.query_row([session, MAX_NAMES], |row| row.get(0))?;
    if count >= MAX_NAMES {
        return Err(LedgerError::Refused(ErrorCode::Busy).into());
    }
    let sql = "INSERT OR REPLACE INTO temp.counts VALUES (?1, ?2)";
    tx.db.prepare_cached(sql)?.execute([session, count + more])?;
    Ok(())
}

pub(super) fn reserve(
    tx: &Tx<'_>,
    user: &UserName,
    session: SessionId,
    growth: u64,
    entries: u64,
) -> Result<StagingName, Failure> {
    let account = account::of_active(tx, user)?;
    // What needs no room, such as an append's join after its transfer, does not wait for any.
    if (growth, entries) != (0, 0) {
        account.check_leftovers()?;
    }
    check_room(tx, session, 1)?;
    let amount = account.admit_instead(Amount::default(), growth, entries)?;
    let name = names::mint(tx)?;
    put(tx, Holding { name, user: account.id, session, hold: Hold::Reservation, amount })?;
    Ok(name)
}

/// One after the other, each beside what those before it have reserved.
pub(super) fn reserve_files(
    tx: &Tx<'_>,
    user: &UserName,
    session: SessionId,
    files: &[FileReservation],
) -> Result<Vec<ReservationResult>, Failure> {
    let mut account = account::of_active(tx, user)?;
    account.check_leftovers()?;
    check_room(tx, session, files.len())?;
    let mut admitted = Vec::with_capacity(files.len());
    for file in files {
        match account.admit_instead(Amount::default(), file.growth, file.entries) {
            Ok(amount) => {
                account = account.with(amount);
                admitted.push(Ok(amount));
            }
            Err(LedgerError::Refused(error)) => admitted.push(Err(error)),
            Err(error) => return Err(error.into()),
        }
    }
    let mut minted = names::mint_several(tx, admitted.iter().flatten().count())?;
    let mut rows = Inserting::new(tx)?;
    let mut weight = Weight::default();
    let mut results = Vec::with_capacity(files.len());
    for admitted in admitted {
        results.push(match admitted {
            Ok(amount) => {
                let name = minted.next().ok_or(LedgerError::Unavailable)?;
                let (name, hold) = (StagingName(name.cast_unsigned()), Hold::Reservation);
                let holding = Holding { name, user: account.id, session, hold, amount };
                rows.insert(&holding, &mut weight)?;
                ReservationResult::Reserved(name)
            }
            Err(error) => ReservationResult::Refused(error),
        });
    }
    weight.write(tx, account.id)?;
    Ok(results)
}

pub(super) fn lease(
    tx: &Tx<'_>,
    user: &UserName,
    session: SessionId,
    entries: u64,
    room: u64,
) -> Result<(StagingName, u64), Failure> {
    let account = account::of_active(tx, user)?;
    account.check_leftovers()?;
    check_room(tx, session, 1)?;
    let bytes = LEASE_BYTES.min(account.left_bytes()).min(room);
    let amount = account.admit_instead(Amount::default(), bytes, entries)?;
    let name = names::mint(tx)?;
    put(tx, Holding { name, user: account.id, session, hold: Hold::Reservation, amount })?;
    Ok((name, bytes))
}

pub(super) fn extend(
    tx: &Tx<'_>,
    user: &UserName,
    session: SessionId,
    name: StagingName,
    least: u64,
    room: u64,
) -> Result<u64, Failure> {
    let account = account::of_active(tx, user)?;
    let holding = find_own(tx, account.id, session, name)?;
    if holding.hold != Hold::Reservation {
        return Err(LedgerError::Protocol("what is extended is no reservation").into());
    }
    let before = holding.amount;
    let missing = least.saturating_sub(before.bytes.cast_unsigned());
    match account.check_leftovers() {
        // What was asked ahead is not given then, and not refused.
        Err(_) if missing == 0 => return Ok(before.bytes.cast_unsigned()),
        checked => checked?,
    }
    account.admit(missing.into(), 0)?;
    if missing > room {
        return Err(LedgerError::Refused(ErrorCode::DiskFull).into());
    }
    let more = LEASE_BYTES.max(missing).min(account.left_bytes()).min(room);
    let bytes = before.bytes.cast_unsigned() + more;
    let entries = before.entries.cast_unsigned();
    let amount = account.admit_instead(before, bytes, entries)?;
    put(tx, Holding { amount, ..holding })?;
    Ok(bytes)
}

pub(super) fn note(
    tx: &Tx<'_>,
    user: &UserName,
    session: SessionId,
    notes: &[Note],
) -> Result<(), Failure> {
    for note in notes {
        match note {
            Note::LetGo(name) => uploads::let_go(tx, user, session, *name)?,
            Note::Gone(names) => gone(tx, session, names)?,
            Note::Dropped(name) => match uploads::drop_name(tx, user, session, *name) {
                // It refuses before it changes anything.
                Ok(()) | Err(Failure::Refused(LedgerError::Protocol(_))) => {}
                Err(failure) => return Err(failure),
            },
        }
    }
    Ok(())
}

fn gone(tx: &Tx<'_>, session: SessionId, names: &[StagingName]) -> Result<(), Failure> {
    for name in names {
        match find(tx, *name)? {
            None => {}
            Some(it) if it.session == session && it.hold == Hold::Leftover => forget(tx, *name)?,
            Some(_) => return Err(LedgerError::Protocol("a name that is not settled").into()),
        }
    }
    Ok(())
}

fn all_of(tx: &Tx<'_>, session: SessionId) -> Result<Vec<Holding>, Failure> {
    let mut select = tx.db.prepare_cached(
        "SELECT name, user, session, hold, bytes, entries FROM temp.names WHERE session = ?1 \
         ORDER BY name",
    )?;
    let rows = select.query_map([session.0.cast_signed()], Holding::from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn orphans(tx: &Tx<'_>, session: SessionId) -> Result<Orphans, Failure> {
    // It is not heard of any more; of one that is, they are counted again.
    tx.db.execute("DELETE FROM temp.counts WHERE session = ?1", [session.0.cast_signed()])?;
    let mut orphans = Orphans::default();
    for holding in all_of(tx, session)? {
        match holding.hold {
            Hold::Intent => {
                orphans.intents.push(intents::find(tx, holding.user, holding.name)?.row)
            }
            Hold::Reservation => orphans.reserved.push(holding.name),
            Hold::Leftover => orphans.leftovers.push(holding.name),
            Hold::Upload => orphans.uploads.push(holding.name),
        }
    }
    Ok(orphans)
}

pub(super) fn let_go_uploads(tx: &Tx<'_>, session: SessionId) -> Result<(), Failure> {
    for holding in all_of(tx, session)? {
        if holding.hold == Hold::Upload {
            uploads::touch(tx, holding.name)?;
        }
    }
    give_up_claims(tx, session)
}

pub(super) fn removed(
    tx: &Tx<'_>,
    session: SessionId,
    names: &[StagingName],
) -> Result<(), Failure> {
    for name in names {
        match find(tx, *name)?.filter(|it| it.session == session) {
            None => {}
            Some(it) if matches!(it.hold, Hold::Reservation | Hold::Leftover) => {
                forget(tx, *name)?;
            }
            Some(_) => return Err(LedgerError::Protocol("a name that has a row").into()),
        }
    }
    Ok(())
}

pub(super) fn session_ended(tx: &Tx<'_>, session: SessionId) -> Result<(), Failure> {
    let mut weights: HashMap<i64, Weight> = HashMap::new();
    for holding in all_of(tx, session)? {
        if holding.hold == Hold::Upload {
            uploads::touch(tx, holding.name)?;
        }
        weights.entry(holding.user.0).or_default().take(&holding)?;
    }
    tx.db.execute("DELETE FROM temp.names WHERE session = ?1", [session.0.cast_signed()])?;
    for (user, weight) in weights {
        weight.write(tx, UserId(user))?;
    }
    Ok(())
}

pub(super) fn give_up_claims(tx: &Tx<'_>, session: SessionId) -> Result<(), Failure> {
    tx.db.execute(
        "DELETE FROM temp.names WHERE session = ?1 AND hold = ?2",
        (session.0.cast_signed(), Hold::Upload),
    )?;
    Ok(())
}

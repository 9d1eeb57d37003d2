//! A user's sums: limits, what is used, and what is reserved in the ledger and in memory.
//!
//! Every change of a sum goes through [`add`] or [`add_in_memory`].

use berth_common::entry::{Limits, Usage};
use berth_common::error_code::{ErrorCode, Resource};
use berth_common::ids::UserName;
use rusqlite::{OptionalExtension as _, Row};

use super::admission::{self, Amount, Sums};
use super::damage;
use super::model::{LedgerError, UserState};
use super::request::{Failure, Tx};

/// A user's number in the ledger; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UserId(pub(super) i64);

/// A user's sums as they are now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) id: UserId,
    pub(super) state: UserState,
    limits: Limits,
    used: Amount,
    /// Both kinds together.
    reserved: Amount,
    leftover_bytes: i64,
}

/// The columns that [`Account::from_row`] reads, from `FROM`.
pub(super) const COLUMNS: &str = "users.id, users.state, users.limit_bytes, users.limit_entries, \
    users.used_bytes, users.used_entries, \
    users.reserved_bytes + coalesce(sums.reserved_bytes, 0), \
    users.reserved_entries + coalesce(sums.reserved_entries, 0), \
    coalesce(sums.leftover_bytes, 0)";

/// Where they come from.
pub(super) const FROM: &str = "users LEFT JOIN temp.sums AS sums ON sums.user = users.id";

impl Account {
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        damage::named("users", row, Self::parse)
    }

    fn parse(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: UserId(row.get(0)?),
            state: row.get(1)?,
            limits: limits_from(row, 2)?,
            used: Amount { bytes: row.get(4)?, entries: row.get(5)? },
            reserved: Amount { bytes: row.get(6)?, entries: row.get(7)? },
            leftover_bytes: row.get(8)?,
        })
    }

    /// What the user and administrators see.
    pub(super) fn usage(&self) -> Usage {
        Usage {
            limits: self.limits,
            used_bytes: self.used.bytes,
            used_entries: self.used.entries,
            reserved_bytes: self.reserved.bytes.cast_unsigned(),
            reserved_entries: self.reserved.entries.cast_unsigned(),
        }
    }

    /// What thresholds are reckoned from.
    pub(super) fn fill(&self) -> (Amount, Limits) {
        (self.used, self.limits)
    }

    /// Whether so much more may be reserved.
    pub(super) fn admit(&self, bytes: i128, entries: i128) -> Result<(), LedgerError> {
        let Self { limits, used, reserved, .. } = *self;
        let sums = |limit, used, reserved| Sums { limit, used, reserved };
        let of_bytes = sums(limits.bytes, used.bytes, reserved.bytes);
        let of_entries = sums(limits.entries, used.entries, reserved.entries);
        admission::admit(Resource::Bytes, of_bytes, bytes)?;
        admission::admit(Resource::Entries, of_entries, entries)
    }

    /// The same for a filer's numbers, in place of what is reserved already.
    pub(super) fn admit_instead(
        &self,
        before: Amount,
        bytes: u64,
        entries: u64,
    ) -> Result<Amount, LedgerError> {
        let more = |now: u64, before: i64| i128::from(now) - i128::from(before);
        self.admit(more(bytes, before.bytes), more(entries, before.entries))?;
        // What was admitted, or is no more than before, fits 63 bits.
        let fits = |number| i64::try_from(number).map_err(|_| LedgerError::Imbalance);
        Ok(Amount { bytes: fits(bytes)?, entries: fits(entries)? })
    }

    /// Bytes that may still be reserved.
    pub(super) fn left_bytes(&self) -> u64 {
        let Self { limits, used, reserved, .. } = *self;
        admission::left(Sums { limit: limits.bytes, used: used.bytes, reserved: reserved.bytes })
    }

    /// Refuses new reservations while too much waits to be unlinked.
    pub(super) fn check_leftovers(&self) -> Result<(), LedgerError> {
        if admission::leftovers_are_too_many(self.limits.bytes, self.leftover_bytes) {
            return Err(LedgerError::Refused(ErrorCode::Busy));
        }
        Ok(())
    }

    /// This account with so much more reserved, which was admitted.
    pub(super) fn with(mut self, reserved: Amount) -> Self {
        self.reserved.bytes += reserved.bytes;
        self.reserved.entries += reserved.entries;
        self
    }

    /// This account with so much less reserved, as it is before the ledger says so too.
    pub(super) fn without(mut self, reserved: Amount) -> Self {
        self.reserved.bytes -= reserved.bytes;
        self.reserved.entries -= reserved.entries;
        self
    }
}

/// Reads a user's account, whatever the user's state.
pub(super) fn of(tx: &Tx<'_>, user: &UserName) -> Result<Account, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE users.name = ?1");
    let mut select = tx.db.prepare_cached(&sql)?;
    let account = select.query_row([user.as_str()], Account::from_row).optional()?;
    Ok(account.ok_or(LedgerError::NoSuchUser)?)
}

/// Reads the account of a user that may change something.
pub(super) fn of_active(tx: &Tx<'_>, user: &UserName) -> Result<Account, Failure> {
    let account = of(tx, user)?;
    match account.state {
        UserState::Active => Ok(account),
        UserState::Creating | UserState::Removing => Err(LedgerError::UserGoing.into()),
    }
}

/// A change of a user's durable sums; parts may be below zero.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    pub(super) used: Amount,
    pub(super) reserved: Amount,
}

impl Change {
    /// Adds to what is used.
    pub(super) fn used(&mut self, bytes: i64, entries: i64) -> Result<(), LedgerError> {
        let sum = |a: i64, b| a.checked_add(b).ok_or(LedgerError::Imbalance);
        self.used.bytes = sum(self.used.bytes, bytes)?;
        self.used.entries = sum(self.used.entries, entries)?;
        Ok(())
    }

    /// Adds to what is reserved. All that is reserved fits 63 bits, and so does each difference.
    pub(super) fn reserve(&mut self, more: Amount) {
        self.reserved.bytes += more.bytes;
        self.reserved.entries += more.entries;
    }

    /// Takes from what is reserved.
    pub(super) fn release(&mut self, less: Amount) {
        self.reserved.bytes -= less.bytes;
        self.reserved.entries -= less.entries;
    }
}

/// Changes a user's durable sums, after the rows that they speak of.
///
/// `used` goes below zero only while something that was taken out was placed under an intent that
/// is not settled yet (R17); what such intents reserve is then at least as much. Else more left the
/// home than the ledger knows of. The table's CHECK says nearly the same; it is found out here so
/// that only this request fails.
pub(super) fn add(tx: &Tx<'_>, user: UserId, change: Change) -> Result<(), Failure> {
    let mut select = tx.db.prepare_cached(
        "SELECT used_bytes, used_entries, reserved_bytes, reserved_entries, limit_bytes, \
         limit_entries FROM users WHERE id = ?1",
    )?;
    let (now, limits) = select.query_row([user.0], |row| {
        let now: [i64; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        Ok((now, limits_from(row, 4)?))
    })?;
    let Change { used, reserved } = change;
    let by = [used.bytes, used.entries, reserved.bytes, reserved.entries];
    let mut sums = [0; 4];
    for (sum, (now, by)) in sums.iter_mut().zip(now.into_iter().zip(by)) {
        *sum = now.checked_add(by).ok_or(LedgerError::Imbalance)?;
    }
    let [used_bytes, used_entries, reserved_bytes, reserved_entries] = sums;
    if used_bytes < 0 || used_entries < 0 {
        let intended = intended(tx, user)?;
        if used_bytes + intended.bytes < 0 || used_entries + intended.entries < 0 {
            return Err(LedgerError::Imbalance.into());
        }
    }
    let mut update = tx.db.prepare_cached(
        "UPDATE users SET used_bytes = ?2, used_entries = ?3, reserved_bytes = ?4, \
         reserved_entries = ?5 WHERE id = ?1",
    )?;
    update.execute([user.0, used_bytes, used_entries, reserved_bytes, reserved_entries])?;
    let before = Amount { bytes: now[0], entries: now[1] };
    let after = Amount { bytes: used_bytes, entries: used_entries };
    note_crossings(tx, user, (before, limits), (after, limits))
}

/// The limits in two columns of a row.
pub(super) fn limits_from(row: &Row<'_>, first: usize) -> rusqlite::Result<Limits> {
    let limit = |column| -> rusqlite::Result<Option<u64>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned))
    };
    Ok(Limits { bytes: limit(first)?, entries: limit(first + 1)? })
}

/// Notes the thresholds that a change of what is used, or of the limits, has reached.
pub(super) fn note_crossings(
    tx: &Tx<'_>,
    user: UserId,
    before: (Amount, Limits),
    after: (Amount, Limits),
) -> Result<(), Failure> {
    let name =
        || tx.db.query_row("SELECT name FROM users WHERE id = ?1", [user.0], |row| row.get(0));
    let bytes = |(used, limits): (Amount, Limits)| (used.bytes, limits.bytes);
    let entries = |(used, limits): (Amount, Limits)| (used.entries, limits.entries);
    tx.crossings.note(Resource::Bytes, bytes(before), bytes(after), name)?;
    tx.crossings.note(Resource::Entries, entries(before), entries(after), name)?;
    Ok(())
}

/// Corrects what is used, and tells what it is from then on.
pub(super) fn correct(
    tx: &Tx<'_>,
    user: &UserName,
    bytes: i64,
    entries: i64,
) -> Result<Usage, Failure> {
    let mut change = Change::default();
    change.used(bytes, entries)?;
    add(tx, of_active(tx, user)?.id, change)?;
    Ok(of(tx, user)?.usage())
}

/// What a user's unsettled intents reserve, those of uploads included.
fn intended(tx: &Tx<'_>, user: UserId) -> Result<Amount, Failure> {
    let mut select = tx.db.prepare_cached(
        "SELECT coalesce(sum(intents.reserved_bytes + coalesce(uploads.reserved_bytes, 0)), 0), \
         coalesce(sum(intents.reserved_entries + coalesce(uploads.reserved_entries, 0)), 0) \
         FROM intents LEFT JOIN uploads ON uploads.name = intents.upload WHERE intents.user = ?1",
    )?;
    let sum = |row: &Row<'_>| Ok(Amount { bytes: row.get(0)?, entries: row.get(1)? });
    Ok(select.query_row([user.0], sum)?)
}

/// Changes a user's sums in memory; parts may be below zero.
pub(super) fn add_in_memory(
    tx: &Tx<'_>,
    user: UserId,
    reserved: Amount,
    leftover_bytes: i64,
) -> Result<(), Failure> {
    let mut select = tx.db.prepare_cached(
        "SELECT reserved_bytes, reserved_entries, leftover_bytes FROM temp.sums WHERE user = ?1",
    )?;
    let now = select
        .query_row([user.0], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))
        .optional()?
        .unwrap_or([0; 3]);
    let by = [reserved.bytes, reserved.entries, leftover_bytes];
    let mut sums = [user.0, 0, 0, 0];
    for (sum, (now, by)) in sums[1..].iter_mut().zip(now.into_iter().zip(by)) {
        *sum = i64::checked_add(now, by).ok_or(LedgerError::Imbalance)?;
    }
    let mut upsert =
        tx.db.prepare_cached("INSERT OR REPLACE INTO temp.sums VALUES (?1, ?2, ?3, ?4)")?;
    upsert.execute(sums)?;
    Ok(())
}

//! Intents: written before a change of a home, ended by the filer's settle or by replay.
//!
//! A batch is written or settled whole or not at all, and changes the user's sums once.

use std::collections::HashMap;

use berth_common::entry::Usage;
use berth_common::ids::{SessionId, StagingName, UserName};
use berth_common::ledger_protocol::{IntentItem, SettleItem};
use rusqlite::{CachedStatement, OptionalExtension as _, Row};

use super::account::{self, Change, UserId};
use super::admission::{self, Amount, Settlement};
use super::memory::{self, Hold, Holding, Weight};
use super::model::{IntentKind, IntentRow, LedgerError, Pending};
use super::replay::Verdict;
use super::request::{Failure, Tx};
use super::{damage, names, restored, runs, uploads};

/// An intent, with what is reserved for it, in its own row or in that of its upload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intent {
    pub(super) row: IntentRow,
    reserved: Amount,
}

const COLUMNS: &str = "name, kind, inode, size, upload IS NOT NULL, reserved_bytes, \
    reserved_entries";

impl Intent {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        damage::named("intents", row, Self::parse)
    }

    fn parse(row: &Row<'_>) -> rusqlite::Result<Self> {
        let unsigned = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        let kind = match row.get_ref(1)?.as_str()? {
            "take" => IntentKind::Take,
            "over" => IntentKind::Over,
            "stage" => IntentKind::Stage { inode: unsigned(2)?, size: unsigned(3)? },
            _ => return Err(rusqlite::types::FromSqlError::InvalidType.into()),
        };
        let name = StagingName(unsigned(0)?);
        let reserved = Amount { bytes: row.get(5)?, entries: row.get(6)? };
        Ok(Self { row: IntentRow { name, kind, resumable: row.get(4)? }, reserved })
    }
}

/// Reads an intent of this user.
pub(super) fn find(tx: &Tx<'_>, user: UserId, name: StagingName) -> Result<Intent, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM intents WHERE name = ?1 AND user = ?2");
    let mut select = tx.db.prepare_cached(&sql)?;
    let found = select.query_row([name.0.cast_signed(), user.0], Intent::from_row).optional()?;
    let mut intent = found.ok_or(LedgerError::Protocol("a name that is no intent"))?;
    if intent.row.resumable {
        intent.reserved = uploads::reserved(tx, name)?;
    }
    Ok(intent)
}

/// Reads intents of this user, each once.
fn find_each(
    tx: &Tx<'_>,
    user: UserId,
    names: &[StagingName],
) -> Result<HashMap<StagingName, Intent>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM intents WHERE name BETWEEN ?1 AND ?2 AND user = ?3");
    let mut select = tx.db.prepare_cached(&sql)?;
    let mut found = HashMap::with_capacity(names.len());
    for run in runs::of(names.iter().copied()) {
        for intent in select.query_map([*run.start(), *run.end(), user.0], Intent::from_row)? {
            let mut intent = intent?;
            if intent.row.resumable {
                intent.reserved = uploads::reserved(tx, intent.row.name)?;
            }
            found.insert(intent.row.name, intent);
        }
    }
    Ok(found)
}

pub(super) fn pending(tx: &Tx<'_>, user: &UserName) -> Result<Pending, Failure> {
    let user = account::of(tx, user)?.id;
    let mut select = tx
        .db
        .prepare_cached(&format!("SELECT {COLUMNS} FROM intents WHERE user = ?1 ORDER BY name"))?;
    let rows = select.query_map([user.0], Intent::from_row)?;
    let intents = rows.map(|intent| Ok(intent?.row)).collect::<rusqlite::Result<_>>()?;
    Ok(Pending { intents, uploads: uploads::names_of(tx, user)? })
}

/// A staged file that is about to be placed, and what it needs.
struct Staged {
    holding: Holding,
    before: Amount,
    needed: Amount,
}

pub(super) fn write(
    tx: &Tx<'_>,
    user: &UserName,
    session: SessionId,
    items: &[IntentItem],
) -> Result<Vec<StagingName>, Failure> {
    let account = account::of_active(tx, user)?;
    // Also what is staged, whose name may be an upload's that the session took over.
    memory::check_room(tx, session, items.len())?;
    let mut growth = (0_i128, 0_i128);
    let mut change = Change::default();
    let mut weight = Weight::default();
    let mut written = Vec::with_capacity(items.len());
    let stages = items.iter().filter_map(staged_name).collect::<Vec<_>>();
    let mut rows = Inserting::new(tx)?;
    let mut holdings = memory::find_each_own(tx, account.id, session, &stages)?;
    for item in items {
        written.push(match item {
            IntentItem::Stage { name, inode, size, replaces } => {
                let holding = holdings.remove(name).ok_or(LedgerError::Imbalance)?;
                let needed = admission::needed(*size, *replaces)?;
                let kind = IntentKind::Stage { inode: *inode, size: *size };
                let staged = stage(tx, &mut rows, holding, (kind, needed), &mut weight)?;
                growth.0 += i128::from(needed.bytes) - i128::from(staged.before.bytes);
                growth.1 += i128::from(needed.entries) - i128::from(staged.before.entries);
                if staged.holding.hold == Hold::Upload {
                    change.release(staged.before);
                }
                reserve_checked(&mut change, staged.needed)?;
                *name
            }
            IntentItem::Take => mint(tx, &mut rows, (account.id, session), IntentKind::Take)?,
            IntentItem::Over => mint(tx, &mut rows, (account.id, session), IntentKind::Over)?,
        });
    }
    memory::become_intents(tx, &stages)?;
    weight.write(tx, account.id)?;
    // The account is as it was before: what stood in memory is counted in it, and so is what
    // uploads had.
    account.admit(growth.0, growth.1)?;
    account::add(tx, account.id, change)?;
    Ok(written)
}

fn staged_name(item: &IntentItem) -> Option<StagingName> {
    match item {
        IntentItem::Stage { name, .. } => Some(*name),
        IntentItem::Take | IntentItem::Over => None,
    }
}

/// Adds up what was not admitted yet, and might not fit 63 bits.
fn reserve_checked(change: &mut Change, more: Amount) -> Result<(), LedgerError> {
    let fits = |a: i64, b: i64| a.checked_add(b).is_some();
    let now = change.reserved;
    if fits(now.bytes, more.bytes) && fits(now.entries, more.entries) {
        change.reserve(more);
        return Ok(());
    }
    Err(LedgerError::Protocol("sizes that no batch has"))
}

/// Writes the row of a staged file, which takes over what its reservation in memory held; what an
/// upload reserves stays in the upload's row. That the name is an intent's is the caller's to write.
fn stage(
    tx: &Tx<'_>,
    rows: &mut Inserting<'_>,
    holding: Holding,
    (kind, needed): (IntentKind, Amount),
    weight: &mut Weight,
) -> Result<Staged, Failure> {
    let Holding { name, user, .. } = holding;
    let (before, upload, in_row) = match holding.hold {
        Hold::Reservation => (holding.amount, None, needed),
        Hold::Upload => {
            let before = uploads::reserved(tx, name)?;
            uploads::reserve(tx, name, needed)?;
            (before, Some(name), Amount::default())
        }
        Hold::Intent | Hold::Leftover => {
            return Err(LedgerError::Protocol("the staged file has an intent").into());
        }
    };
    rows.insert(name, user, kind, upload, in_row)?;
    weight.take(&holding)?;
    Ok(Staged { holding, before, needed })
}

fn mint(
    tx: &Tx<'_>,
    rows: &mut Inserting<'_>,
    (user, session): (UserId, SessionId),
    kind: IntentKind,
) -> Result<StagingName, Failure> {
    let name = names::mint(tx)?;
    rows.insert(name, user, kind, None, Amount::default())?;
    let holding = Holding { name, user, session, hold: Hold::Intent, amount: Amount::default() };
    memory::put(tx, holding)?;
    Ok(name)
}

/// Writes rows of intents, of which a batch has many.
struct Inserting<'a>(CachedStatement<'a>);

impl<'a> Inserting<'a> {
    fn new(tx: &Tx<'a>) -> Result<Self, Failure> {
        let sql = "INSERT INTO intents VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        Ok(Self(tx.db.prepare_cached(sql)?))
    }

    fn insert(
        &mut self,
        name: StagingName,
        user: UserId,
        kind: IntentKind,
        upload: Option<StagingName>,
        reserved: Amount,
    ) -> Result<(), Failure> {
        let (kind, staged) = match kind {
            IntentKind::Stage { inode, size } => ("stage", Some((inode, size))),
            IntentKind::Take => ("take", None),
            IntentKind::Over => ("over", None),
        };
        self.0.execute((
            name.0.cast_signed(),
            user.0,
            kind,
            staged.map(|(inode, _)| inode.cast_signed()),
            staged.map(|(_, size)| size.cast_signed()),
            upload.map(|name| name.0.cast_signed()),
            reserved.bytes,
            reserved.entries,
        ))?;
        Ok(())
    }
}

pub(super) fn settle(
    tx: &Tx<'_>,
    user: &UserName,
    session: SessionId,
    items: &[SettleItem],
) -> Result<Usage, Failure> {
    let id = account::of(tx, user)?.id;
    let mut change = Change::default();
    let mut weight = Weight::default();
    let mut ended = Ended::default();
    let names = items.iter().map(|item| item.name).collect::<Vec<_>>();
    let holdings = memory::find_each_own(tx, id, session, &names)?;
    let intents = find_each(tx, id, &names)?;
    for SettleItem { name, outcome } in items {
        let holding = *holdings.get(name).ok_or(LedgerError::Imbalance)?;
        if holding.hold != Hold::Intent {
            return Err(LedgerError::Protocol("what is settled is no intent").into());
        }
        let intent = intents.get(name).ok_or(LedgerError::Protocol("a name that is no intent"))?;
        match admission::settlement(intent.row.kind, intent.reserved, *outcome)? {
            Settlement::Happened { bytes, entries, left } => {
                change.used(bytes, entries)?;
                ended.intent(tx, intent, &mut change)?;
                // A journal may stand beside an upload's name even where nothing was displaced.
                let left = left.or(intent.row.resumable.then_some(0));
                ended.leave(tx, &holding, left, &mut weight)?;
            }
            Settlement::NotHappened { .. } if intent.row.resumable => reopen(tx, holding)?,
            Settlement::NotHappened { left } => {
                ended.intent(tx, intent, &mut change)?;
                ended.leave(tx, &holding, left, &mut weight)?;
            }
        }
    }
    ended.delete(tx)?;
    weight.write(tx, id)?;
    account::add(tx, id, change)?;
    Ok(account::of(tx, user)?.usage())
}

/// What ends in a batch, whose rows are deleted together.
#[derive(Default)]
struct Ended {
    intents: Vec<StagingName>,
    names: Vec<StagingName>,
}

impl Ended {
    /// An intent ends, and its upload, with what they reserve.
    fn intent(&mut self, tx: &Tx<'_>, intent: &Intent, change: &mut Change) -> Result<(), Failure> {
        let name = intent.row.name;
        if intent.row.resumable {
            // An intent refers to its upload.
            delete(tx, name)?;
            uploads::delete(tx, name)?;
        } else {
            self.intents.push(name);
        }
        change.release(intent.reserved);
        Ok(())
    }

    /// The session remembers the name while so many bytes may stand there, or forgets it.
    fn leave(
        &mut self,
        tx: &Tx<'_>,
        holding: &Holding,
        left: Option<i64>,
        weight: &mut Weight,
    ) -> Result<(), Failure> {
        match left {
            None => {
                self.names.push(holding.name);
                Ok(weight.take(holding)?)
            }
            Some(bytes) => {
                let left = (Hold::Leftover, Amount { bytes, entries: 0 });
                memory::change(tx, holding, left, weight)
            }
        }
    }

    fn delete(self, tx: &Tx<'_>) -> Result<(), Failure> {
        let sql = "DELETE FROM intents WHERE name BETWEEN ?1 AND ?2";
        let mut delete = tx.db.prepare_cached(sql)?;
        for run in runs::of(self.intents) {
            delete.execute([run.start(), run.end()])?;
        }
        memory::remove_each(tx, &self.names)
    }
}

fn delete(tx: &Tx<'_>, name: StagingName) -> Result<(), Failure> {
    let mut delete = tx.db.prepare_cached("DELETE FROM intents WHERE name = ?1")?;
    delete.execute([name.0.cast_signed()])?;
    Ok(())
}

/// The upload is open again, and still its session's.
fn reopen(tx: &Tx<'_>, holding: Holding) -> Result<(), Failure> {
    delete(tx, holding.name)?;
    memory::put(tx, Holding { hold: Hold::Upload, ..holding })
}

pub(super) fn settle_replayed(
    tx: &Tx<'_>,
    user: &UserName,
    verdicts: &[(StagingName, Verdict)],
) -> Result<(), Failure> {
    let id = account::of(tx, user)?.id;
    let change = end_replayed(tx, id, verdicts)?;
    account::add(tx, id, change)
}

/// With every intent ended, what is used is what stands in the home.
pub(super) fn settle_stopped(
    tx: &Tx<'_>,
    user: &UserName,
    verdicts: &[(StagingName, Verdict)],
    (bytes, entries): (i64, i64),
) -> Result<(), Failure> {
    let account = account::of_active(tx, user)?;
    let now = account.usage();
    let mut change = end_replayed(tx, account.id, verdicts)?;
    let difference = |to: i64, from: i64| to.checked_sub(from).ok_or(LedgerError::Imbalance);
    change.used = Amount {
        bytes: difference(bytes, now.used_bytes)?,
        entries: difference(entries, now.used_entries)?,
    };
    account::add(tx, account.id, change)?;
    restored::mark_verified(tx, account.id)
}

fn end_replayed(
    tx: &Tx<'_>,
    id: UserId,
    verdicts: &[(StagingName, Verdict)],
) -> Result<Change, Failure> {
    let mut change = Change::default();
    let mut weight = Weight::default();
    let mut ended = Ended::default();
    for (name, verdict) in verdicts {
        let intent = find(tx, id, *name)?;
        let holding = memory::find(tx, *name)?;
        match verdict.settled {
            Some(settled) => {
                change.used(settled.bytes, settled.entries)?;
                ended.intent(tx, &intent, &mut change)?;
            }
            None if intent.row.resumable => {
                delete(tx, *name)?;
                uploads::touch(tx, *name)?;
                if let Some(holding) = holding {
                    memory::put(tx, Holding { hold: Hold::Upload, ..holding })?;
                }
                continue;
            }
            None => ended.intent(tx, &intent, &mut change)?,
        }
        // The dead session's name; at the daemon's start there is none.
        if let Some(holding) = holding {
            ended.leave(tx, &holding, verdict.left(intent.row.kind), &mut weight)?;
        }
    }
    ended.delete(tx)?;
    weight.write(tx, id)?;
    Ok(change)
}

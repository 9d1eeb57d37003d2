//! Users: coming and going, passwords, locks and limits.

use berth_common::admin_protocol::Change;
use berth_common::entry::{Limits, Usage};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use berth_common::scram::ScramVerifier;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension as _, Row, named_params};

use super::account::{self, Account, UserId};
use super::damage;
use super::model::{LedgerError, UserRecord, UserState, UserStates};
use super::request::{Failure, Tx};

impl UserState {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Creating, "creating"), (Self::Active, "active"), (Self::Removing, "removing")];
}

impl FromSql for UserState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        let found = Self::ALL.into_iter().find(|(_, name)| *name == text);
        found.map(|(state, _)| state).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for UserState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let name = Self::ALL.into_iter().find(|(state, _)| state == self);
        Ok(name.map(|(_, name)| name).unwrap_or_default().into())
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<UserRecord> {
    damage::named("users", row, parse)
}

fn parse(row: &Row<'_>) -> rusqlite::Result<UserRecord> {
    let account = Account::from_row(row)?;
    let keys = (row.get(13)?, row.get(14)?);
    let verifier =
        ScramVerifier::new(row.get(11)?, row.get(12)?, keys.0, keys.1).map_err(damage::value)?;
    Ok(UserRecord {
        name: UserName::new(&row.get::<_, String>(9)?).map_err(damage::value)?,
        state: account.state,
        locked: row.get(10)?,
        verifier,
        usage: account.usage(),
        uploads: row.get(15)?,
        created_s: row.get(16)?,
    })
}

fn select_records(condition: &str) -> String {
    let (columns, from) = (account::COLUMNS, account::FROM);
    format!(
        "SELECT {columns}, users.name, locked, salt, iterations, stored_key, server_key, \
         (SELECT count(*) FROM uploads WHERE uploads.user = users.id), created_s \
         FROM {from} {condition}"
    )
}

pub(super) fn get(tx: &Tx<'_>, user: &UserName) -> Result<Option<UserRecord>, Failure> {
    let mut select = tx.db.prepare_cached(&select_records("WHERE users.name = ?1"))?;
    Ok(select.query_row([user.as_str()], record).optional()?)
}

pub(super) fn page(
    tx: &Tx<'_>,
    after: Option<&UserName>,
    count: usize,
) -> Result<Vec<UserRecord>, Failure> {
    let order = "WHERE users.name > ?1 ORDER BY users.name LIMIT ?2";
    let mut select = tx.db.prepare_cached(&select_records(order))?;
    let after = after.map_or("", UserName::as_str);
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let mut users = Vec::new();
    for user in select.query_map((after, count), record)? {
        match user {
            Ok(user) => users.push(user),
            // The others are not disturbed.
            Err(error) if damage::is_damage(&error) => {
                tracing::error!(%error, "a user is left out");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(users)
}

/// At most `count` users in whatever state, by number, after this one: only what the daemon's start
/// needs, so that another column's damage keeps nobody from being served.
pub(super) fn states(
    tx: &Tx<'_>,
    after: i64,
    count: usize,
) -> Result<(UserStates, Option<i64>), Failure> {
    let sql = "SELECT id, name, state FROM users WHERE id > ?1 ORDER BY id LIMIT ?2";
    let mut select = tx.db.prepare_cached(sql)?;
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let mut rows = select.query([after, count])?;
    let (mut users, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        last = Some(row.get(0)?);
        let user = damage::named("users", row, |row| {
            let name = UserName::new(&row.get::<_, String>(1)?).map_err(damage::value)?;
            Ok((name, row.get(2)?))
        });
        match user {
            Ok(user) => users.push(user),
            Err(error) if damage::is_damage(&error) => {
                tracing::error!(%error, "a user cannot be served");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((users, last))
}

pub(super) fn count(tx: &Tx<'_>) -> Result<u64, Failure> {
    let count: i64 = tx.db.query_row("SELECT count(*) FROM users", [], |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

pub(super) fn usage(tx: &Tx<'_>, user: &UserName) -> Result<Usage, Failure> {
    Ok(account::of(tx, user)?.usage())
}

pub(super) fn add(
    tx: &Tx<'_>,
    user: &UserName,
    verifier: &ScramVerifier,
    limits: Limits,
) -> Result<(), Failure> {
    match account::of(tx, user) {
        Err(Failure::Refused(LedgerError::NoSuchUser)) => {}
        Err(failure) => return Err(failure),
        Ok(account) => match account.state {
            // An earlier try was cut off; nobody has ever logged in.
            UserState::Creating => {
                tx.db.execute("DELETE FROM users WHERE id = ?1", [account.id.0])?;
            }
            UserState::Active => return Err(LedgerError::UserExists.into()),
            UserState::Removing => return Err(LedgerError::UserGoing.into()),
        },
    }
    tx.db.execute(
        "INSERT INTO users (name, state, locked, salt, iterations, stored_key, server_key, \
         limit_bytes, limit_entries, created_s) VALUES (:name, :state, 0, :salt, :iterations, \
         :stored_key, :server_key, :limit_bytes, :limit_entries, :created_s)",
        named_params! {
            ":name": user.as_str(),
            ":state": UserState::Creating,
            ":salt": verifier.salt(),
            ":iterations": verifier.iterations(),
            ":stored_key": verifier.stored_key(),
            ":server_key": verifier.server_key(),
            ":limit_bytes": limits.bytes.map(u64::cast_signed),
            ":limit_entries": limits.entries.map(u64::cast_signed),
            ":created_s": tx.now_s,
        },
    )?;
    Ok(())
}

/// Removes the row of a user who is still `Creating`.
pub(super) fn remove_unmade(tx: &Tx<'_>, user: &UserName) -> Result<(), Failure> {
    let account = account::of(tx, user)?;
    match account.state {
        UserState::Creating => {
            tx.db.execute("DELETE FROM users WHERE id = ?1", [account.id.0])?;
            Ok(())
        }
        UserState::Active => Err(LedgerError::UserExists.into()),
        UserState::Removing => Err(LedgerError::UserGoing.into()),
    }
}

fn set_state(tx: &Tx<'_>, user: UserId, state: UserState) -> Result<(), Failure> {
    tx.db.execute("UPDATE users SET state = ?2 WHERE id = ?1", (user.0, state))?;
    Ok(())
}

pub(super) fn activate(tx: &Tx<'_>, user: &UserName) -> Result<(), Failure> {
    let account = account::of(tx, user)?;
    match account.state {
        UserState::Creating => set_state(tx, account.id, UserState::Active),
        UserState::Active => Ok(()),
        UserState::Removing => Err(LedgerError::UserGoing.into()),
    }
}

pub(super) fn begin_removal(tx: &Tx<'_>, user: &UserName) -> Result<(), Failure> {
    let account = account::of(tx, user)?;
    match account.state {
        UserState::Creating | UserState::Active => set_state(tx, account.id, UserState::Removing),
        UserState::Removing => Err(LedgerError::UserGoing.into()),
    }
}

pub(super) fn finish_removal(tx: &Tx<'_>, user: &UserName) -> Result<(), Failure> {
    let account = account::of(tx, user)?;
    if account.state != UserState::Removing {
        return Err(LedgerError::UserExists.into());
    }
    let tables = ["temp.names", "temp.sums", "intents", "uploads", "devices", "programs"];
    for table in tables {
        tx.db.execute(&format!("DELETE FROM {table} WHERE user = ?1"), [account.id.0])?;
    }
    tx.db.execute("DELETE FROM users WHERE id = ?1", [account.id.0])?;
    Ok(())
}

pub(super) fn set_verifier(
    tx: &Tx<'_>,
    user: &UserName,
    verifier: &ScramVerifier,
) -> Result<(), Failure> {
    let account = account::of_active(tx, user)?;
    tx.db.execute(
        "UPDATE users SET salt = :salt, iterations = :iterations, stored_key = :stored_key, \
         server_key = :server_key WHERE id = :id",
        named_params! {
            ":id": account.id.0,
            ":salt": verifier.salt(),
            ":iterations": verifier.iterations(),
            ":stored_key": verifier.stored_key(),
            ":server_key": verifier.server_key(),
        },
    )?;
    Ok(())
}

pub(super) fn change_verifier(
    tx: &Tx<'_>,
    user: &UserName,
    from: &ScramVerifier,
    to: &ScramVerifier,
) -> Result<(), Failure> {
    check_proved(tx, user, from)?;
    set_verifier(tx, user, to)
}

/// Refuses what was proved by a password that is not the user's any more.
pub(super) fn check_proved(
    tx: &Tx<'_>,
    user: &UserName,
    proved: &ScramVerifier,
) -> Result<(), Failure> {
    let now = get(tx, user)?.ok_or(LedgerError::NoSuchUser)?;
    match now.may_log_in() && now.verifier == *proved {
        true => Ok(()),
        false => Err(LedgerError::Refused(ErrorCode::PasswordRefused).into()),
    }
}

pub(super) fn set_locked(tx: &Tx<'_>, user: &UserName, locked: bool) -> Result<(), Failure> {
    let account = account::of_active(tx, user)?;
    tx.db.execute("UPDATE users SET locked = ?2 WHERE id = ?1", (account.id.0, locked))?;
    Ok(())
}

pub(super) fn set_limits(
    tx: &Tx<'_>,
    user: &UserName,
    bytes: Change,
    entries: Change,
) -> Result<(), Failure> {
    let account = account::of_active(tx, user)?;
    for (column, change) in [("limit_bytes", bytes), ("limit_entries", entries)] {
        let limit = match change {
            Change::Keep => continue,
            Change::Unlimited => None,
            Change::To(limit) => Some(limit.cast_signed()),
        };
        let sql = format!("UPDATE users SET {column} = ?2 WHERE id = ?1");
        tx.db.execute(&sql, (account.id.0, limit))?;
    }
    let after = account::of(tx, user)?;
    account::note_crossings(tx, account.id, account.fill(), after.fill())
}

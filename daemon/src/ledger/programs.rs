//! Which programs a user may run: none, unless an administrator has said so.

use berth_common::error_code::ErrorCode;
use berth_common::exec::{MOST_ALLOWED, ProgramName};
use berth_common::ids::UserName;

use super::model::LedgerError;
use super::request::{Failure, Tx};
use super::{account, damage};

/// Whether the user may run it now: an account that is being made or removed runs nothing.
pub(super) fn may_run(
    tx: &Tx<'_>,
    user: &UserName,
    program: &ProgramName,
) -> Result<bool, Failure> {
    let user = account::of_active(tx, user)?.id;
    let sql = "SELECT count(*) FROM programs WHERE user = ?1 AND name = ?2";
    let mut select = tx.db.prepare_cached(sql)?;
    let count: i64 = select.query_row((user.0, program.as_str()), |row| row.get(0))?;
    Ok(count > 0)
}

/// In the order of their names.
pub(super) fn of_user(tx: &Tx<'_>, user: &UserName) -> Result<Vec<ProgramName>, Failure> {
    let user = account::of(tx, user)?.id;
    let mut select =
        tx.db.prepare_cached("SELECT name FROM programs WHERE user = ?1 ORDER BY name")?;
    let name = |row: &rusqlite::Row<'_>| {
        damage::named("programs", row, |row| {
            ProgramName::new(&row.get::<_, String>(0)?).map_err(damage::value)
        })
    };
    Ok(select.query_map([user.0], name)?.collect::<rusqlite::Result<_>>()?)
}

/// All of them or none.
pub(super) fn allow(tx: &Tx<'_>, user: &UserName, programs: &[ProgramName]) -> Result<(), Failure> {
    let id = account::of_active(tx, user)?.id;
    for program in programs {
        let sql = "INSERT INTO programs (user, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        tx.db.execute(sql, (id.0, program.as_str()))?;
    }
    if of_user(tx, user)?.len() > MOST_ALLOWED {
        let limit = MOST_ALLOWED as u32;
        return Err(LedgerError::Refused(ErrorCode::TooManyPrograms { limit }).into());
    }
    Ok(())
}

/// None means all.
pub(super) fn deny(tx: &Tx<'_>, user: &UserName, programs: &[ProgramName]) -> Result<(), Failure> {
    let user = account::of(tx, user)?.id;
    if programs.is_empty() {
        tx.db.execute("DELETE FROM programs WHERE user = ?1", [user.0])?;
    }
    for program in programs {
        let sql = "DELETE FROM programs WHERE user = ?1 AND name = ?2";
        tx.db.execute(sql, (user.0, program.as_str()))?;
    }
    Ok(())
}

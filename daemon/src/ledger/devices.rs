//! Users' devices: keys by which a user logs in besides the password.

use berth_common::credentials::{DeviceId, DeviceKey, DeviceName, DeviceSummary, MAX_DEVICES};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use berth_common::scram::ScramVerifier;
use rusqlite::{OptionalExtension as _, Row};

use super::account::{self, UserId};
use super::model::{DeviceRecord, LedgerError};
use super::request::{Failure, Tx};
use super::{damage, users};

pub(super) fn get(
    tx: &Tx<'_>,
    user: &UserName,
    key: &DeviceKey,
) -> Result<Option<DeviceRecord>, Failure> {
    let Some(record) = users::get(tx, user)? else {
        return Ok(None);
    };
    let sql = "SELECT devices.used_s FROM devices JOIN users ON users.id = devices.user \
               WHERE users.name = ?1 AND devices.key = ?2";
    let mut select = tx.db.prepare_cached(sql)?;
    let used_s = select.query_row((user.as_str(), key.0), |row| row.get(0)).optional()?;
    Ok(used_s.map(|used_s| DeviceRecord { user: record, used_s }))
}

pub(super) fn of_user(tx: &Tx<'_>, user: &UserName) -> Result<Vec<DeviceSummary>, Failure> {
    let rows = rows_of(tx, account::of(tx, user)?.id)?;
    Ok(rows.into_iter().map(|(_, device)| device).collect())
}

/// With the rows' numbers, in the order of their registration.
fn rows_of(tx: &Tx<'_>, user: UserId) -> Result<Vec<(i64, DeviceSummary)>, Failure> {
    let sql = "SELECT id, key, name, created_s, used_s FROM devices WHERE user = ?1 ORDER BY id";
    let mut select = tx.db.prepare_cached(sql)?;
    let rows = select.query_map([user.0], |row| damage::named("devices", row, parse))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn parse(row: &Row<'_>) -> rusqlite::Result<(i64, DeviceSummary)> {
    let summary = DeviceSummary {
        device: DeviceKey(row.get(1)?).id(),
        name: DeviceName::new(&row.get::<_, String>(2)?).map_err(damage::value)?,
        created_s: row.get(3)?,
        used_s: row.get(4)?,
    };
    Ok((row.get(0)?, summary))
}

/// Only by whoever has proved to know the password that the user has, as a change of it.
pub(super) fn register(
    tx: &Tx<'_>,
    user: &UserName,
    proved: &ScramVerifier,
    key: &DeviceKey,
    name: &DeviceName,
) -> Result<(), Failure> {
    users::check_proved(tx, user, proved)?;
    let user = account::of_active(tx, user)?.id;
    let renamed = tx.db.execute(
        "UPDATE devices SET name = ?3 WHERE user = ?1 AND key = ?2",
        (user.0, key.0, name.as_str()),
    )?;
    if renamed > 0 {
        return Ok(());
    }
    if rows_of(tx, user)?.len() >= MAX_DEVICES {
        let limit = MAX_DEVICES as u32;
        return Err(LedgerError::Refused(ErrorCode::TooManyDevices { limit }).into());
    }
    tx.db.execute(
        "INSERT INTO devices (user, key, name, created_s) VALUES (?1, ?2, ?3, ?4)",
        (user.0, key.0, name.as_str(), tx.now_s),
    )?;
    Ok(())
}

pub(super) fn used(tx: &Tx<'_>, user: &UserName, key: &DeviceKey) -> Result<(), Failure> {
    let user = account::of(tx, user)?.id;
    let sql = "UPDATE devices SET used_s = ?3 WHERE user = ?1 AND key = ?2";
    tx.db.execute(sql, (user.0, key.0, tx.now_s))?;
    Ok(())
}

/// Says which of them were there; `None` means all.
pub(super) fn revoke(
    tx: &Tx<'_>,
    user: &UserName,
    devices: Option<&[DeviceId]>,
) -> Result<Vec<DeviceId>, Failure> {
    let mut revoked = Vec::new();
    for (row, device) in rows_of(tx, account::of(tx, user)?.id)? {
        if devices.is_none_or(|devices| devices.contains(&device.device)) {
            tx.db.execute("DELETE FROM devices WHERE id = ?1", [row])?;
            revoked.push(device.device);
        }
    }
    Ok(revoked)
}

//! Invitations: whoever knows an invitation's secret may make one account.
//!
//! An invitation is used in the transaction that writes the new user. Used and expired ones are kept for a while, to
//! be looked at.

use berth_common::admin_protocol::InvitationSummary;
use berth_common::credentials::{InvitationId, NewAccount};
use berth_common::error_code::ErrorCode;
use berth_common::ids::UserName;
use berth_common::scram::ScramVerifier;
use rusqlite::{OptionalExtension as _, Row, named_params};

use super::model::{Invitation, LedgerError};
use super::request::{Failure, Tx};
use super::{account, damage, users};

/// How long an invitation can be looked at after it has expired.
const KEPT_S: i64 = 30 * 24 * 3600;

/// Most invitations that can be used.
pub(crate) const MOST: u32 = 1000;

const COLUMNS: &str = "id, name, limit_bytes, limit_entries, created_s, expires_s, used_by";

fn parse(row: &Row<'_>) -> rusqlite::Result<InvitationSummary> {
    let name = |column| {
        let text: Option<String> = row.get(column)?;
        text.map(|text| UserName::new(&text).map_err(damage::value)).transpose()
    };
    Ok(InvitationSummary {
        invitation: InvitationId(row.get(0)?),
        user: name(1)?,
        limits: account::limits_from(row, 2)?,
        created_s: row.get(4)?,
        expires_s: row.get(5)?,
        used_by: name(6)?,
    })
}

/// One that can be used.
pub(super) fn get(tx: &Tx<'_>, id: InvitationId) -> Result<Option<Invitation>, Failure> {
    let sql = format!(
        "SELECT {COLUMNS}, salt, iterations, stored_key, server_key FROM invitations \
         WHERE id = ?1 AND used_by IS NULL AND expires_s > ?2"
    );
    let mut select = tx.db.prepare_cached(&sql)?;
    let invitation = select.query_row((id.0, tx.now_s), |row| {
        let InvitationSummary { user, limits, .. } = parse(row)?;
        let keys = (row.get(9)?, row.get(10)?);
        let verifier = ScramVerifier::new(row.get(7)?, row.get(8)?, keys.0, keys.1);
        Ok(Invitation { verifier: verifier.map_err(damage::value)?, user, limits })
    });
    Ok(invitation.optional()?)
}

pub(super) fn page(
    tx: &Tx<'_>,
    after: Option<InvitationId>,
    count: usize,
) -> Result<Vec<InvitationSummary>, Failure> {
    let sql = format!(
        "SELECT {COLUMNS} FROM invitations WHERE id > ?1 AND expires_s > ?2 ORDER BY id LIMIT ?3"
    );
    let mut select = tx.db.prepare_cached(&sql)?;
    // No id is before an empty one.
    let after = after.map_or(Vec::new(), |id| id.0.to_vec());
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let rows = select.query_map((after, tx.now_s - KEPT_S, count), parse)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn add(
    tx: &Tx<'_>,
    id: InvitationId,
    invitation: &Invitation,
    valid_s: u32,
) -> Result<(), Failure> {
    tx.db.execute("DELETE FROM invitations WHERE expires_s <= ?1", [tx.now_s - KEPT_S])?;
    let usable = "SELECT count(*) FROM invitations WHERE expires_s > ?1 AND used_by IS NULL";
    let usable: u32 = tx.db.query_row(usable, [tx.now_s], |row| row.get(0))?;
    if usable >= MOST {
        return Err(LedgerError::Refused(ErrorCode::Busy).into());
    }
    let Invitation { verifier, user, limits } = invitation;
    tx.db.execute(
        "INSERT INTO invitations (id, name, salt, iterations, stored_key, server_key, \
         limit_bytes, limit_entries, created_s, expires_s) VALUES (:id, :name, :salt, \
         :iterations, :stored_key, :server_key, :limit_bytes, :limit_entries, :now, :expires)",
        named_params! {
            ":id": id.0,
            ":name": user.as_ref().map(UserName::as_str),
            ":salt": verifier.salt(),
            ":iterations": verifier.iterations(),
            ":stored_key": verifier.stored_key(),
            ":server_key": verifier.server_key(),
            ":limit_bytes": limits.bytes.map(u64::cast_signed),
            ":limit_entries": limits.entries.map(u64::cast_signed),
            ":now": tx.now_s,
            ":expires": tx.now_s.saturating_add(i64::from(valid_s)),
        },
    )?;
    Ok(())
}

/// `false` when there is none that could be used.
pub(super) fn revoke(tx: &Tx<'_>, id: InvitationId) -> Result<bool, Failure> {
    let sql = "DELETE FROM invitations WHERE id = ?1 AND used_by IS NULL";
    Ok(tx.db.execute(sql, [id.0])? > 0)
}

/// Writes the new user, with the state `Creating`, and uses the invitation. Only by whoever has proved to know its
/// secret.
pub(super) fn join(
    tx: &Tx<'_>,
    id: InvitationId,
    proved: &ScramVerifier,
    account: &NewAccount,
) -> Result<(), Failure> {
    let refused = |code| Err(LedgerError::Refused(code).into());
    let invitation = match get(tx, id)? {
        Some(invitation) if invitation.verifier == *proved => invitation,
        _ => return refused(ErrorCode::NotInvited),
    };
    if invitation.user.as_ref().is_some_and(|user| *user != account.user) {
        return refused(ErrorCode::OtherName);
    }
    // Also one that is being made or removed: nobody takes over what another one has begun.
    match account::of(tx, &account.user) {
        Err(Failure::Refused(LedgerError::NoSuchUser)) => {}
        Err(failure) => return Err(failure),
        Ok(_) => return refused(ErrorCode::NameTaken),
    }
    users::add(tx, &account.user, &account.verifier, invitation.limits)?;
    let sql = "UPDATE invitations SET used_by = ?2 WHERE id = ?1";
    tx.db.execute(sql, (id.0, account.user.as_str()))?;
    Ok(())
}

/// Takes [`join`] back, for a user whose directories could not be made.
pub(super) fn take_back(tx: &Tx<'_>, id: InvitationId, user: &UserName) -> Result<(), Failure> {
    users::remove_unmade(tx, user)?;
    let sql = "UPDATE invitations SET used_by = NULL WHERE id = ?1 AND used_by = ?2";
    tx.db.execute(sql, (id.0, user.as_str()))?;
    Ok(())
}

//! Once an hour, uploads are removed that nobody has gone on with until their time was over.
//!
//! Nothing expires in the first hour after a start, so that clients can come back first, nor while the
//! clock is more than a day from where it should be: a wrong clock must not destroy what people sent.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use berth_common::ids::{SessionId, StagingName, UserName};
use rustix::time::ClockId;

use crate::daemon::Daemon;
use crate::ledger::{Claiming, LedgerError};
use crate::recovery::{self, RecoveryError};

const EVERY: Duration = Duration::from_secs(3600);
const DAY_S: i64 = 24 * 3600;
const PER_PAGE: usize = 256;

/// Both clocks at the start.
#[derive(Clone, Copy, Debug)]
struct Start {
    wall_s: i64,
    boot_s: i64,
}

impl Start {
    /// Whether uploads may expire now: the wall clock has gone on as the boot clock has, give or take a day.
    fn may_expire(self, wall_s: i64, boot_s: i64) -> bool {
        let drift = (wall_s - self.wall_s) - (boot_s - self.boot_s);
        boot_s - self.boot_s >= EVERY.as_secs() as i64 && drift.abs() <= DAY_S
    }
}

fn wall_s() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// Goes on while the machine sleeps, and cannot be set.
fn boot_s() -> i64 {
    rustix::time::clock_gettime(ClockId::Boottime).tv_sec
}

/// Runs for as long as the daemon does.
pub(crate) async fn expire_uploads(daemon: Rc<Daemon>) {
    let start = Start {
        wall_s: wall_s(),
        boot_s: boot_s(),
    };
    loop {
        // A little more than an hour, so that the first round is not too early by a rounding.
        tokio::time::sleep(EVERY + Duration::from_secs(1)).await;
        let now_s = wall_s();
        if !start.may_expire(now_s, boot_s()) {
            tracing::warn!(
                "the clock has jumped: no upload expires until it is right or berthd restarts"
            );
            continue;
        }
        if let Err(error) = round(&daemon, now_s).await {
            tracing::error!(%error, "uploads cannot expire");
        }
    }
}

async fn round(daemon: &Daemon, now_s: i64) -> Result<(), LedgerError> {
    let mut after = None;
    loop {
        let users = daemon.ledger.users(after, PER_PAGE).await?;
        let Some(last) = users.last() else {
            return Ok(());
        };
        after = Some(last.name.clone());
        for user in users
            .iter()
            .filter(|user| user.uploads > 0 && user.may_log_in())
        {
            if daemon.is_read_only(&user.name) {
                continue;
            }
            if let Err(error) = expire_user(daemon, &user.name, now_s).await {
                tracing::error!(user = %user.name, %error, "uploads cannot expire");
            }
        }
    }
}

async fn expire_user(daemon: &Daemon, user: &UserName, now_s: i64) -> Result<(), RecoveryError> {
    let turn = daemon.turn(user);
    let _turn = turn.lock().await;
    // A number of its own, so that no session can resume what is being removed.
    let expirer = daemon.sessions.borrow_mut().number();
    let expired = claim_expired(daemon, user, expirer, now_s).await;
    let removed = match expired {
        Ok(names) if names.is_empty() => Ok(()),
        Ok(names) => remove(daemon, user, expirer, &names).await,
        Err(error) => Err(error.into()),
    };
    daemon.ledger.session_ended(expirer).await?;
    removed
}

async fn claim_expired(
    daemon: &Daemon,
    user: &UserName,
    expirer: SessionId,
    now_s: i64,
) -> Result<Vec<StagingName>, LedgerError> {
    let (mut names, mut after, mut last) = (Vec::new(), None, false);
    while !last {
        let (rows, is_last) = daemon.ledger.uploads(user, after, PER_PAGE).await?;
        last = is_last;
        after = rows.last().map(|row| row.name).or(after);
        for row in rows
            .iter()
            .filter(|row| !row.active && row.expires_s <= now_s)
        {
            match daemon.ledger.claim(user, expirer, row.name).await {
                Ok(Claiming::Claimed) => names.push(row.name),
                // Somebody has gone on with it meanwhile.
                Ok(Claiming::HeldBy(_)) | Err(LedgerError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(names)
}

/// The files first, then the rows: a crash between leaves rows without files, which the next start drops.
async fn remove(
    daemon: &Daemon,
    user: &UserName,
    expirer: SessionId,
    names: &[StagingName],
) -> Result<(), RecoveryError> {
    let mut recoverer = recovery::recoverer(daemon, user).await?;
    let removed = recoverer.remove(names).await;
    recoverer.finish().await;
    removed?;
    for name in names {
        daemon.ledger.drop_name(user, expirer, *name).await?;
        tracing::info!(%user, upload = name.0, "an upload has expired");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_expires_in_the_first_hour_nor_when_the_clock_has_jumped() {
        let start = Start {
            wall_s: 1_000_000,
            boot_s: 50,
        };
        let at = |boot: i64, drift: i64| start.may_expire(1_000_000 + boot + drift, 50 + boot);
        assert!(!at(0, 0) && !at(3599, 0));
        assert!(at(3600, 0) && at(3600, DAY_S) && at(3600, -DAY_S));
        assert!(!at(3600, DAY_S + 1) && !at(3600, -DAY_S - 1));
        assert!(!at(1_000_000, 20 * 365 * DAY_S));
    }
}

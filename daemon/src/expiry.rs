//! Once an hour, uploads are removed that nobody has gone on with until their time was over.
//!
//! Nothing expires in the first hour after a start, so that clients can come back first, nor while the
//! clock is more than a day from where it should be: a wrong clock must not destroy what people sent.
//!
//! Each round first makes durable what sessions are at work on, so that a crash ages an upload by an hour at most,
//! however long it had been under way.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use berth_common::ids::{SessionId, StagingName, UserName};
use berth_common::points::{Point, Rule, is_off, reach};
use rustix::time::ClockId;

use crate::daemon::Daemon;
use crate::ledger::{LedgerError, UserRecord};
use crate::recovery::{self, RecoveryError};

const EVERY: Duration = Duration::from_secs(3600);
/// The same where a test does not wait.
const AT_ONCE: Duration = Duration::from_millis(50);
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
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// Goes on while the machine sleeps, and cannot be set.
fn boot_s() -> i64 {
    rustix::time::clock_gettime(ClockId::Boottime).tv_sec
}

/// Runs for as long as the daemon does.
pub(crate) async fn expire_uploads(daemon: Rc<Daemon>) {
    let start = Start { wall_s: wall_s(), boot_s: boot_s() };
    loop {
        let waits = !is_off(Rule::ExpiryWaits);
        // A little more than an hour, so that the first round is not too early by a rounding.
        let pause = if waits { EVERY + Duration::from_secs(1) } else { AT_ONCE };
        tokio::time::sleep(pause).await;
        let may_expire = !waits || start.may_expire(wall_s(), boot_s());
        if !may_expire {
            tracing::warn!(
                "the clock has jumped: no upload expires until it is right or berthd restarts"
            );
        }
        if let Err(error) = round(&daemon, may_expire).await {
            tracing::error!(%error, "uploads cannot expire");
        }
    }
}

/// One round. Nothing expires before what is under way is marked, which is done whatever the clock says.
///
/// # Errors
/// The ledger's; what is left is tried again in the next round.
pub(crate) async fn round(daemon: &Daemon, may_expire: bool) -> Result<(), LedgerError> {
    daemon.ledger.touch_held_uploads().await?;
    if !may_expire {
        return Ok(());
    }
    let mut after = None;
    loop {
        let users = daemon.ledger.users(after, PER_PAGE).await?;
        let Some(last) = users.last() else {
            return Ok(());
        };
        after = Some(last.name.clone());
        // Who is locked cannot go on with an upload, and shall not lose it for that.
        let may_expire = |user: &&UserRecord| user.uploads > 0 && user.may_log_in();
        for user in users.iter().filter(may_expire) {
            if daemon.is_read_only(&user.name) {
                continue;
            }
            if let Err(error) = expire_user(daemon, &user.name).await {
                tracing::error!(user = %user.name, %error, "uploads cannot expire");
            }
        }
    }
}

/// Removes one user's uploads whose time is over.
///
/// # Errors
/// The filer's and the ledger's; what is left is tried again in the next round.
pub(crate) async fn expire_user(daemon: &Daemon, user: &UserName) -> Result<(), RecoveryError> {
    let turn = daemon.turn(user);
    let _turn = turn.lock().await;
    if daemon.is_read_only(user) {
        return Ok(());
    }
    // A number of its own, so that no session can resume what is being removed.
    let expirer = daemon.sessions.borrow_mut().number();
    let expired = daemon.ledger.claim_expired(user, expirer).await?;
    if expired.is_empty() {
        return Ok(());
    }
    reach(Point::ExpiredClaimed);
    let removed = remove(daemon, user, expirer, &expired).await;
    // What could not be removed is as old as it was, and is tried again in the next round.
    recovery::patiently(&daemon.ledger, async || daemon.ledger.give_up_claims(expirer).await)
        .await?;
    removed
}

/// The files first, then the rows: a crash between leaves rows without files, which the next start drops.
async fn remove(
    daemon: &Daemon,
    user: &UserName,
    expirer: SessionId,
    names: &[StagingName],
) -> Result<(), RecoveryError> {
    recovery::recover(daemon, user, async |recoverer| Ok(recoverer.remove(names).await?)).await?;
    reach(Point::ExpiredFilesRemoved);
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
        let start = Start { wall_s: 1_000_000, boot_s: 50 };
        let at = |boot: i64, drift: i64| start.may_expire(1_000_000 + boot + drift, 50 + boot);
        assert!(!at(0, 0) && !at(3599, 0));
        assert!(at(3600, 0) && at(3600, DAY_S) && at(3600, -DAY_S));
        assert!(!at(3600, DAY_S + 1) && !at(3600, -DAY_S - 1));
        assert!(!at(1_000_000, 20 * 365 * DAY_S));
    }
}

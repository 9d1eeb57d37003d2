//! Homes that are stopped because their sums do not fit, or are not known to: counted and corrected, and let go.
//!
//! Nobody changes such a home, so there is no window and no ticket.

use berth_common::admin_protocol::Verification;
use berth_common::ids::UserName;

use super::walker::Walker;
use super::{UnderWay, VerifyError, open_home, verification};
use crate::daemon::{Daemon, Stopped};
use crate::exit::KillReason;
use crate::{distrust, recovery};

/// Whether the home is stopped for a reason that a correction of its sums takes away.
pub(super) fn is_to_be_fixed(daemon: &Daemon, user: &UserName) -> bool {
    matches!(daemon.stopped(user), Some(Stopped::Imbalance | Stopped::Unverified))
}

impl UnderWay {
    /// A home that is stopped since the sums did not fit, or are not known to: nobody changes it, and intents may
    /// be left that could not be replayed. Its sessions, which can only read, are ended, so that these are
    /// nobody's.
    pub(super) async fn fix_stopped(&self) -> Result<Verification, VerifyError> {
        let Self { daemon, user } = self;
        // Of a home that was stopped before it was served, sessions have nothing but what they read.
        if daemon.stopped(user) == Some(Stopped::Imbalance) {
            daemon.end_sessions_of(user, &KillReason::Administrator).await;
        }
        let turn = daemon.turn(user);
        let _turn = turn.lock().await;
        let home = open_home(daemon, user).await?;
        let mut walker =
            Walker::join(daemon.filers.take().await, user, home, daemon.settings().config.sandbox)
                .await?;
        while !walker.list().await? {}
        let sum = walker.sum().await?;
        walker.finish().await;
        let used = (i64::try_from(sum.bytes), i64::try_from(sum.entries));
        let (Ok(bytes), Ok(entries)) = used else {
            return Err(VerifyError::Beyond);
        };
        let usage = daemon.ledger.usage(user).await?;
        if !is_to_be_fixed(daemon, user) {
            return Err(VerifyError::ReadOnly);
        }
        let corrected = recovery::replay_and_correct(daemon, user, (bytes, entries)).await;
        if !is_to_be_fixed(daemon, user) {
            // A sync has failed meanwhile, and the mark that says so may have been taken away with the other.
            distrust::mark(daemon, user);
            return Err(VerifyError::ReadOnly);
        }
        corrected?;
        daemon.make_writable(user);
        let mut found = verification(user, &usage, sum);
        // What was not settled yet explains a part; the sums did not fit, so that it is corrected anyway.
        found.fixed = !found.is_exact();
        found.writable_again = true;
        Ok(found)
    }
}

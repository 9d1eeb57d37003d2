//! Whether all that was done in a home is settled, so that what is used is what has happened.

use std::collections::HashSet;
use std::time::Duration;

use berth_common::ids::StagingName;
use tokio::time::{Instant, sleep};

use super::{UnderWay, VerifyError};
use crate::serve::Given;

/// How long what sessions have begun is waited for without the ticket: a large tree may be counted.
const SETTLING: Duration = Duration::from_secs(600);

/// How often rows are looked at that are not settled.
const POLL: Duration = Duration::from_millis(5);

impl UnderWay {
    /// With the ticket: waits until every act is settled, so that what is used is what has happened. An
    /// intent that waits for the ticket has not acted. A dead session's is settled by its replay.
    pub(super) async fn all_is_settled(&self, until: Instant) -> Result<bool, VerifyError> {
        loop {
            if self.unsettled().await?.is_empty() {
                return Ok(true);
            }
            // Some of it may belong to a batch that gave the ticket back half way, and waits for it now.
            if Instant::now() >= until || self.a_batch_may_wait() {
                return Ok(false);
            }
            sleep(POLL).await;
        }
    }

    /// Whether a session waits for the ticket alone: for a plain rename, or for the rest of a batch.
    fn a_batch_may_wait(&self) -> bool {
        let tickets = self.daemon.tickets.borrow();
        tickets.waiting(&self.user).any(|given| *given == Given::Names(Vec::new()))
    }

    /// Without the ticket: waits until what is unsettled now is settled, whatever else is begun.
    pub(super) async fn settles_by_itself(&self) -> Result<(), VerifyError> {
        let until = Instant::now() + SETTLING;
        let begun = self.unsettled().await?;
        while !self.unsettled().await?.is_disjoint(&begun) {
            if Instant::now() >= until {
                return Err(VerifyError::Restless);
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Intents that are not known to wait for the ticket.
    async fn unsettled(&self) -> Result<HashSet<StagingName>, VerifyError> {
        self.check()?;
        let pending = self.daemon.ledger.pending(&self.user).await?;
        let tickets = self.daemon.tickets.borrow();
        let waiting: HashSet<StagingName> =
            tickets.waiting(&self.user).flat_map(Given::names).copied().collect();
        let names = pending.intents.iter().map(|row| row.name);
        Ok(names.filter(|name| !waiting.contains(name)).collect())
    }
}

//! How long a recovery waits for the ledger, or for descriptors.

use std::time::Duration;

use crate::ledger::{Ledger, LedgerError};

/// How long it is waited before the next try; the last one repeats.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// The patience of one recovery.
#[derive(Debug)]
pub(crate) struct Patience {
    outages: bool,
    tries: usize,
    refusals: usize,
}

impl Patience {
    /// Outages are waited for, however long they take: there is nothing else to do.
    pub(super) fn until_the_end_of_an_outage() -> Self {
        Self { outages: true, tries: 0, refusals: 0 }
    }

    /// An outage is for somebody else to wait for.
    pub(super) fn while_it_works() -> Self {
        Self { outages: false, ..Self::until_the_end_of_an_outage() }
    }

    /// After the ledger was unavailable: waits until it can be asked again. `false` when that is no use:
    /// it works for others and refuses this all the same.
    pub(super) async fn outlasts(&mut self, ledger: &Ledger) -> bool {
        if !ledger.works() {
            if self.outages {
                tracing::warn!("a recovery waits for the ledger");
                ledger.until_it_works().await;
            }
            return self.outages;
        }
        self.refusals += 1;
        if self.refusals <= PAUSES.len() {
            self.pause().await;
        }
        self.refusals <= PAUSES.len()
    }

    /// Waits a while, the longer the more often.
    pub(super) async fn pause(&mut self) {
        let pause = PAUSES[self.tries.min(PAUSES.len() - 1)];
        self.tries += 1;
        tokio::time::sleep(pause).await;
    }
}

/// Asks the ledger again for as long as it is out.
pub(crate) async fn patiently<T>(
    ledger: &Ledger,
    ask: impl AsyncFn() -> Result<T, LedgerError>,
) -> Result<T, LedgerError> {
    let mut patience = Patience::until_the_end_of_an_outage();
    loop {
        let answer = ask().await;
        let unavailable = matches!(answer, Err(LedgerError::Unavailable));
        if !unavailable || !patience.outlasts(ledger).await {
            return answer;
        }
    }
}

//! What the ledger says, as the filer hears it, and what the daemon itself does about the ledger's errors.

use berth_common::error_code::ErrorCode;
use berth_common::ids::OpId;
use berth_common::ledger_protocol::DaemonToFiler;

use super::Serving;
use crate::ledger::LedgerError;

impl Serving {
    pub(super) fn answer(&self, op: OpId, answer: Result<DaemonToFiler, LedgerError>) {
        match answer {
            Ok(message) => {
                self.asked.borrow_mut().answered(op);
                self.filer.send(&message, &[]);
            }
            Err(error) => {
                self.look_at(&error);
                self.refuse(op, error.code());
            }
        }
    }

    /// Tells the ledger what must not be lost in an outage: again when it works, unless the session is over by
    /// then, whose end sees to it.
    pub(super) async fn persistently<T>(
        &self,
        tell: impl AsyncFn() -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        // One more try, since the outage may have ended between the refusal and this look.
        let mut tries = 2;
        loop {
            let told = tell().await;
            let unavailable = matches!(told, Err(LedgerError::Unavailable));
            if self.daemon.ledger.works() {
                tries -= 1;
            }
            if !unavailable || tries == 0 || self.over.is_up() {
                return told;
            }
            tokio::select! {
                () = self.over.up() => {}
                () = self.daemon.ledger.until_it_works() => {}
            }
        }
    }

    /// What is not answered is done, for so many names.
    pub(super) fn noted(&self, names: usize, done: Result<(), LedgerError>) {
        self.asked.borrow_mut().noted(names);
        if let Err(error) = done {
            self.look_at(&error);
        }
    }

    /// What the daemon itself does about an error of the ledger's.
    pub(super) fn look_at(&self, error: &LedgerError) {
        match error {
            LedgerError::Protocol(_) => self.broke(error.to_string()),
            LedgerError::Imbalance => self.daemon.make_read_only_for_imbalance(&self.user),
            LedgerError::Damaged(_) => {
                self.daemon.make_read_only(&self.user, &error.to_string());
            }
            LedgerError::Unavailable => {
                // The ledger itself has logged it, once.
                tracing::debug!(session = self.session.0, user = %self.user, "{error}");
            }
            LedgerError::Refused(_)
            | LedgerError::NoSuchUser
            | LedgerError::UserExists
            | LedgerError::UserGoing => {}
        }
    }

    pub(super) fn refuse(&self, op: OpId, error: ErrorCode) {
        tracing::info!(session = self.session.0, user = %self.user, %error, "refused");
        self.asked.borrow_mut().refused(op);
        self.filer.send(&DaemonToFiler::Refused { op, error }, &[]);
    }
}

//! What the ledger says, as the filer hears it, and what the daemon itself does about the ledger's errors.

use std::time::Instant;

use berth_common::error_code::ErrorCode;
use berth_common::ids::OpId;
use berth_common::ledger_protocol::DaemonToFiler;

use super::Serving;
use crate::ledger::LedgerError;
use crate::lines::some;

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

    /// Nobody is there to be refused anything when the session is over.
    pub(super) fn refuse(&self, op: OpId, error: ErrorCode) {
        if self.over.is_up() {
            return;
        }
        let line = self.refusals.borrow_mut().one_more(Instant::now());
        if let Some(left_out) = line.map(some) {
            tracing::info!(session = self.session.0, user = %self.user, %error, left_out, "refused");
        }
        self.asked.borrow_mut().refused(op);
        self.filer.send(&DaemonToFiler::Refused { op, error }, &[]);
    }
}

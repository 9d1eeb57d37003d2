//! Why a verification has no result, in sentences for the administrator.

use crate::filer_handle::FilerError;
use crate::ledger::LedgerError;
use crate::recovery::RecoveryError;

/// Why a home could not be compared with the ledger.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    /// Another verification of the same user is under way.
    #[error("it is being verified already")]
    UnderWay,
    /// The home is read-only.
    #[error(
        "the home is read-only, and the log says why: if the ledger's sums did not fit, --fix corrects \
         them and ends the user's sessions; else look at the disk and restart berthd first"
    )]
    ReadOnly,
    /// What is left of dead sessions cannot be replayed.
    #[error("what is left in staging cannot be replayed: {0}")]
    Replay(#[from] RecoveryError),
    /// What was deleted in an outage of the ledger counts as used, and is in no home.
    #[error(
        "what was deleted while the ledger could not be written is not accounted for yet; try again"
    )]
    Owing,
    /// The ticket does not come.
    #[error("a session holds the home and does not let go")]
    NoTicket,
    /// The home did not come to rest for a moment.
    #[error("the home changes too fast, or sessions die too often; try again")]
    Restless,
    /// The daemon ends.
    #[error("berthd is stopping")]
    Stopping,
    /// More or fewer bytes than the ledger can have.
    #[error("the sums are beyond what the ledger can hold")]
    Beyond,
    /// The user's directories.
    #[error("the home cannot be opened: {0}")]
    Directories(#[from] std::io::Error),
    /// The filer.
    #[error("{}", failed(.0))]
    Filer(#[from] FilerError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What a filer says of itself is the reason, without who says it.
fn failed(error: &FilerError) -> String {
    match error {
        FilerError::Failed(reason) => reason.clone(),
        FilerError::Ended(_)
        | FilerError::Unsynced(_)
        | FilerError::Home(_)
        | FilerError::Channel(_) => error.to_string(),
    }
}

//! What the ledger is asked and answers, in domain words. No SQL, no serialisation: these types
//! stay within the daemon, and the supervisor converts them to messages.

use berth_common::entry::{Limits, SourceFingerprint, Usage};
use berth_common::error_code::ErrorCode;
use berth_common::ids::{SessionId, StagingName, UploadToken, UserName};
use berth_common::rel_path::RelPath;
use berth_common::scram::ScramVerifier;

/// Why the ledger did not do what it was asked. But for `Unavailable`, all else that was asked at
/// the same time is done; in every case nothing of this request is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LedgerError {
    /// For the client to know: over quota, no such upload, busy.
    #[error("{0}")]
    Refused(ErrorCode),
    /// The database could not be read or written, and certainly was not.
    #[error("the ledger cannot be read or written")]
    Unavailable,
    /// A row of the user's does not parse: it was damaged or tampered with. The user's changes are to be
    /// stopped (`ErrorCode::ReadOnly`) until an administrator has looked; the text names the row.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// There is no user of this name.
    #[error("there is no such user")]
    NoSuchUser,
    /// There is a user of this name.
    #[error("the user exists already")]
    UserExists,
    /// The user is being made or removed.
    #[error("the user is being made or removed")]
    UserGoing,
    /// The peer on whose behalf it was asked broke the protocol (it named what is not its own, or
    /// an outcome that its intent does not allow) and is to be ended; replay finds out what is
    /// true.
    #[error("the peer broke the ledger's protocol: {0}")]
    Protocol(&'static str),
    /// More would go out of the home than the ledger knows to be in it, or a sum would overflow:
    /// someone changed the home by hand. The user's changes are to be stopped
    /// (`ErrorCode::ReadOnly`) until the sums are corrected; the intent stays.
    #[error("the ledger's sums do not fit what is in the user's home")]
    Imbalance,
}

impl LedgerError {
    /// What the client is told.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(code) => code.clone(),
            Self::Unavailable => ErrorCode::LedgerUnavailable,
            Self::NoSuchUser | Self::UserExists | Self::UserGoing => ErrorCode::Ended,
            Self::Protocol(_) => ErrorCode::Protocol,
            Self::Imbalance | Self::Damaged(_) => ErrorCode::ReadOnly,
        }
    }
}

/// Where a user is between coming and going. Each state is durable and replayed at the daemon's
/// start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserState {
    /// The row is there, the directories may not be.
    Creating,
    /// May log in, unless locked.
    Active,
    /// The directories are being removed, then the row is.
    Removing,
}

/// Users, and where they are between coming and going.
pub(crate) type UserStates = Vec<(UserName, UserState)>;

/// A user, as the ledger knows it.
#[derive(Clone, Debug)]
pub(crate) struct UserRecord {
    /// Who.
    pub(crate) name: UserName,
    /// Where between coming and going.
    pub(crate) state: UserState,
    /// Whether logins are refused.
    pub(crate) locked: bool,
    /// What checks the password.
    pub(crate) verifier: ScramVerifier,
    /// Limits and usage, reservations in memory included.
    pub(crate) usage: Usage,
    /// Open, resumable uploads.
    pub(crate) uploads: u32,
    /// Seconds since the epoch.
    pub(crate) created_s: i64,
}

impl UserRecord {
    /// Whether a right password logs this user in.
    pub(crate) fn may_log_in(&self) -> bool {
        self.state == UserState::Active && !self.locked
    }
}

/// A device that is registered.
#[derive(Clone, Debug)]
pub(crate) struct DeviceRecord {
    /// Whose it is.
    pub(crate) user: UserRecord,
    /// When it was last noted that it was logged in by, in seconds since the epoch.
    pub(crate) used_s: Option<i64>,
}

/// An invitation that can be used.
#[derive(Clone, Debug)]
pub(crate) struct Invitation {
    /// What checks its secret.
    pub(crate) verifier: ScramVerifier,
    /// The name that the account must have.
    pub(crate) user: Option<UserName>,
    /// The quota that it will have.
    pub(crate) limits: Limits,
}

/// What a session asks for with a resumable upload.
#[derive(Clone, Debug)]
pub(crate) struct UploadRequest {
    /// Where the file is to appear.
    pub(crate) path: RelPath,
    /// What is sent.
    pub(crate) source: SourceFingerprint,
    /// Who may go on with it.
    pub(crate) token: UploadToken,
    /// Bytes by which the home would grow.
    pub(crate) growth: u64,
    /// Entries by which it would grow.
    pub(crate) entries: u64,
}

/// The answer to an [`UploadRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UploadOpening {
    /// The upload is the session's.
    Opened {
        /// Its name in staging.
        name: StagingName,
        /// Whether it was begun earlier.
        resumed: bool,
        /// An earlier upload of the same client to the same path from another source. It is the
        /// session's now, with nothing reserved, to be removed from staging and then dropped.
        superseded: Option<StagingName>,
    },
    /// Another session has this very upload; nothing was changed. Whoever asks decides whether that
    /// session is ended; after `let_go_uploads` for it, the same request is asked again.
    HeldBy {
        /// The session.
        session: SessionId,
        /// Whether the upload was opened with the token of this request.
        same_token: bool,
    },
}

/// The answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claiming {
    /// The upload is the session's.
    Claimed,
    /// Another session has it; as with [`UploadOpening::HeldBy`].
    HeldBy(SessionId),
}

/// What a session tells of its names, and does not wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// It works on this upload no longer, which stays without an owner.
    LetGo(StagingName),
    /// Nothing stands any more at these settled names. Names that the ledger does not know (any more) are ignored.
    Gone(Vec<StagingName>),
    /// The files of this reservation or open upload are gone from staging: it is forgotten. So is the note where it
    /// is neither.
    Dropped(StagingName),
}

impl Note {
    /// How many names it is about.
    pub(crate) fn names(&self) -> usize {
        match self {
            Self::LetGo(_) | Self::Dropped(_) => 1,
            Self::Gone(names) => names.len(),
        }
    }
}

/// What an intent said would happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntentKind {
    /// The staged inode is placed in the home.
    Stage {
        /// Its number.
        inode: u64,
        /// Its bytes; 0 for a directory.
        size: u64,
    },
    /// Something is taken out of the home into staging.
    Take,
    /// A file is replaced by a rename, pinned by a link in staging.
    Over,
}

/// An intent that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IntentRow {
    /// Its name in staging.
    pub(crate) name: StagingName,
    /// What was about to happen.
    pub(crate) kind: IntentKind,
    /// Whether it commits a resumable upload, which is open again if it did not happen.
    pub(crate) resumable: bool,
}

/// What a dead session left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orphans {
    /// Intents to be examined, decided ([`super::decide`]) and settled.
    pub(crate) intents: Vec<IntentRow>,
    /// Names that are only reserved, at which a file or an empty directory may stand in staging. To be
    /// removed soon, and then told as `removed`, since the reservations stand in others' way.
    pub(crate) reserved: Vec<StagingName>,
    /// Settled names, at which a whole tree may stand in staging, or beside which a journal. To be removed
    /// at any time, and then told as `removed`.
    pub(crate) leftovers: Vec<StagingName>,
    /// Open uploads that the session has. What is missing in staging is to be dropped, the rest stays.
    pub(crate) uploads: Vec<StagingName>,
}

impl Orphans {
    /// Whether there is nothing of the session, so that not even its end has to be recorded.
    pub(crate) fn are_none(&self) -> bool {
        self.intents.is_empty()
            && self.reserved.is_empty()
            && self.leftovers.is_empty()
            && self.uploads.is_empty()
    }
}

/// What the ledger holds of a user when the daemon starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Intents to be examined, decided and settled, before anything else is done for the user.
    pub(crate) intents: Vec<IntentRow>,
    /// Open uploads, those that an intent commits included: what is missing in staging (and was not
    /// committed) is to be dropped, the rest survives the sweep.
    pub(crate) uploads: Vec<StagingName>,
}

//! `berthctl` and daemon: frames of kind 0 over a Unix stream socket, one request, one answer, then closed.
//! The answer to `LedgerBackup` is followed by the bytes of the copy.
//!
//! The socket lies in a directory that is closed to others, and the peer's uid is checked: the daemon's own
//! or root's.

use serde::{Deserialize, Serialize};

use crate::credentials::{DeviceId, DeviceSummary, InvitationId};
use crate::digest::Md5;
use crate::entry::{Limits, Usage};
use crate::exec::ProgramName;
use crate::ids::{SessionId, UserName};
use crate::scram::ScramVerifier;

/// What an administrator asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminToDaemon {
    /// Makes a user with an empty home.
    UserAdd {
        /// Who.
        user: UserName,
        /// Made from the password by `berthctl`, which alone sees it.
        verifier: ScramVerifier,
        /// The quota.
        limits: Limits,
    },
    /// Lists the users.
    UserList {
        /// Only those after this name; answers come in pages.
        after: Option<UserName>,
    },
    /// Shows one user.
    UserShow {
        /// Who.
        user: UserName,
    },
    /// Sets a password.
    UserPassword {
        /// Who.
        user: UserName,
        /// Made from the password by `berthctl`.
        verifier: ScramVerifier,
    },
    /// Refuses logins and ends the user's sessions at once.
    UserLock {
        /// Who.
        user: UserName,
    },
    /// Allows logins again.
    UserUnlock {
        /// Who.
        user: UserName,
    },
    /// Ends the user's sessions and removes the user with all files.
    UserRemove {
        /// Who.
        user: UserName,
    },
    /// Lists the programs that a user may run.
    ExecList {
        /// Who.
        user: UserName,
    },
    /// Lets a user run programs, besides those that the user may run already.
    ExecAllow {
        /// Who.
        user: UserName,
        /// Which; at least one.
        programs: Vec<ProgramName>,
    },
    /// Lets a user run programs no more. Those that run go on.
    ExecDeny {
        /// Who.
        user: UserName,
        /// Which; none means all.
        programs: Vec<ProgramName>,
    },
    /// Lists a user's devices.
    DeviceList {
        /// Whose.
        user: UserName,
    },
    /// Lets devices log in no more, and ends their sessions.
    DeviceRevoke {
        /// Whose.
        user: UserName,
        /// Which; `None` for all.
        device: Option<DeviceId>,
    },
    /// Invites somebody to make an account.
    InvitationAdd {
        /// Made from the secret by `berthctl`, which alone sees it.
        invitation: InvitationId,
        /// Made from the secret, too.
        verifier: ScramVerifier,
        /// The name that the account must have; `None` when whoever joins may choose.
        user: Option<UserName>,
        /// The quota that the account will have.
        limits: Limits,
        /// For how many seconds from now the invitation is valid.
        valid_s: u32,
    },
    /// Lists invitations that can be used, and those that were used or have expired in the last 30 days.
    InvitationList {
        /// Only those after this one; answers come in pages.
        after: Option<InvitationId>,
    },
    /// Takes an invitation back that was not used.
    InvitationRevoke {
        /// Which.
        invitation: InvitationId,
    },
    /// Sets limits; they hold for running sessions too.
    QuotaSet {
        /// Who.
        user: UserName,
        /// New limit for bytes.
        bytes: Change,
        /// New limit for entries.
        entries: Change,
    },
    /// Compares the ledger with what the user's home holds, while sessions work. Takes as long as a walk.
    QuotaVerify {
        /// Whose.
        user: UserName,
        /// Whether the ledger is to be corrected.
        fix: bool,
    },
    /// Lists the sessions.
    SessionList {
        /// Only those after this one.
        after: Option<SessionId>,
    },
    /// Ends a session at once.
    SessionKill {
        /// Which.
        session: SessionId,
    },
    /// Asks for a consistent copy of the ledger.
    LedgerBackup,
    /// Asks how the server is.
    Status,
}

/// What to do with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Leave it.
    Keep,
    /// No limit.
    Unlimited,
    /// This limit.
    To(u64),
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DaemonToAdmin {
    /// It is done.
    Done,
    /// It is refused.
    Refused(AdminError),
    /// A page of users.
    Users {
        /// In the order of their names.
        users: Vec<UserSummary>,
        /// Whether there are none after these.
        last: bool,
    },
    /// One user.
    User(UserSummary),
    /// A user's devices, in the order of their registration.
    Devices(Vec<DeviceSummary>),
    /// The programs that a user may run, in the order of their names.
    Programs(Vec<ProgramName>),
    /// A page of invitations.
    Invitations {
        /// In the order of their ids.
        invitations: Vec<InvitationSummary>,
        /// Whether there are none after these.
        last: bool,
    },
    /// What a verification found.
    Verified(Verification),
    /// A page of sessions.
    Sessions {
        /// In the order of their numbers.
        sessions: Vec<SessionSummary>,
        /// Whether there are none after these.
        last: bool,
    },
    /// A copy of the ledger: this frame is followed by so many bytes, and nothing else.
    LedgerBackup {
        /// Bytes that follow.
        bytes: u64,
        /// The MD5 of all of them.
        md5: Md5,
        /// The version of the ledger's tables.
        version: u32,
        /// Users in it.
        users: u64,
    },
    /// How the server is.
    Status(Box<Status>),
}

/// Why an administrator's request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AdminError {
    /// No such user.
    #[error("there is no user {0}")]
    NoSuchUser(UserName),
    /// There is one already.
    #[error("user {0} exists already")]
    UserExists(UserName),
    /// The user is being removed, or was not made completely.
    #[error("user {0} is being made or removed")]
    UserGoing(UserName),
    /// No such device of this user.
    #[error("user {0} has no device {1}")]
    NoSuchDevice(UserName, DeviceId),
    /// No such invitation, or it was used already.
    #[error("there is no invitation {0} that could be used")]
    NoSuchInvitation(InvitationId),
    /// As many invitations as there may be.
    #[error("there are {0} invitations that can be used; revoke some")]
    TooManyInvitations(u32),
    /// A program that is to be allowed is not there.
    #[error("{program} cannot be run: {reason}; nothing was changed")]
    NoSuchProgram {
        /// Which.
        program: ProgramName,
        /// Why, for the administrator.
        reason: String,
    },
    /// The user may run as many programs as one may.
    #[error("user {0} would be allowed more than {1} programs; nothing was changed")]
    TooManyPrograms(UserName, u32),
    /// No such session.
    #[error("there is no session {0}")]
    NoSuchSession(SessionId),
    /// The ledger cannot be read or written.
    #[error("the ledger cannot be written; the server's log says why")]
    Ledger,
    /// The user's directories cannot be made or removed.
    #[error("the user's directories: {0}")]
    Directories(String),
    /// The ledger could not be copied.
    #[error("there is no backup: {0}")]
    Backup(String),
    /// The home could not be compared with the ledger.
    #[error("{user} could not be verified: {reason}")]
    NotVerified {
        /// Whose.
        user: UserName,
        /// Why, for the administrator.
        reason: String,
    },
    /// The request was no request, or its sender may not ask.
    #[error("the request was refused")]
    Refused,
}

/// A user, as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSummary {
    /// Who.
    pub user: UserName,
    /// Whether logins are refused.
    pub locked: bool,
    /// Limits and usage.
    pub usage: Usage,
    /// Running sessions.
    pub sessions: u32,
    /// Open, resumable uploads.
    pub uploads: u32,
    /// Seconds since the epoch.
    pub created_s: i64,
}

/// An invitation, as an administrator sees it. Its secret is known to whoever was invited alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationSummary {
    /// Which.
    pub invitation: InvitationId,
    /// The name that the account must have.
    pub user: Option<UserName>,
    /// The quota that the account will have.
    pub limits: Limits,
    /// When it was made, in seconds since the epoch.
    pub created_s: i64,
    /// Until when it is valid, in seconds since the epoch.
    pub expires_s: i64,
    /// Who has joined by it.
    pub used_by: Option<UserName>,
}

/// A ledger and a home, compared at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Whose.
    pub user: UserName,
    /// What the ledger had as used, in bytes.
    pub ledger_bytes: i64,
    /// In entries.
    pub ledger_entries: i64,
    /// What the home held, in bytes.
    pub disk_bytes: u64,
    /// In entries.
    pub disk_entries: u64,
    /// Whether the ledger was corrected to what the home held.
    pub fixed: bool,
    /// Whether changes of the home, which were stopped, are allowed again.
    pub writable_again: bool,
    /// Regular files with several names, which are not served.
    pub linked: u64,
    /// Some of their paths.
    pub linked_names: Vec<String>,
}

impl Verification {
    /// Whether the two were the same.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.difference() == (0, 0)
    }

    /// What the home held more than the ledger had: bytes and entries.
    #[must_use]
    pub fn difference(&self) -> (i128, i128) {
        let more = |disk: u64, ledger: i64| i128::from(disk) - i128::from(ledger);
        (more(self.disk_bytes, self.ledger_bytes), more(self.disk_entries, self.ledger_entries))
    }
}

/// A session, as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSummary {
    /// Its number.
    pub session: SessionId,
    /// The user, once logged in.
    pub user: Option<UserName>,
    /// The client's address and port.
    pub peer: String,
    /// Seconds since the connection.
    pub age_s: u64,
    /// Seconds since the last message from the client or byte of a transfer, as far as is known.
    pub idle_s: u64,
    /// Running transfers.
    pub transfers: u32,
    /// File bytes received.
    pub received: u64,
    /// File bytes sent.
    pub sent: u64,
    /// Process number of the worker.
    pub worker_pid: u32,
    /// Process number of the filer, once logged in.
    pub filer_pid: Option<u32>,
}

/// How the server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Process number of the daemon.
    pub pid: u32,
    /// Seconds since its start.
    pub uptime_s: u64,
    /// Where it listens.
    pub listen: Vec<String>,
    /// SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: String,
    /// Users in the ledger.
    pub users: u64,
    /// Connections, logged in or not.
    pub connections: u32,
    /// Of these, logged in.
    pub sessions: u32,
    /// Workers waiting for a client.
    pub spare_workers: u32,
    /// Filers waiting for a login.
    pub spare_filers: u32,
    /// Workers and filers that did not end as they should since the start.
    pub incidents: Incidents,
    /// The tickets since the start.
    pub tickets: TicketTimes,
    /// The ledger since the start.
    pub ledger: LedgerWork,
    /// Users whose homes are read-only: after a disk error, or until their sums are verified.
    pub read_only_users: Vec<UserName>,
}

/// What went wrong with workers and filers since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incidents {
    /// With workers.
    pub workers: IncidentCounts,
    /// With filers.
    pub filers: IncidentCounts,
    /// With jails, in which users' programs run.
    pub jails: IncidentCounts,
    /// The latest ones, the latest last.
    pub latest: Vec<Incident>,
}

impl Incidents {
    /// How many there were in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.workers.total() + self.filers.total() + self.jails.total()
    }
}

/// How many processes of a program ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentCounts {
    /// By a signal that nobody sent, or by an error of their own.
    pub crashed: u64,
    /// By the sandbox, for a system call that they may not make.
    pub sandbox: u64,
    /// For want of memory: their own limit, or that of the service.
    pub memory: u64,
    /// Ended by the daemon because they did not answer, begin or end in time.
    pub stalled: u64,
    /// Ended by the daemon because they broke the protocol.
    pub broke: u64,
}

impl IncidentCounts {
    /// Of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { crashed, sandbox, memory, stalled, broke } = self;
        crashed + sandbox + memory + stalled + broke
    }
}

/// A worker or filer that did not end as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Seconds since the epoch.
    pub at_s: u64,
    /// Its program.
    pub program: String,
    /// Its process number.
    pub pid: u32,
    /// Its session, if it had one.
    pub session: Option<SessionId>,
    /// The user that it worked for, once logged in.
    pub user: Option<UserName>,
    /// The client's address and port, of a worker that had one.
    pub peer: Option<String>,
    /// In which way.
    pub kind: IncidentKind,
    /// A line for the administrator: what the daemon saw, and the last words of the process, escaped.
    pub what: String,
}

/// In which way a process did not end as it should; see [`IncidentCounts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IncidentKind {
    /// A signal, or an error of its own.
    Crashed,
    /// A forbidden system call.
    Sandbox,
    /// Want of memory.
    Memory,
    /// Over a deadline.
    Stalled,
    /// The protocol.
    Broke,
}

impl IncidentKind {
    /// One word, for logs and scripts: the name of its count.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::Sandbox => "sandbox",
            Self::Memory => "memory",
            Self::Stalled => "stalled",
            Self::Broke => "broke",
        }
    }
}

/// How long tickets were held, from the grant to the release, over all users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketTimes {
    /// Tickets granted.
    pub granted: u64,
    /// Half of them were held no longer, in microseconds.
    pub p50_us: u64,
    /// All but one in a hundred were held no longer.
    pub p99_us: u64,
    /// The longest.
    pub most_us: u64,
}

/// What the ledger has done. Requests that share a transaction, or need none, make the difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerWork {
    /// Requests carried out, refused ones included.
    pub requests: u64,
    /// Transactions that were written to disk and made durable.
    pub transactions: u64,
}

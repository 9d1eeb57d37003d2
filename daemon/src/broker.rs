//! What a worker may ask of the daemon, in which phase: one table, pure.
//!
//! A pair that is not allowed ends that session and touches nobody else. Workers are not trusted: whoever
//! takes one over before its client has logged in gets past no row of this table.

use berth_common::broker_protocol::WorkerToDaemon;

/// Where a worker stands in its one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Spawned; sets itself up and demotes itself.
    Starting,
    /// Ready, without a client.
    Spare,
    /// Has a client; its one signature was not asked for yet.
    Handshake,
    /// Has its signature; the handshake is not over.
    Signed,
    /// The client has to prove the site secret.
    SitePending,
    /// Nobody has logged in yet.
    LoginPending,
    /// The daemon looks up a name.
    LoginLookup,
    /// The client has its challenge.
    LoginChallenged,
    /// The daemon checks a proof, and joins a filer.
    LoginChecking,
    /// The daemon looks up an invitation.
    JoinLookup,
    /// Whoever was invited has the challenge.
    JoinChallenged,
    /// The daemon checks that proof, and makes the account.
    JoinChecking,
    /// Logged in.
    Serving,
    /// Logged in; the daemon looks up the verifier by which a new credential is proved.
    CredentialLookup,
    /// Logged in; the client has its challenge for a new credential.
    CredentialChallenged,
    /// Logged in; the daemon checks that proof, or reads or changes credentials.
    CredentialChecking,
    /// The worker was told to end, or said that it does.
    Closing,
}

/// What a message means in its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It waits for a client.
    Ready,
    /// The signature.
    Sign,
    /// The handshake is over.
    Handshaken,
    /// Check the site secret.
    SiteProof,
    /// Begin a login.
    LoginFirst,
    /// End a login.
    LoginFinal,
    /// Check a login by a device's key.
    LoginDevice,
    /// Begin to make an account.
    JoinFirst,
    /// Make an account.
    JoinFinal,
    /// Begin to store a credential.
    CredentialFirst,
    /// Store a credential.
    CredentialFinal,
    /// Tell the devices.
    Devices,
    /// Revoke devices.
    RevokeDevices,
    /// Take note of a transfer.
    Note,
    /// Run a program.
    ExecStart,
    /// End one.
    ExecStop,
    /// It answers a heartbeat.
    Alive,
    /// It ends.
    Closing,
    /// It arrived too late to matter: the session is over already.
    Ignore,
    /// Not allowed: end the session.
    Break,
}

impl Phase {
    /// All of them, in the order of a session.
    #[cfg(any(test, fuzzing))]
    pub(crate) const ALL: [Self; 17] = [
        Self::Starting,
        Self::Spare,
        Self::Handshake,
        Self::Signed,
        Self::SitePending,
        Self::LoginPending,
        Self::LoginLookup,
        Self::LoginChallenged,
        Self::LoginChecking,
        Self::JoinLookup,
        Self::JoinChallenged,
        Self::JoinChecking,
        Self::Serving,
        Self::CredentialLookup,
        Self::CredentialChallenged,
        Self::CredentialChecking,
        Self::Closing,
    ];

    /// Whether a user has logged in.
    #[cfg(test)]
    pub(crate) fn is_logged_in(self) -> bool {
        LOGGED_IN.contains(&self)
    }

    /// Whether the TLS handshake is under way, during which nothing costly is done for others.
    pub(crate) fn is_handshake(self) -> bool {
        matches!(self, Self::Handshake | Self::Signed)
    }
}

/// Phases of a session whose user has logged in. Transfers go on beside what is done with credentials.
const LOGGED_IN: &[Phase] = &[
    Phase::Serving,
    Phase::CredentialLookup,
    Phase::CredentialChallenged,
    Phase::CredentialChecking,
];

/// Phases of a worker that has a client.
const WITH_A_CLIENT: &[Phase] = &[
    Phase::Handshake,
    Phase::Signed,
    Phase::SitePending,
    Phase::LoginPending,
    Phase::LoginLookup,
    Phase::LoginChallenged,
    Phase::LoginChecking,
    Phase::JoinLookup,
    Phase::JoinChallenged,
    Phase::JoinChecking,
    Phase::Serving,
    Phase::CredentialLookup,
    Phase::CredentialChallenged,
    Phase::CredentialChecking,
    Phase::Closing,
];

/// The table: of each message, in which phases it is allowed, and what it means there. In all others it is not.
pub(crate) fn step(phase: Phase, message: &WorkerToDaemon) -> Step {
    use Phase as P;
    use WorkerToDaemon as M;
    let (phases, step): (&[Phase], Step) = match message {
        M::Ready => (&[P::Starting], Step::Ready),
        M::Sign { .. } => (&[P::Handshake], Step::Sign),
        // TLS 1.3 without tickets: no handshake ends without a signature.
        M::Handshaken { .. } => (&[P::Signed], Step::Handshaken),
        M::SiteProof { .. } => (&[P::SitePending], Step::SiteProof),
        M::LoginFirst { .. } => (&[P::LoginPending], Step::LoginFirst),
        M::LoginFinal { .. } => (&[P::LoginChallenged], Step::LoginFinal),
        M::LoginDevice { .. } => (&[P::LoginPending], Step::LoginDevice),
        M::JoinFirst { .. } => (&[P::LoginPending], Step::JoinFirst),
        M::JoinFinal { .. } => (&[P::JoinChallenged], Step::JoinFinal),
        M::CredentialFirst { .. } => (&[P::Serving], Step::CredentialFirst),
        M::CredentialFinal { .. } => (&[P::CredentialChallenged], Step::CredentialFinal),
        M::Devices => (&[P::Serving], Step::Devices),
        M::RevokeDevices { .. } => (&[P::Serving], Step::RevokeDevices),
        M::TransferStarted { .. }
        | M::Progress { .. }
        | M::TransferEnded { .. }
        | M::BatchEnded { .. } => (LOGGED_IN, Step::Note),
        M::ExecStart { .. } => (LOGGED_IN, Step::ExecStart),
        M::ExecStop { .. } => (LOGGED_IN, Step::ExecStop),
        M::Alive => (LOGGED_IN, Step::Alive),
        M::Closing { .. } => (WITH_A_CLIENT, Step::Closing),
    };
    let is_of_the_handshake = matches!(step, Step::Ready | Step::Sign | Step::Handshaken);
    if phases.contains(&phase) {
        step
    } else if phase == P::Closing && !is_of_the_handshake {
        // It was on its way when the daemon told the worker to end.
        Step::Ignore
    } else {
        Step::Break
    }
}

/// Whether a message is one that no honest worker sends often, whatever its client does.
pub(crate) fn is_seldom(message: &WorkerToDaemon) -> bool {
    match message {
        // As often as its client likes.
        WorkerToDaemon::TransferStarted { .. }
        | WorkerToDaemon::TransferEnded { .. }
        | WorkerToDaemon::BatchEnded { .. }
        | WorkerToDaemon::CredentialFirst { .. }
        | WorkerToDaemon::CredentialFinal { .. }
        | WorkerToDaemon::Devices
        | WorkerToDaemon::RevokeDevices { .. }
        | WorkerToDaemon::ExecStart { .. }
        | WorkerToDaemon::ExecStop { .. } => false,
        // It has a rate of its own.
        WorkerToDaemon::Progress { .. } => false,
        WorkerToDaemon::Ready
        | WorkerToDaemon::Sign { .. }
        | WorkerToDaemon::Handshaken { .. }
        | WorkerToDaemon::SiteProof { .. }
        | WorkerToDaemon::LoginFirst { .. }
        | WorkerToDaemon::LoginFinal { .. }
        | WorkerToDaemon::LoginDevice { .. }
        | WorkerToDaemon::JoinFirst { .. }
        | WorkerToDaemon::JoinFinal { .. }
        | WorkerToDaemon::Alive
        | WorkerToDaemon::Closing { .. } => true,
    }
}

/// What a message is called in the log; its content never is.
pub(crate) fn name(message: &WorkerToDaemon) -> &'static str {
    match message {
        WorkerToDaemon::Ready => "Ready",
        WorkerToDaemon::Sign { .. } => "Sign",
        WorkerToDaemon::Handshaken { .. } => "Handshaken",
        WorkerToDaemon::SiteProof { .. } => "SiteProof",
        WorkerToDaemon::LoginFirst { .. } => "LoginFirst",
        WorkerToDaemon::LoginFinal { .. } => "LoginFinal",
        WorkerToDaemon::LoginDevice { .. } => "LoginDevice",
        WorkerToDaemon::JoinFirst { .. } => "JoinFirst",
        WorkerToDaemon::JoinFinal { .. } => "JoinFinal",
        WorkerToDaemon::CredentialFirst { .. } => "CredentialFirst",
        WorkerToDaemon::CredentialFinal { .. } => "CredentialFinal",
        WorkerToDaemon::Devices => "Devices",
        WorkerToDaemon::RevokeDevices { .. } => "RevokeDevices",
        WorkerToDaemon::TransferStarted { .. } => "TransferStarted",
        WorkerToDaemon::Progress { .. } => "Progress",
        WorkerToDaemon::TransferEnded { .. } => "TransferEnded",
        WorkerToDaemon::BatchEnded { .. } => "BatchEnded",
        WorkerToDaemon::ExecStart { .. } => "ExecStart",
        WorkerToDaemon::ExecStop { .. } => "ExecStop",
        WorkerToDaemon::Alive => "Alive",
        WorkerToDaemon::Closing { .. } => "Closing",
    }
}

#[cfg(test)]
mod tests;

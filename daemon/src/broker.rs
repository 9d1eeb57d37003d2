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
    /// Logged in.
    Serving,
    /// Logged in; the daemon looks up the verifier for a change of password.
    PasswordLookup,
    /// Logged in; the client has its challenge for a change of password.
    PasswordChallenged,
    /// Logged in; the daemon checks a proof and stores the new verifier.
    PasswordChecking,
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
    /// Begin a change of password.
    PasswordFirst,
    /// End a change of password.
    PasswordFinal,
    /// Take note of a transfer.
    Note,
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
    pub(crate) const ALL: [Self; 14] = [
        Self::Starting,
        Self::Spare,
        Self::Handshake,
        Self::Signed,
        Self::SitePending,
        Self::LoginPending,
        Self::LoginLookup,
        Self::LoginChallenged,
        Self::LoginChecking,
        Self::Serving,
        Self::PasswordLookup,
        Self::PasswordChallenged,
        Self::PasswordChecking,
        Self::Closing,
    ];

    /// Whether a user has logged in.
    #[cfg(test)]
    pub(crate) fn is_logged_in(self) -> bool {
        match self {
            Self::Serving
            | Self::PasswordLookup
            | Self::PasswordChallenged
            | Self::PasswordChecking => true,
            Self::Starting
            | Self::Spare
            | Self::Handshake
            | Self::Signed
            | Self::SitePending
            | Self::LoginPending
            | Self::LoginLookup
            | Self::LoginChallenged
            | Self::LoginChecking
            | Self::Closing => false,
        }
    }

    /// Whether the TLS handshake is under way, during which nothing costly is done for others.
    pub(crate) fn is_handshake(self) -> bool {
        matches!(self, Self::Handshake | Self::Signed)
    }
}

/// The table.
pub(crate) fn step(phase: Phase, message: &WorkerToDaemon) -> Step {
    use Phase as P;
    use WorkerToDaemon as M;
    match (phase, message) {
        (P::Starting, M::Ready) => Step::Ready,
        (P::Handshake, M::Sign { .. }) => Step::Sign,
        // TLS 1.3 without tickets: no handshake ends without a signature.
        (P::Signed, M::Handshaken { .. }) => Step::Handshaken,
        (P::SitePending, M::SiteProof { .. }) => Step::SiteProof,
        (P::LoginPending, M::LoginFirst { .. }) => Step::LoginFirst,
        (P::LoginChallenged, M::LoginFinal { .. }) => Step::LoginFinal,
        (P::Serving, M::PasswordFirst { .. }) => Step::PasswordFirst,
        (P::PasswordChallenged, M::PasswordFinal { .. }) => Step::PasswordFinal,
        // Transfers go on beside a change of password.
        (
            P::Serving | P::PasswordLookup | P::PasswordChallenged | P::PasswordChecking,
            M::TransferStarted { .. }
            | M::Progress { .. }
            | M::TransferEnded { .. }
            | M::BatchEnded { .. },
        ) => Step::Note,
        (
            P::Serving | P::PasswordLookup | P::PasswordChallenged | P::PasswordChecking,
            M::Alive,
        ) => Step::Alive,
        (
            P::Handshake
            | P::Signed
            | P::SitePending
            | P::LoginPending
            | P::LoginLookup
            | P::LoginChallenged
            | P::LoginChecking
            | P::Serving
            | P::PasswordLookup
            | P::PasswordChallenged
            | P::PasswordChecking
            | P::Closing,
            M::Closing { .. },
        ) => Step::Closing,
        // What was on its way when the daemon told the worker to end.
        (
            P::Closing,
            M::SiteProof { .. }
            | M::LoginFirst { .. }
            | M::LoginFinal { .. }
            | M::PasswordFirst { .. }
            | M::PasswordFinal { .. }
            | M::TransferStarted { .. }
            | M::Progress { .. }
            | M::TransferEnded { .. }
            | M::BatchEnded { .. }
            | M::Alive,
        ) => Step::Ignore,
        (P::Closing, M::Ready | M::Sign { .. } | M::Handshaken { .. })
        | (
            P::Starting,
            M::Sign { .. }
            | M::Handshaken { .. }
            | M::SiteProof { .. }
            | M::LoginFirst { .. }
            | M::LoginFinal { .. }
            | M::PasswordFirst { .. }
            | M::PasswordFinal { .. }
            | M::TransferStarted { .. }
            | M::Progress { .. }
            | M::TransferEnded { .. }
            | M::BatchEnded { .. }
            | M::Alive
            | M::Closing { .. },
        )
        | (
            P::Spare,
            M::Ready
            | M::Sign { .. }
            | M::Handshaken { .. }
            | M::SiteProof { .. }
            | M::LoginFirst { .. }
            | M::LoginFinal { .. }
            | M::PasswordFirst { .. }
            | M::PasswordFinal { .. }
            | M::TransferStarted { .. }
            | M::Progress { .. }
            | M::TransferEnded { .. }
            | M::BatchEnded { .. }
            | M::Alive
            | M::Closing { .. },
        )
        | (
            P::Handshake,
            M::Ready
            | M::Handshaken { .. }
            | M::SiteProof { .. }
            | M::LoginFirst { .. }
            | M::LoginFinal { .. }
            | M::PasswordFirst { .. }
            | M::PasswordFinal { .. }
            | M::TransferStarted { .. }
            | M::Progress { .. }
            | M::TransferEnded { .. }
            | M::BatchEnded { .. }
            | M::Alive,
        )
        | (
            P::Signed,
            M::Ready
            | M::Sign { .. }
            | M::SiteProof { .. }
            | M::LoginFirst { .. }
            | M::LoginFinal { .. }
            | M::PasswordFirst { .. }
            | M::PasswordFinal { .. }
            | M::TransferStarted { .. }
            | M::Progress { .. }
            | M::TransferEnded { .. }
            | M::BatchEnded { .. }
            | M::Alive,
        )
        | (
            P::SitePending,
            M::Ready
            | M::Sign { .. }
            | M::Handshaken { .. }
            | M::LoginFirst { .. }
            | M::LoginFinal { .. }
            | M::PasswordFirst { .. }
            | M::PasswordFinal { .. }
            | M::TransferStarted { .. }
            | M::Progress { .. }
            | M::TransferEnded { .. }
            | M::BatchEnded { .. }
            | M::Alive,
        )
        | (
            P::LoginPending,
            M::Ready
            | M::Sign { .. }
            | M::Handshaken { .. }
            | M::SiteProof { .. }
            | M::LoginFinal { .. }
            | M::PasswordFirst { .. }
            | M::PasswordFinal { .. }
            | M::TransferStarted { .. }
            | M::Progress { .. }
            | M::TransferEnded { .. }
            | M::BatchEnded { .. }
            | M::Alive,
        )
        | (
            P::LoginLookup | P::LoginChecking,
            M::Ready
            | M::Sign { .. }
            | M::Handshaken { .. }
            | M::SiteProof { .. }
            | M::LoginFirst { .. }
            | M::LoginFinal { .. }
            | M::PasswordFirst { .. }
            | M::PasswordFinal { .. }
            | M::TransferStarted { .. }
            | M::Progress { .. }
            | M::TransferEnded { .. }
            | M::BatchEnded { .. }
            | M::Alive,
        )
        | (
            P::LoginChallenged,
            M::Ready
            | M::Sign { .. }
            | M::Handshaken { .. }
            | M::SiteProof { .. }
            | M::LoginFirst { .. }
            | M::PasswordFirst { .. }
            | M::PasswordFinal { .. }
            | M::TransferStarted { .. }
            | M::Progress { .. }
            | M::TransferEnded { .. }
            | M::BatchEnded { .. }
            | M::Alive,
        )
        | (
            P::Serving,
            M::Ready
            | M::Sign { .. }
            | M::Handshaken { .. }
            | M::SiteProof { .. }
            | M::LoginFirst { .. }
            | M::LoginFinal { .. }
            | M::PasswordFinal { .. },
        )
        | (
            P::PasswordLookup | P::PasswordChecking,
            M::Ready
            | M::Sign { .. }
            | M::Handshaken { .. }
            | M::SiteProof { .. }
            | M::LoginFirst { .. }
            | M::LoginFinal { .. }
            | M::PasswordFirst { .. }
            | M::PasswordFinal { .. },
        )
        | (
            P::PasswordChallenged,
            M::Ready
            | M::Sign { .. }
            | M::Handshaken { .. }
            | M::SiteProof { .. }
            | M::LoginFirst { .. }
            | M::LoginFinal { .. }
            | M::PasswordFirst { .. },
        ) => Step::Break,
    }
}

/// Whether a message is one that no honest worker sends often, whatever its client does.
pub(crate) fn is_seldom(message: &WorkerToDaemon) -> bool {
    match message {
        // As often as its client likes.
        WorkerToDaemon::TransferStarted { .. }
        | WorkerToDaemon::TransferEnded { .. }
        | WorkerToDaemon::BatchEnded { .. }
        | WorkerToDaemon::PasswordFirst { .. }
        | WorkerToDaemon::PasswordFinal { .. } => false,
        // It has a rate of its own.
        WorkerToDaemon::Progress { .. } => false,
        WorkerToDaemon::Ready
        | WorkerToDaemon::Sign { .. }
        | WorkerToDaemon::Handshaken { .. }
        | WorkerToDaemon::SiteProof { .. }
        | WorkerToDaemon::LoginFirst { .. }
        | WorkerToDaemon::LoginFinal { .. }
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
        WorkerToDaemon::PasswordFirst { .. } => "PasswordFirst",
        WorkerToDaemon::PasswordFinal { .. } => "PasswordFinal",
        WorkerToDaemon::TransferStarted { .. } => "TransferStarted",
        WorkerToDaemon::Progress { .. } => "Progress",
        WorkerToDaemon::TransferEnded { .. } => "TransferEnded",
        WorkerToDaemon::BatchEnded { .. } => "BatchEnded",
        WorkerToDaemon::Alive => "Alive",
        WorkerToDaemon::Closing { .. } => "Closing",
    }
}

#[cfg(test)]
mod tests;

//! How a puppet logs in: it asks the daemon what a worker asks, and there is no TLS.

use berth_common::broker_protocol::{DaemonToWorker, WorkerToDaemon};
use berth_common::scram::{ChannelBinding, ClientFirst};

use super::{Fate, Puppet};

/// The scheme of the certificate that a server makes for itself: ECDSA on P-256 with SHA-256.
const SCHEME: u16 = 0x0403;

/// What the puppets say that TLS exports.
const EXPORTER: [u8; 32] = [5; 32];

/// The request for a signature, for a handshake of the test's own making.
#[must_use]
pub fn certificate_verify() -> WorkerToDaemon {
    let context = b"TLS 1.3, server CertificateVerify\0";
    let message = [&[b' '; 64][..], context, &[7; 32]].concat();
    WorkerToDaemon::Sign { scheme: SCHEME, message }
}

impl Puppet {
    /// Takes the daemon so far that a login may begin.
    ///
    /// # Errors
    /// See [`Fate`].
    pub fn handshake(&mut self) -> Result<Vec<u8>, Fate> {
        let daemon = self.descriptor(0);
        self.send(daemon, &certificate_verify())?;
        let DaemonToWorker::Signed { signature } = self.receive(daemon)?.0 else {
            panic!("no signature");
        };
        self.send(daemon, &WorkerToDaemon::Handshaken { exporter: EXPORTER })?;
        Ok(signature)
    }

    /// Sends the proof, and does not wait for what comes of it.
    ///
    /// # Errors
    /// See [`Fate`].
    ///
    /// # Panics
    /// When the daemon says anything else than it does to an honest worker.
    pub fn prove(&mut self, user: &str, password: &str) -> Result<(), Fate> {
        let daemon = self.descriptor(0);
        let first = ClientFirst::new(user, ChannelBinding::login(&EXPORTER)).unwrap();
        self.send(daemon, &WorkerToDaemon::LoginFirst { message: first.message().to_vec() })?;
        let DaemonToWorker::LoginChallenge { message } = self.receive(daemon)?.0 else {
            panic!("no challenge");
        };
        let last = first.answer(password, &message).unwrap();
        self.send(daemon, &WorkerToDaemon::LoginFinal { message: last.message().to_vec() })
    }

    /// The channel to the filer, after a login that is accepted.
    ///
    /// # Errors
    /// See [`Fate`].
    ///
    /// # Panics
    /// When it is not accepted.
    pub fn accepted(&mut self) -> Result<i32, Fate> {
        let daemon = self.descriptor(0);
        match self.receive(daemon)? {
            (DaemonToWorker::LoginAccepted { .. }, descriptors) => Ok(descriptors[0]),
            (other, _) => panic!("instead of an accepted login: {other:?}"),
        }
    }
}

/// Logs a puppet in that has just got its client; gives the channel to its filer.
///
/// # Panics
/// When it ends meanwhile, or the login is refused.
pub fn log_in(puppet: &mut Puppet, user: &str, password: &str) -> i32 {
    puppet.handshake().expect("it lives");
    puppet.prove(user, password).expect("it lives");
    puppet.accepted().expect("it lives")
}

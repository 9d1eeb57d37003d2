//! The TLS handshake's signature, which the daemon makes: the private key never enters a worker.
//!
//! Signing happens inside the handshake, which is synchronous, so it blocks this thread: send, wait at
//! most [`SIGN_TIMEOUT`], receive. The handshake is the only user of the channel then; an asynchronous
//! reader would take the answer away. A [`BrokerKey`] signs once and then lets go of the channel.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_common::broker_protocol::{DaemonToWorker, WorkerToDaemon};
use berth_common::channel::{Channel, ChannelError};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, OtherError, SignatureAlgorithm, SignatureScheme};

/// The worker's end of its channel to the daemon.
pub(crate) type BrokerChannel = Channel<WorkerToDaemon, DaemonToWorker>;

/// Longest wait for a signature. The runtime's own timers cannot fire meanwhile.
pub(crate) const SIGN_TIMEOUT: Duration = Duration::from_secs(2);

/// A key that is held by the daemon.
#[derive(Debug)]
pub(crate) struct BrokerKey {
    scheme: SignatureScheme,
    once: Arc<Mutex<Option<Arc<BrokerChannel>>>>,
    timeout: Duration,
}

/// Why there was no signature.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    /// A signature was asked for a second time.
    #[error("the one signature of this session was made already")]
    Twice,
    /// The daemon did not answer in time.
    #[error("the daemon did not sign within {0:?}")]
    TimedOut(Duration),
    /// The daemon answered something else.
    #[error("the daemon did not answer with a signature")]
    Unexpected,
    /// The channel failed.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

impl BrokerKey {
    /// The daemon's key of this scheme (as in RFC 8446, section 4.2.3), used once over `channel`.
    pub(crate) fn new(scheme: u16, channel: Arc<BrokerChannel>) -> Self {
        let once = Arc::new(Mutex::new(Some(channel)));
        Self { scheme: SignatureScheme::from(scheme), once, timeout: SIGN_TIMEOUT }
    }
}

impl SigningKey for BrokerKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&self.scheme).then(|| {
            let once = Arc::clone(&self.once);
            Box::new(BrokerSigner(Self { scheme: self.scheme, once, timeout: self.timeout })) as _
        })
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.scheme {
            SignatureScheme::ED25519 => SignatureAlgorithm::ED25519,
            SignatureScheme::ED448 => SignatureAlgorithm::ED448,
            SignatureScheme::RSA_PSS_SHA256
            | SignatureScheme::RSA_PSS_SHA384
            | SignatureScheme::RSA_PSS_SHA512 => SignatureAlgorithm::RSA,
            _ => SignatureAlgorithm::ECDSA,
        }
    }
}

/// What rustls asks for the signature itself.
#[derive(Debug)]
struct BrokerSigner(BrokerKey);

impl BrokerSigner {
    fn ask(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let taken = self.0.once.lock().unwrap_or_else(PoisonError::into_inner).take();
        let channel = taken.ok_or(SignError::Twice)?;
        let scheme = self.0.scheme.into();
        channel.send(&WorkerToDaemon::Sign { scheme, message: message.to_vec() }, &[])?;
        let limit = Timespec {
            tv_sec: self.0.timeout.as_secs().cast_signed(),
            tv_nsec: self.0.timeout.subsec_nanos().into(),
        };
        let mut waiting = [PollFd::new(&*channel, PollFlags::IN)];
        let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut waiting, Some(&limit)))
            .map_err(ChannelError::from)?;
        if ready == 0 {
            return Err(SignError::TimedOut(self.0.timeout));
        }
        match channel.recv()?.message {
            DaemonToWorker::Signed { signature } => Ok(signature),
            _ => Err(SignError::Unexpected),
        }
    }
}

impl Signer for BrokerSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.ask(message).map_err(|error| Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const SCHEME: u16 = 0x0403;

    type DaemonEnd = Channel<DaemonToWorker, WorkerToDaemon>;

    fn signer(timeout: Duration) -> (Box<dyn Signer>, BrokerKey, DaemonEnd) {
        let (worker, daemon) = Channel::pair().unwrap();
        let key = BrokerKey { timeout, ..BrokerKey::new(SCHEME, Arc::new(worker)) };
        let signer = key.choose_scheme(&[SignatureScheme::from(SCHEME)]).unwrap();
        (signer, key, daemon)
    }

    #[test]
    fn the_daemon_signs_what_was_asked_and_only_once() {
        let (signer, key, daemon) = signer(SIGN_TIMEOUT);
        let fake = thread::spawn(move || {
            let asked = daemon.recv().unwrap().message;
            daemon.send(&DaemonToWorker::Signed { signature: vec![1, 2] }, &[]).unwrap();
            (asked, daemon)
        });
        assert_eq!(signer.sign(b"verify").unwrap(), [1, 2]);
        let (asked, _daemon) = fake.join().unwrap();
        assert_eq!(asked, WorkerToDaemon::Sign { scheme: SCHEME, message: b"verify".to_vec() });

        let again = key.choose_scheme(&[SignatureScheme::from(SCHEME)]).unwrap();
        assert!(again.sign(b"verify").unwrap_err().to_string().contains("already"));
    }

    #[test]
    fn a_silent_daemon_ends_the_handshake_in_time() {
        let (signer, _key, daemon) = signer(Duration::from_millis(50));
        let error = signer.sign(b"verify").unwrap_err();
        assert!(error.to_string().contains("did not sign"), "{error}");
        drop(daemon);
    }

    #[test]
    fn another_answer_and_a_closed_channel_are_errors() {
        let (first, _key, daemon) = signer(SIGN_TIMEOUT);
        daemon.send(&DaemonToWorker::SiteAccepted, &[]).unwrap();
        assert!(first.sign(b"verify").is_err());
        let (second, _key, daemon) = signer(SIGN_TIMEOUT);
        drop(daemon);
        assert!(second.sign(b"verify").is_err());
    }

    #[test]
    fn a_client_without_the_keys_scheme_gets_no_signer() {
        let (_signer, key, _daemon) = signer(SIGN_TIMEOUT);
        assert!(key.choose_scheme(&[SignatureScheme::ED25519]).is_none());
        assert_eq!(key.algorithm(), SignatureAlgorithm::ECDSA);
    }
}

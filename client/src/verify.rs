//! The TLS side of trust: a certificate verifier for pinned fingerprints and for authorities.
//!
//! A pinned certificate needs no authority and no name, but the server still has to prove that it
//! holds the key: the handshake's signature is always checked by rustls.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::trust::Fingerprint;

/// Whom to trust.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The server with exactly this certificate.
    Pinned(Fingerprint),
    /// A server with a certificate of an authority in this PEM file, for its name.
    Authorities(PathBuf),
    /// A server with a certificate of an authority that the system trusts, for its name.
    SystemAuthorities,
}

/// Why there is no verifier.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file has no certificate.
    #[error("cannot use the authorities in {}: it has no certificate in PEM form", path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// The file cannot be read, or has a certificate that is none.
    #[error("cannot use the authorities in {}: {reason}", path.display())]
    Authorities {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a certificate is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// It is not the one that is pinned.
    #[error("it is not the one that is expected")]
    NotThePinned,
    /// The system trusts no authority at all.
    #[error("this system trusts no authority")]
    NoAuthorities,
    /// It is of no authority that is trusted.
    #[error("it is of no authority that is trusted")]
    UnknownAuthority,
    /// It is for another name.
    #[error("it is for another name")]
    OtherName,
    /// Its time is over.
    #[error("its time is over")]
    Expired,
    /// Its time has not begun.
    #[error("its time has not begun")]
    NotYetValid,
    /// Something else, in the words of the TLS library.
    #[error("{0}")]
    Other(String),
}

impl From<&rustls::Error> for Distrust {
    fn from(error: &rustls::Error) -> Self {
        let rustls::Error::InvalidCertificate(reason) = error else {
            return Self::Other(error.to_string());
        };
        match reason {
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::OtherName
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            other => Self::Other(other.to_string()),
        }
    }
}

/// What a handshake has shown, whatever came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) refused: Option<Distrust>,
}

/// Decides about one server's certificate.
#[derive(Debug)]
pub(crate) struct Verifier {
    provider: Arc<CryptoProvider>,
    how: How,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
enum How {
    Pinned(Fingerprint),
    Authorities(Arc<WebPkiServerVerifier>),
    /// The system has no authorities, so nobody is trusted by them.
    Nobody,
}

impl Verifier {
    pub(crate) fn new(trust: &Trust, provider: Arc<CryptoProvider>) -> Result<Self, TrustError> {
        let how = match trust {
            Trust::Pinned(fingerprint) => How::Pinned(*fingerprint),
            Trust::Authorities(path) => How::Authorities(authorities(path, &provider)?),
            Trust::SystemAuthorities => system_authorities(&provider),
        };
        Ok(Self { provider, how, seen: Mutex::default() })
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn authorities(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    let failed = |reason: String| TrustError::Authorities { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| failed(e.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(TrustError::NoCertificate { path: path.to_owned() });
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| failed(error.to_string()))
}

fn system_authorities(provider: &Arc<CryptoProvider>) -> How {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_or(How::Nobody, How::Authorities)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fingerprint = Fingerprint::of_certificate(end_entity);
        let verified = match &self.how {
            How::Pinned(expected) if *expected == fingerprint => {
                Ok(ServerCertVerified::assertion())
            }
            How::Pinned(_) | How::Nobody => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            How::Authorities(inner) => {
                inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
        };
        let refused = match (&self.how, &verified) {
            (_, Ok(_)) => None,
            (How::Pinned(_), Err(_)) => Some(Distrust::NotThePinned),
            (How::Nobody, Err(_)) => Some(Distrust::NoAuthorities),
            (How::Authorities(_), Err(error)) => Some(error.into()),
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            Seen { fingerprint: Some(fingerprint), refused };
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

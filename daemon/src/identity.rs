//! The server's TLS identity: certificate and key, which never leaves this process.
//!
//! Workers get the certificates and ask for one signature a session; [`crate::certificate_verify`] says what
//! may be signed. TLS itself is spoken by the workers alone.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};
use rustls::SignatureScheme;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{Signer, SigningKey};
use sha2::{Digest as _, Sha256};

use crate::config::TlsFiles;
use crate::data_dir::{DataDir, DataDirError};

const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";

/// What TLS 1.3 allows, preferred first.
const SCHEMES: [SignatureScheme; 6] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
];

/// Certificates and key.
pub(crate) struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    signer: Box<dyn Signer>,
    fingerprint: Fingerprint,
}

/// SHA-256 of the server's own certificate; shown as 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {0:?}: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// A file is no PEM of what it should be.
    #[error("{0:?} has no certificate in PEM")]
    NoCertificate(PathBuf),
    /// A file is no PEM of what it should be.
    #[error("{0:?} has no private key in PEM")]
    NoKey(PathBuf),
    /// The key is of a kind that TLS 1.3 does not know.
    #[error("the private key in {0:?} cannot be used: it must be ECDSA, Ed25519 or RSA")]
    Key(PathBuf),
    /// Certificate and key do not belong together.
    #[error("the certificate in {certificate:?} is not for the private key in {key:?}")]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// No self-signed certificate could be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// It could not be kept.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

impl Identity {
    /// Reads the administrator's files, or those in the data directory, which are made if missing.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub(crate) fn load(
        files: Option<&TlsFiles>,
        data_dir: &DataDir,
    ) -> Result<Self, IdentityError> {
        if let Some(files) = files {
            return Self::read(&files.certificate, &files.key);
        }
        let certificate = data_dir.read(CERTIFICATE)?;
        let key = data_dir.read(KEY)?;
        let (certificate, key) = match (certificate, key) {
            (Some(certificate), Some(key)) => (certificate, key),
            // The key is written first, so a certificate without one was put there by hand: keep it.
            (Some(_), None) => return Err(IdentityError::NoKey(data_dir.join(KEY))),
            (None, _) => make(data_dir)?,
        };
        Self::parse((&data_dir.join(CERTIFICATE), &certificate), (&data_dir.join(KEY), &key))
    }

    /// Reads certificate and key from PEM files; also how `berthd check` finds out that they fit.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| IdentityError::Read(path.to_owned(), error))
        };
        Self::parse((certificate, &read(certificate)?), (key, &read(key)?))
    }

    fn parse(certificate: (&Path, &[u8]), key: (&Path, &[u8])) -> Result<Self, IdentityError> {
        let no_certificate = |_: pem::Error| IdentityError::NoCertificate(certificate.0.to_owned());
        let certificates = CertificateDer::pem_slice_iter(certificate.1)
            .collect::<Result<Vec<_>, _>>()
            .map_err(no_certificate)?;
        let Some(own) = certificates.first() else {
            return Err(IdentityError::NoCertificate(certificate.0.to_owned()));
        };
        let fingerprint = Fingerprint(Sha256::digest(own).into());
        let der = PrivateKeyDer::from_pem_slice(key.1)
            .map_err(|_| IdentityError::NoKey(key.0.to_owned()))?;
        let signing: Arc<dyn SigningKey> = rustls::crypto::ring::sign::any_supported_type(&der)
            .map_err(|_| IdentityError::Key(key.0.to_owned()))?;
        let signer =
            signing.choose_scheme(&SCHEMES).ok_or_else(|| IdentityError::Key(key.0.to_owned()))?;
        let certified = rustls::sign::CertifiedKey::new(certificates.clone(), signing);
        match certified.keys_match() {
            // A certificate that rustls cannot take apart is left to the clients to judge.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => {
                return Err(IdentityError::Mismatch {
                    certificate: certificate.0.to_owned(),
                    key: key.0.to_owned(),
                });
            }
        }
        Ok(Self { certificates, signer, fingerprint })
    }

    /// The chain in DER, the server's own certificate first.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(|certificate| certificate.as_ref())
    }

    /// The only TLS signature scheme that is used.
    pub(crate) fn scheme(&self) -> u16 {
        self.signer.scheme().into()
    }

    /// Signs; the caller has checked what.
    ///
    /// # Errors
    /// When the library does.
    pub(crate) fn sign(&self, content: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.signer.sign(content)
    }

    /// What clients pin.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// Makes a P-256 key and a self-signed certificate that does not expire soon: clients pin it.
fn make(data_dir: &DataDir) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "berth");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    let certificate = params.self_signed(&key)?.pem().into_bytes();
    let key = key.serialize_pem().into_bytes();
    data_dir.write_new(KEY, &key)?;
    data_dir.write_new(CERTIFICATE, &certificate)?;
    Ok((certificate, key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn made() -> (tempfile::TempDir, DataDir, Identity) {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let identity = Identity::load(None, &data).unwrap();
        (dir, data, identity)
    }

    #[test]
    fn a_first_start_makes_an_identity_that_later_ones_keep() {
        let (dir, data, identity) = made();
        assert_eq!(identity.scheme(), 0x0403, "ECDSA with P-256 and SHA-256");
        assert_eq!(identity.certificates().count(), 1);
        let text = identity.fingerprint().to_string();
        assert_eq!(text.len(), 64);
        assert_eq!(Identity::load(None, &data).unwrap().fingerprint(), identity.fingerprint());
        for name in [KEY, CERTIFICATE] {
            let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(!identity.sign(b"content").unwrap().is_empty());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (dir, _, _) = made();
        let (other, _, _) = made();
        let error = Identity::read(&dir.path().join(CERTIFICATE), &other.path().join(KEY)).err();
        assert!(matches!(error, Some(IdentityError::Mismatch { .. })), "{error:?}");
    }

    #[test]
    fn files_that_are_missing_or_something_else_are_named() {
        let (dir, data, _) = made();
        let (certificate, key) = (dir.path().join(CERTIFICATE), dir.path().join(KEY));
        let error = |a: &Path, b: &Path| Identity::read(a, b).err().unwrap().to_string();
        assert!(error(&dir.path().join("absent.pem"), &key).contains("absent.pem"));
        assert!(error(&key, &key).contains("no certificate"));
        assert!(error(&certificate, &certificate).contains("no private key"));
        std::fs::remove_file(&key).unwrap();
        assert!(matches!(Identity::load(None, &data), Err(IdentityError::NoKey(_))));
    }
}

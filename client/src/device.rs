//! This device's key: an Ed25519 pair (RFC 8032) whose public half the server has, and the file that keeps it.
//!
//! Whoever has the file logs in as its user until the device is revoked, so it is for its owner alone and is refused
//! when others can read it. What is signed is of one TLS channel (`berth_common::credentials::login_statement`).

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_common::credentials::{DeviceId, DeviceKey, login_statement};
use berth_common::ids::UserName;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::private_file::write_private;
use crate::reason::reason;

/// More than a key file has.
const MAX_FILE_BYTES: u64 = 1024;

/// Both halves of a device's key; the secret one is never shown.
#[derive(Clone)]
pub struct DeviceSecret(Arc<Halves>);

struct Halves {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
    public: DeviceKey,
}

impl fmt::Debug for DeviceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceSecret({})", self.id())
    }
}

/// Why there is no device's key.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The file cannot be read or written.
    #[error("cannot use the device's key {}: {}", path.display(), reason(source))]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Others can read it.
    #[error(
        "the device's key {} can be read by others (mode {mode:04o}), so it is not used", path.display()
    )]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What is in the file is no key.
    #[error("{} is no device's key", .0.display())]
    Damaged(PathBuf),
    /// The operating system gives no random bytes.
    #[error("cannot make a device's key: {0}")]
    Random(#[from] getrandom::Error),
    /// The library refuses to use a key, which no seed should bring about.
    #[error("cannot make a device's key")]
    Rejected,
}

impl DeviceSecret {
    /// A key that nobody else has.
    ///
    /// # Errors
    /// `Random`.
    pub fn generate() -> Result<Self, DeviceError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Self::from_seed(seed)
    }

    fn from_seed(seed: [u8; 32]) -> Result<Self, DeviceError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| DeviceError::Rejected)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| DeviceError::Rejected)?;
        Ok(Self(Arc::new(Halves { seed, pair, public: DeviceKey(public) })))
    }

    /// Reads a key that [`DeviceSecret::store`] has written.
    ///
    /// # Errors
    /// `Io`, `Open` and `Damaged`.
    pub fn load(path: &Path) -> Result<Self, DeviceError> {
        let failed = |source| DeviceError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(DeviceError::Open { path: path.to_owned(), mode });
        }
        let mut text = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut text).map_err(failed)?;
        let seed = STANDARD.decode(text.trim_ascii()).ok().and_then(|seed| seed.try_into().ok());
        Self::from_seed(seed.ok_or_else(|| DeviceError::Damaged(path.to_owned()))?)
    }

    /// Writes the key to a file for its owner alone, in place of what is there.
    ///
    /// # Errors
    /// `Io`.
    pub fn store(&self, path: &Path) -> Result<(), DeviceError> {
        let line = format!("{}\n", STANDARD.encode(self.0.seed));
        write_private(path, line.as_bytes())
            .map_err(|source| DeviceError::Io { path: path.to_owned(), source })
    }

    /// The public half.
    #[must_use]
    pub fn key(&self) -> DeviceKey {
        self.0.public
    }

    /// What the device is called.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        self.0.public.id()
    }

    /// Proves, on the TLS channel of this exporter and nowhere else, that this device logs in as `user`.
    #[must_use]
    pub fn sign_login(&self, exporter: &[u8; 32], user: &UserName) -> [u8; 64] {
        let signature = self.0.pair.sign(&login_statement(exporter, user, &self.key()));
        // Ed25519's signatures have 64 bytes. Others would be refused by the server.
        signature.as_ref().try_into().unwrap_or([0; 64])
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    fn stored() -> (tempfile::TempDir, PathBuf, DeviceSecret) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let secret = DeviceSecret::generate().unwrap();
        secret.store(&path).unwrap();
        (dir, path, secret)
    }

    #[test]
    fn a_key_is_read_as_it_was_written_and_closed_to_others() {
        let (_dir, path, secret) = stored();
        assert_eq!(DeviceSecret::load(&path).unwrap().key(), secret.key());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(DeviceSecret::generate().unwrap().key(), secret.key());
    }

    #[test]
    fn a_key_that_others_can_read_is_not_used() {
        let (_dir, path, _) = stored();
        for (mode, refused) in [(0o640, true), (0o604, true), (0o660, true), (0o400, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let loaded = DeviceSecret::load(&path);
            assert_eq!(matches!(loaded, Err(DeviceError::Open { .. })), refused, "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_key_is_told_as_such() {
        let (_dir, path, secret) = stored();
        let whole = fs::read_to_string(&path).unwrap();
        for text in ["", "x", &whole[..40], &format!("{whole}{whole}"), &"A".repeat(4096)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(DeviceSecret::load(&path), Err(DeviceError::Damaged(_))), "{text}");
        }
        fs::write(&path, whole.trim_end()).unwrap();
        assert_eq!(DeviceSecret::load(&path).unwrap().key(), secret.key());
        assert!(matches!(DeviceSecret::load(Path::new("/none")), Err(DeviceError::Io { .. })));
    }

    #[test]
    fn a_login_is_signed_for_one_channel() {
        let (secret, alice) = (DeviceSecret::generate().unwrap(), UserName::new("alice").unwrap());
        let signature = secret.sign_login(&[1; 32], &alice);
        let public = UnparsedPublicKey::new(&ED25519, secret.key().0);
        let statement = |exporter| login_statement(&exporter, &alice, &secret.key());
        assert!(public.verify(&statement([1; 32]), &signature).is_ok());
        assert!(public.verify(&statement([2; 32]), &signature).is_err());
    }

    #[test]
    fn the_key_of_rfc_8032_has_its_public_half() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let bytes: Vec<u8> =
            (0..32).map(|at| u8::from_str_radix(&seed[2 * at..2 * at + 2], 16).unwrap()).collect();
        let secret = DeviceSecret::from_seed(bytes.try_into().unwrap()).unwrap();
        assert_eq!(secret.key().0[..4], [0xd7, 0x5a, 0x98, 0x01]);
    }

    #[test]
    fn the_secret_half_is_never_shown() {
        let secret = DeviceSecret::from_seed([7; 32]).unwrap();
        assert_eq!(format!("{secret:?}"), format!("DeviceSecret({})", secret.id()));
    }
}

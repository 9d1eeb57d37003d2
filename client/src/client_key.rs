//! The client's key, from which upload tokens are made, in a directory of its user's.
//!
//! One random key, written once, so that no upload has to write anything: the token of an upload
//! is the HMAC of where it goes. Without a directory the key lasts as long as the process;
//! then an upload is found again by its source, but cannot be taken over at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use berth_common::ids::{UploadToken, UserName};
use berth_common::rel_path::RelPath;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::private_file::{make_private, write_private};
use crate::reason::reason;
use crate::trust::Fingerprint;

/// The key of this client's upload tokens.
#[derive(Clone)]
pub struct ClientKey([u8; 32]);

impl std::fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientKey(…)")
    }
}

/// Why there is no lasting key.
#[derive(Debug, thiserror::Error)]
pub enum ClientKeyError {
    /// The key cannot be read or written.
    #[error("cannot keep the client's key in {}: {}", path.display(), reason(source))]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The operating system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

impl ClientKey {
    /// A key that this process alone has.
    ///
    /// # Errors
    /// `Random` only.
    pub fn of_this_process() -> Result<Self, ClientKeyError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(key))
    }

    /// A key that one session alone has, since nobody else knows its exporter.
    pub(crate) fn of_session(exporter: &[u8; 32]) -> Self {
        Self(*exporter)
    }

    /// The key in `dir`, made on first use.
    ///
    /// # Errors
    /// `Io` and `Random`.
    pub fn load(dir: &Path) -> Result<Self, ClientKeyError> {
        let path = dir.join("client.key");
        let failed = |source| ClientKeyError::Io { path: path.clone(), source };
        match read(&path).map_err(failed)? {
            Some(key) => return Ok(Self(key)),
            None => make_private(dir).map_err(failed)?,
        }
        let key = Self::of_this_process()?;
        write_private(&path, &key.0).map_err(failed)?;
        // Of two clients that start at once, the later rename wins; both go on with its key.
        Ok(read(&path).map_err(failed)?.map_or(key, Self))
    }

    /// The token of an upload to this path of this user on the server with this certificate.
    #[must_use]
    pub fn token(&self, server: &Fingerprint, user: &UserName, path: &RelPath) -> UploadToken {
        // HMAC fills a key up to a block with zeros; a whole block cannot have the wrong length.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(b"berth/1 upload token\0");
        mac.update(server.as_bytes());
        mac.update(user.as_str().as_bytes());
        mac.update(b"\0");
        mac.update(path.as_str().as_bytes());
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        let mut token = [0; 16];
        token.copy_from_slice(&bytes[..16]);
        UploadToken(token)
    }
}

/// A file that is not 32 bytes long is no key (say, after a power cut), and is made anew.
fn read(path: &Path) -> io::Result<Option<[u8; 32]>> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes.try_into().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_last_and_differ_by_server_user_and_path() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let token = |dir: &Path, server: u8, user: &str, path: &str| {
            ClientKey::load(dir).unwrap().token(
                &Fingerprint::from_bytes([server; 32]),
                &UserName::new(user).unwrap(),
                &RelPath::new(path).unwrap(),
            )
        };
        let first = token(&state, 1, "alice", "a/b");
        assert_eq!(first, token(&state, 1, "alice", "a/b"));
        assert_ne!(first, token(&state, 2, "alice", "a/b"));
        assert_ne!(first, token(&state, 1, "alicea", "/b".trim_start_matches('/')));
        assert_ne!(first, token(&state, 1, "alice", "a/c"));
        assert_ne!(first, token(&dir.path().join("other"), 1, "alice", "a/b"));
        fs::write(state.join("client.key"), b"torn").unwrap();
        assert_ne!(first, token(&state, 1, "alice", "a/b"));
    }
}

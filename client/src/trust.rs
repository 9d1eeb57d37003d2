//! Which servers are trusted: pinned fingerprints, and the file of known servers.
//!
//! Plain types and a file; the TLS side of it is `verify`, who is asked is decided in `run`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::private_file::{make_private, write_private};
use crate::reason::reason;
use crate::target::ServerAddress;

/// The SHA-256 of a server's certificate. Shown as `SHA256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text that is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is SHA256: and 64 hexadecimal digits, as berthd prints it at its start")]
pub struct FingerprintError;

impl Fingerprint {
    /// The fingerprint with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The fingerprint of a certificate in DER.
    #[must_use]
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SHA256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Takes the prefix or not, upper and lower case, and colons between bytes as other tools print.
impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let text = text.trim();
        let prefixed = text.get(..7).is_some_and(|p| p.eq_ignore_ascii_case("sha256:"));
        let digits = if prefixed { &text[7..] } else { text };
        let digits: Vec<u32> = digits
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).ok_or(FingerprintError))
            .collect::<Result<_, _>>()?;
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(FingerprintError);
        }
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = u8::try_from(high << 4 | low).unwrap_or_default();
        }
        Ok(Self(bytes))
    }
}

/// Why the file of known servers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KnownServersError {
    /// It cannot be read or written.
    #[error("cannot use the file of known servers {}: {}", path.display(), reason(source))]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A line is not `HOST:PORT SHA256:…`. Nothing is guessed about whom to trust.
    #[error("{}, line {line}: expected HOST:PORT SHA256:…; correct or delete the line", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
}

/// The file of known servers: `host:port SHA256:hex`, one a line; `#` begins a comment line.
#[derive(Debug)]
pub struct KnownServers {
    path: PathBuf,
    servers: BTreeMap<String, Fingerprint>,
}

impl KnownServers {
    /// The file's name in the configuration directory.
    pub const FILE_NAME: &str = "known_hosts";

    /// Reads the file in a configuration directory; one that is not there knows no server.
    ///
    /// # Errors
    /// `Io` and `Line`.
    pub fn load(config_dir: &Path) -> Result<Self, KnownServersError> {
        let path = config_dir.join(Self::FILE_NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(KnownServersError::Io { path, source }),
        };
        let mut servers = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = line.split_once(char::is_whitespace);
            let entry = entry.and_then(|(server, fingerprint)| {
                let server: ServerAddress = server.parse().ok()?;
                Some((server.to_string(), fingerprint.parse().ok()?))
            });
            let Some((server, fingerprint)) = entry else {
                return Err(KnownServersError::Line { path, line: number + 1 });
            };
            servers.insert(server, fingerprint);
        }
        Ok(Self { path, servers })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The fingerprint that is kept for a server.
    #[must_use]
    pub fn get(&self, server: &ServerAddress) -> Option<Fingerprint> {
        self.servers.get(&server.to_string()).copied()
    }

    /// Adds a server to the file. What another client added meanwhile stays.
    ///
    /// # Errors
    /// `Io`, and `Line` when the file was spoiled meanwhile.
    pub fn add(
        &mut self,
        server: &ServerAddress,
        fingerprint: Fingerprint,
    ) -> Result<(), KnownServersError> {
        let dir = self.path.parent().unwrap_or(Path::new(".")).to_owned();
        let failed = |source| KnownServersError::Io { path: self.path.clone(), source };
        make_private(&dir).map_err(failed)?;
        // Comments are kept: a line is appended to the text, not to what was read of it.
        let mut text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("{server} {fingerprint}\n"));
        write_private(&self.path, text.as_bytes()).map_err(failed)?;
        *self = Self::load(&dir)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn fingerprints_are_read_as_tools_print_them() {
        let shown = format!("SHA256:{HEX}");
        let fingerprint: Fingerprint = shown.parse().unwrap();
        assert_eq!(fingerprint.to_string(), shown);
        let colons: Vec<&str> = (0..32).map(|at| &HEX[2 * at..2 * at + 2]).collect();
        for text in
            [HEX.to_uppercase(), format!("sha256:{}", colons.join(":")), format!(" {HEX}\n")]
        {
            assert_eq!(text.parse(), Ok(fingerprint), "{text}");
        }
        for bad in ["", "SHA256:", &HEX[1..], &format!("{HEX}0"), &"g".repeat(64), "é"] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(FingerprintError), "{bad}");
        }
    }

    #[test]
    fn servers_are_added_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        let one: ServerAddress = "[::1]:4022".parse().unwrap();
        let two: ServerAddress = "Host:5".parse().unwrap();
        let print = |byte| Fingerprint::from_bytes([byte; 32]);
        let mut known = KnownServers::load(&config).unwrap();
        assert_eq!(known.get(&one), None);
        known.add(&one, print(1)).unwrap();
        // Another client adds one, and somebody a comment without a newline.
        KnownServers::load(&config).unwrap().add(&two, print(2)).unwrap();
        let text = fs::read_to_string(known.path()).unwrap();
        fs::write(known.path(), format!("{text}# mine")).unwrap();
        known.add(&"host:6".parse().unwrap(), print(3)).unwrap();
        let known = KnownServers::load(&config).unwrap();
        assert_eq!((known.get(&one), known.get(&two)), (Some(print(1)), Some(print(2))));
        assert!(fs::read_to_string(known.path()).unwrap().contains("# mine\n"));
        let mode = fs::metadata(known.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_spoiled_line_is_named_and_never_guessed_about() {
        let dir = tempfile::tempdir().unwrap();
        for line in ["host:1", "host:1 SHA256:00", "host:x SHA256:00", "\u{0}"] {
            let text = format!("# known\n\n{line}\n");
            fs::write(dir.path().join(KnownServers::FILE_NAME), text).unwrap();
            let error = KnownServers::load(dir.path()).unwrap_err();
            assert!(matches!(error, KnownServersError::Line { line: 3, .. }), "{line}");
        }
    }
}

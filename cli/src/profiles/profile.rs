//! What a profile remembers: whom to log in as and where, and what was given at login and is needed each time.

use std::path::PathBuf;

use berth::target::Target;
use berth::trust::Fingerprint;
use serde::{Deserialize, Serialize};

use crate::wording::InWords;
/// A profile, checked. Its device's key is beside it in a file of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The user and the server.
    pub target: Target,
    /// The authorities that the server's certificate has to be of, if they were given.
    pub ca_file: Option<PathBuf>,
    /// The server's certificate, if it was given. One that a person agreed to is in the file of known servers.
    pub fingerprint: Option<Fingerprint>,
    /// The file with the secret of the site, if it was given.
    pub site_secret_file: Option<PathBuf>,
}

/// A profile as it stands in its file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    user: String,
    server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    site_secret_file: Option<PathBuf>,
}

impl Profile {
    /// The profile in a file's text, or what is wrong with it.
    pub(super) fn from_text(text: &str) -> Result<Self, String> {
        let File { user, server, ca_file, fingerprint, site_secret_file } =
            toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let target =
            format!("{user}@{server}").parse::<Target>().map_err(|error| error.in_words())?;
        let fingerprint = fingerprint.map(|text| text.parse::<Fingerprint>());
        let fingerprint = fingerprint.transpose().map_err(|error| error.in_words())?;
        Ok(Self { target, ca_file, fingerprint, site_secret_file })
    }

    /// The text of its file.
    pub(super) fn to_text(&self) -> Result<String, String> {
        toml::to_string(&File {
            user: self.target.user.to_string(),
            server: self.target.server.to_string(),
            ca_file: self.ca_file.clone(),
            fingerprint: self.fingerprint.map(|fingerprint| fingerprint.to_string()),
            site_secret_file: self.site_secret_file.clone(),
        })
        .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_as_it_is_written() {
        for (target, full) in [("alice@h:5", true), ("bob@[::1]:4022", false)] {
            let profile = Profile {
                target: target.parse().unwrap(),
                ca_file: full.then(|| "/etc/berth \"ca\".pem".into()),
                fingerprint: full.then(|| Fingerprint::from_bytes([7; 32])),
                site_secret_file: full.then(|| "/s".into()),
            };
            let text = profile.to_text().unwrap();
            assert_eq!(Profile::from_text(&text).unwrap(), profile, "{text}");
        }
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        let alice = "user = \"alice\"\nserver = \"h\"\n";
        assert!(Profile::from_text(alice).is_ok());
        for text in [
            "",
            "user = \"alice\"",
            "user = \"Alice\"\nserver = \"h\"",
            "user = \"alice\"\nserver = \"h:0\"",
            &format!("{alice}fingerprint = \"x\""),
            &format!("{alice}pasword = \"x\""),
        ] {
            assert!(Profile::from_text(text).is_err(), "{text}");
        }
    }
}

//! An invitation's code: what `berthctl invite` prints and `berth join` takes.
//!
//! `berth://[NAME@]HOST[:PORT]/join/` and 64 characters of base64url: 16 bytes of the secret and the SHA-256 of the
//! server's certificate, so that whoever joins trusts that server alone, and nobody is asked.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berth_common::client_protocol::DEFAULT_PORT;
use berth_common::credentials::InvitationSecret;
use berth_common::ids::{UserName, UserNameError};

use crate::target::{ServerAddress, TargetError};
use crate::trust::Fingerprint;

const SCHEME: &str = "berth://";
const SECRET_BYTES: usize = 16;

/// What somebody who was invited is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationCode {
    /// The name that the account must have; `None` when it may be chosen.
    pub user: Option<UserName>,
    /// Where the account will be.
    pub server: ServerAddress,
    /// What is proven to the server. Its `Debug` does not show it.
    pub secret: InvitationSecret,
    /// The server's certificate.
    pub fingerprint: Fingerprint,
}

/// Why a text is no invitation's code. None of them repeats what could be the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvitationCodeError {
    /// It has another form.
    #[error("an invitation's code is berth://HOST/join/ and 64 characters; copy all of the line")]
    Form,
    /// The last part has another length, or other characters.
    #[error("the code is not complete: 64 letters, digits, - and _ come after /join/, not {0}")]
    Token(usize),
    /// The name before the `@` is none.
    #[error(transparent)]
    User(#[from] UserNameError),
    /// The server's address is none.
    #[error(transparent)]
    Server(#[from] TargetError),
}

impl FromStr for InvitationCode {
    type Err = InvitationCodeError;

    fn from_str(text: &str) -> Result<Self, InvitationCodeError> {
        // What is copied may have a newline at its end.
        let rest = text.trim().strip_prefix(SCHEME).ok_or(InvitationCodeError::Form)?;
        let (authority, path) = rest.split_once('/').ok_or(InvitationCodeError::Form)?;
        let token = path.strip_prefix("join/").ok_or(InvitationCodeError::Form)?;
        let (user, server) = match authority.split_once('@') {
            Some((user, server)) => (Some(UserName::new(user)?), server),
            None => (None, authority),
        };
        // A host has no `@`, so that nobody reads another one than is connected to.
        if server.contains('@') {
            return Err(InvitationCodeError::Form);
        }
        let incomplete = || InvitationCodeError::Token(token.chars().count());
        let bytes: [u8; SECRET_BYTES + 32] = URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(incomplete)?;
        let (secret, fingerprint) = bytes.split_at(SECRET_BYTES);
        Ok(Self {
            user,
            server: server.parse()?,
            secret: InvitationSecret(secret.try_into().map_err(|_| incomplete())?),
            fingerprint: Fingerprint::from_bytes(fingerprint.try_into().map_err(|_| incomplete())?),
        })
    }
}

/// Shows the secret: this is the line that is handed over.
impl fmt::Display for InvitationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        let server = self.server.to_string();
        let port = format!(":{DEFAULT_PORT}");
        let server = server.strip_suffix(&port).unwrap_or(&server);
        let token = [&self.secret.0[..], self.fingerprint.as_bytes()].concat();
        write!(f, "{server}/join/{}", URL_SAFE_NO_PAD.encode(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(user: Option<&str>, server: &str) -> InvitationCode {
        InvitationCode {
            user: user.map(|user| UserName::new(user).unwrap()),
            server: server.parse().unwrap(),
            secret: InvitationSecret(std::array::from_fn(|at| at as u8)),
            fingerprint: Fingerprint::from_bytes([0xff; 32]),
        }
    }

    #[test]
    fn a_code_is_read_as_it_is_shown() {
        let token = "AAECAwQFBgcICQoLDA0OD_______________________________________________";
        for (code, shown) in [
            (code(None, "files.example.org"), "files.example.org"),
            (code(Some("alice"), "h:4023"), "alice@h:4023"),
            (code(None, "[::1]"), "[::1]"),
            (code(Some("a"), "[::1]:5"), "a@[::1]:5"),
            (code(None, "127.0.0.1:4022"), "127.0.0.1"),
        ] {
            assert_eq!(
                code.to_string()[..code.to_string().len() - 64],
                format!("berth://{shown}/join/")
            );
            assert!(code.to_string().starts_with("berth://"));
            assert_eq!(code.to_string().rsplit('/').next().unwrap().len(), 64);
            assert_eq!(code.to_string().parse(), Ok(code.clone()), "{code}");
            assert_eq!(format!(" {code}\n").parse(), Ok(code));
        }
        assert_eq!(code(None, "h").to_string(), format!("berth://h/join/{}", &token[..64]));
    }

    #[test]
    fn what_is_no_code_is_refused_and_told_why() {
        use InvitationCodeError as E;
        let whole = code(Some("alice"), "h").to_string();
        let token = whole.rsplit('/').next().unwrap();
        let form = ["", "h", "https://h/join/x", "berth://h", "berth://h/", "berth:h/join/x"];
        for text in form {
            assert_eq!(text.parse::<InvitationCode>(), Err(E::Form), "{text}");
        }
        let parse = |text: String| text.parse::<InvitationCode>().unwrap_err();
        assert_eq!(parse(whole[..whole.len() - 1].to_owned()), E::Token(63));
        assert_eq!(parse(format!("{whole}A")), E::Token(65));
        assert_eq!(parse(format!("{whole}/")), E::Token(65));
        assert_eq!(parse(format!("berth://h/join/{}=", &token[..63])), E::Token(64));
        assert_eq!(parse(format!("berth://h/join/{}+", &token[..63])), E::Token(64));
        assert!(matches!(parse(format!("berth://Al ice@h/join/{token}")), E::User(_)));
        assert!(matches!(parse(format!("berth://@h/join/{token}")), E::User(_)));
        assert!(matches!(parse(format!("berth:///join/{token}")), E::Server(_)));
        assert!(matches!(parse(format!("berth://a@b@c/join/{token}")), E::Form));
        assert!(matches!(parse(format!("berth://h:x/join/{token}")), E::Server(_)));
    }

    #[test]
    fn the_secret_is_not_in_what_is_logged() {
        let shown = format!("{:?}", code(None, "h"));
        assert!(shown.contains("InvitationSecret(…)"), "{shown}");
    }
}

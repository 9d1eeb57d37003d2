//! Why a login, a change of password or the making of a verifier went wrong.

use berth_common::scram::{ScramError, ScramVerifierError};
use rust_i18n::t;

use super::InWords;

impl InWords for ScramError {
    fn in_words(&self) -> String {
        match self {
            Self::TooLong => t!("a SCRAM message is too long"),
            // Which part it is only who debugs a server wants to know, in the words of the protocol.
            Self::Malformed(part) => t!("a SCRAM message is malformed: %{part}", part = part),
            Self::Header => t!("a SCRAM client's header is not `p=tls-exporter,,`"),
            Self::MandatoryExtension => t!("a SCRAM message has a mandatory extension"),
            Self::Nonce => t!("a SCRAM nonce is not of this exchange"),
            Self::Binding => t!("a SCRAM proof is bound to another channel"),
            Self::Proof => t!("a SCRAM proof is wrong"),
            Self::ServerSignature => t!("the server could not prove that it knows this user"),
            Self::Refused => t!("the server refused the proof"),
            Self::Password => {
                t!("the password is empty or has characters that are not allowed in one")
            }
            Self::UserName => {
                t!("the user name is empty or has characters that are not allowed in one")
            }
            Self::Verifier(ScramVerifierError::Salt(bytes)) => {
                t!("a salt has 16 to 64 bytes, not %{bytes}", bytes = bytes)
            }
            Self::Verifier(ScramVerifierError::Iterations(number)) => {
                t!("iterations are 4096 to 1000000, not %{number}", number = number)
            }
            Self::Random(error) => t!("no random bytes: %{error}", error = error),
        }
        .into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_english_sentences_are_those_of_the_crate() {
        let errors = [
            ScramError::TooLong,
            ScramError::Malformed("the nonce"),
            ScramError::Header,
            ScramError::MandatoryExtension,
            ScramError::Nonce,
            ScramError::Binding,
            ScramError::Proof,
            ScramError::ServerSignature,
            ScramError::Refused,
            ScramError::Password,
            ScramError::UserName,
            ScramVerifierError::Salt(3).into(),
            ScramVerifierError::Iterations(1).into(),
            ScramError::Random(getrandom::Error::UNSUPPORTED),
        ];
        for error in errors {
            assert_eq!(error.in_words(), error.to_string());
        }
    }
}

//! The client's key, from which upload tokens are made, in the user's state directory.

use berth::client_key::{ClientKey, ClientKeyError};
use rust_i18n::t;

use crate::dirs;
use crate::wording::InWords as _;

/// Why there is no lasting key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Neither `XDG_STATE_HOME` nor `HOME` is set.
    #[error("{}", t!("no state directory: neither XDG_STATE_HOME nor HOME is an absolute path"))]
    NoDirectory,
    /// The key cannot be kept or made.
    #[error("{}", _0.in_words())]
    Key(#[from] ClientKeyError),
}

/// The key in the user's state directory, made on first use.
pub(crate) fn client_key() -> Result<ClientKey, StateError> {
    let dir = dirs::state().ok_or(StateError::NoDirectory)?;
    Ok(ClientKey::load(&dir)?)
}

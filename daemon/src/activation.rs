//! Sockets that a service manager holds and passes at the start (`sd_listen_fds(3)`).
//!
//! They take the place of `listen`: the manager's unit says where they listen, and they stay open there while
//! berthd is replaced, so that clients wait in the backlog. Nothing is done where none are passed.

use std::io;

use crate::listener::{Bound, NoListener};
use crate::sys;

/// All that the manager says in the environment about the sockets; the crate forgets the other two.
const NAMES: &str = "LISTEN_FDNAMES";
const VARIABLES: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID", NAMES];

/// Why what was passed cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActivationError {
    /// The variables or descriptors are not what they should be.
    #[error("the sockets that LISTEN_FDS speaks of cannot be taken: {0}")]
    Take(#[source] io::Error),
    /// One is nothing to accept clients from.
    #[error("the socket {name:?} that was passed at the start cannot be served: {source}")]
    Socket {
        /// What the manager calls it.
        name: String,
        source: NoListener,
    },
}

/// Takes the sockets that were passed to this process, and forgets the variables. Call it first: before
/// there are threads, and before anything else opens descriptors.
///
/// # Errors
/// [`ActivationError`]; nothing is served of what is not understood.
pub(crate) fn take() -> Result<Vec<Bound>, ActivationError> {
    if VARIABLES.iter().all(|name| std::env::var_os(name).is_none()) {
        return Ok(Vec::new());
    }
    let names = std::env::var(NAMES).unwrap_or_default();
    let sockets = sys::take_passed_descriptors().map_err(ActivationError::Take)?;
    sys::forget_variables(&VARIABLES).map_err(ActivationError::Take)?;
    let mut names = names.split(':');
    let served = |socket| {
        let name = names.next().filter(|name| !name.is_empty()).unwrap_or("unknown");
        Bound::passed(socket)
            .map_err(|source| ActivationError::Socket { name: name.to_owned(), source })
    };
    sockets.into_iter().map(served).collect()
}

//! What stands before a directory while it is being made: what is in it waits there.
//!
//! A plain flag that can be waited for. Whoever walks a tree looks at it too, and leaves a directory that cannot be
//! made alone.

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Open,
    Shut,
}

/// Whether a directory is made yet, and whether it will ever be.
#[derive(Debug)]
pub struct Gate(watch::Sender<State>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(State::Waiting))
    }
}

impl Gate {
    /// The directory is there.
    pub fn open(&self) {
        self.0.send_replace(State::Open);
    }

    /// The directory will not be there.
    pub fn shut(&self) {
        self.0.send_replace(State::Shut);
    }

    /// Whether the directory is there.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self.0.borrow() == State::Open
    }

    /// Whether it is known that the directory will not be there.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        *self.0.borrow() == State::Shut
    }

    /// Waits until it is known, and says whether the directory is there.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn pass(&self) -> bool {
        let mut state = self.0.subscribe();
        let known = state.wait_for(|state| *state != State::Waiting).await;
        known.is_ok_and(|state| *state == State::Open)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn what_is_in_a_directory_waits_until_that_is_made_or_cannot_be() {
        let gate = Gate::default();
        assert_eq!(gate.pass().now_or_never(), None);
        assert!(!gate.is_shut());
        gate.open();
        assert_eq!(gate.pass().now_or_never(), Some(true));
        let gate = Gate::default();
        gate.shut();
        assert_eq!((gate.pass().now_or_never(), gate.is_shut()), (Some(false), true));
    }
}

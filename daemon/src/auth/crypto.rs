//! The three cryptographic steps of a login, each in one place, so that a test can count them.
//!
//! Thin: `berth_common::scram` does the work.

use berth_common::scram::{
    AwaitingProof, ChannelBinding, ClientHello, Nonce, ScramError, ScramVerifier,
};

/// What can be counted.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Decoy,
    Challenge,
    Verify,
}

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::RefCell<Vec<Step>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// The steps that this thread took since it was asked last.
#[cfg(test)]
pub(super) fn taken() -> Vec<Step> {
    STEPS.take()
}

/// The verifier that no password fits.
pub(super) fn decoy(server_secret: &[u8; 32], name: &str) -> ScramVerifier {
    #[cfg(test)]
    STEPS.with_borrow_mut(|steps| steps.push(Step::Decoy));
    ScramVerifier::decoy(server_secret, name)
}

/// The server-first message, with a nonce of its own.
pub(super) fn challenge(
    hello: ClientHello,
    verifier: ScramVerifier,
) -> Result<(Vec<u8>, AwaitingProof), ScramError> {
    #[cfg(test)]
    STEPS.with_borrow_mut(|steps| steps.push(Step::Challenge));
    hello.challenge(verifier, &Nonce::random()?)
}

/// The check of a proof; gives the server-final message.
pub(super) fn verify(
    awaiting: AwaitingProof,
    message: &[u8],
    binding: &ChannelBinding,
) -> Result<Vec<u8>, ScramError> {
    #[cfg(test)]
    STEPS.with_borrow_mut(|steps| steps.push(Step::Verify));
    awaiting.verify(message, binding)
}

//! What a transfer does next, decided without a runtime, a file or a clock.

mod receiving;
mod room;
mod sending;

pub(crate) use receiving::{Arrival, Failure, ReceivingPlan, Verdict, leaves_of};
pub(crate) use room::{Need, Room};
pub(crate) use sending::SendingPlan;

/// The client did what the protocol does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client broke the protocol within a transfer")]
pub(crate) struct Violation;

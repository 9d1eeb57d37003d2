//! Directory trees for `put -r` and `get -r`: what is in them, found piece by piece, and what came of it.
//!
//! `walk` reads local directories and `listed` those of the home, each ahead of the transfers and in constant
//! memory; `stack` is what every walk of the home is made of. `root` says what a tree becomes on the other side, `gate` holds back what is in a directory until that is
//! made, `preflight` decides what is to be done with each piece, `sieve` leaves names out, `leftovers` removes what is only here, `tally` counts. None of them transfers anything or prints: the commands do.

mod gate;
mod leftovers;
mod listed;
mod place;
mod preflight;
mod root;
mod sieve;
mod spool;
mod stack;
mod tally;
mod walk;

pub use gate::Gate;
pub use leftovers::Leftovers;
pub(crate) use listed::beneath;
pub use listed::{Listed, Piece, joined};
pub use place::{PlaceError, make_directory};
pub use preflight::{Comparing, Growth, Local, Paths, Plan, Told, Verdict, ancestors, judge};
pub use root::{Fills, FillsError, contents_of};
pub use sieve::{PatternError, Sieve};
pub(crate) use stack::Stack;
pub use tally::Tally;
pub use walk::{
    FoundDirectory, FoundFile, FoundSmall, LookedAt, NotFollowed, Root, Step, Takes, Walk,
    WalkError,
};

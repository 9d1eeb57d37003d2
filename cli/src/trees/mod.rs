//! Directory trees for `put -r` and `get -r`: what is in them, found piece by piece, and what came of it.
//!
//! `walk` reads local directories and `listed` those of the home, each ahead of the transfers and in constant
//! memory; `stack` is what every walk of the home is made of. `root` says what a tree becomes on the other side, `gate` holds back what is in a directory until that is
//! made, `tally` counts. None of them transfers anything or prints: the commands do.

mod gate;
mod listed;
mod place;
mod root;
mod spool;
mod stack;
mod tally;
mod walk;

pub use gate::Gate;
pub use listed::{Listed, Piece, joined};
pub use place::{PlaceError, make_directory};
pub use root::{Fills, FillsError, contents_of};
pub(crate) use stack::Stack;
pub use tally::Tally;
pub use walk::{FoundDirectory, FoundFile, FoundSmall, NotFollowed, Root, Step, Walk, WalkError};

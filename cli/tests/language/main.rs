//! Nothing that `berth` and `berthctl` say to people lacks a translation.
//!
//! `sources` finds the messages and all other texts in the sources of the crate, `tables` reads the translations,
//! `messages` compares the two, `help` does so for the command lines, and `prose` finds what nobody has marked as a
//! message, and `readme` compares the two pages that people read first. CONTRIBUTING.md says how a message is added.

// Helpers outside a test function are part of a test all the same.
#![allow(clippy::unwrap_used)]

mod help;
mod messages;
mod prose;
mod readme;
mod sources;
mod tables;

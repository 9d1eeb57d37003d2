//! Nothing that `berth` and `berthctl` say to people lacks a translation.
//!
//! `sources` finds the messages and all other texts in the sources of the crate, `tables` reads the translations,
//! `messages` compares the two, `help` does so for the command lines, and `prose` finds what nobody has marked as a
//! message. CONTRIBUTING.md says how a message is added.

mod help;
mod messages;
mod prose;
mod sources;
mod tables;

//! How what is looked at is laid out: columns, order, colours, branches of a tree, bars, round trips.
//!
//! Plain functions and types for the commands, which have the session and print. `screen` alone asks what the
//! terminal and the environment are; nothing in here reads the network or writes.

pub(crate) mod bar;
pub(crate) mod branches;
pub(crate) mod colours;
pub(crate) mod columns;
pub(crate) mod order;
pub(crate) mod round_trips;
pub(crate) mod screen;

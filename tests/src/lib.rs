//! The harness: a real `berthd` in a directory of its own, and real clients against it.
//!
//! A [`Server`] owns a temporary directory, listens on a port that the kernel chose, keeps what the
//! daemon logs, and is killed when it is dropped. A [`Client`] runs `berth` with a state and a
//! configuration of its own. Nothing is shared between two servers, so tests run side by side.
//!
//! As root, everything is run by `setpriv` as a fixed unused uid, from copies of the binaries in a
//! directory that everybody may enter: the daemon never runs as root. As anybody else, it runs as
//! that user.
//!
//! Tests wait on conditions, with a deadline ([`wait_for`], [`wait_until`]), never for a time.
//! A harness that cannot do its work panics: that is a failed test.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a panic is a failed test")]

pub mod account;
pub mod announcer;
pub mod binaries;
pub mod client;
pub mod cuts;
pub mod disk;
pub mod distance;
pub mod exact;
pub mod exit;
pub mod files;
pub mod interrupted;
pub mod ledger;
pub mod listing;
pub mod log;
pub mod manager;
pub mod network;
pub mod outcome;
#[cfg(debug_assertions)]
pub mod points;
pub mod power;
pub mod process;
pub mod puppets;
pub mod raw;
pub mod relay;
pub mod report;
pub mod server;
pub mod storm;
pub mod terminal;
pub mod valve;
pub mod wait;

pub use announcer::Announcer;
pub use binaries::Binaries;
pub use client::{Client, Running};
pub use distance::Distance;
pub use files::Content;
pub use manager::Manager;
pub use network::{Machine, Network};
pub use outcome::Outcome;
#[cfg(debug_assertions)]
pub use points::{Points, Stopped};
pub use raw::{Raw, Received};
pub use relay::Relay;
pub use report::report;
pub use server::{Options, Server};
pub use terminal::Terminal;
pub use valve::Valve;
pub use wait::{wait_for, wait_until};

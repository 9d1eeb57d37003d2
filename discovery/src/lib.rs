//! Berth servers on the local network: how one is announced, and how those that are announced are listed, by mDNS
//! (RFC 6762) and DNS-SD (RFC 6763).
//!
//! Two processes use it and never meet: `berthd announce` ([`announce`]) and `berth discover` ([`browse`]). It has
//! the only UDP sockets of the project. Messages are read and written by the crate `domain`; what is done about them
//! is decided here, by plain types that keep a bounded amount of what they hear. Nothing that comes this way is
//! proof of anything: whoever connects to what was found trusts the server as ever, by its certificate.

#![forbid(unsafe_code)]

pub mod announce;
pub mod browse;
mod chance;
mod interfaces;
mod link;
mod message;
mod service;

pub use interfaces::{Interface, NetworkError};
pub use service::{Announcement, InstanceName, NameError};

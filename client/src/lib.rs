//! Berth's client: from a server's name to a session, and what a session does.
//!
//! In layers, each of which knows only those before it: `connection` (frames on a stream), `login`, `session`
//! (requests by number) with `requests` and `transfer`. `connect` and `verify` give it a TLS stream. Tests take the
//! layers one by one, for instance to put a faulty stream below a session.
//!
//! It knows no terminal, no exit code and no command line: what happens is told by events, what fails by errors, and
//! whoever uses it says both in words of its own.

#![forbid(unsafe_code)]

mod buffers;
pub mod client_key;
pub mod connect;
pub mod connection;
pub mod credentials;
pub mod device;
pub mod exec;
pub mod invitation;
pub mod login;
pub mod password;
pub mod private_file;
pub mod progress;
mod reason;
pub mod requests;
pub mod session;
pub mod target;
pub mod transfer;
pub mod trust;
pub mod verify;
pub mod wire;

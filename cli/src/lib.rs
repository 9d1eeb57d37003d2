//! What `berth`, the client, and `berthctl`, the administrator's tool, are made of.
//!
//! The client in layers, each of which knows only those before it: `connection` (frames on a
//! stream), `login`, `session` (requests by number) with `requests` and `transfer`, `trees` (what `put -r`
//! and `get -r` walk), `looking` (how listings and figures are laid out), `commands`.
//! `connect` and `verify` give it a TLS stream, `reach` asks a person what is needed, `run` puts
//! it together; `shell` carries many commands out on one session. `admin` is all of `berthctl`; both share `ask`, `human`, `output` and `password`.
//! Tests take the layers one by one, for instance to put a faulty stream below a session.

#![forbid(unsafe_code)]

rust_i18n::i18n!("locales");

// The server in memory of `tests/transfers` plays for tests in here too.
#[cfg(test)]
extern crate self as berth_cli;

pub mod admin;
pub mod args;
pub mod ask;
mod buffers;
mod commands;
pub mod connect;
pub mod connection;
pub mod credentials;
pub mod device;
pub mod dirs;
pub mod exit;
pub mod failure;
pub mod human;
pub mod invitation;
pub mod language;
pub mod login;
mod looking;
pub mod output;
pub mod password;
pub mod profiles;
pub mod progress;
mod reach;
pub mod requests;
mod retry;
pub mod run;
pub mod session;
mod shell;
mod sign_in;
pub mod state;
pub mod target;
pub mod transfer;
pub mod trees;
pub mod trust;
pub mod verify;
pub mod wire;
pub mod wording;

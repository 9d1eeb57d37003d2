//! What `berth`, the client, and `berthctl`, the administrator's tool, are made of.
//!
//! Connections, sessions and transfers are the library's, `berth`. Here are `trees` (what `put -r` and `get -r` walk),
//! `looking` (how listings and figures are laid out) and `commands`; `reach` asks a person what is needed, `run` puts
//! it together; `shell` carries many commands out on one session. `wording` says what the
//! library's errors mean to a person, `language` in which language all is said. `admin` is all of `berthctl`; both
//! share `ask`, `human`, `output` and `password`.

#![forbid(unsafe_code)]

rust_i18n::i18n!("locales");

pub mod admin;
pub mod args;
pub mod ask;
mod commands;
pub mod dirs;
mod discover;
pub mod exit;
pub mod failure;
mod heap;
pub mod human;
pub mod language;
mod looking;
pub mod output;
pub mod password;
pub mod profiles;
pub mod progress;
mod reach;
mod retry;
pub mod run;
mod shell;
mod sign_in;
mod state;
mod transfer_failures;
pub mod trees;
pub mod wording;

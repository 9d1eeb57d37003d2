//! What `berth`, the client, and `berthctl`, the administrator's tool, are made of.
//!
//! Connections, sessions and transfers are the library's, `berth`. Here are `trees` (what `put -r` and `get -r` walk),
//! `looking` (how listings and figures are laid out) and `commands`; `reach` asks a person what is needed, `run` puts
//! it together; `shell` carries many commands out on one session. `transfer_failures` and `reach` say what the
//! library's errors mean to a person. `admin` is all of `berthctl`; both share `ask`, `human`, `output` and `password`.

#![forbid(unsafe_code)]

pub mod admin;
pub mod args;
pub mod ask;
mod commands;
pub mod dirs;
mod discover;
pub mod exit;
pub mod failure;
pub mod human;
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

//! `berthd`: the supervisor of Berth's processes. It listens, spawns workers and filers, keeps the TLS key,
//! the ledger and the administrator's socket, and parses nothing of what clients send but SCRAM messages.
//!
//! A library for its own `main`, for the fuzz targets and for its benchmark; no other crate links it.

mod accept;
mod activation;
mod activity;
mod addresses;
mod admin;
mod announce;
mod answers;
mod asked;
mod auth;
#[cfg(feature = "bench")]
pub mod benching;
mod broker;
mod bucket;
mod certificate_verify;
mod check;
mod cli;
mod config;
mod daemon;
mod data_dir;
mod distrust;
mod exec;
mod exit;
mod expiry;
mod file_system;
mod filer_handle;
mod free_space;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod heartbeat;
mod holding;
mod homes;
mod identity;
mod incidents;
mod kernel;
mod last_words;
mod ledger;
mod lines;
mod listener;
mod lock;
mod log;
mod main_loop;
mod memory_events;
mod notify;
mod owed;
mod pending;
mod places;
mod privileges;
mod process;
mod program;
mod programs;
mod recovery;
mod reload;
mod run;
mod serve;
mod session;
mod sessions;
mod shutdown;
mod spares;
mod spawn;
#[allow(unsafe_code)]
mod sys;
mod tasks;
mod tickets;
mod verify;
mod watch;
mod worker_handle;

/// Runs the program: what `main` does.
#[must_use]
pub fn run() -> std::process::ExitCode {
    run::run()
}

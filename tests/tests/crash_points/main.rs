//! Every operation of the protocol's table is cut off at the points that it passes, by the death of its filer or
//! of the daemon, and of its worker where the outcome is certain. After the recovery the ledger is exact, and
//! the operation has happened whole or not at all: not before the rename, and wholly after it.
//! `docs/TESTING.md` says who dies where.

#![cfg(debug_assertions)]

mod appends;
mod batches;
mod names;
mod owed;
mod puts;
mod recovery;
mod scene;
mod streams;
mod uploads;
mod users;

//! Every operation is cut off at every point of the protocol that it passes, by the death of its filer,
//! its worker or the daemon. After the recovery the ledger is exact, and the operation has happened whole
//! or not at all: not before the rename, and wholly after it.

#![cfg(debug_assertions)]

mod batches;
mod names;
mod puts;
mod recovery;
mod scene;
mod uploads;

//! Hostile code in workers and filers: what an attacker who has taken one over can and cannot do.
//!
//! Puppets stand in their places (`tests/puppets`): they are demoted as the real ones are and then do what the
//! tests order, any system call included. `table` has the attacks with what becomes of each, in a worker
//! before and after its login and in a filer; the other files are about what such processes say to their
//! neighbours. docs/THREAT-MODEL.md lists what the table says remains.

#![cfg(target_arch = "x86_64")]

mod asking;
mod attacks;
mod broker;
mod escapes;
mod filers;
mod floods;
mod in_flight;
mod ledger;
mod orders;
mod packets;
mod phases;
mod remains;
mod scene;
mod table;
mod writes;

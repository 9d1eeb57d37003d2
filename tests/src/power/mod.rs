//! Power cuts, simulated: what traced programs wrote, and what a disk has of it when the power goes.
//!
//! [`trace`] reads the calls that strace recorded, [`disk`] plays them and says at any moment what
//! three kinds of disk would still have: one that loses all that was not synced, and two whose file
//! system has one ordered journal, of which one has all names up to the last call and the other
//! those that a sync has committed. What it says is written to a real directory, on which real
//! programs are then started. Nothing here talks to a device.

mod bytes;
pub mod call;
pub mod disk;
pub mod reboot;
pub mod recording;
pub mod trace;

pub use disk::{Disk, Kind};
pub use reboot::reboot;
pub use recording::Recording;
pub use trace::{Event, read};

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Removes all that stands in a directory.
///
/// # Panics
/// When it cannot be removed.
pub fn empty(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            // SQLite removes its files beside the ledger when the last one closes it.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => result.unwrap(),
        }
    }
}

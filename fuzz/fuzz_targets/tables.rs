//! What workers and filers send, message by message, against the daemon's tables.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| berth_daemon::fuzzing::tables(data));

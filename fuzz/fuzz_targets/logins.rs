//! SCRAM's messages, which are all that the daemon reads of what clients send.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| berth_daemon::fuzzing::logins(data));

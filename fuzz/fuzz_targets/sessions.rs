//! A client's conversation, message by message, against the session's state and the transfers' plans.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| berth_session::fuzzing::sessions(data));

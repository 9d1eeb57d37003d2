//! What a client sends, as the worker's reader reads it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    berth_common::fuzzing::frames(data);
    berth_session::fuzzing::frames(data);
});

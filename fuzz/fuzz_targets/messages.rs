//! The packets of all internal channels, in both directions.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| berth_common::fuzzing::messages(data));

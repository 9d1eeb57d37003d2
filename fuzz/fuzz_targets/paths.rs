//! Texts that become names of files.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| berth_common::fuzzing::paths(data));

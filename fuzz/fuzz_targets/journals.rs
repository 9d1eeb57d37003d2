//! Journals, which a worker reads back from the disk.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| berth_common::fuzzing::journals(data));

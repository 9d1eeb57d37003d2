//! What becomes of memory that was freed.

use std::hint::black_box;

use berth_common::batch::{AT_ONCE, BYTES};

/// Twice of what may be on its way.
const KEPT_BYTES: usize = 2 * AT_ONCE * BYTES;

/// Has the heap keep what is freed, up to some megabytes, for who makes and drops messages without end.
///
/// glibc gives what is free at the heap's end back to the system from 128 KiB on, and each page that is asked for anew
/// costs more than to fill it. It raises that bound to twice the largest block that was ever freed to the system
/// (mallopt(3), `M_MMAP_THRESHOLD`), of which no page need have been used. Elsewhere it does nothing.
pub(crate) fn keeps_what_is_freed() {
    drop(black_box(Vec::<u8>::with_capacity(KEPT_BYTES / 2)));
}

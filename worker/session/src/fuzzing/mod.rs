//! What is fuzzed of a worker: each function takes any bytes, and panics where a promise is broken.
//!
//! The targets in `fuzz/` call them by way of the fuzzer; the tests here run the inputs that are kept in
//! `fuzz/corpus`.

mod downloads;
mod frames;
mod sessions;
mod uploads;

pub use frames::frames;
pub use sessions::sessions;

#[cfg(test)]
#[path = "../../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;

    #[test]
    fn the_corpus_of_frames_keeps_its_promises() {
        replay("frames", frames);
    }

    #[test]
    fn the_corpus_of_sessions_keeps_its_promises() {
        replay("sessions", sessions);
    }
}

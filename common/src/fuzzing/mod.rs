//! What is fuzzed of this crate: each function takes any bytes, and panics where a promise is broken.
//!
//! The targets in `fuzz/` call them by way of the fuzzer; the tests here run the inputs that are kept in
//! `fuzz/corpus`, so that what was found once is looked for in every build. `docs/TESTING.md` says how to run
//! them and how an input is added.

mod frames;
mod journals;
mod messages;
mod paths;

pub use frames::frames;
pub use journals::journals;
pub use messages::messages;
pub use paths::paths;

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
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
    fn the_corpus_of_journals_keeps_its_promises() {
        replay("journals", journals);
    }

    #[test]
    fn the_corpus_of_messages_keeps_its_promises() {
        replay("messages", messages);
    }

    #[test]
    fn the_corpus_of_paths_keeps_its_promises() {
        replay("paths", paths);
    }
}

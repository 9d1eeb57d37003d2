//! What is fuzzed of the daemon: each function takes any bytes, and panics where a promise is broken.
//!
//! The targets in `fuzz/` call them by way of the fuzzer; the tests here run the inputs that are kept in
//! `fuzz/corpus`.

mod filers;
mod logins;
mod noting;
mod tables;
mod workers;

pub use logins::logins;
pub use tables::tables;

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;

    #[test]
    fn the_corpus_of_logins_keeps_its_promises() {
        replay("logins", logins);
    }

    #[test]
    fn the_corpus_of_tables_keeps_its_promises() {
        replay("tables", tables);
    }
}

//! Puppets: programs that tests put in the places of `berth-worker` and `berth-filer`.
//!
//! Each calls the demotion of the program that it stands for, at the same points of its life, and then does
//! whatever the test orders: any system call with any arguments ([`machine`]). So a test can run what an
//! attacker would run who has taken the real one over. They are never installed.
//!
//! A puppet stands in a directory of the test's own, beside a link to the real program. Unless the test has
//! placed a script there ([`place`]) it executes the real one at once, so that the same daemon has both.

pub mod habits;
pub mod haggle;
pub mod line;
pub mod machine;
pub mod orders;
pub mod place;
#[allow(unsafe_code)]
mod sys;
mod threads;

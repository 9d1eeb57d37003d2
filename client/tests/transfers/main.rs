//! Puts, gets and listings through the client's public interface, against a server in memory.

// Helpers outside a test function are part of a test all the same.
#![allow(clippy::unwrap_used)]

mod fake;
mod get;
mod list;
mod put;
mod small_puts;
mod stream;

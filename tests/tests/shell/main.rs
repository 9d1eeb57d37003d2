//! `berth shell`, typed at a pseudo-terminal whose screen is looked at, and read from standard input.

mod cutting;
mod picking;
mod scene;
mod scripts;
mod typing;

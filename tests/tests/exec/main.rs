//! Remote commands: allowed programs that run in jails, and what they cannot do.
//!
//! `scene` has the server; `running` what a user sees of programs that behave, `limits` what becomes of those that do
//! not, `ends` who ends them, and `attacks` the table of what a program tries against its walls.

mod attacks;
mod ends;
mod limits;
mod running;
mod scene;

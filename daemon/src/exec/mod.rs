//! Programs that users run: found on the machine, started in a jail each, watched, and ended.
//!
//! [`crate::session`] says who may, and owns what it has begun; a jail is a process as worker and filer are
//! ([`crate::spawn`]), and ends with the session that it belongs to. The daemon passes the program's pipes between jail
//! and worker, and reads nothing of what goes through them.

mod finding;
mod places;
mod running;

pub(crate) use finding::find;
pub(crate) use places::Places;
pub(crate) use running::{Order, Outcome, Stop, Stopping, run};

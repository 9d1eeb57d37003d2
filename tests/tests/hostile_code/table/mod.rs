//! The table of attacks: a row has a name, how it is made, and what becomes of it in a worker (before its login
//! and after it alike), in a filer, and without a sandbox.

mod files;
mod kernel;
mod memory;
mod neighbours;
mod network;
mod paths;
mod users;

use berth_tests::puppets::{Fate, Puppet};

use crate::attacks::{Attack, Made, Target, Want, Without};

type How = fn(&mut Puppet, &Target) -> Made;

/// All rows.
pub(crate) fn all() -> impl Iterator<Item = Attack> {
    [
        neighbours::rows(),
        network::rows(),
        kernel::rows(),
        memory::rows(),
        paths::rows(),
        files::rows(),
    ]
    .into_iter()
    .flatten()
}

/// An attack that ends worker and filer, by the call whose name stands before the colon.
fn ended(name: &'static str, how: How) -> Attack {
    let want = Want::Ended(call_of(name));
    Attack { name, how, worker: want, filer: want, free: Without::Works }
}

/// The same, which cannot be shown without a sandbox: it needs root, or would do harm.
fn ended_untried(name: &'static str, how: How) -> Attack {
    Attack { free: Without::Untried, ..ended(name, how) }
}

/// An attack by a call that a filer has: there its object is out of reach.
fn out_of_reach(name: &'static str, how: How, errnos: &'static [i32]) -> Attack {
    Attack { filer: Want::Refused(errnos), ..ended(name, how) }
}

impl Attack {
    /// It cannot be shown without a sandbox, or would do harm.
    fn untried(self) -> Self {
        Self { free: Without::Untried, ..self }
    }

    /// In a worker it is ended earlier, at this call.
    fn worker(self, call: &'static str) -> Self {
        Self { worker: Want::Ended(call), ..self }
    }
}

/// The name of the call with which the row's name begins.
fn call_of(name: &'static str) -> &'static str {
    name.split(':').next().unwrap_or(name)
}

/// Makes a call whose result does not matter.
fn call(puppet: &mut Puppet, number: i64, arguments: &[u64]) -> Made {
    puppet.call(number, arguments).map(drop)
}

/// The same with a path for its first argument.
fn on_path(puppet: &mut Puppet, number: i64, path: &std::path::Path, rest: &[u64]) -> Made {
    let path = puppet.text(path)?;
    call(puppet, number, &[&[path], rest].concat())
}

/// The same with a path for its second argument, from the working directory.
fn at_path(puppet: &mut Puppet, number: i64, path: &std::path::Path, rest: &[u64]) -> Made {
    let path = puppet.text(path)?;
    call(puppet, number, &[&[CWD, path], rest].concat())
}

/// `AT_FDCWD`.
const CWD: u64 = libc::AT_FDCWD as u64;

/// The order was refused, as far as its report tells.
fn refused(errno: i32) -> Made {
    if errno == 0 { Ok(()) } else { Err(Fate::Refused(errno)) }
}

//! Namespaces: a user, mount, process, network and communication world of its own, in which the rest is made.
//!
//! They are the first wall, and the only one that hides what is not opened: Landlock alone lets the size and times of
//! any file of the system user's be asked. The user namespace is what lets an ordinary process have the others; it
//! grants nothing outside of them, and all that it grants inside is given up before the program runs.

use std::io;

use rustix::process::Signal;
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

use crate::sys;

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WallsError {
    /// The kernel, or who configured it, does not give them. Nothing has changed.
    #[error("make namespaces: {0}")]
    NotGiven(#[source] io::Error),
    /// This process is in them, and they are not finished: it must end.
    #[error("finish namespaces: {0}")]
    HalfMade(#[source] io::Error),
}

/// Enters them. Children of this process are in the new process namespace, and the first one begins it.
///
/// # Errors
/// See [`WallsError`].
pub(crate) fn raise() -> Result<(), WallsError> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    sys::unshare(
        UnshareFlags::NEWUSER
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWPID
            | UnshareFlags::NEWNET
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS
            | UnshareFlags::NEWCGROUP,
    )
    .map_err(WallsError::NotGiven)?;
    finish(uid, gid).map_err(WallsError::HalfMade)
}

fn finish(uid: u32, gid: u32) -> io::Result<()> {
    // The same numbers as outside, so that nobody is root even by name.
    tell_proc("setgroups", "deny")?;
    tell_proc("uid_map", &format!("{uid} {uid} 1"))?;
    tell_proc("gid_map", &format!("{gid} {gid} 1"))?;
    // The kernel forgets this wish when credentials change, which a user namespace may count as.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "nothing is confined yet")]
fn tell_proc(file: &str, text: &str) -> io::Result<()> {
    std::fs::write(format!("/proc/self/{file}"), text)
        .map_err(|error| io::Error::new(error.kind(), format!("/proc/self/{file}: {error}")))
}

/// Gives up what the user namespace has granted, in this process and whatever it executes.
///
/// # Errors
/// The system call's.
pub(crate) fn give_up_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    // Where there was no user namespace there are none, and a service manager may forbid this call.
    let has = rustix::thread::capabilities(None)?;
    if has.effective.is_empty() && has.permitted.is_empty() && has.inheritable.is_empty() {
        return Ok(());
    }
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

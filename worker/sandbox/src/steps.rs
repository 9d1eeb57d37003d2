//! The steps of a demotion, each by itself; their order is the crate root's.

use std::io;
use std::os::fd::AsFd;

use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::DemotionError;
use crate::sys;

/// Half of the scale of proc(5): as if it used half of all memory beside what it uses.
const OOM_SCORE: &str = "500";

/// What differs between the limits of the helpers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Most open descriptors.
    pub descriptors: u64,
    /// Most bytes of private writable memory. It must leave room for some blocks of 1 MiB.
    pub data_bytes: u64,
}

pub(crate) fn refuse_an_environment() -> Result<(), DemotionError> {
    match std::env::vars_os().next() {
        Some((name, _)) => Err(DemotionError::Environment(name)),
        None => Ok(()),
    }
}

/// Asks for SIGKILL at the parent's death, then makes sure that the parent still is who made the channel.
pub(crate) fn die_with_the_parent(channel: impl AsFd) -> Result<(), DemotionError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| DemotionError::DeathSignal(errno.into()))?;
    let creator = rustix::net::sockopt::socket_peercred(channel)
        .map_err(|errno| DemotionError::Creator(errno.into()))?
        .pid;
    let parent = rustix::process::getppid();
    if parent == Some(creator) {
        return Ok(());
    }
    Err(DemotionError::Orphaned {
        parent: parent.map_or(0, |pid| pid.as_raw_nonzero().get()),
        creator: creator.as_raw_nonzero().get(),
    })
}

pub(crate) fn gain_no_privileges() -> Result<(), DemotionError> {
    rustix::thread::set_no_new_privs(true)
        .map_err(|errno| DemotionError::NoNewPrivileges(errno.into()))
}

/// Those that it has are dropped, and those that it would pass on. Who has none sets none: a service manager's filter
/// may refuse the call.
pub(crate) fn hold_no_capabilities() -> Result<(), DemotionError> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::clear_ambient_capability_set()
        .and_then(|()| rustix::thread::capabilities(None))
        .and_then(|held| match held == sets {
            true => Ok(()),
            false => rustix::thread::set_capabilities(None, sets),
        })
        .map_err(|errno| DemotionError::Capabilities(errno.into()))
}

/// When memory is short, the kernel is to end a helper, with whom one client goes, and not the daemon, with whom
/// all go. Before the memory is hidden, since the file is root's then. Where there is no `/proc`, the kernel goes
/// by size alone.
#[expect(clippy::disallowed_methods, reason = "nothing is confined yet")]
pub(crate) fn be_the_first_to_go() {
    drop(std::fs::write("/proc/self/oom_score_adj", OOM_SCORE));
}

/// Another process of the same user then cannot attach, nor read memory, environment or descriptors.
pub(crate) fn hide_memory() -> Result<(), DemotionError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| DemotionError::Dumpable(errno.into()))
}

/// glibc opens a file of /sys when it makes its ninth arena, which the filter forbids.
pub(crate) fn keep_to_one_arena() -> Result<(), DemotionError> {
    if sys::set_one_malloc_arena() { Ok(()) } else { Err(DemotionError::Arena) }
}

/// The three are the channel, the lock file (inherited, never used) and the pipe for panics.
pub(crate) fn close_all_but_the_three() -> Result<(), DemotionError> {
    sys::close_from(3).map_err(DemotionError::CloseRange)
}

pub(crate) fn limit_resources(limits: ResourceLimits) -> Result<(), DemotionError> {
    for (resource, name, most) in [
        (Resource::Core, "RLIMIT_CORE", 0),
        (Resource::Nofile, "RLIMIT_NOFILE", limits.descriptors),
        (Resource::Data, "RLIMIT_DATA", limits.data_bytes),
        (Resource::Memlock, "RLIMIT_MEMLOCK", 0),
        (Resource::Msgqueue, "RLIMIT_MSGQUEUE", 0),
        (Resource::Sigpending, "RLIMIT_SIGPENDING", 0),
    ] {
        lower(resource, most).map_err(|source| DemotionError::Limit { resource: name, source })?;
    }
    Ok(())
}

/// Sets both limits to `most`, or to the hard limit in force if that is lower: it cannot be raised.
fn lower(resource: Resource, most: u64) -> io::Result<()> {
    let hard = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Some(most.min(hard));
    Ok(rustix::process::setrlimit(resource, Rlimit { current: limit, maximum: limit })?)
}

/// Landlock restricts the thread that asks for it and those that it starts later: there must be no other.
pub(crate) fn be_one_thread() -> Result<(), DemotionError> {
    sys::check_for_one_thread().map_err(DemotionError::Threads)
}

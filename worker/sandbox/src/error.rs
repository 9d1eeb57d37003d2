//! Why a demotion failed, step by step.

use std::ffi::OsString;
use std::io;

/// Why a process could not be demoted. `Display` is the operator's sentence.
#[derive(Debug, thiserror::Error)]
pub enum DemotionError {
    /// Step 1: the environment is not empty.
    #[error("environment: it holds {0:?}, but the daemon executes its helpers with an empty one")]
    Environment(OsString),
    /// Step 1: descriptor 0 is not open, or was taken before.
    #[error("channel: descriptor 0 cannot be taken")]
    Channel(#[source] io::Error),
    /// Step 2: the signal at the parent's death could not be asked for.
    #[error("parent: cannot ask to die with it")]
    DeathSignal(#[source] io::Error),
    /// Step 2: descriptor 0 does not say who made it; it is no socket.
    #[error(
        "parent: descriptor 0 does not tell which process made it; was this started by berthd?"
    )]
    Creator(#[source] io::Error),
    /// Step 2: the parent is not the process that made the channel: it is dead, or never was the daemon.
    #[error("parent: it is process {parent}, but process {creator} made the channel")]
    Orphaned {
        /// The parent now, 0 for none that can be seen.
        parent: i32,
        /// Who made the channel.
        creator: i32,
    },
    /// Step 3: new privileges could not be given up.
    #[error("privileges: cannot give up new ones")]
    NoNewPrivileges(#[source] io::Error),
    /// An announcer's alone: its capabilities could not be given up.
    #[error("privileges: cannot give up its capabilities")]
    Capabilities(#[source] io::Error),
    /// Step 3: the process could not be made undumpable.
    #[error("memory: cannot hide it from other processes of the user")]
    Dumpable(#[source] io::Error),
    /// Step 3: the allocator could not be kept to one arena.
    #[error("allocator: cannot keep it to one arena")]
    Arena,
    /// Step 4: the other descriptors could not be closed.
    #[error("descriptors: cannot close those above 2")]
    CloseRange(#[source] io::Error),
    /// Step 5: a resource could not be limited.
    #[error("limits: cannot limit {resource}")]
    Limit {
        /// The kernel's name of it.
        resource: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Step 6: there is another thread already, which Landlock would leave out.
    #[error("threads: Landlock would leave others out")]
    Threads(#[source] io::Error),
    /// Step 6: the kernel refused what Landlock was asked for.
    #[error("landlock: {0}")]
    Landlock(String),
    /// Step 6: the kernel's Landlock is missing or too old, and it is required.
    #[error("landlock: its version is {found} (0 for none), {least} is the least")]
    LandlockTooOld {
        /// What the kernel has.
        found: u32,
        /// What it takes.
        least: u32,
    },
    /// Step 8: a table has two rows for a call, of which one would be lost.
    #[error("seccomp: the table has {0} twice")]
    Table(&'static str),
    /// Step 8: a filter could not be made or loaded.
    #[error("seccomp: {0}")]
    Seccomp(String),
    /// Step 8: the handler that names forbidden calls could not be installed.
    #[error("seccomp: the handler of SIGSYS cannot be installed")]
    Handler(#[source] io::Error),
}

impl DemotionError {
    // Their crates' types stay inside this one.
    pub(crate) fn landlock(error: landlock::RulesetError) -> Self {
        Self::Landlock(error.to_string())
    }

    pub(crate) fn filter(error: seccompiler::BackendError) -> Self {
        Self::Seccomp(error.to_string())
    }
}

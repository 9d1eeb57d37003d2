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
}

//! Demotion: how `berth-worker`, `berth-filer` and `berth-jail` give up what they do not need, and how `berthd announce`
//! does, which has two of its own, [`demote_announcer`] and [`confine_announcer`].
//!
//! Each helper has three functions here, in the order that has to be kept: `demote_…`, called first in its `main`;
//! `confine_…`, when the daemon's first message has come; and [`Confined::seal`], when all threads are up.
//! A `berthd` that serves never calls them. Worker and filer read nothing that a client
//! influences before the last has returned; a jail's first message has the program's arguments in it. They start no
//! thread and never give anything back.

mod confined;
mod error;
mod filter;
mod jail;
mod names;
mod rights;
mod steps;
#[allow(unsafe_code)]
mod sys;
mod tables;
mod trap;

use std::os::fd::{BorrowedFd, OwnedFd};

use berth_common::sandbox_mode::SandboxMode;

pub use confined::Confined;
pub use error::DemotionError;
pub use jail::{JAIL_LIMITS, JailRights, confine_keeper, confine_program, demote_jail};
pub use steps::ResourceLimits;

use crate::filter::Otherwise;
use crate::tables::Table;

/// What a worker may use: 80 descriptors (its client, its channels, the files of its transfers and the pipes of its
/// programs).
pub const WORKER_LIMITS: ResourceLimits =
    ResourceLimits { descriptors: 80, data_bytes: 96 * 1024 * 1024 };

/// What a filer may use. Descriptors in flight count for the whole uid against the *sender's* limit,
/// so a filer's is generous; its memory has room for some hundred operations at once.
pub const FILER_LIMITS: ResourceLimits =
    ResourceLimits { descriptors: 4096, data_bytes: 128 * 1024 * 1024 };

/// What an announcer may use: two sockets for each of 32 interfaces, and what asking for these takes.
pub const ANNOUNCER_LIMITS: ResourceLimits =
    ResourceLimits { descriptors: 128, data_bytes: 64 * 1024 * 1024 };

/// Demotes a worker and returns its channel to the daemon.
///
/// To be called on the main thread before any other thread exists and before any other descriptor is
/// opened: what is above descriptor 2 is closed.
///
/// # Errors
/// One variant a step. The process then is in between and must end.
pub fn demote_worker() -> Result<OwnedFd, DemotionError> {
    // 1. An inherited environment could steer libc, and a backtrace opens files that the filter forbids.
    steps::refuse_an_environment()?;
    let channel = inherited_channel()?;
    // 2. First the signal, then the question: a parent that dies in between is seen by one of the two.
    steps::die_with_the_parent(&channel)?;
    // 3. No new privileges is what lets an ordinary user load Landlock and seccomp.
    steps::gain_no_privileges()?;
    steps::be_the_first_to_go();
    steps::hide_memory()?;
    steps::keep_to_one_arena()?;
    // 4. Before the limit on descriptors, which closes none.
    steps::close_all_but_the_three()?;
    // 5. Not RLIMIT_NPROC: it counts the uid, not the process.
    steps::limit_resources(WORKER_LIMITS)?;
    Ok(channel)
}

/// Takes the whole file system, the network and all other processes away from a worker that is demoted.
///
/// To be called on the main thread before any other thread exists. What the caller starts then, its runtime
/// and its helper threads, has nothing either; [`Confined::seal`] follows when they are up.
///
/// # Errors
/// One variant a step; with [`SandboxMode::Require`] also for what the kernel lacks. The process then is in
/// between and must end.
pub fn confine_worker(mode: SandboxMode) -> Result<Confined, DemotionError> {
    // 6. While there is one thread: Landlock, without a single rule.
    steps::be_one_thread()?;
    let landlock = rights::restrict_worker().map_err(DemotionError::landlock)?;
    // 7. The caller makes its TLS configuration, its runtime and its helper threads, and waits for them.
    // 8. Then it seals, and says `Ready`.
    Confined::new(Table::Worker, Otherwise::End, mode, landlock)
}

/// Demotes a filer as far as it can be before it knows its directories, and returns its channel to the
/// daemon.
///
/// To be called on the main thread before any other thread exists and before any other descriptor is
/// opened: what is above descriptor 2 is closed.
///
/// # Errors
/// One variant a step. The process then is in between and must end.
pub fn demote_filer() -> Result<OwnedFd, DemotionError> {
    // 1 to 5 are the worker's, for the same reasons.
    steps::refuse_an_environment()?;
    let channel = inherited_channel()?;
    steps::die_with_the_parent(&channel)?;
    steps::gain_no_privileges()?;
    steps::be_the_first_to_go();
    steps::hide_memory()?;
    steps::keep_to_one_arena()?;
    steps::close_all_but_the_three()?;
    steps::limit_resources(FILER_LIMITS)?;
    // The caller says `Ready`, and reads one message of the daemon's: its role, with its directories.
    Ok(channel)
}

/// What a filer is for, with the directories that are left to it.
#[derive(Clone, Copy, Debug)]
pub enum FilerRole<'a> {
    /// It serves a session: changes to both.
    Serve {
        /// The user's home.
        home: BorrowedFd<'a>,
        /// The user's staging.
        staging: BorrowedFd<'a>,
    },
    /// It recovers: moves and unlinks in staging.
    Recover {
        /// The user's staging.
        staging: BorrowedFd<'a>,
    },
    /// It walks: reads names and sizes.
    Walk {
        /// The user's home.
        home: BorrowedFd<'a>,
    },
}

/// Leaves a demoted filer nothing but its role's directories.
///
/// To be called on the main thread before any other thread exists: the helper threads are started after it, since
/// Landlock holds for the threads that are started later, and for no older one. [`Confined::seal`] follows
/// when it is up.
///
/// # Errors
/// One variant a step; with [`SandboxMode::Require`] also for what the kernel lacks. The process then is in
/// between and must end.
pub fn confine_filer(role: FilerRole<'_>, mode: SandboxMode) -> Result<Confined, DemotionError> {
    // 6. While there is one thread: Landlock, with a rule for each directory.
    steps::be_one_thread()?;
    let landlock = rights::restrict_filer(role).map_err(DemotionError::landlock)?;
    // 7. The caller starts its helper threads, and waits until they are up.
    // 8. Then it seals, and says `Joined`; only after that is a worker's first request read.
    let table = match role {
        FilerRole::Serve { .. } => Table::FilerServe,
        FilerRole::Recover { .. } => Table::FilerRecover,
        FilerRole::Walk { .. } => Table::FilerWalk,
    };
    Confined::new(table, Otherwise::End, mode, landlock)
}

/// Closes what an announcer (`berthd announce`) was started with by mistake, and gives up new privileges.
///
/// To be called on the main thread before any other thread exists and before any other descriptor is opened: what is
/// above descriptor 2 is closed. As root it still can become somebody else.
///
/// # Errors
/// One variant a step. The process then is in between and must end.
pub fn demote_announcer() -> Result<(), DemotionError> {
    steps::close_all_but_the_three()?;
    steps::gain_no_privileges()
}

/// Takes all files, TCP, other processes and every capability away from an announcer that is demoted: it needs UDP
/// alone. Returns the version of Landlock that is in force, 0 for none.
///
/// To be called on the main thread before any other thread exists, once it is an ordinary user and before it hears
/// the network. It closes no table of system calls: those that list the interfaces are the C library's affair, and
/// its unit has a filter.
///
/// # Errors
/// One variant a step; with [`SandboxMode::Require`] also for what the kernel lacks. The process then is in between
/// and must end.
pub fn confine_announcer(mode: SandboxMode) -> Result<u32, DemotionError> {
    steps::hold_no_capabilities()?;
    steps::hide_memory()?;
    steps::limit_resources(ANNOUNCER_LIMITS)?;
    steps::be_one_thread()?;
    // As a worker: not a single rule.
    let landlock = rights::restrict_worker().map_err(DemotionError::landlock)?;
    confined::check_landlock(mode, landlock)?;
    Ok(landlock)
}

/// Takes descriptor 0, the channel to the daemon, which the daemon placed there. Once a process.
///
/// # Errors
/// [`DemotionError::Channel`] when it was taken before or is not open.
fn inherited_channel() -> Result<OwnedFd, DemotionError> {
    sys::take_descriptor_0().map_err(DemotionError::Channel)
}

//! The demotion of a jail: of the process that the daemon starts, of the one that waits with it, and of the program.
//!
//! It comes in more steps than a worker's, since a jail makes what the program lives in before it gives up what that
//! takes. `berth-jail` has their order: `worker/jail/src/run.rs`.

use std::os::fd::{BorrowedFd, OwnedFd};

use berth_common::sandbox_mode::SandboxMode;

use crate::filter::Otherwise;
use crate::tables::Table;
use crate::{Confined, DemotionError, ResourceLimits, inherited_channel, rights, steps};

/// What a jail may use, and with it the most that a program in it may be given.
pub const JAIL_LIMITS: ResourceLimits =
    ResourceLimits { descriptors: 256, data_bytes: 64 * 1024 * 1024 * 1024 };

/// Demotes a jail as far as it can be before it has made its walls, and returns its channel to the daemon.
///
/// To be called on the main thread before any other thread exists and before any other descriptor is opened: what is
/// above descriptor 2 is closed. Its memory is not hidden before [`confine_keeper`]: the kernel would not let a process
/// that hides it say who it is in a new user namespace.
///
/// # Errors
/// One variant a step. The process then is in between and must end.
pub fn demote_jail() -> Result<OwnedFd, DemotionError> {
    steps::refuse_an_environment()?;
    let channel = inherited_channel()?;
    steps::die_with_the_parent(&channel)?;
    steps::gain_no_privileges()?;
    steps::be_the_first_to_go();
    steps::keep_to_one_arena()?;
    steps::close_all_but_the_three()?;
    steps::limit_resources(JAIL_LIMITS)?;
    Ok(channel)
}

/// Leaves a process that waits for the program nothing but its open descriptors and its children's ends. When it is
/// sealed it can make no other process, nor reach one.
///
/// # Errors
/// One variant a step; with [`SandboxMode::Require`] also for what the kernel lacks. The process then is in between and
/// must end.
pub fn confine_keeper(mode: SandboxMode) -> Result<Confined, DemotionError> {
    steps::be_one_thread()?;
    steps::hide_memory()?;
    let landlock = rights::restrict_keeper().map_err(DemotionError::landlock)?;
    Confined::new(Table::JailKeeper, Otherwise::End, mode, landlock)
}

/// What is left to a program of the file system. Nothing of it can be written.
#[derive(Clone, Copy, Debug)]
pub struct JailRights<'a> {
    /// The user's home, with all that is in it: read.
    pub home: BorrowedFd<'a>,
    /// Directories with the system's libraries: read.
    pub libraries: &'a [OwnedFd],
    /// Single files: read.
    pub files: &'a [OwnedFd],
    /// The program, and what the kernel loads it by: read and executed.
    pub executables: &'a [OwnedFd],
}

/// Restricts the process that is about to execute a program; what it executes is sealed by the same table, in which
/// the call for that stands. A call that does not fails with EPERM.
///
/// # Errors
/// One variant a step; with [`SandboxMode::Require`] also for what the kernel lacks. The process then is in between and
/// must end.
pub fn confine_program(
    rights: JailRights<'_>,
    mode: SandboxMode,
) -> Result<Confined, DemotionError> {
    steps::be_one_thread()?;
    let landlock = rights::restrict_program(rights).map_err(DemotionError::landlock)?;
    Confined::new(Table::JailProgram, Otherwise::Fail, mode, landlock)
}

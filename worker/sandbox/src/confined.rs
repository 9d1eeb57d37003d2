//! A process between its last two steps: Landlock is in force, the table of system calls is not yet.

use berth_common::sandbox_mode::{LEAST_LANDLOCK, SandboxMode};
use seccompiler::Error;

use crate::DemotionError;
use crate::filter::{Filters, Otherwise};
use crate::tables::Table;
use crate::trap;

/// What is still to be done: [`Confined::seal`].
#[must_use = "without being sealed the process may make any system call"]
pub struct Confined {
    filters: Filters,
    otherwise: Otherwise,
    mode: SandboxMode,
    landlock: u32,
}

impl std::fmt::Debug for Confined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Confined").field("landlock", &self.landlock).finish_non_exhaustive()
    }
}

/// Whether this version of Landlock is enough.
pub(crate) fn check_landlock(mode: SandboxMode, found: u32) -> Result<(), DemotionError> {
    let least = LEAST_LANDLOCK;
    if found < least && mode != SandboxMode::BestEffort {
        return Err(DemotionError::LandlockTooOld { found, least });
    }
    Ok(())
}

impl Confined {
    pub(crate) fn new(
        table: Table,
        otherwise: Otherwise,
        mode: SandboxMode,
        landlock: u32,
    ) -> Result<Self, DemotionError> {
        check_landlock(mode, landlock)?;
        let filters = Filters::compile(table, otherwise.action(mode))?;
        Ok(Self { filters, otherwise, mode, landlock })
    }

    /// The version of Landlock that is in force, 0 for none: the lesser of the kernel's and of what this
    /// build knows.
    #[must_use]
    pub fn landlock(&self) -> u32 {
        self.landlock
    }

    /// Closes the table on all threads, which have to be up: what a thread does while it starts stands in no
    /// table. Returns whether it is closed.
    ///
    /// # Errors
    /// When a filter cannot be loaded. A kernel without seccomp is none with [`SandboxMode::BestEffort`]. The
    /// process then is in between and must end.
    pub fn seal(self) -> Result<bool, DemotionError> {
        if self.otherwise == Otherwise::End {
            trap::install().map_err(DemotionError::Handler)?;
        }
        match self.filters.load() {
            Ok(()) => Ok(true),
            Err(Error::Seccomp(error))
                if self.mode == SandboxMode::BestEffort
                    && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) =>
            {
                Ok(false)
            }
            Err(error) => Err(DemotionError::Seccomp(error.to_string())),
        }
    }
}

//! How much of the sandbox has to be there: configured at the daemon, told to each helper by its first message.

use serde::{Deserialize, Serialize};

/// The least version of Landlock that the walls rest on (Linux 6.2): it knows truncation, which a filer that
/// may only read could do else. What newer versions add (TCP, devices, signals and sockets of other processes)
/// is refused by the tables of system calls too.
pub const LEAST_LANDLOCK: u32 = 3;

/// What a helper does where the kernel lacks a mechanism of the sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxMode {
    /// It ends, and says which.
    #[default]
    Require,
    /// It goes on without it. The uid alone is no wall between sessions.
    BestEffort,
    /// As `Require`, but a forbidden system call is told to the kernel's log and then made: for developers
    /// who look for what a table lacks.
    #[cfg(debug_assertions)]
    Report,
}

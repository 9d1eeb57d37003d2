//! Daemon and jail: one program of one user's, and how it ended.
//!
//! A jail speaks with the daemon alone. It has one task in its life, and tells of it at most twice: whether the
//! program was started, and how it ended.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::channel::Message;
use crate::exec::{Arguments, ProgramName};
use crate::rel_path::RelPath;
use crate::sandbox_mode::SandboxMode;

/// What the daemon orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DaemonToJail {
    /// The only task. Carries the user's home, the program's file, and the program's ends of three pipes: standard
    /// input, output and error.
    Run(Task),
    /// End the program now.
    Stop,
}

/// A program that is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// How much of the sandbox has to be there.
    pub sandbox: SandboxMode,
    /// Its name, which is the first word of what it is given too.
    pub name: ProgramName,
    /// The words after that.
    pub arguments: Arguments,
    /// Where in the home it starts.
    pub directory: RelPath,
    /// The absolute path of the home that was passed, by which it is mounted.
    pub home: ByteBuf,
    /// The absolute path of the program that was passed.
    pub program: ByteBuf,
    /// What it may use.
    pub limits: Limits,
}

/// What a program may use of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Seconds of the processor.
    pub cpu_seconds: u32,
    /// Bytes of address space.
    pub memory_bytes: u64,
}

/// What a jail tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JailToDaemon {
    /// The program runs.
    Started,
    /// It does not, and never has. The last message.
    Refused(Refusal),
    /// It has ended, and nothing of it is left. The last message.
    Ended {
        /// How.
        end: End,
        /// What it has used of the processor.
        cpu_milliseconds: u64,
    },
}

/// Why a program was not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// There is no such directory in the home.
    NoDirectory,
    /// What stands there is none.
    NotADirectory,
    /// What stands there is a link, or cannot be entered.
    NotServed,
    /// This machine does not give what the jail is made of, or what was passed is not what stands at its path.
    Jail {
        /// For the log: which step, and why.
        step: String,
    },
    /// The kernel does not execute the file.
    Program {
        /// Its error number.
        errno: i32,
    },
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// By itself.
    Exited(u8),
    /// By a signal.
    Signalled(u8),
}

impl Message for DaemonToJail {
    const MAX_DESCRIPTORS: usize = 5;

    fn descriptors(&self) -> usize {
        match self {
            Self::Run(_) => Self::MAX_DESCRIPTORS,
            Self::Stop => 0,
        }
    }
}

impl Message for JailToDaemon {
    const MAX_DESCRIPTORS: usize = 0;
}

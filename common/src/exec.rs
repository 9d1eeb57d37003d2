//! Programs that a user may run on the server: their names, their arguments, and how they end.
//!
//! Client, worker, daemon and jail all speak of them. Each name and list of arguments was checked when it is one of
//! these types, so that whoever has one need not look again.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Programs that a session may run at once, whatever the daemon's configuration says: each holds three descriptors
/// in its worker.
pub const MOST_PROGRAMS: usize = 4;

/// Programs that a user may be allowed, so that a list of them fits every message.
pub const MOST_ALLOWED: usize = 64;

/// Most arguments of a program.
pub const MAX_ARGUMENTS: usize = 1024;

/// Most bytes of all of them together.
pub const MAX_ARGUMENT_BYTES: usize = 48 * 1024;

/// Most bytes of input or output in one message.
pub const MAX_EXEC_DATA: usize = 64 * 1024;

/// Bytes of input that a client may send before the program has taken them.
pub const EXEC_INPUT_WINDOW: usize = 256 * 1024;

/// A program's plain name: `[A-Za-z0-9_][A-Za-z0-9._+-]*`, at most 64 bytes. The server looks for it in the
/// directories that its administrator has set; it is never a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProgramName(String);

/// Why a text is no program's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of a program: it must match [A-Za-z0-9_][A-Za-z0-9._+-]* and have at most 64 characters"
)]
pub struct ProgramNameError(String);

impl ProgramName {
    /// Most bytes in a name.
    pub const MAX_BYTES: usize = 64;

    /// Checks a text.
    ///
    /// # Errors
    /// When it is empty, longer than 64 bytes or has a character outside the set above.
    pub fn new(text: &str) -> Result<Self, ProgramNameError> {
        let mut bytes = text.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let rest =
            bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'+' | b'-'));
        if first && rest && text.len() <= Self::MAX_BYTES {
            Ok(Self(text.to_owned()))
        } else {
            Err(ProgramNameError(text.chars().take(80).collect()))
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ProgramName {
    type Error = ProgramNameError;

    fn try_from(text: String) -> Result<Self, ProgramNameError> {
        Self::new(&text)
    }
}

impl std::str::FromStr for ProgramName {
    type Err = ProgramNameError;

    fn from_str(text: &str) -> Result<Self, ProgramNameError> {
        Self::new(text)
    }
}

impl From<ProgramName> for String {
    fn from(name: ProgramName) -> Self {
        name.0
    }
}

impl fmt::Display for ProgramName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a program is given besides its name: any bytes but NUL, within the bounds above, and never read by a shell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<ByteBuf>", into = "Vec<ByteBuf>")]
pub struct Arguments(Vec<ByteBuf>);

/// Why a list is not one of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// There are too many.
    #[error("a program may have {MAX_ARGUMENTS} arguments at most")]
    Count,
    /// They are too long.
    #[error("a program's arguments may have {MAX_ARGUMENT_BYTES} bytes together")]
    Length,
    /// One has a byte that ends it.
    #[error("an argument cannot have a NUL byte")]
    Nul,
}

impl Arguments {
    /// Checks a list.
    ///
    /// # Errors
    /// When there are too many, they are too long, or one has a NUL byte.
    pub fn new(list: Vec<Vec<u8>>) -> Result<Self, ArgumentsError> {
        Self::try_from(list.into_iter().map(ByteBuf::from).collect::<Vec<_>>())
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.iter().map(|argument| argument.as_slice())
    }
}

impl TryFrom<Vec<ByteBuf>> for Arguments {
    type Error = ArgumentsError;

    fn try_from(list: Vec<ByteBuf>) -> Result<Self, ArgumentsError> {
        if list.len() > MAX_ARGUMENTS {
            return Err(ArgumentsError::Count);
        }
        if list.iter().map(|argument| argument.len()).sum::<usize>() > MAX_ARGUMENT_BYTES {
            return Err(ArgumentsError::Length);
        }
        if list.iter().any(|argument| argument.contains(&0)) {
            return Err(ArgumentsError::Nul);
        }
        Ok(Self(list))
    }
}

impl From<Arguments> for Vec<ByteBuf> {
    fn from(arguments: Arguments) -> Self {
        arguments.0
    }
}

/// Where a program wrote something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputStream {
    /// To its standard output.
    Stdout,
    /// To its standard error.
    Stderr,
}

/// How a program that was started has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecEnd {
    /// By itself.
    Exited {
        /// Its exit code.
        code: u8,
    },
    /// By a signal.
    Signalled {
        /// Which.
        signal: u8,
    },
    /// It was ended since it ran for too long.
    OutOfTime {
        /// The bound, in seconds by the clock.
        seconds: u32,
    },
    /// It was ended since it had used too much of the processor.
    OutOfCpu {
        /// The bound, in seconds of the processor.
        seconds: u32,
    },
    /// It was ended since it wrote too much.
    TooMuchOutput {
        /// The bound, in bytes of both streams together, of which none beyond it was sent.
        bytes: u64,
    },
}

impl fmt::Display for ExecEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exit code {code}"),
            Self::Signalled { signal } => write!(f, "ended by signal {signal}"),
            Self::OutOfTime { seconds } => {
                write!(f, "ended by the server, which lets a program run for {seconds} s")
            }
            Self::OutOfCpu { seconds } => {
                write!(f, "ended by the server, which gives a program {seconds} s of the processor")
            }
            Self::TooMuchOutput { bytes } => {
                write!(f, "ended by the server, which takes {bytes} bytes of output from a program")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_a_plain_name() {
        for name in ["du", "sha256sum", "g++", "x86_64-linux-gnu-nm", "_", "7z", "python3.11"] {
            assert_eq!(ProgramName::new(name).unwrap().as_str(), name);
        }
        let long = "a".repeat(ProgramName::MAX_BYTES);
        assert!(ProgramName::new(&long).is_ok());
        let long = format!("{long}a");
        for name in [
            "", "-", "-rf", ".", "..", ".x", "+", "/bin/du", "a/b", "a b", "a\0", "a\n", "é", &long,
        ] {
            assert!(ProgramName::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn arguments_are_any_bytes_within_bounds() {
        let all: Vec<Vec<u8>> = vec![(1..=255).collect(), Vec::new(), b"$(x) `y` ; z".to_vec()];
        let arguments = Arguments::new(all.clone()).unwrap();
        assert!(arguments.iter().eq(all.iter().map(Vec::as_slice)));
        assert_eq!(Arguments::new(vec![b"a\0b".to_vec()]), Err(ArgumentsError::Nul));
        assert!(Arguments::new(vec![Vec::new(); MAX_ARGUMENTS]).is_ok());
        assert_eq!(Arguments::new(vec![Vec::new(); MAX_ARGUMENTS + 1]), Err(ArgumentsError::Count));
        assert!(Arguments::new(vec![vec![1; MAX_ARGUMENT_BYTES]]).is_ok());
        let long = vec![vec![1; MAX_ARGUMENT_BYTES], vec![1]];
        assert_eq!(Arguments::new(long), Err(ArgumentsError::Length));
    }
}

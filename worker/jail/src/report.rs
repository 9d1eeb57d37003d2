//! What the inner processes tell the outer one, over two pipes: that the program could not be started, and how it
//! ended. Each is one record of fixed size, so that it is there whole or not at all.

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use berth_common::jail_protocol::End;

/// Bytes of a record.
const BYTES: usize = 16;

/// Why there is no program. From the process that should have become it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotStarted {
    /// The kernel did not execute it.
    Execute(i32),
    /// A step before that failed; its sentence is on standard error.
    Before(i32),
}

impl NotStarted {
    /// Tells it.
    pub(crate) fn tell(self, pipe: &mut io::PipeWriter) {
        let (kind, errno) = match self {
            Self::Execute(errno) => (1, errno),
            Self::Before(errno) => (2, errno),
        };
        // Nobody is there to hear that it cannot be told; the end is heard all the same.
        let _ = pipe.write_all(&record(kind, errno.unsigned_abs().into()));
    }

    /// Waits for it; `None` when the program runs, or its process has ended before.
    pub(crate) fn hear(pipe: &mut io::PipeReader) -> io::Result<Option<Self>> {
        let Some((kind, errno)) = read(pipe)? else {
            return Ok(None);
        };
        let errno = i32::try_from(errno).unwrap_or(0);
        Ok(Some(if kind == 1 { Self::Execute(errno) } else { Self::Before(errno) }))
    }
}

/// How the program ended, and what it has used of the processor. From the process that waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) end: End,
    pub(crate) cpu: Duration,
}

impl Ended {
    /// Tells it.
    pub(crate) fn tell(self, pipe: &mut io::PipeWriter) {
        let (kind, value) = match self.end {
            End::Exited(code) => (1, code),
            End::Signalled(signal) => (2, signal),
        };
        let kind = kind | (u64::from(value) << 8);
        let cpu = u64::try_from(self.cpu.as_millis()).unwrap_or(u64::MAX);
        let _ = pipe.write_all(&record(kind, cpu));
    }

    /// Reads it; `None` when nobody was left to tell it.
    pub(crate) fn hear(pipe: &mut io::PipeReader) -> io::Result<Option<Self>> {
        let Some((kind, cpu)) = read(pipe)? else {
            return Ok(None);
        };
        let value = (kind >> 8) as u8;
        let end = if kind as u8 == 1 { End::Exited(value) } else { End::Signalled(value) };
        Ok(Some(Self { end, cpu: Duration::from_millis(cpu) }))
    }
}

fn record(first: u64, second: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let (one, other) = bytes.split_at_mut(BYTES / 2);
    one.copy_from_slice(&first.to_le_bytes());
    other.copy_from_slice(&second.to_le_bytes());
    bytes
}

fn read(pipe: &mut io::PipeReader) -> io::Result<Option<(u64, u64)>> {
    let mut bytes = [0; BYTES];
    match pipe.read_exact(&mut bytes) {
        Ok(()) => {
            let (one, other) = bytes.split_at(BYTES / 2);
            let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
            Ok(Some((number(one), number(other))))
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_arrive_as_they_were_told_and_an_end_is_none() {
        for told in [NotStarted::Execute(8), NotStarted::Before(13)] {
            let (mut reader, mut writer) = io::pipe().unwrap();
            told.tell(&mut writer);
            assert_eq!(NotStarted::hear(&mut reader).unwrap(), Some(told));
            drop(writer);
            assert_eq!(NotStarted::hear(&mut reader).unwrap(), None);
        }
        for end in [End::Exited(0), End::Exited(255), End::Signalled(24)] {
            let (mut reader, mut writer) = io::pipe().unwrap();
            let told = Ended { end, cpu: Duration::from_millis(12_345) };
            told.tell(&mut writer);
            assert_eq!(Ended::hear(&mut reader).unwrap(), Some(told));
            drop(writer);
            assert_eq!(Ended::hear(&mut reader).unwrap(), None);
        }
    }
}

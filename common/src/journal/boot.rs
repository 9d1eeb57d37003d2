//! Which boot of the machine it is, so that a power cut can be told from a killed process.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Md5;

/// A boot's random id, as in `/proc/sys/kernel/random/boot_id`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(#[serde(with = "serde_bytes")] [u8; 16]);

impl BootId {
    /// A boot that could not be told; it is never the same as any, itself included.
    pub const UNKNOWN: Self = Self([0; 16]);

    /// The id with these bytes; zeros are [`BootId::UNKNOWN`].
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads the text of `/proc/sys/kernel/random/boot_id`: a lowercase UUID, perhaps with a
    /// newline. `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let groups: Vec<&str> = text.split('-').collect();
        if !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
            return None;
        }
        // The same 32 digits as an MD5's.
        groups.concat().parse::<Md5>().ok().map(|digits| Self(*digits.as_bytes()))
    }

    /// The id's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether both are known and the same.
    #[must_use]
    pub fn is_same_boot(self, other: Self) -> bool {
        self == other && self != Self::UNKNOWN
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::UNKNOWN {
            return f.write_str("BootId(unknown)");
        }
        write!(f, "BootId({})", Md5::from_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_text_and_refuses_others() {
        let text = "0a1b2c3d-0000-4fff-8000-0123456789ab";
        let id = BootId::parse(text).unwrap();
        assert_eq!(id.as_bytes()[..4], [0x0a, 0x1b, 0x2c, 0x3d]);
        assert_eq!(BootId::parse(&format!("{text}\n")), Some(id));
        if cfg!(target_os = "linux") {
            let own = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
            assert!(BootId::parse(&own).is_some());
        }
        for bad in [
            "",
            "0a1b2c3d00004fff80000123456789ab",
            "0a1b2c3d-0000-4fff-8000-0123456789a",
            "0a1b2c3d-0000-4fff-8000-0123456789ag",
            "0a1b2c3d-0000-4fff-8000-0123456789ab\n\n",
            "0a1b2c3d-0000-4fff-8000-0123-456789ab",
        ] {
            assert_eq!(BootId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_boot_is_not_the_same_as_itself() {
        let id = BootId::from_bytes([1; 16]);
        assert!(id.is_same_boot(id));
        assert!(!id.is_same_boot(BootId::from_bytes([2; 16])));
        assert!(!BootId::UNKNOWN.is_same_boot(BootId::UNKNOWN));
    }
}

//! What is measured: a large file or a tree of small ones, put or got, on disk or in memory.
//!
//! The medium is that of what is written, so that a get "on disk" writes to the client's disk. What is read is in the
//! page cache on either.

use clap::ValueEnum;

/// One thing to do, the same for every peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Get the large file to /dev/null.
    GetDiscard,
    /// Get the large file into memory.
    GetMemory,
    /// Put the large file into memory.
    PutMemory,
    /// Put the large file on disk.
    PutDisk,
    /// Put the tree into memory.
    PutTreeMemory,
    /// Put the tree on disk.
    PutTreeDisk,
    /// Get the tree into memory.
    GetTreeMemory,
    /// Get the tree on disk.
    GetTreeDisk,
}

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Put,
    Get,
}

/// What is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Large,
    Tree,
}

/// Where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    Memory,
    Disk,
}

/// How much is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Bytes of the large file.
    pub(crate) large: u64,
    /// Small files in the tree.
    pub(crate) files: u64,
}

/// Bytes of a small file.
pub(crate) const SMALL: u64 = 4096;
/// Small files in one directory of the tree.
pub(crate) const IN_DIRECTORY: u64 = 100;

impl Work {
    /// All works, in the order in which they are measured.
    pub(crate) const ALL: [Self; 8] = [
        Self::GetDiscard,
        Self::GetMemory,
        Self::PutMemory,
        Self::PutDisk,
        Self::PutTreeMemory,
        Self::PutTreeDisk,
        Self::GetTreeMemory,
        Self::GetTreeDisk,
    ];

    pub(crate) fn direction(self) -> Direction {
        match self {
            Self::GetDiscard | Self::GetMemory | Self::GetTreeMemory | Self::GetTreeDisk => {
                Direction::Get
            }
            Self::PutMemory | Self::PutDisk | Self::PutTreeMemory | Self::PutTreeDisk => {
                Direction::Put
            }
        }
    }

    pub(crate) fn shape(self) -> Shape {
        match self {
            Self::GetDiscard | Self::GetMemory | Self::PutMemory | Self::PutDisk => Shape::Large,
            Self::PutTreeMemory | Self::PutTreeDisk | Self::GetTreeMemory | Self::GetTreeDisk => {
                Shape::Tree
            }
        }
    }

    pub(crate) fn medium(self) -> Medium {
        match self {
            Self::GetDiscard
            | Self::GetMemory
            | Self::PutMemory
            | Self::PutTreeMemory
            | Self::GetTreeMemory => Medium::Memory,
            Self::PutDisk | Self::PutTreeDisk | Self::GetTreeDisk => Medium::Disk,
        }
    }

    /// Whether what arrives is kept, so that it can be compared with what was sent.
    pub(crate) fn is_kept(self) -> bool {
        self != Self::GetDiscard
    }

    /// What is done, in words: `put, 1 GiB, on disk`.
    pub(crate) fn title(self, sizes: Sizes) -> String {
        let direction = match self.direction() {
            Direction::Put => "put",
            Direction::Get => "get",
        };
        let medium = match self.medium() {
            _ if !self.is_kept() => "to /dev/null",
            Medium::Memory => "in memory (tmpfs)",
            Medium::Disk => "on disk",
        };
        format!("{direction}, {}, {medium}", sizes.described(self.shape()))
    }

    /// How much is moved in [`Work::unit`]s.
    pub(crate) fn amount(self, sizes: Sizes) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "amounts are far below 2^53")]
        match self.shape() {
            Shape::Large => sizes.large as f64 / 1e6,
            Shape::Tree => sizes.files as f64,
        }
    }

    /// How many GiB are moved, or times 10,000 files.
    pub(crate) fn portions(self, sizes: Sizes) -> f64 {
        match self.shape() {
            Shape::Large => self.amount(sizes) * 1e6 / 1_073_741_824.0,
            Shape::Tree => self.amount(sizes) / 1e4,
        }
    }

    /// The unit of a rate of this work.
    pub(crate) fn unit(self) -> &'static str {
        match self.shape() {
            Shape::Large => "MB/s",
            Shape::Tree => "files/s",
        }
    }
}

impl Sizes {
    fn described(self, shape: Shape) -> String {
        match shape {
            Shape::Large if self.large.is_multiple_of(1 << 30) => {
                format!("{} GiB", self.large >> 30)
            }
            Shape::Large => format!("{} MiB", self.large >> 20),
            Shape::Tree => format!("{} files of 4 KiB", self.files),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { large: 1 << 30, files: 10_000 };

    #[test]
    fn a_title_says_what_is_moved_and_where_to() {
        assert_eq!(Work::PutDisk.title(SIZES), "put, 1 GiB, on disk");
        assert_eq!(
            Work::GetTreeMemory.title(SIZES),
            "get, 10000 files of 4 KiB, in memory (tmpfs)"
        );
        assert_eq!(Work::GetDiscard.title(SIZES), "get, 1 GiB, to /dev/null");
        let short = Sizes { large: 256 << 20, files: 5 };
        assert_eq!(Work::GetMemory.title(short), "get, 256 MiB, in memory (tmpfs)");
    }

    #[test]
    fn rates_are_in_megabytes_or_files() {
        assert_eq!(Work::GetMemory.unit(), "MB/s");
        assert!((Work::GetMemory.amount(SIZES) - 1_073.741_824).abs() < 1e-9);
        assert!((Work::PutTreeDisk.amount(SIZES) - 10_000.0).abs() < 1e-9);
    }
}

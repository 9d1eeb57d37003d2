//! A directory on one medium that has all of a measurement there: sources, and what is put and got.
//!
//! Servers that serve files as they are serve this directory. Whoever measures empties the targets.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::files;
use crate::workload::{Direction, Medium, Shape, Sizes, Work};

/// The directory.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    root: PathBuf,
}

impl Place {
    /// Makes what the works of this medium need.
    pub(crate) fn make(
        root: &Path,
        medium: Medium,
        works: &[Work],
        sizes: Sizes,
    ) -> io::Result<Self> {
        let place = Self { root: root.to_owned() };
        // Servers of any user get here; nobody but us adds names, which vsftpd insists on.
        fs::set_permissions(root, Permissions::from_mode(0o755))?;
        for directory in [place.root.join("source"), place.stored(), place.received()] {
            files::make_dir(&directory)?;
            fs::set_permissions(&directory, Permissions::from_mode(0o777))?;
        }
        let mut shapes = works.iter().filter(|work| work.medium() == medium).map(|w| w.shape());
        if shapes.clone().any(|shape| shape == Shape::Large) {
            files::make_large(&place.source(Shape::Large), sizes.large)?;
        }
        if shapes.any(|shape| shape == Shape::Tree) {
            files::make_tree(&place.source(Shape::Tree), sizes.files)?;
        }
        Ok(place)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The large file or the tree.
    pub(crate) fn source(&self, shape: Shape) -> PathBuf {
        self.root.join(Self::source_name(shape))
    }

    /// The same as a path below the root.
    pub(crate) fn source_name(shape: Shape) -> &'static str {
        match shape {
            Shape::Large => "source/file",
            Shape::Tree => "source/tree",
        }
    }

    /// Where servers write what is put.
    pub(crate) fn stored(&self) -> PathBuf {
        self.root.join("stored")
    }

    /// Where clients write what they get.
    pub(crate) fn received(&self) -> PathBuf {
        self.root.join("received")
    }

    /// What a client that gets the large file writes.
    pub(crate) fn received_file(&self, work: Work) -> PathBuf {
        match work.is_kept() {
            true => self.received().join("file"),
            false => PathBuf::from("/dev/null"),
        }
    }

    /// Where a work writes, with a server that keeps files as they are.
    pub(crate) fn target(&self, work: Work) -> PathBuf {
        match work.direction() {
            Direction::Put => self.stored(),
            Direction::Get => self.received(),
        }
    }

    /// Takes away what a work has written to a directory, which stays.
    ///
    /// Trees are moved aside and stay until the end. Without a journal ext4 uses no inode again for minutes after
    /// its file was removed, and looks at each of these whenever a file is made: whoever comes next would pay.
    pub(crate) fn clear(&self, written: &Path, shape: Shape) -> io::Result<()> {
        let aside = match shape {
            Shape::Large => return files::empty(written),
            Shape::Tree => self.root.join("aside"),
        };
        files::make_dir(&aside)?;
        let moved = fs::read_dir(&aside)?.count();
        for (number, entry) in (moved..).zip(fs::read_dir(written)?) {
            fs::rename(entry?.path(), aside.join(number.to_string()))?;
        }
        Ok(())
    }

    /// A directory for a peer's own files, which is the ordinary user's.
    pub(crate) fn own(&self, peer: &str) -> io::Result<PathBuf> {
        let directory = self.root.join(peer);
        files::make_dir(&directory)?;
        Ok(directory)
    }
}

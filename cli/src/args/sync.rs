//! The command line of `berth sync`.

use std::borrow::Cow;
use std::path::PathBuf;

use rust_i18n::t;

use super::{Moving, SieveArgs};
use crate::failure::Failure;

/// `berth sync`.
#[derive(Clone, Debug, clap::Args)]
pub struct SyncArgs {
    /// The directory whose contents are taken
    #[arg(value_name = "SRC")]
    pub from: String,
    /// The directory that gets them; it is made where there is none
    #[arg(value_name = "DST")]
    pub to: String,
    /// Remove from DST what is not in SRC, at the end
    #[arg(long)]
    pub delete: bool,
    /// Only print what would be done
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Compare files of the same size by their content instead of their times
    #[arg(short, long)]
    pub checksum: bool,
    /// How fast, and how many at once.
    #[command(flatten)]
    pub moving: Moving,
    /// What is left out.
    #[command(flatten)]
    pub sieve: SieveArgs,
}

/// From where to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sides {
    /// Into the home.
    Up {
        /// The local directory.
        from: PathBuf,
        /// The one in the home, as it was typed.
        to: String,
    },
    /// Out of the home.
    Down {
        /// The directory in the home, as it was typed.
        from: String,
        /// The local one.
        to: PathBuf,
    },
}

/// The path in the home that a word means; `None` of one that is local.
#[must_use]
pub(crate) fn in_home(typed: &str) -> Option<&str> {
    let path = typed.strip_prefix(':')?;
    Some(if path.is_empty() { "." } else { path })
}

impl SyncArgs {
    /// From where to where.
    ///
    /// # Errors
    /// When not exactly one of the two is in the home.
    pub fn sides(&self) -> Result<Sides, Failure> {
        let refused = |why: Cow<'static, str>| Err(Failure::usage(why).of("sync"));
        match (in_home(&self.from), in_home(&self.to)) {
            (None, Some(_)) if self.from.is_empty() => refused(t!("SRC is empty")),
            (Some(_), None) if self.to.is_empty() => refused(t!("DST is empty")),
            (None, Some(to)) => Ok(Sides::Up { from: (&self.from).into(), to: to.to_owned() }),
            (Some(from), None) => Ok(Sides::Down { from: from.to_owned(), to: (&self.to).into() }),
            (None, None) => {
                refused(t!("one of SRC and DST has to be in the home: write : before it"))
            }
            (Some(_), Some(_)) => refused(t!("one of SRC and DST has to be local, without the :")),
        }
    }

    /// What was typed of the side in the home.
    #[must_use]
    pub fn remote(&self) -> Option<&str> {
        in_home(&self.from).or_else(|| in_home(&self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(from: &str, to: &str) -> Result<Sides, Failure> {
        let (from, to) = (from.to_owned(), to.to_owned());
        let sieve = SieveArgs::default();
        let moving = Moving::default();
        let (delete, dry_run, checksum) = (false, false, false);
        SyncArgs { from, to, delete, dry_run, checksum, moving, sieve }.sides()
    }

    #[test]
    fn exactly_one_side_is_in_the_home() {
        let up = Sides::Up { from: "photos".into(), to: "backup/photos".into() };
        assert_eq!(sides("photos", ":backup/photos"), Ok(up));
        assert_eq!(sides(":", "./d"), Ok(Sides::Down { from: ".".into(), to: "./d".into() }));
        assert_eq!(sides("./:x", ":/"), Ok(Sides::Up { from: "./:x".into(), to: "/".into() }));
        for (from, to) in [("a", "b"), (":a", ":b"), ("", ":b"), (":a", ""), (":", ":")] {
            assert!(sides(from, to).is_err(), "{from} {to}");
        }
    }
}

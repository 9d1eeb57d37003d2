//! The command lines of `berth put` and `berth get`.

use std::path::{Path, PathBuf};

use berth_common::entry::Existing;
use berth_common::note::NoteChange;
use rust_i18n::t;

use super::{Moving, noted};
use crate::failure::Failure;
use crate::trees::Sieve;

/// What of a tree is left out.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SieveArgs {
    /// Leave out what matches in the trees of -r, in the syntax of .gitignore; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Do not leave out what matches this; may be repeated
    #[arg(long, value_name = "PATTERN", requires = "exclude")]
    pub include: Vec<String>,
}

impl SieveArgs {
    /// What holds it back.
    ///
    /// # Errors
    /// When a pattern is none.
    pub fn sieve(&self) -> Result<Sieve, Failure> {
        Sieve::new(&self.include, &self.exclude).map_err(Failure::usage)
    }
}

/// `berth put`.
#[derive(Clone, Debug, clap::Args)]
pub struct PutArgs {
    /// The files to send; - is standard input, to the file of --to
    #[arg(value_name = "LOCAL", required = true, value_parser = local_path)]
    pub files: Vec<PathBuf>,
    /// Send directories with all that is in them
    #[arg(short, long, conflicts_with = "append")]
    pub recursive: bool,
    /// File or directory in the home to put them to; a directory may end with /
    #[arg(long, value_name = "REMOTE")]
    pub to: Option<String>,
    /// Replace no file in the home
    #[arg(short, long)]
    pub no_overwrite: bool,
    /// Add to the end of a file in the home instead of replacing it; make it where there is none
    #[arg(long, conflicts_with = "no_overwrite")]
    pub append: bool,
    /// Send all of a file, also what the file that it replaces has already
    #[arg(short = 'W', long)]
    pub whole_file: bool,
    /// Keep this note with each file, instead of the one that it has; an empty TEXT takes that away
    #[arg(long, value_name = "TEXT", value_parser = noted)]
    pub note: Option<NoteChange>,
    /// How fast, and how many at once.
    #[command(flatten)]
    pub moving: Moving,
    /// What is left out.
    #[command(flatten)]
    pub sieve: SieveArgs,
}

/// `berth get`.
#[derive(Clone, Debug, clap::Args)]
pub struct GetArgs {
    /// The files to fetch
    #[arg(value_name = "REMOTE", required = true)]
    pub files: Vec<String>,
    /// Fetch directories with all that is in them
    #[arg(short, long)]
    pub recursive: bool,
    /// Local file or directory to put them to; - is standard output [default: the current directory]
    #[arg(long, value_name = "LOCAL", value_parser = local_path)]
    pub to: Option<PathBuf>,
    /// Replace local files that differ
    #[arg(short, long)]
    pub force: bool,
    /// How fast, and how many at once.
    #[command(flatten)]
    pub moving: Moving,
    /// What is left out.
    #[command(flatten)]
    pub sieve: SieveArgs,
}

fn local_path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err(t!("the path is empty").into_owned()),
        path => Ok(PathBuf::from(path)),
    }
}

/// Whether a local path that was typed means standard input or output. A file of that name is `./-`.
#[must_use]
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl GetArgs {
    /// Whether what is fetched goes to standard output.
    #[must_use]
    pub fn writes_stdout(&self) -> bool {
        self.to.as_deref().is_some_and(is_standard)
    }
}

impl PutArgs {
    /// Whether standard input is among what is sent.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.files.iter().any(|file| is_standard(file))
    }

    /// What becomes of the notes of the files.
    #[must_use]
    pub fn note_change(&self) -> NoteChange {
        self.note.clone().unwrap_or_default()
    }

    /// What happens to a file that stands there.
    #[must_use]
    pub fn existing(&self) -> Existing {
        match (self.append, self.no_overwrite) {
            (true, _) => Existing::Append,
            (false, true) => Existing::Keep,
            (false, false) => Existing::Replace,
        }
    }
}

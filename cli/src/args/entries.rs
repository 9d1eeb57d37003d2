//! The command lines of what tells of single entries and changes their names.

use berth_common::ids::StagingName;
use berth_common::note::{Note, NoteChange};
use rust_i18n::t;

use crate::wording::InWords;

/// `berth stat`.
#[derive(Clone, Debug, clap::Args)]
pub struct StatArgs {
    /// What to show
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<String>,
}

/// `berth mkdir`.
#[derive(Clone, Debug, clap::Args)]
pub struct MkdirArgs {
    /// The directories to make
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<String>,
    /// Make missing parents too; a directory that exists is no error
    #[arg(short, long)]
    pub parents: bool,
}

/// `berth rm`.
#[derive(Clone, Debug, clap::Args)]
pub struct RmArgs {
    /// What to remove
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<String>,
    /// Remove directories with all that is in them
    #[arg(short, long)]
    pub recursive: bool,
}

/// `berth mv`.
#[derive(Clone, Debug, clap::Args)]
pub struct MvArgs {
    /// What to move
    #[arg(value_name = "FROM", required = true)]
    pub from: Vec<String>,
    /// Its new path, or a directory to move all of them into
    #[arg(value_name = "TO")]
    pub to: String,
    /// Replace no file
    #[arg(short, long, conflicts_with = "force")]
    pub no_overwrite: bool,
    /// Replace a file; this is the default
    #[arg(short, long)]
    pub force: bool,
}

/// `berth note`.
#[derive(Clone, Debug, clap::Args)]
pub struct NoteArgs {
    /// The file
    #[arg(value_name = "PATH")]
    pub path: String,
    /// The note to keep with it; without TEXT the one that is kept is printed
    #[arg(value_name = "TEXT", value_parser = noted, conflicts_with = "remove")]
    pub text: Option<NoteChange>,
    /// Take the note away
    #[arg(short = 'd', long)]
    pub remove: bool,
}

impl NoteArgs {
    /// What is to be done, if anything.
    pub(crate) fn change(&self) -> Option<NoteChange> {
        if self.remove { Some(NoteChange::Remove) } else { self.text.clone() }
    }
}

/// What a text that was typed makes of a note: one without anything takes it away.
pub(super) fn noted(text: &str) -> Result<NoteChange, String> {
    if text.is_empty() {
        return Ok(NoteChange::Remove);
    }
    Note::new(text).map(NoteChange::Set).map_err(|error| error.in_words())
}

/// `berth md5`.
#[derive(Clone, Debug, clap::Args)]
pub struct Md5Args {
    /// The files
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<String>,
}

/// `berth uploads`.
#[derive(Clone, Debug, clap::Args)]
pub struct UploadsArgs {
    /// End the upload with this ID and remove what was received of it
    #[arg(long, value_name = "ID", value_parser = upload_id)]
    pub abort: Option<StagingName>,
}

fn upload_id(text: &str) -> Result<StagingName, String> {
    StagingName::parse(text)
        .filter(|name| name.file_name() == text)
        .ok_or_else(|| t!("an ID has 16 digits, as berth uploads prints them").into_owned())
}

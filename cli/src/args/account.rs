//! The command lines of what concerns the user's account.

use std::path::PathBuf;

/// `berth passwd`.
#[derive(Clone, Debug, clap::Args)]
pub struct PasswdArgs {
    /// File whose first line is the new password; else you are asked
    #[arg(long, value_name = "FILE")]
    pub new_password_file: Option<PathBuf>,
}

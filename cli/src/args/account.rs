//! The command lines of what concerns the user's account.

use std::path::PathBuf;

use clap::Subcommand;
use rust_i18n::t;

/// `berth passwd`.
#[derive(Clone, Debug, clap::Args)]
pub struct PasswdArgs {
    /// File whose first line is the new password; else you are asked
    #[arg(long, value_name = "FILE")]
    pub new_password_file: Option<PathBuf>,
}

/// `berth devices`.
#[derive(Clone, Debug, clap::Args)]
pub struct DevicesArgs {
    /// What to do instead of listing them.
    #[command(subcommand)]
    pub command: Option<DevicesCommand>,
}

/// What can be done to devices.
#[derive(Clone, Debug, Subcommand)]
pub enum DevicesCommand {
    /// Let devices log in no more, and end their sessions at once
    Revoke(RevokeArgs),
}

/// `berth devices revoke`.
#[derive(Clone, Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct RevokeArgs {
    /// The devices by their IDs, or the beginning of an ID where it is the only one that begins so
    #[arg(value_name = "ID", required_unless_present = "all_others", value_parser = id_or_its_beginning)]
    pub devices: Vec<String>,
    /// All but this device
    #[arg(long, conflicts_with = "devices")]
    pub all_others: bool,
}

fn id_or_its_beginning(text: &str) -> Result<String, String> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if (1..=16).contains(&text.len()) && text.bytes().all(is_digit) {
        Ok(text.to_owned())
    } else {
        Err(t!("an ID has up to 16 digits of 0-9 and a-f, as berth devices prints them")
            .into_owned())
    }
}

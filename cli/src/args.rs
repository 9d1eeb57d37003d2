//! The command line of `berth`.

use std::path::PathBuf;

use berth_common::ids::StagingName;
use clap::{Parser, Subcommand};

use crate::exit::EXIT_CODES;
use crate::target::Target;
use crate::trust::Fingerprint;

/// Move files to and from your berth on a server, verified and resumable.
#[derive(Clone, Debug, Parser)]
#[command(name = "berth", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Args {
    /// Where and how to log in.
    #[command(flatten)]
    pub login: LoginArgs,
    /// Directory in the home that relative remote paths start from
    #[arg(
        short = 'C',
        long = "directory",
        value_name = "DIR",
        global = true,
        default_value = "/"
    )]
    pub directory: String,
    /// Print nothing but what was asked for, and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print listings and reports as JSON, one object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where and how to log in.
#[derive(Clone, Debug, clap::Args)]
pub struct LoginArgs {
    /// The user and the server; IPv6 addresses with a port stand in brackets
    #[arg(
        short = 'H',
        long,
        value_name = "USER@HOST[:PORT]",
        env = "BERTH_HOST",
        global = true
    )]
    pub host: Option<Target>,
    /// File whose first line is the password; else BERTH_PASSWORD, else you are asked
    #[arg(long, value_name = "FILE", global = true)]
    pub password_file: Option<PathBuf>,
    /// Directory with the file of known servers [default: $XDG_CONFIG_HOME/berth]
    #[arg(long, value_name = "DIR", global = true)]
    pub config_dir: Option<PathBuf>,
    /// Trust servers with a certificate of the authorities in this PEM file, and no others
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        conflicts_with = "fingerprint"
    )]
    pub ca_file: Option<PathBuf>,
    /// Trust the server with this certificate, and no other
    #[arg(long, value_name = "SHA256", global = true)]
    pub fingerprint: Option<Fingerprint>,
    /// File with the secret of the site, where the server asks for one
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        env = "BERTH_SITE_SECRET_FILE"
    )]
    pub site_secret_file: Option<PathBuf>,
    /// Trust an unknown server without asking, and remember it
    #[arg(long, global = true)]
    pub accept_new: bool,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Send files to the home; an interrupted put goes on when repeated
    Put(PutArgs),
    /// Fetch files from the home; an interrupted get goes on when repeated
    Get(GetArgs),
    /// List directories
    Ls(LsArgs),
    /// Show all that is known of files and directories
    Stat(StatArgs),
    /// Make directories
    Mkdir(MkdirArgs),
    /// Remove files and directories
    Rm(RmArgs),
    /// Move or rename a file or directory
    Mv(MvArgs),
    /// Show the quota and what is used of it
    Df,
    /// Print the MD5 of files, as md5sum does
    Md5(Md5Args),
    /// List unfinished uploads, or end one
    Uploads(UploadsArgs),
    /// Change your password
    Passwd(PasswdArgs),
}

/// `berth put`.
#[derive(Clone, Debug, clap::Args)]
pub struct PutArgs {
    /// The files to send
    #[arg(value_name = "LOCAL", required = true, value_parser = local_path)]
    pub files: Vec<PathBuf>,
    /// File or directory in the home to put them to; a directory may end with /
    #[arg(long, value_name = "REMOTE")]
    pub to: Option<String>,
    /// Replace no file in the home
    #[arg(short, long)]
    pub no_overwrite: bool,
}

/// `berth get`.
#[derive(Clone, Debug, clap::Args)]
pub struct GetArgs {
    /// The files to fetch
    #[arg(value_name = "REMOTE", required = true)]
    pub files: Vec<String>,
    /// Local file or directory to put them to [default: the current directory]
    #[arg(long, value_name = "LOCAL", value_parser = local_path)]
    pub to: Option<PathBuf>,
    /// Replace local files that differ
    #[arg(short, long)]
    pub force: bool,
}

/// `berth ls`.
#[derive(Clone, Debug, clap::Args)]
pub struct LsArgs {
    /// The directories or files to list [default: the directory of -C]
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Show mode, size and time too
    #[arg(short)]
    pub long: bool,
}

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
    #[arg(value_name = "FROM")]
    pub from: String,
    /// Its new path, or a directory to move it into
    #[arg(value_name = "TO")]
    pub to: String,
    /// Replace no file
    #[arg(short, long, conflicts_with = "force")]
    pub no_overwrite: bool,
    /// Replace a file; this is the default
    #[arg(short, long)]
    pub force: bool,
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

/// `berth passwd`.
#[derive(Clone, Debug, clap::Args)]
pub struct PasswdArgs {
    /// File whose first line is the new password; else you are asked
    #[arg(long, value_name = "FILE")]
    pub new_password_file: Option<PathBuf>,
}

fn local_path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("the path is empty".to_owned()),
        "-" => Err("standard input and output are not supported; name a file".to_owned()),
        path => Ok(PathBuf::from(path)),
    }
}

fn upload_id(text: &str) -> Result<StagingName, String> {
    StagingName::parse(text)
        .filter(|name| name.file_name() == text)
        .ok_or_else(|| "an ID has 16 digits, as berth uploads prints them".to_owned())
}

impl Command {
    /// The remote paths that were typed, so that a wrong one is told before anybody is asked for
    /// a password.
    #[must_use]
    pub fn remote_paths(&self) -> Vec<&str> {
        match self {
            Self::Put(args) => args.to.iter().map(String::as_str).collect(),
            Self::Get(GetArgs { files: paths, .. })
            | Self::Ls(LsArgs { paths, .. })
            | Self::Stat(StatArgs { paths })
            | Self::Mkdir(MkdirArgs { paths, .. })
            | Self::Rm(RmArgs { paths, .. })
            | Self::Md5(Md5Args { paths }) => paths.iter().map(String::as_str).collect(),
            Self::Mv(args) => vec![&args.from, &args.to],
            Self::Df | Self::Uploads(_) | Self::Passwd(_) => Vec::new(),
        }
    }

    /// Whether repeating the command goes on where it was interrupted.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        matches!(self, Self::Put(_) | Self::Get(_))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Args, ErrorKind> {
        Args::try_parse_from(line.split(' ')).map_err(|error| error.kind())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn options_may_stand_before_and_after_the_command() {
        for line in [
            "berth -H a@h:5 --json -C d ls x",
            "berth ls x -H a@h:5 --json -C d",
        ] {
            let args = parse(line).unwrap();
            assert_eq!(args.login.host.unwrap().server.port, 5);
            assert!(args.json && !args.quiet);
            assert_eq!(
                (args.directory.as_str(), args.command.remote_paths()),
                ("d", vec!["x"])
            );
        }
    }

    #[test]
    fn refuses_what_cannot_be_meant() {
        use ErrorKind::{ArgumentConflict, MissingRequiredArgument, ValueValidation};
        let table = [
            ("berth put", MissingRequiredArgument),
            ("berth put -", ValueValidation),
            ("berth get a --to -", ValueValidation),
            ("berth mv a", MissingRequiredArgument),
            ("berth mv -n -f a b", ArgumentConflict),
            ("berth uploads --abort 12", ValueValidation),
            (
                "berth uploads --abort 0000000000000001.journal",
                ValueValidation,
            ),
            ("berth -H host df", ValueValidation),
            ("berth --fingerprint x df", ValueValidation),
        ];
        for (line, kind) in table {
            assert_eq!(parse(line).unwrap_err(), kind, "{line}");
        }
        assert!(parse("berth uploads --abort 00000000000000ab").is_ok());
        assert!(parse("berth put -n a b --to dir/").is_ok());
    }
}

//! The command line of `berth`.

use std::path::{Path, PathBuf};

use berth_common::entry::Existing;
use berth_common::ids::StagingName;
use clap::{Parser, Subcommand};

use crate::exit::exit_codes;
use crate::target::Target;
use crate::trust::Fingerprint;

/// What `berth --help` says below the options, and a manual page besides.
const MANUAL: &str = "\
Paths:
  Remote paths start from the home, or from the directory of -C; a leading / means the home too.
  `.` and `..` are understood and never lead outside the home. Wildcards mean nothing, so a name
  may hold any of `* ? [ ]`, spaces and even newlines.

Output:
  Listings and reports go to standard output; progress, notes and errors to standard error. On a
  terminal, control characters in names are shown escaped (a newline as \\n); a pipe gets the names
  as they are. With --json, standard output has one JSON object a line: for ls and stat an entry,
  for put and get a file that was moved, and with -r a last one, `summary`, for uploads an upload, for md5 a file, for df the quota.
  Commands that print nothing print nothing with --json either. A failure is then an object on
  standard error too: `error` (the sentence) and `exit`, and where they are known `path`, `local`,
  and what the server said as `code` and `data`, with sizes in bytes. So is a note: `note`. Only
  mistakes in the command line are always told in words.

Trust:
  A server is known by the fingerprint of its certificate. The first connection shows it and asks;
  from then on the server must have the same certificate. Without a terminal nobody is asked: give
  --fingerprint, --ca-file or --accept-new. A certificate of an authority that this system trusts,
  for the server's name, needs no question.

Environment:
  BERTH_HOST              the user and the server, unless -H is given
  BERTH_PASSWORD          the password, unless --password-file is given
  BERTH_SITE_SECRET_FILE  the file with the secret of the site, unless --site-secret-file is given
  XDG_CONFIG_HOME         its berth/known_hosts holds the known servers [default: ~/.config]
  XDG_STATE_HOME          its berth/client.key lets this client go on with its uploads at once
                          [default: ~/.local/state]

Examples:
  export BERTH_HOST=alice@files.example.org
  berth put holiday.tar                    send a file; the same command again goes on after a cut
  berth put *.jpg --to pictures/           send several files into a directory
  berth put -r photos                      send a directory with all that is in it
  tar c photos | berth put - --to p.tar    send what a command writes
  berth get holiday.tar --to /tmp/         fetch a file into a directory
  berth get p.tar --to - | tar x           hand a file to a command
  berth get -r photos --to /backup/        fetch a directory with all that is in it
  berth ls -l pictures                     list a directory
  berth md5 holiday.tar | md5sum -c        compare the file in the home with the one here
  berth --json df                          the quota and its use, for programs";

/// Move files to and from your berth on a server, verified and resumable.
///
/// Every user of a Berth server has a home there with a quota of its own. A file appears whole in
/// it or not at all, every byte is checked, and a transfer that was cut goes on where it stopped
/// when the same command is given again.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "berth",
    version,
    max_term_width = 100,
    after_help = "'berth --help' says more; 'berth help COMMAND' explains a command.",
    after_long_help = format!("{MANUAL}\n\n{}", exit_codes())
)]
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
        help_heading = GENERAL,
        default_value = "/"
    )]
    pub directory: String,
    /// Print nothing but what was asked for, and errors
    #[arg(short, long, global = true, help_heading = GENERAL)]
    pub quiet: bool,
    /// Print listings, reports and errors as JSON, one object a line
    #[arg(long, global = true, help_heading = GENERAL)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that all commands have.
const GENERAL: &str = "General options";

/// Where and how to log in.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct LoginArgs {
    /// The user and the server, by default at port 4022; IPv6 addresses with a port stand in
    /// brackets
    #[arg(short = 'H', long, value_name = "USER@HOST[:PORT]", env = "BERTH_HOST", global = true)]
    pub host: Option<Target>,
    /// File whose first line is the password; else BERTH_PASSWORD, else you are asked
    #[arg(long, value_name = "FILE", global = true)]
    pub password_file: Option<PathBuf>,
    /// Directory with the file of known servers [default: $XDG_CONFIG_HOME/berth]
    #[arg(long, value_name = "DIR", global = true)]
    pub config_dir: Option<PathBuf>,
    /// Trust servers with a certificate of the authorities in this PEM file, and no others
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "fingerprint")]
    pub ca_file: Option<PathBuf>,
    /// Trust the server with this certificate, and no other
    #[arg(long, value_name = "SHA256", global = true)]
    pub fingerprint: Option<Fingerprint>,
    /// File with the secret of the site, where the server asks for one
    #[arg(long, value_name = "FILE", global = true, env = "BERTH_SITE_SECRET_FILE")]
    pub site_secret_file: Option<PathBuf>,
    /// Trust an unknown server without asking, and remember it
    #[arg(long, global = true)]
    pub accept_new: bool,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Send files to the home; an interrupted put goes on when repeated
    ///
    /// A file that stands there is replaced in one step, unless -n is given; until then it stays as
    /// it was. Times and permission bits are kept. Several files move at once; one that fails does
    /// not stop the others. A file of more than 1 MiB that is not sent to its end stays at the
    /// server as an upload, counts against the quota, and is gone on with by the same command as
    /// long as the local file is unchanged; see `berth uploads`.
    ///
    /// `berth put - --to REMOTE` sends standard input to its end. It cannot be read again, so nothing
    /// is kept of what does not come to its end. Nobody is asked for a password then, unless it is a
    /// terminal: give --password-file or BERTH_PASSWORD. A file of the name - is ./-.
    ///
    /// With --append the file in the home has either its old content or all of the new behind it,
    /// and keeps its permission bits. Appending twice appends twice: when the connection is lost
    /// after all was sent, berth does not know whether it was done, says so and ends with 9.
    ///
    /// With -r directories go with all that is in them, empty directories too, as with cp: `put -r
    /// photos` makes /photos, and so does `put -r photos/`; `put -r photos/.` puts what is in it. With
    /// --to X they go into X where that is a directory or ends with /, which is made then; else the
    /// one that is named becomes X. Directories that are there already are filled, and files in
    /// them replaced as above. Symbolic links, sockets, pipes and devices are skipped and told;
    /// only a link that is named itself is followed. What cannot be put is told, and the rest goes
    /// on; files are whole or not there at all. Directories have the time at which they were filled.
    Put(PutArgs),
    /// Fetch files from the home; an interrupted get goes on when repeated
    ///
    /// What arrives is kept in NAME.part beside the target, with NAME.part.journal and
    /// NAME.part.meta, until the file is whole and on disk. Times and permission bits are those of
    /// the file in the home, whatever the umask is. A local file with the same content is left as
    /// it is; one that differs is replaced only with -f.
    ///
    /// `berth get REMOTE --to -` writes files to standard output, one after the other, each block when
    /// it is verified. Nothing of that is kept: a get that was cut begins at the beginning, and only
    /// exit code 0 says that all was written. Who reads them may not pause for longer than the server
    /// waits for a client that takes nothing (a minute, unless its administrator says otherwise).
    ///
    /// With -r directories come with all that is in them, empty directories too, as with cp: `get -r
    /// photos` makes photos here, and `get -r photos/.` or `get -r .` fetches what is in it. With --to X
    /// they come into X where that is a directory or ends with /, which is made then; else the one
    /// that is named becomes X. Directories that are here already are filled; a symbolic link in
    /// the place of one is refused, unless it is X itself. What the server lists and does not serve
    /// (links that an administrator made) is skipped and told. What cannot be fetched is told, and
    /// the rest goes on; the same command again fetches what is missing. Directories have the mode
    /// that the umask leaves them.
    Get(GetArgs),
    /// List directories
    ///
    /// Up to 10,000 entries are sorted by name; a larger directory is printed as it comes.
    Ls(LsArgs),
    /// Show all that is known of files and directories
    ///
    /// The digest is the MD5 of the MD5s of the file's 128-KiB leaves; of a file of at most one
    /// leaf it is the plain MD5, for others see `berth md5`.
    Stat(StatArgs),
    /// Make directories
    Mkdir(MkdirArgs),
    /// Remove files and directories
    Rm(RmArgs),
    /// Move or rename a file or directory
    ///
    /// Into TO where that is a directory. A file that stands there is replaced unless -n is given;
    /// a directory never is.
    Mv(MvArgs),
    /// Show the quota and what is used of it
    ///
    /// Reserved is what unfinished uploads will need; see `berth uploads`. From 80% on a note says
    /// so, from 95% on a warning.
    Df,
    /// Print the MD5 of files, as md5sum does
    Md5(Md5Args),
    /// List unfinished uploads, or end one
    ///
    /// They count against the quota until they are finished, ended or expired.
    Uploads(UploadsArgs),
    /// Change your password
    ///
    /// The new one never leaves this machine: the server gets what it needs to check it.
    Passwd(PasswdArgs),
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
}

/// `berth ls`.
#[derive(Clone, Debug, clap::Args)]
pub struct LsArgs {
    /// The directories or files to list [default: the directory of -C]
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Show mode, size in bytes and time too
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
        path => Ok(PathBuf::from(path)),
    }
}

/// Whether a local path that was typed means standard input or output. A file of that name is `./-`.
#[must_use]
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn upload_id(text: &str) -> Result<StagingName, String> {
    StagingName::parse(text)
        .filter(|name| name.file_name() == text)
        .ok_or_else(|| "an ID has 16 digits, as berth uploads prints them".to_owned())
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
        match self {
            Self::Put(args) => !args.reads_stdin(),
            Self::Get(args) => !args.writes_stdout(),
            _ => false,
        }
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
    fn the_long_help_has_what_a_manual_page_needs() {
        let help = Args::command().render_long_help().to_string();
        for section in ["Paths:", "Output:", "Trust:", "Environment:", "Examples:", "Exit codes:"] {
            assert!(help.contains(&format!("\n{section}\n")), "{section}");
        }
        let longest = help.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "{longest:?}");
    }

    #[test]
    fn the_examples_of_the_help_can_be_typed() {
        let examples = MANUAL.split("Examples:\n").nth(1).unwrap();
        let mut seen = 0;
        for line in examples.lines().filter_map(|line| line.strip_prefix("  berth ")) {
            let typed = line.split(" | ").next().unwrap();
            let typed = typed.split("  ").next().unwrap();
            let line = format!("berth {typed}");
            assert!(parse(&line).is_ok(), "{line}");
            seen += 1;
        }
        assert!(seen >= 5);
    }

    #[test]
    fn options_may_stand_before_and_after_the_command() {
        for line in ["berth -H a@h:5 --json -C d ls x", "berth ls x -H a@h:5 --json -C d"] {
            let args = parse(line).unwrap();
            assert_eq!(args.login.host.unwrap().server.port, 5);
            assert!(args.json && !args.quiet);
            assert_eq!((args.directory.as_str(), args.command.remote_paths()), ("d", vec!["x"]));
        }
    }

    #[test]
    fn refuses_what_cannot_be_meant() {
        use ErrorKind::{ArgumentConflict, MissingRequiredArgument, ValueValidation};
        let table = [
            ("berth put", MissingRequiredArgument),
            ("berth mv a", MissingRequiredArgument),
            ("berth mv -n -f a b", ArgumentConflict),
            ("berth put --append -n a", ArgumentConflict),
            ("berth put --append -r a", ArgumentConflict),
            ("berth uploads --abort 12", ValueValidation),
            ("berth uploads --abort 0000000000000001.journal", ValueValidation),
            ("berth -H host df", ValueValidation),
            ("berth --fingerprint x df", ValueValidation),
        ];
        for (line, kind) in table {
            assert_eq!(parse(line).unwrap_err(), kind, "{line}");
        }
        assert!(parse("berth uploads --abort 00000000000000ab").is_ok());
        assert!(parse("berth put -n a b --to dir/").is_ok());
    }

    #[test]
    fn a_dash_is_standard_input_and_a_path_to_it_is_a_file() {
        let put = |line| match parse(line).unwrap().command {
            Command::Put(args) => args,
            other => panic!("{other:?}"),
        };
        assert!(put("berth put - --to x").reads_stdin());
        assert!(put("berth put --append a -").reads_stdin());
        assert!(!put("berth put ./- x/-").reads_stdin());
        assert!(!Command::Put(put("berth put - --to x")).is_resumable());
        let get = |line| parse(line).unwrap().command;
        assert!(!get("berth get x --to -").is_resumable());
        assert!(get("berth get x --to ./-").is_resumable());
    }
}

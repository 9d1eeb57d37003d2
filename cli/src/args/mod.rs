//! The command line of `berth`: what all commands have, and the commands, whose own arguments are in a file for each
//! kind of them.

mod account;
mod discover;
mod entries;
mod exec;
mod looking;
mod manual;
mod moving;
mod sign_in;
mod sync;
mod transfers;
mod typed;

use std::path::PathBuf;
use std::time::Duration;

use berth::target::Target;
use berth::trust::Fingerprint;
use clap::{CommandFactory as _, Parser, Subcommand};

pub use account::{DevicesArgs, DevicesCommand, PasswdArgs, RevokeArgs};
pub use discover::DiscoverArgs;
use entries::noted;
pub use entries::{Md5Args, MkdirArgs, MvArgs, NoteArgs, RmArgs, StatArgs, UploadsArgs};
pub use exec::ExecArgs;
pub use looking::{DuArgs, LsArgs, PingArgs, TreeArgs};
use manual::MANUAL;
pub use moving::Moving;
use moving::retry_for;
pub(crate) use sign_in::absolute;
pub use sign_in::{JoinArgs, LogoutArgs, SignIn, SignInArgs};
pub use sync::{Sides, SyncArgs};
pub use transfers::{GetArgs, PutArgs, SieveArgs, is_standard};

use crate::exit::exit_codes;
use crate::looking::screen::Colour;
use crate::profiles::ProfileName;

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
    /// When to use colours: always, never, or auto, which is on a terminal unless NO_COLOR is set
    #[arg(
        long,
        value_name = "WHEN",
        global = true,
        help_heading = GENERAL,
        value_enum,
        hide_possible_values = true,
        default_value_t = Colour::Auto
    )]
    pub color: Colour,
    /// How long put, get and sync go on trying after the connection was lost without a byte moved; 0 is not at all
    #[arg(
        long,
        value_name = "DURATION",
        global = true,
        help_heading = GENERAL,
        value_parser = retry_for,
        default_value = "5m"
    )]
    pub retry_for: Duration,
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
    /// The profile to log in by, as `berth login` made it
    #[arg(short = 'P', long, value_name = "NAME", env = "BERTH_PROFILE", global = true)]
    pub profile: Option<ProfileName>,
    /// File whose first line is the password; else BERTH_PASSWORD, else the key of the profile,
    /// else you are asked
    #[arg(long, value_name = "FILE", global = true)]
    pub password_file: Option<PathBuf>,
    /// Directory with the profiles and the known servers [default: $XDG_CONFIG_HOME/berth]
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
    /// Of a file of more than 1 MiB that replaces another, only what differs from that at the same
    /// place is sent; the server reads and checks the rest in the file that stands there. With -W all
    /// is sent.
    ///
    /// When the connection is lost, or the server starts again, put connects again and goes on, for as
    /// long as --retry-for says without a byte moved. What is finished is not sent again. Standard
    /// input is not tried again, nor an append whose end was sent.
    ///
    /// `berth put - --to REMOTE` sends standard input to its end. It cannot be read again, so nothing
    /// is kept of what does not come to its end. Nobody is asked for a password then, unless it is a
    /// terminal: give --password-file or BERTH_PASSWORD. A file of the name - is ./-.
    ///
    /// On a terminal, without a file, you pick some of those in the local directory by their numbers.
    ///
    /// With --append the file in the home has either its old content or all of the new behind it,
    /// and keeps its permission bits. Appending twice appends twice: when the connection is lost
    /// after all was sent, berth does not know whether it was done, says so and ends with 9.
    ///
    /// With --note a note is kept with each file that is put: one line of at most 1024 bytes, which `stat` and
    /// `ls --notes` show and `berth note` changes. Without it a file that is replaced or added to keeps its own.
    /// With -r all files are put then, also those that the home has already.
    ///
    /// With -r directories go with all that is in them, empty directories too, as with cp: `put -r
    /// photos` makes /photos, and so does `put -r photos/`; `put -r photos/.` puts what is in it. With
    /// --to X they go into X where that is a directory or ends with /, which is made then; else the
    /// one that is named becomes X. Directories that are there already are filled, and files in
    /// them replaced as above. Symbolic links, sockets, pipes and devices are skipped and told;
    /// only a link that is named itself is followed. What cannot be put is told, and the rest goes
    /// on; files are whole or not there at all. Directories have the time at which they were filled.
    ///
    /// Before anything is sent the whole is planned. Files that the home has with the same size and digest
    /// are not sent, whatever their times are; -W sends all. Names that are refused are told. What would
    /// exceed the quota is refused as a whole, with 6. --exclude and --include take patterns as
    /// .gitignore has them, from each directory that is named on; what is in a directory that is left
    /// out is not looked at.
    Put(PutArgs),
    /// Fetch files from the home; an interrupted get goes on when repeated
    ///
    /// What arrives is kept in NAME.part beside the target, with NAME.part.journal and
    /// NAME.part.meta, until the file is whole and on disk. Times and permission bits are those of
    /// the file in the home, whatever the umask is. A local file with the same content is left as
    /// it is; one that differs is replaced only with -f.
    ///
    /// When the connection is lost, or the server starts again, get connects again and goes on, for as
    /// long as --retry-for says without a byte moved; with `--to -` it does not.
    ///
    /// `berth get REMOTE --to -` writes files to standard output, one after the other, each block when
    /// it is verified. Nothing of that is kept: a get that was cut begins at the beginning, and only
    /// exit code 0 says that all was written. Who reads them may not pause for longer than the server
    /// waits for a client that takes nothing (a minute, unless its administrator says otherwise).
    ///
    /// On a terminal, without a file, you pick some of those in the directory of -C by their numbers.
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
    /// Make a directory on one side have what one on the other side has
    ///
    /// One of SRC and DST is in the home: it begins with a colon, and starts from the directory of -C like
    /// all remote paths; `:` alone is that directory. The contents of SRC become the contents of DST,
    /// which is made where there is none: `sync photos :backup/photos` fills /backup/photos, as rsync
    /// does with `photos/`.
    ///
    /// A file goes when its size or the time of its last change differs, or with --checksum when its
    /// content does. It is replaced in one step, with its time and permission bits, as with put and
    /// get. With --delete what is not in SRC is removed from DST at the end, unless anything failed
    /// before, and never what --exclude leaves out. An empty SRC with --delete is refused. Symbolic
    /// links are skipped and told. With -n nothing is changed, and each file or directory that would be
    /// sent, fetched, made or deleted is printed.
    Sync(SyncArgs),
    /// List directories
    ///
    /// On a terminal names stand in columns, sorted downwards, as wide as the screen allows; a pipe
    /// gets one a line, as with -1. All names are shown, also those that begin with a dot. With -l
    /// each line has mode, size in bytes, time and name.
    ///
    /// Up to 10,000 entries are sorted, by name or as -t, -S and -r say. A larger directory is printed
    /// as it comes, one entry a line, so that it needs no memory and its beginning is there at once;
    /// with -t, -S or -r a note says so.
    Ls(LsArgs),
    /// Draw a directory with all that is in it
    ///
    /// Each directory is sorted by name, unless it has more than 10,000 entries. A last line has the
    /// number of directories below PATH and of files. The branches are ASCII where the locale is not
    /// UTF-8. With --json each line is an entry, as ls prints it, and the last one `summary`.
    Tree(TreeArgs),
    /// Sum up the sizes of files by directory
    ///
    /// Prints a line for each directory, after those in it: the bytes of all files below it, and its
    /// path. What the quota counts is `berth df`; directories themselves, links that an administrator
    /// made and unfinished uploads are not in these sums. With --json each line has `path`, `bytes`,
    /// `files` and `directories`.
    Du(DuArgs),
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
    /// Show or change the note that is kept with a file
    ///
    /// A note is one line of at most 1024 bytes. It stays with the file when that is renamed, and when a put
    /// replaces it or adds to it without a --note of its own; it goes with the file. `stat` and `ls --notes` show
    /// it too. It does not count against the quota, and `get` does not fetch it. An empty TEXT takes the note away,
    /// as -d does.
    Note(NoteArgs),
    /// Show the quota and what is used of it
    ///
    /// Reserved is what unfinished uploads will need; see `berth uploads`. From 80% on a note says
    /// so, from 95% on a warning. On a terminal a bar shows what is used as #, and what is reserved
    /// as +; it is green, from 80% on yellow, and from 95% on red.
    Df,
    /// Print the MD5 of files, as md5sum does
    Md5(Md5Args),
    /// List unfinished uploads, or end one
    ///
    /// They count against the quota until they are finished, ended or expired.
    Uploads(UploadsArgs),
    /// Tell what the server and the connection to it are
    ///
    /// That is the server's name and version, its address, the fingerprint of its certificate, the
    /// protocol, the encryption, the user, the limits, and how long an echo takes: the median of
    /// five.
    Info,
    /// Measure how long echoes take within the session, or how fast bytes go
    ///
    /// The server's own process for this session answers, without touching a disk. At the end, and
    /// when Ctrl-C ends it, come the statistics: of a hundred round trips 50 took at most the median,
    /// 90 at most p90, 99 at most p99.
    ///
    /// With --bytes as many bytes go to the server and come back at the same time, in messages of 64
    /// KiB of which up to 64 are under way; the rate is that of each direction.
    Ping(PingArgs),
    /// What concerns signing in and out.
    #[command(flatten)]
    SignIn(SignIn),
    /// List the servers that are announced on the local network
    ///
    /// It needs no login. What stands below SERVER can follow the @ of -H. Servers are found that an administrator has
    /// announced with `berthd announce`, by multicast DNS (UDP port 5353), which does not pass routers. Anybody on the
    /// network can announce anything: what is listed proves nothing, and the first connection asks as ever whether the
    /// server's fingerprint is right. When none is announced, a note says so and the exit code is 0.
    Discover(DiscoverArgs),
    /// List the devices that are signed in, or revoke some
    ///
    /// A device that is revoked cannot log in any more, and its sessions are ended at once.
    Devices(DevicesArgs),
    /// Give several commands on one connection, with completion and wildcards
    ///
    /// On a terminal commands are typed at a prompt, with a history, and completed by the Tab key: names
    /// in the home and local ones. All commands but `passwd` and `discover` can be given, with the same options, and `cd`,
    /// `pwd`, `lcd`, `lpwd`, `lls`, `exit` and `!COMMAND`, which runs a local command; `help` lists
    /// them. Words are quoted as in a shell; unquoted `*`, `?` and `[a-z]` stand for names that are
    /// there, in the home or here. `put` and `get` without files show what there is with numbers. A
    /// line that begins with a blank is not kept in the history. Ctrl-C ends the running command
    /// only. When the connection was lost, the next command connects again.
    ///
    /// Otherwise commands are read from standard input, one a line, without a prompt; a line that
    /// begins with # is a comment. The first command that fails ends the shell, and its exit code is
    /// the shell's; one with a - before it (`-rm old`) may fail.
    Shell,
    /// Run a program on the server that its administrator has allowed
    ///
    /// It runs within the server, in the directory of -C, and reads the home: `berth exec -- du -sh .` sums
    /// it up without fetching a byte. It can change nothing, start no other program and reach no network, and
    /// the server ends it when it runs for too long or writes too much. Its output and errors come as it
    /// writes them; it has standard input to its end, unless -n is given, and within the shell none.
    ///
    /// What follows PROGRAM is given to it as it stands, with no shell in between: wildcards and variables
    /// mean nothing there. Options of berth stand before PROGRAM.
    ///
    /// berth ends with the program's exit code, or 128 and the number of the signal that ended it; with 124
    /// when it ran into a limit of the server's, and with 126 when the server does not run it. With --json
    /// its end is an object on standard error.
    Exec(ExecArgs),
    /// Change your password
    ///
    /// The current one is asked for, also where this device is signed in. Devices stay signed in.
    /// The new one never leaves this machine: the server gets what it needs to check it.
    Passwd(PasswdArgs),
}

/// The parser of the command line. Where `picks` is set, there is somebody who can pick the files of
/// `put` and `get` when none are named.
#[must_use]
pub fn parser(picks: bool) -> clap::Command {
    let parser = Args::command();
    if picks { with_picking(parser) } else { parser }
}

/// The same parser, in which `put` and `get` need no files.
#[must_use]
pub fn with_picking(parser: clap::Command) -> clap::Command {
    let optional = |command: clap::Command| command.mut_arg("files", |files| files.required(false));
    parser.mut_subcommand("put", optional).mut_subcommand("get", optional)
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
            | Self::Du(DuArgs { paths, .. })
            | Self::Stat(StatArgs { paths })
            | Self::Mkdir(MkdirArgs { paths, .. })
            | Self::Rm(RmArgs { paths, .. })
            | Self::Md5(Md5Args { paths }) => paths.iter().map(String::as_str).collect(),
            Self::Sync(args) => args.remote().into_iter().collect(),
            Self::Tree(args) => args.path.iter().map(String::as_str).collect(),
            Self::Note(args) => vec![args.path.as_str()],
            Self::Mv(args) => args.from.iter().chain([&args.to]).map(String::as_str).collect(),
            Self::Df
            | Self::Uploads(_)
            | Self::Info
            | Self::Ping(_)
            | Self::SignIn(_)
            | Self::Discover(_)
            | Self::Devices(_)
            | Self::Exec(_)
            | Self::Shell
            | Self::Passwd(_) => Vec::new(),
        }
    }

    /// How many bytes may move a second, if that is limited.
    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        match self {
            Self::Put(args) => args.moving.limit_rate,
            Self::Get(args) => args.moving.limit_rate,
            Self::Sync(args) => args.moving.limit_rate,
            _ => None,
        }
    }

    /// Whether repeating the command goes on where it was interrupted.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        match self {
            Self::Put(args) => !args.reads_stdin(),
            Self::Get(args) => !args.writes_stdout(),
            Self::Sync(args) => !args.dry_run,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_common::note::{Note, NoteChange};
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;
    use crate::looking::order::{Key, Order};

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
        for section in [
            "Paths:",
            "Output:",
            "Losses:",
            "Signing in:",
            "Trust:",
            "Environment:",
            "Examples:",
            "Exit codes:",
        ] {
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
            let typed = typed.split(" < ").next().unwrap();
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
        use ErrorKind::{ArgumentConflict, InvalidValue, MissingRequiredArgument, ValueValidation};
        let table = [
            ("berth put", MissingRequiredArgument),
            ("berth mv a", MissingRequiredArgument),
            ("berth put --jobs 0 a", ValueValidation),
            ("berth get --limit-rate 1k a", ValueValidation),
            ("berth get --retry-for 5 a", ValueValidation),
            ("berth mv -n -f a b", ArgumentConflict),
            ("berth put --append -n a", ArgumentConflict),
            ("berth put --append -r a", ArgumentConflict),
            ("berth note", MissingRequiredArgument),
            ("berth note -d a x", ArgumentConflict),
            ("berth note a x\ty", ValueValidation),
            ("berth put --note \u{a0} a", ValueValidation),
            ("berth uploads --abort 12", ValueValidation),
            ("berth uploads --abort 0000000000000001.journal", ValueValidation),
            ("berth tree -L 0", ValueValidation),
            ("berth du -s -d 1", ArgumentConflict),
            ("berth ping -c 0", ValueValidation),
            ("berth ping -i=-1", ValueValidation),
            ("berth ping --bytes 0", ValueValidation),
            ("berth ping --bytes 1M -c 3", ArgumentConflict),
            ("berth --color often ls", InvalidValue),
            ("berth -H host df", ValueValidation),
            ("berth -P a/b df", ValueValidation),
            ("berth join berth://h/join/x", ValueValidation),
            ("berth join", MissingRequiredArgument),
            ("berth devices revoke XY", ValueValidation),
            ("berth devices revoke ab --all-others", ArgumentConflict),
            ("berth --fingerprint x df", ValueValidation),
        ];
        for (line, kind) in table {
            assert_eq!(parse(line).unwrap_err(), kind, "{line}");
        }
        assert!(parse("berth uploads --abort 00000000000000ab").is_ok());
        assert!(parse("berth put -n a b --to dir/").is_ok());
    }

    #[test]
    fn the_order_that_is_given_last_counts() {
        let order = |line| match parse(line).unwrap().command {
            Command::Ls(args) => args.order(),
            other => panic!("{other:?}"),
        };
        assert_eq!(order("berth ls"), Order::default());
        let table = [("berth ls -tS", Key::Size), ("berth ls -S -t", Key::Time)];
        for (line, key) in table {
            assert_eq!(order(line), Order { key, reverse: false }, "{line}");
        }
        assert_eq!(order("berth ls -rlS1"), Order { key: Key::Size, reverse: true });
    }

    #[test]
    fn files_may_be_left_out_only_where_somebody_can_pick_them() {
        use clap::FromArgMatches as _;

        for line in ["berth put", "berth put --to x/", "berth get -r"] {
            assert_eq!(parse(line).unwrap_err(), ErrorKind::MissingRequiredArgument, "{line}");
            let matches = parser(true).try_get_matches_from(line.split(' ')).unwrap();
            let args = Args::from_arg_matches(&matches).unwrap();
            assert!(args.command.remote_paths().len() < 2, "{line}");
        }
    }

    #[test]
    fn a_note_is_set_taken_away_or_asked_for() {
        let note = |line: &[&str]| match Args::try_parse_from(line).unwrap().command {
            Command::Note(args) => args.change(),
            Command::Put(args) => Some(args.note_change()),
            other => panic!("{other:?}"),
        };
        let set = NoteChange::Set(Note::new("a b").unwrap());
        assert_eq!(note(&["berth", "note", "f"]), None);
        assert_eq!(note(&["berth", "note", "f", "a b"]), Some(set.clone()));
        assert_eq!(note(&["berth", "note", "f", ""]), Some(NoteChange::Remove));
        assert_eq!(note(&["berth", "note", "-d", "f"]), Some(NoteChange::Remove));
        assert_eq!(note(&["berth", "put", "f"]), Some(NoteChange::Keep));
        assert_eq!(note(&["berth", "put", "--note", "a b", "f"]), Some(set));
        assert_eq!(note(&["berth", "put", "--note", "", "f"]), Some(NoteChange::Remove));
    }

    #[test]
    fn several_names_can_be_moved_to_one() {
        let moved = |line| match parse(line).unwrap().command {
            Command::Mv(args) => (args.from.join(" "), args.to),
            other => panic!("{other:?}"),
        };
        assert_eq!(moved("berth mv a b"), ("a".into(), "b".into()));
        assert_eq!(moved("berth mv -n a b c d/"), ("a b c".into(), "d/".into()));
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

//! The command line of `berthctl`.

use std::path::PathBuf;
use std::str::FromStr;

use berth::target::ServerAddress;
use berth_common::admin_protocol::Change;
use berth_common::credentials::{DeviceId, InvitationId};
use berth_common::exec::ProgramName;
use berth_common::ids::UserName;
use clap::{Args, Parser, Subcommand};

use crate::human;

/// Where the daemon keeps its data unless told otherwise, here and in its own configuration.
const DEFAULT_DATA_DIR: &str = "/var/lib/berth";

/// Administers a Berth server on this machine.
///
/// Run it as the daemon's user or as root.
#[derive(Debug, Parser)]
#[command(name = "berthctl", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 failed or refused, 2 wrong usage, \
                        3 no answer from berthd, 5 no such user, session, device or invitation, \
                        7 a ledger differs from the disk (quota verify), \
                        130 interrupted")]
pub struct Arguments {
    /// The daemon's admin socket [default: admin/admin.sock in the data directory].
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The daemon's data directory.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "BERTH_DATA_DIR",
        default_value = DEFAULT_DATA_DIR
    )]
    data_dir: PathBuf,
    /// Print one JSON document instead of text, and failures as a JSON object on standard error.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Arguments {
    /// The socket to ask: the one that is named, else that of the data directory.
    pub(super) fn socket_path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.data_dir.join("admin").join("admin.sock"))
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make, list, change and remove users.
    #[command(subcommand)]
    User(UserCommand),
    /// Set and show quotas.
    #[command(subcommand)]
    Quota(QuotaCommand),
    /// Invite somebody to make an account, and print the code for `berth join`.
    ///
    /// The code is the one line on standard output. Whoever has it can make one account with this quota, so hand it
    /// over in private. It names the server, the certificate that it has now, and a secret that is kept nowhere else.
    Invite(InviteArgs),
    /// List and revoke invitations.
    #[command(subcommand)]
    Invitation(InvitationCommand),
    /// List and revoke the devices by which a user logs in.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// List and end sessions.
    #[command(subcommand)]
    Session(SessionCommand),
    /// Back the ledger up.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Show how the server is.
    Status,
}

/// Commands for the ledger.
#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// Write a consistent copy of the running ledger to a file, for its owner alone.
    ///
    /// It has users, password verifiers, limits and sums, but no files. To restore, stop berthd, put the
    /// copy in place of ledger.sqlite, remove ledger.sqlite-wal and ledger.sqlite-shm, and start berthd.
    Backup {
        /// Where to; it is there whole or not at all.
        file: PathBuf,
        /// Replace a file that is there.
        #[arg(long, short)]
        force: bool,
    },
}

/// Commands for users.
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Make a user with an empty home. The password is asked for unless it is given otherwise.
    Add {
        /// The user's name: `[a-z_][a-z0-9_.-]*`, at most 64 characters.
        name: UserName,
        /// Most bytes in the home: a number with KiB, MiB, GiB, TiB (or kB, MB, …), or `unlimited`.
        #[arg(long, value_name = "SIZE", default_value = "unlimited", value_parser = size_limit)]
        quota: Limit,
        /// Most files and directories in the home: a number, or `unlimited`.
        #[arg(long, value_name = "NUMBER", default_value = "unlimited", value_parser = count_limit)]
        entries: Limit,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// List all users.
    List,
    /// Show one user.
    Show {
        /// Who.
        name: UserName,
    },
    /// Set a user's password. Running sessions go on.
    Passwd {
        /// Who.
        name: UserName,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Let a user run programs by `berth exec`, besides those that the user may run already.
    ///
    /// They run in a jail: they read the user's home and nothing else, and write nothing. Programs that run others, as
    /// shells and interpreters do, are of no use there.
    AllowExec {
        /// Who.
        name: UserName,
        /// Plain names, looked for in the directories of `exec_path`.
        #[arg(value_name = "PROGRAM", required = true)]
        programs: Vec<ProgramName>,
    },
    /// Let a user run programs no more. Those that run go on.
    DenyExec {
        /// Who.
        name: UserName,
        /// Which [default: all].
        #[arg(value_name = "PROGRAM")]
        programs: Vec<ProgramName>,
    },
    /// Refuse the user's logins and end the user's sessions at once.
    Lock {
        /// Who.
        name: UserName,
    },
    /// Allow the user's logins again.
    Unlock {
        /// Who.
        name: UserName,
    },
    /// Remove a user and all of the user's files.
    Remove {
        /// Who.
        name: UserName,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

/// Commands for quotas.
#[derive(Debug, Subcommand)]
pub(super) enum QuotaCommand {
    /// Set limits. They hold at once, for running sessions too; what is there already stays.
    #[command(
        arg_required_else_help = true,
        group = clap::ArgGroup::new("limits").required(true).multiple(true)
    )]
    Set {
        /// Whose.
        name: UserName,
        /// Most bytes in the home, or `unlimited`.
        #[arg(long, value_name = "SIZE", value_parser = size_limit, group = "limits")]
        bytes: Option<Limit>,
        /// Most files and directories in the home, or `unlimited`.
        #[arg(long, value_name = "NUMBER", value_parser = count_limit, group = "limits")]
        entries: Option<Limit>,
    },
    /// Show a user's limits and usage.
    Show {
        /// Whose.
        name: UserName,
    },
    /// Compare the ledger with what stands on the disk, exactly, while users work.
    ///
    /// Differences come from changes in a home by other means than Berth. Exit code 0: all are the
    /// same, or were corrected; 7: a ledger differs; 1: a home could not be verified.
    Verify {
        /// Whose [default: all users', one after the other].
        name: Option<UserName>,
        /// Correct the ledger to what stands on the disk.
        #[arg(long)]
        fix: bool,
    },
}

/// Commands for sessions.
#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// List the connections of now.
    List,
    /// End a session at once. Files of more than 1 MiB that it was uploading can be resumed.
    Kill {
        /// The session's number, from `session list`.
        #[arg(value_parser = session_number)]
        id: u64,
    },
}

/// `berthctl invite`.
#[derive(Debug, Args)]
pub(super) struct InviteArgs {
    /// Most bytes in the account's home, or `unlimited`.
    #[arg(long, value_name = "SIZE", default_value = "unlimited", value_parser = size_limit)]
    pub(super) quota: Limit,
    /// Most files and directories in the home, or `unlimited`.
    #[arg(long, value_name = "NUMBER", default_value = "unlimited", value_parser = count_limit)]
    pub(super) entries: Limit,
    /// For how long the code can be used: 30m, 12h, 7d, 2w.
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub(super) expires: Validity,
    /// The name that the account must have [default: whoever joins chooses].
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<UserName>,
    /// By which name or address the server is reached [default: the one that it listens on, else this
    /// machine's name].
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) server: Option<ServerAddress>,
}

/// Commands for invitations.
#[derive(Debug, Subcommand)]
pub(super) enum InvitationCommand {
    /// List those that can be used, and those that were used or expired in the last 30 days.
    List,
    /// Take one back that was not used.
    Revoke {
        /// The invitation, from `invitation list`.
        id: InvitationId,
    },
}

/// Commands for devices.
#[derive(Debug, Subcommand)]
pub(super) enum DeviceCommand {
    /// List a user's devices.
    List {
        /// Whose.
        name: UserName,
    },
    /// Let a device log in no more, and end its sessions at once. The password stays as it is.
    Revoke {
        /// Whose.
        name: UserName,
        /// The device, from `device list`.
        #[arg(required_unless_present = "all")]
        id: Option<DeviceId>,
        /// All of the user's devices.
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

/// For how many seconds an invitation is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity(pub(super) u32);

impl FromStr for Validity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = human::parse_seconds(text).map_err(|error| error.to_string())?;
        match u32::try_from(seconds) {
            Ok(0) => Err("it is valid for no time at all".to_owned()),
            Ok(seconds) => Ok(Self(seconds)),
            Err(_) => Err("it is more than a hundred years".to_owned()),
        }
    }
}

/// Where a new password comes from; a prompt when nothing is said.
#[derive(Debug, Args)]
pub(super) struct PasswordSource {
    /// Read the password from the first line of this file (else from BERTH_PASSWORD, else a prompt).
    #[arg(long, value_name = "FILE")]
    pub(super) password_file: Option<PathBuf>,
}

/// A limit as it is typed: `None` is `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit(pub(super) Option<u64>);

impl Limit {
    /// What the daemon is told when this option was given, or was not.
    pub(super) fn change(option: Option<Self>) -> Change {
        match option {
            None => Change::Keep,
            Some(Self(None)) => Change::Unlimited,
            Some(Self(Some(limit))) => Change::To(limit),
        }
    }
}

fn session_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "write a number, as session list prints it".to_owned())
}

fn size_limit(text: &str) -> Result<Limit, String> {
    limit(text, |text| human::parse_size(text).map_err(|error| error.to_string()))
}

fn count_limit(text: &str) -> Result<Limit, String> {
    limit(text, |text| {
        u64::from_str(text).map_err(|_| "write a whole number, or `unlimited`".to_owned())
    })
}

fn limit(text: &str, parse: impl Fn(&str) -> Result<u64, String>) -> Result<Limit, String> {
    if matches!(text, "unlimited" | "none") {
        return Ok(Limit(None));
    }
    let number = parse(text)?;
    // The ledger counts in SQLite's integers.
    if i64::try_from(number).is_err() {
        return Err("it is more than 2^63-1; write `unlimited`".to_owned());
    }
    Ok(Limit(Some(number)))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("berthctl").chain(line.split(' ')))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_socket_is_named_or_found_in_the_data_directory() {
        let path = |line| parse(line).unwrap().socket_path();
        assert_eq!(path("--data-dir /d status"), PathBuf::from("/d/admin/admin.sock"));
        assert_eq!(path("status --data-dir /d"), PathBuf::from("/d/admin/admin.sock"));
        assert_eq!(path("--socket /s --data-dir /d status"), PathBuf::from("/s"));
    }

    #[test]
    fn limits_are_sizes_numbers_or_unlimited() {
        assert_eq!(size_limit("10GiB").unwrap(), Limit(Some(10 << 30)));
        assert_eq!(size_limit("unlimited").unwrap(), Limit(None));
        assert_eq!(count_limit("10000").unwrap(), Limit(Some(10_000)));
        assert!(count_limit("10k").is_err());
        assert!(size_limit("-1").is_err());
        assert!(size_limit("9223372036854775808").unwrap_err().contains("unlimited"));
        assert_eq!(Limit::change(None), Change::Keep);
        assert_eq!(Limit::change(Some(Limit(None))), Change::Unlimited);
        assert_eq!(Limit::change(Some(Limit(Some(1)))), Change::To(1));
    }

    #[test]
    fn an_invitation_is_valid_for_a_time() {
        for (text, seconds) in [("1s", 1), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(text.parse(), Ok(Validity(seconds)), "{text}");
        }
        for text in ["", "0s", "7", "-1d", "200y", "soon"] {
            assert!(text.parse::<Validity>().is_err(), "{text}");
        }
        assert!(parse("invite").is_ok());
        assert!(parse("invite --quota 5GiB --expires 7d --name alice --server h:5").is_ok());
        assert!(parse("invite --name Alice").is_err());
        assert!(parse("device revoke alice").is_err());
        assert!(parse("device revoke alice --all").is_ok());
        assert!(parse("device revoke alice 00000000000000ab").is_ok());
        assert!(parse("device revoke alice 00000000000000ab --all").is_err());
        assert!(parse("invitation revoke xyz").is_err());
    }

    #[test]
    fn a_change_of_nothing_and_a_name_that_is_none_are_refused() {
        assert!(parse("quota set alice").is_err());
        assert!(parse("quota set alice --entries 5").is_ok());
        assert!(parse("user add ../x").is_err());
        let error = parse("quota set alice").unwrap_err().to_string();
        assert!(error.contains("--bytes <SIZE>|--entries <NUMBER>"), "either is enough: {error}");
        assert!(parse("session kill x").is_err());
        assert!(parse("--json user list").unwrap().json);
        assert!(parse("user list --json").unwrap().json);
    }
}

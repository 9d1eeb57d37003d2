//! The command line of `berthd`.

use std::path::PathBuf;

use berth_common::client_protocol::DEFAULT_PORT;
use berth_discovery::InstanceName;
use clap::{Args, Parser, Subcommand};

use crate::config::{LogFormat, Overrides};

/// Berth's server. Without a command it serves in the foreground until SIGTERM or SIGINT.
#[derive(Debug, Parser)]
#[command(name = "berthd", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Checks a configuration, the kernel and the data directory's file system, and prints everything that is wrong.
    Check {
        /// The configuration; without it the defaults are checked.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Announces a server on the local network until SIGTERM or SIGINT, by multicast DNS. It is a process of its own,
    /// which serves nobody and reads neither the configuration nor the data directory.
    Announce(Announce),
}

/// How to announce.
#[derive(Debug, Args)]
pub(crate) struct Announce {
    /// What the server is called in lists; the name of this machine without it.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<InstanceName>,
    /// The port at which clients reach the server.
    #[arg(long, value_name = "PORT", default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// A network interface on which to announce; may be given several times. Without it, on all but the loopback.
    #[arg(long = "interface", value_name = "IF")]
    pub(crate) interfaces: Vec<String>,
    /// Tells the version of this program too, which attackers like to know.
    #[arg(long)]
    pub(crate) tell_version: bool,
    /// Whom to become when it is started as root; somebody who owns nothing.
    #[arg(long, value_name = "USER", default_value = "nobody")]
    pub(crate) user: String,
    /// Goes on without what the kernel lacks to shut this process in.
    #[arg(long)]
    pub(crate) best_effort: bool,
    /// How log lines look.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// How to serve.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The configuration, in TOML.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where ledger, keys and homes lie; made when it is not there.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// An address and port to listen on, in place of the configuration's; may be given several times.
    /// With port 0 the system chooses one, which is printed.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Where berth-worker and berth-filer are, if not beside berthd.
    #[arg(long, value_name = "DIR")]
    pub(crate) libexec_dir: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl Serve {
    /// What stands here in place of the configuration.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides {
            data_dir: self.data_dir.clone(),
            listen: self.listen.clone(),
            log_format: self.log_format,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn several_listeners_may_be_given() {
        let cli = Cli::try_parse_from(["berthd", "--listen", "127.0.0.1:0", "--listen", "[::1]:0"])
            .unwrap();
        assert_eq!(cli.serve.overrides().listen, ["127.0.0.1:0", "[::1]:0"]);
        assert!(Cli::try_parse_from(["berthd", "--libexec-dir", "/x", "check"]).is_err());
    }

    #[test]
    fn what_cannot_be_announced_is_refused_with_a_reason() {
        let long = "x".repeat(64);
        for (arguments, reason) in [
            (["--name", ""], "not empty"),
            (["--name", long.as_str()], "at most 63 bytes"),
            (["--name", "a\u{1b}b"], "control characters"),
            (["--port", "0"], "0 is not in"),
        ] {
            let line = ["berthd", "announce"].into_iter().chain(arguments);
            let error = Cli::try_parse_from(line).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn the_manual_page_has_every_option_and_every_command() {
        let page = include_str!("../../docs/man/berthd.8");
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let options = command.get_arguments().filter_map(|argument| argument.get_long());
        for long in options {
            assert!(page.contains(&format!("\\-\\-{}", long.replace('-', "\\-"))), "{long}");
        }
        for inner in command.get_subcommands() {
            assert!(
                page.contains(&format!(".TP\n.B {}\n", inner.get_name())),
                "{}",
                inner.get_name()
            );
            for long in inner.get_arguments().filter_map(|argument| argument.get_long()) {
                assert!(page.contains(&format!("\\-\\-{}", long.replace('-', "\\-"))), "{long}");
            }
        }
    }
}

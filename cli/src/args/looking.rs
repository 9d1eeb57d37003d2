//! The command lines of what looks around: at directories, at trees, at the server and the line to it.

use std::time::Duration;

use rust_i18n::t;

use crate::human;
use crate::looking::order::{Key, Order};
use crate::looking::round_trips;

/// `berth ls`.
#[derive(Clone, Debug, clap::Args)]
pub struct LsArgs {
    /// The directories or files to list [default: the directory of -C]
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Show mode, size in bytes and time too
    #[arg(short)]
    pub long: bool,
    /// One name a line, also on a terminal
    #[arg(short = '1')]
    pub one_a_line: bool,
    /// Show what was changed last first
    #[arg(short = 't', overrides_with = "by_size")]
    pub by_time: bool,
    /// Show the largest files first
    #[arg(short = 'S', overrides_with = "by_time")]
    pub by_size: bool,
    /// Turn the order round
    #[arg(short, long)]
    pub reverse: bool,
    /// Show the files' notes too, one entry a line
    #[arg(long)]
    pub notes: bool,
    /// With -l: sizes with a unit instead of in bytes
    #[arg(long)]
    pub human: bool,
}

impl LsArgs {
    /// In which order to show entries.
    pub(crate) fn order(&self) -> Order {
        let key = match (self.by_time, self.by_size) {
            (true, _) => Key::Time,
            (_, true) => Key::Size,
            _ => Key::Name,
        };
        Order { key, reverse: self.reverse }
    }
}

/// `berth tree`.
#[derive(Clone, Debug, clap::Args)]
pub struct TreeArgs {
    /// The directory at the top [default: the directory of -C]
    #[arg(value_name = "PATH")]
    pub path: Option<String>,
    /// Go down at most so many directories
    #[arg(short = 'L', value_name = "DEPTH", value_parser = clap::value_parser!(u32).range(1..))]
    pub levels: Option<u32>,
    /// Show directories only
    #[arg(short)]
    pub directories: bool,
    /// Show sizes in bytes too
    #[arg(short)]
    pub sizes: bool,
    /// Show sizes with a unit
    #[arg(long)]
    pub human: bool,
}

/// `berth du`.
#[derive(Clone, Debug, clap::Args)]
pub struct DuArgs {
    /// The directories or files to sum up [default: the directory of -C]
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Print one sum for each PATH only
    #[arg(short, conflicts_with = "depth")]
    pub summary: bool,
    /// Print sums of directories down to this depth below each PATH
    #[arg(short, value_name = "DEPTH")]
    pub depth: Option<usize>,
    /// Show sums with a unit instead of in bytes
    #[arg(long)]
    pub human: bool,
}

impl DuArgs {
    /// How deep directories are that have a line of their own.
    pub(crate) fn deepest(&self) -> usize {
        if self.summary { 0 } else { self.depth.unwrap_or(usize::MAX) }
    }
}

/// `berth ping`.
#[derive(Clone, Debug, clap::Args)]
pub struct PingArgs {
    /// How many echoes to ask for
    #[arg(
        short,
        value_name = "COUNT",
        default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(round_trips::MOST))
    )]
    pub count: u32,
    /// Seconds from one echo to the next, such as 0.2; with 0 the next follows at once
    #[arg(short, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub interval: Duration,
    /// Instead of round trips, measure the rate at which so many bytes, such as 10M, go there and
    /// back
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with_all = ["count", "interval"])]
    pub bytes: Option<u64>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| t!("write a number of seconds, such as 1 or 0.2").into_owned())
}

fn size(text: &str) -> Result<u64, String> {
    match human::parse_size(text) {
        Ok(0) => Err(t!("there is nothing to measure").into_owned()),
        Ok(size) => Ok(size),
        Err(error) => Err(error.to_string()),
    }
}

//! `berthctl`, the administrator's tool; all of it is in `berth_cli::admin`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    berth_cli::admin::run(berth_cli::admin::Arguments::parse())
}

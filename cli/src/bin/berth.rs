//! `berth`: the client.

use std::process::ExitCode;

fn main() -> ExitCode {
    berth_cli::run::berth()
}

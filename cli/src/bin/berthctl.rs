//! `berthctl`, the administrator's tool; all of it is in `berth_cli::admin`.

use std::process::ExitCode;

fn main() -> ExitCode {
    berth_cli::admin::berthctl()
}

//! `berth-bench`: Berth beside its peers, on loopback. `tools/bench.sh` (`make bench`) runs it.

mod account;
mod alone;
mod args;
mod cgroup;
mod client;
mod figures;
mod files;
mod goals;
mod machine;
mod measure;
mod peers;
mod place;
mod report;
mod run;
mod runs;
mod server;
mod workload;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match run::run(&args::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

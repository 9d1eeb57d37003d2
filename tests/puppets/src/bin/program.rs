//! A program that users may run, with bad habits: see [`berth_puppets::habits`].

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match berth_puppets::habits::run(std::env::args_os().collect()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(99)
        }
    }
}

//! The arguments of `berth exec`.

use std::ffi::OsString;

use berth_common::exec::ProgramName;

/// `berth exec`.
#[derive(Clone, Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct ExecArgs {
    /// Give it no input; else it has standard input to its end
    #[arg(short = 'n', long)]
    pub no_input: bool,
    /// The program, by its plain name
    #[arg(value_name = "PROGRAM")]
    pub program: ProgramName,
    /// What it is given, as it stands here: no shell reads it at the server
    #[arg(value_name = "ARG", trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

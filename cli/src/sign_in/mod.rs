//! `berth login`, `logout`, `join` and `profiles`: what makes and ends that by which other commands log in.
//!
//! None of them is done in a session that is there: they reach a server in their own way, or none.

mod join;
mod login;
mod logout;
mod profiles;
mod register;

use crate::args::{Args, SignIn};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Carries one of these commands out.
pub(crate) async fn run(args: &Args, command: &SignIn, output: &Output) -> Result<Exit, Failure> {
    match command {
        SignIn::Login(login) => login::run(args, login, output).await,
        SignIn::Logout(logout) => logout::run(args, logout, output).await,
        SignIn::Join(join) => join::run(args, join, output).await,
        SignIn::Profiles => profiles::run(args, output),
    }
}

//! `berth passwd`: a new password, which stays here; the server gets what proves it.

use super::{Context, failed};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::requests::PasswordChangeError;

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let Some(new) = &context.new_password else {
        return Err(Failure::usage("no new password: give --new-password-file"));
    };
    let changed = context.session.change_password(&context.password, new).await;
    changed.map_err(|error| match error {
        PasswordChangeError::Request(error) => failed(&error).of("passwd"),
        PasswordChangeError::Scram(error) => Failure::new(Exit::Failure, error).of("passwd"),
    })?;
    context.output.note("the password was changed");
    Ok(Exit::Success)
}

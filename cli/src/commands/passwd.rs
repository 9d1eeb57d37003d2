//! `berth passwd`: a new password, which stays here; the server gets what proves it.

use rust_i18n::t;

use super::{Context, failed_credential};
use crate::exit::Exit;
use crate::failure::Failure;

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let (Some(current), Some(new)) = (&context.way.password, &context.way.new_password) else {
        return Err(Failure::usage(t!("no new password: give --new-password-file")));
    };
    let changed = context.session.change_password(current, new).await;
    changed.map_err(|error| failed_credential(&error).of("passwd"))?;
    context.output.note(&t!("the password was changed"));
    Ok(Exit::Success)
}

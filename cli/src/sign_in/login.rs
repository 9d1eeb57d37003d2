//! `berth login`: one question for the password, two proofs of it, and a key from then on.

use rust_i18n::t;
use serde_json::json;

use super::register::register;
use crate::args::{Args, SignInArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::profiles::ProfileName;
use crate::reach::{self, Settings};

pub(super) async fn run(args: &Args, login: &SignInArgs, output: &Output) -> Result<Exit, Failure> {
    let reached = reach::reach_by(args, Settings::of_login(&args.login)?).await?;
    let Some(password) = &reached.way.password else {
        return Err(Failure::usage(t!("no password")));
    };
    let session = &reached.session;
    let settings = &reached.way.settings;
    let name = register(session, password, settings, login.name.as_ref(), output).await?;
    reached.session.close().await;
    told(settings, &name, output)
}

/// Says which profile there is.
pub(super) fn told(
    settings: &Settings,
    name: &ProfileName,
    output: &Output,
) -> Result<Exit, Failure> {
    let (user, server) = (&settings.target.user, &settings.target.server);
    if output.style().json {
        output.json(&json!({
            "profile": name.as_str(),
            "user": user.as_str(),
            "server": server.to_string(),
        }))?;
    } else {
        output.note(&t!(
            "signed in as %{user}@%{server}, kept as the profile %{name}",
            user = user,
            server = server,
            name = name
        ));
    }
    Ok(Exit::Success)
}

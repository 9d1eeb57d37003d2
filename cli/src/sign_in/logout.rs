//! `berth logout`: the server forgets this device's key, and then the profile is removed.

use rust_i18n::t;

use crate::args::{Args, LogoutArgs};
use crate::commands::failed;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::profiles::{Choice, ProfileName, choose};
use crate::reach::{self, Settings, profiles};

pub(super) async fn run(
    args: &Args,
    logout: &LogoutArgs,
    output: &Output,
) -> Result<Exit, Failure> {
    let profiles = profiles(&args.login);
    let kept = profiles.kept()?;
    let name = match choose(args.login.host.as_ref(), args.login.profile.as_ref(), &kept)? {
        Choice::Profile(name) => name,
        Choice::Target(target) => {
            let sentence = t!(
                "%{user}@%{server} has no profile here",
                user = target.user,
                server = target.server
            );
            return Err(Failure::usage(sentence));
        }
    };
    if logout.local {
        // Half a profile is removed, too.
        let id = profiles.key(&name).ok().map(|key| key.id());
        profiles.remove(&name)?;
        output.note(&match id {
            Some(id) => t!(
                "the profile %{name} was removed; the server may know device %{id} still, until it is revoked",
                name = name,
                id = id
            ),
            None => t!(
                "the profile %{name} was removed; the server may know its device still, until it is revoked",
                name = name
            ),
        });
        return Ok(Exit::Success);
    }
    let id = profiles.key(&name)?.id();
    let settings = Settings::of(&args.login)?;
    match reach::reach_by(args, settings).await {
        Ok(reached) => {
            let revoked = reached.session.revoke_devices(&[id]).await;
            revoked.map_err(|error| kept_all(failed(&error), &name))?;
            reached.session.close().await;
        }
        Err(failure) => return Err(kept_all(failure, &name)),
    }
    profiles.remove(&name)?;
    output.note(&t!("signed out: the profile %{name} was removed", name = name));
    Ok(Exit::Success)
}

fn kept_all(failure: Failure, name: &ProfileName) -> Failure {
    let sentence = t!(
        "%{failure}; nothing was removed: `berth logout --local -P %{name}` removes the profile of this device alone",
        failure = failure,
        name = name
    );
    Failure { sentence: sentence.into_owned(), ..failure }
}

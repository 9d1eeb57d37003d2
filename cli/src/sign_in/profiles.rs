//! `berth profiles`: what is kept on this device; no server is asked.

use serde_json::{Value, json};

use crate::args::Args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, escaped};
use crate::profiles::{ProfileName, Profiles};
use crate::reach::profiles;

/// A profile as it is listed.
struct Listed {
    name: ProfileName,
    account: Option<String>,
    device: Option<String>,
    /// Why it cannot be used.
    problem: Option<String>,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let profiles = profiles(&args.login);
    let listed: Vec<_> = profiles.names()?.into_iter().map(|n| Listed::of(&profiles, n)).collect();
    if output.style().json {
        for profile in &listed {
            output.json(&profile.json())?;
        }
        return Ok(Exit::Success);
    }
    if listed.is_empty() {
        output.note("no profiles; sign in by berth login USER@HOST");
        return Ok(Exit::Success);
    }
    let width = |text: fn(&Listed) -> &str, heading: &str| {
        listed.iter().map(|p| text(p).chars().count()).chain([heading.len()]).max().unwrap_or(0)
    };
    let names = width(|p| p.name.as_str(), "PROFILE");
    let accounts = width(|p| p.account.as_deref().unwrap_or("-"), "ACCOUNT");
    output.line(&format!("{:<names$}  {:<accounts$}  DEVICE", "PROFILE", "ACCOUNT"))?;
    for profile in &listed {
        let account = profile.account.as_deref().unwrap_or("-");
        let device = profile.device.as_deref().unwrap_or("-");
        output
            .line(&format!("{:<names$}  {account:<accounts$}  {device}", profile.name.as_str()))?;
    }
    for problem in listed.iter().filter_map(|profile| profile.problem.as_deref()) {
        output.note(problem);
    }
    Ok(Exit::Success)
}

impl Listed {
    fn of(profiles: &Profiles, name: ProfileName) -> Self {
        let (profile, key) = (profiles.load(&name), profiles.key(&name));
        let account = profile.as_ref().ok().map(|profile| {
            let text = format!("{}@{}", profile.target.user, profile.target.server);
            escaped(&text).into_owned()
        });
        let device = key.as_ref().ok().map(|key| key.id().to_string());
        let problem = profile.err().or(key.err()).map(|error| error.to_string());
        Self { name, account, device, problem }
    }

    fn json(&self) -> Value {
        json!({
            "profile": self.name.as_str(),
            "account": self.account,
            "device": self.device,
            "problem": self.problem,
        })
    }
}

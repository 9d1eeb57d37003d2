//! `berth profiles`: what is kept on this device; no server is asked.

use std::borrow::Cow;

use rust_i18n::t;
use serde_json::{Value, json};

use crate::args::Args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::looking::columns;
use crate::output::{Output, escaped};
use crate::profiles::{ProfileName, Profiles};
use crate::reach::profiles;
use crate::wording::InWords;

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
        output.note(&t!("no profiles; sign in by berth login USER@HOST"));
        return Ok(Exit::Success);
    }
    for line in table(&listed) {
        output.line(&line)?;
    }
    for problem in listed.iter().filter_map(|profile| profile.problem.as_deref()) {
        output.note(problem);
    }
    Ok(Exit::Success)
}

fn table(listed: &[Listed]) -> Vec<String> {
    let cells = |profile: &Listed| {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        [profile.name.to_string(), or_none(&profile.account), or_none(&profile.device)]
    };
    let headings = [t!("PROFILE"), t!("ACCOUNT"), t!("DEVICE")].map(Cow::into_owned);
    let rows: Vec<_> = std::iter::once(headings).chain(listed.iter().map(cells)).collect();
    let width = |column: usize| {
        rows.iter().map(|row| columns::width(&row[column])).max().unwrap_or_default()
    };
    let (first, second) = (width(0), width(1));
    let line = |[name, account, device]: &[String; 3]| {
        format!("{}  {}  {device}", columns::left(name, first), columns::left(account, second))
    };
    rows.iter().map(line).collect()
}

impl Listed {
    fn of(profiles: &Profiles, name: ProfileName) -> Self {
        let (profile, key) = (profiles.load(&name), profiles.key(&name));
        let account = profile.as_ref().ok().map(|profile| {
            let text = format!("{}@{}", profile.target.user, profile.target.server);
            escaped(&text).into_owned()
        });
        let device = key.as_ref().ok().map(|key| key.id().to_string());
        let problem = profile.err().or(key.err()).map(|error| error.in_words());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_aligned_and_what_is_missing_is_a_dash() {
        let listed = |name: &str, account: Option<&str>| Listed {
            name: name.parse().unwrap(),
            account: account.map(str::to_owned),
            device: None,
            problem: None,
        };
        let table =
            table(&[listed("work", Some("alice@files.example.org:4022")), listed("x", None)]);
        assert_eq!(table[0], "PROFILE  ACCOUNT                       DEVICE");
        assert_eq!(table[1], "work     alice@files.example.org:4022  -");
        assert_eq!(table[2], "x        -                             -");
    }
}

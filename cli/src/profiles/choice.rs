//! Which profile a command line means: a decision about names alone.
//!
//! What is typed has beaten the environment before (`args`), so that both a server and a profile come here only when
//! both are of the environment.

use berth::target::Target;
use rust_i18n::t;
use std::borrow::Cow;

use super::ProfileName;

/// A profile that there is; without a target when its file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) name: ProfileName,
    pub(crate) target: Option<Target>,
}

/// Whom to log in as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// By this profile.
    Profile(ProfileName),
    /// As this user, of whom there is no profile.
    Target(Target),
}

/// Why it is not known whom to log in as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChoiceError {
    #[error("{}", t!("BERTH_HOST and BERTH_PROFILE are both set: unset one of them, or give -H or -P"))]
    Both,
    #[error("{}", no_such_profile(name, others))]
    NoSuchProfile { name: ProfileName, others: Vec<ProfileName> },
    #[error("{}", t!("no server: sign in by `berth login USER@HOST`, give -H USER@HOST[:PORT], or set BERTH_HOST"))]
    Nobody,
    #[error("{}", t!("there are several profiles (%{names}): say which by -P NAME, or set BERTH_PROFILE", names = listed(_0)))]
    Several(Vec<ProfileName>),
}

fn no_such_profile(name: &ProfileName, others: &[ProfileName]) -> Cow<'static, str> {
    match others {
        [] => t!(
            "there is no profile %{name}; `berth login -P %{name} USER@HOST` makes it",
            name = name
        ),
        others => t!(
            "there is no profile %{name} (%{others}); `berth login -P %{name} USER@HOST` makes it",
            name = name,
            others = listed(others)
        ),
    }
}

fn listed(names: &[ProfileName]) -> String {
    names.iter().map(ProfileName::as_str).collect::<Vec<_>>().join(", ")
}

/// Chooses among the profiles that there are, which come in the order of their names.
pub(crate) fn choose(
    host: Option<&Target>,
    profile: Option<&ProfileName>,
    kept: &[Kept],
) -> Result<Choice, ChoiceError> {
    let names = || kept.iter().map(|kept| kept.name.clone()).collect();
    match (host, profile) {
        (Some(_), Some(_)) => Err(ChoiceError::Both),
        (None, Some(name)) if kept.iter().any(|kept| kept.name == *name) => {
            Ok(Choice::Profile(name.clone()))
        }
        (None, Some(name)) => {
            Err(ChoiceError::NoSuchProfile { name: name.clone(), others: names() })
        }
        (Some(target), None) => {
            Ok(of_target(target, kept).map_or(Choice::Target(target.clone()), Choice::Profile))
        }
        (None, None) => match kept {
            [] => Err(ChoiceError::Nobody),
            [only] => Ok(Choice::Profile(only.name.clone())),
            _ => Err(ChoiceError::Several(names())),
        },
    }
}

/// The profile of a user on a server; the one that has the usual name where there are several.
pub(crate) fn of_target(target: &Target, kept: &[Kept]) -> Option<ProfileName> {
    let usual = ProfileName::of(target).ok();
    let mut fitting = kept.iter().filter(|kept| kept.target.as_ref() == Some(target));
    let first = fitting.clone().next()?;
    let named_so = fitting.find(|kept| Some(&kept.name) == usual.as_ref());
    Some(named_so.unwrap_or(first).name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ProfileName {
        ProfileName::new(text).unwrap()
    }

    fn kept(profiles: &[(&str, &str)]) -> Vec<Kept> {
        let kept = |(name, target): &(&str, &str)| Kept {
            name: self::name(name),
            target: target.parse().ok(),
        };
        profiles.iter().map(kept).collect()
    }

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn the_only_profile_needs_no_name_and_of_several_none_is_guessed() {
        assert_eq!(choose(None, None, &[]), Err(ChoiceError::Nobody));
        let one = kept(&[("work", "alice@h")]);
        assert_eq!(choose(None, None, &one), Ok(Choice::Profile(name("work"))));
        let two = kept(&[("home", "alice@h"), ("work", "bob@h")]);
        let error = choose(None, None, &two).unwrap_err();
        assert_eq!(error, ChoiceError::Several(vec![name("home"), name("work")]));
        assert!(error.to_string().contains("(home, work)"), "{error}");
    }

    #[test]
    fn a_profile_that_is_named_is_that_one_or_none() {
        let two = kept(&[("home", "alice@h"), ("work", "broken")]);
        assert_eq!(
            choose(None, Some(&name("work")), &two),
            Ok(Choice::Profile(name("work"))),
            "what is wrong with it is told when it is read"
        );
        let error = choose(None, Some(&name("x")), &two).unwrap_err().to_string();
        assert!(error.contains("no profile x (home, work)"), "{error}");
    }

    #[test]
    fn a_server_is_reached_by_the_profile_of_this_user_there_and_by_no_other() {
        let some = kept(&[("home", "alice@h:5"), ("work", "alice@h"), ("x", "alice@h:5")]);
        let choose = |text| choose(Some(&target(text)), None, &some).unwrap();
        assert_eq!(choose("alice@h"), Choice::Profile(name("work")));
        assert_eq!(choose("alice@H:5"), Choice::Profile(name("home")), "the first of several");
        for other in ["bob@h", "alice@h:6", "alice@i"] {
            assert_eq!(choose(other), Choice::Target(target(other)));
        }
        let usual = kept(&[("a", "alice@h"), ("alice@h", "alice@h")]);
        assert_eq!(of_target(&target("alice@h"), &usual), Some(name("alice@h")));
    }

    #[test]
    fn two_variables_that_say_different_things_are_refused() {
        let host = target("alice@h");
        assert_eq!(choose(Some(&host), Some(&name("x")), &[]), Err(ChoiceError::Both));
    }
}

//! What was typed beats the environment: whether a value came from a variable is only known while clap parses.

use std::borrow::Cow;
use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use rust_i18n::t;

use super::{Args, Command, SignIn};

impl Args {
    /// Reads a command line, its first word included, and the environment.
    ///
    /// # Errors
    /// What is wrong with it, and also help and the version.
    pub fn read<I, T>(line: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        Self::of(&Self::command().try_get_matches_from(line)?)
    }

    /// What a parser of this command line has found.
    ///
    /// # Errors
    /// What cannot be meant together.
    pub fn of(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::from_arg_matches(matches)?;
        let typed = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        args.settle(typed("host"), typed("profile"))?;
        Ok(args)
    }

    /// Leaves of -H and -P what counts. Both are left when both come from the environment, which whoever chooses
    /// among profiles refuses; and at a login, whose -P names the profile that is made.
    fn settle(&mut self, host_typed: bool, profile_typed: bool) -> Result<(), clap::Error> {
        let conflict =
            |text: Cow<'_, str>| Err(Self::command().error(ErrorKind::ArgumentConflict, text));
        let mut host_typed = host_typed;
        if let Command::SignIn(SignIn::Login(login)) = &self.command
            && let Some(target) = login.target.clone()
        {
            if host_typed {
                return conflict(t!(
                    "the user and the server are given twice, by -H and without it"
                ));
            }
            self.login.host = Some(target);
            host_typed = true;
        }
        if let Command::SignIn(SignIn::Join(_)) = &self.command {
            if host_typed {
                return conflict(t!("-H cannot be used with join: the code names the server"));
            }
            self.login.host = None;
        }
        let names_what_is_made =
            matches!(self.command, Command::SignIn(SignIn::Login(_) | SignIn::Join(_)));
        match (host_typed, profile_typed) {
            (true, true) if names_what_is_made => {}
            (true, true) => return conflict(t!("-H and -P cannot be used together")),
            (true, false) => self.login.profile = None,
            (false, true) => self.login.host = None,
            (false, false) if matches!(self.command, Command::SignIn(SignIn::Join(_))) => {
                self.login.profile = None;
            }
            (false, false) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    /// What counts of -H and -P where the environment has both and these are typed.
    fn settled(line: &str, host: bool, profile: bool) -> Result<(bool, bool), ErrorKind> {
        // As if the environment had what is not typed: tests share theirs.
        let mut args = Args::try_parse_from(line.split(' ')).unwrap();
        args.login.host.get_or_insert_with(|| "env@h".parse().unwrap());
        args.login.profile.get_or_insert_with(|| "env".parse().unwrap());
        args.settle(host, profile).map_err(|error| error.kind())?;
        Ok((args.login.host.is_some(), args.login.profile.is_some()))
    }

    const CODE: &str =
        "berth://h/join/AAECAwQFBgcICQoLDA0ODwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn what_is_typed_beats_the_environment() {
        let conflict = Err(ErrorKind::ArgumentConflict);
        assert_eq!(settled("berth -H a@h df", true, false), Ok((true, false)));
        assert_eq!(settled("berth -P x df", false, true), Ok((false, true)));
        assert_eq!(settled("berth -H a@h -P x df", true, true), conflict);
        assert_eq!(settled("berth df", false, false), Ok((true, true)), "refused by the choice");
    }

    #[test]
    fn a_login_names_the_profile_that_it_makes() {
        let conflict = Err(ErrorKind::ArgumentConflict);
        assert_eq!(settled("berth login a@h", false, false), Ok((true, false)));
        assert_eq!(settled("berth login a@h -P x", false, true), Ok((true, true)));
        assert_eq!(settled("berth login -H a@h -P x", true, true), Ok((true, true)));
        assert_eq!(settled("berth login -H a@h a@h", true, false), conflict);
        assert_eq!(settled("berth login -P x", false, true), Ok((false, true)));
        assert_eq!(settled(&format!("berth join {CODE}"), false, false), Ok((false, false)));
        assert_eq!(settled(&format!("berth join {CODE} -P x"), false, true), Ok((false, true)));
        assert_eq!(settled(&format!("berth -H a@h join {CODE}"), true, false), conflict);
    }

    #[test]
    fn what_clap_calls_typed_is_typed_before_or_after_the_command() {
        for line in ["berth -H a@h -P x df", "berth df -H a@h -P x", "berth -H a@h df -P x"] {
            let kind = Args::read(line.split(' ')).unwrap_err().kind();
            assert_eq!(kind, ErrorKind::ArgumentConflict, "{line}");
        }
        let args = Args::read("berth ls -P x".split(' ')).unwrap();
        assert_eq!(args.login.profile.unwrap().as_str(), "x");
    }
}

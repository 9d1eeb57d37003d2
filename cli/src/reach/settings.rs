//! What is known before anybody is asked or anything is connected to: whom to log in as, by which profile, and whom to
//! trust for it. What is typed beats what a profile remembers.

use std::path::PathBuf;

use berth::login::SiteSecret;
use berth::target::Target;
use berth::trust::Fingerprint;
use rust_i18n::t;

use crate::args::{LoginArgs, absolute};
use crate::dirs;
use crate::failure::Failure;
use crate::human;
use crate::profiles::{
    Choice, ChoiceError, Profile, ProfileError, ProfileName, Profiles, choose, of_target,
};

/// Whom to log in as and whom to trust.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) target: Target,
    /// By which to log in; or, at a login, as which this device is kept.
    pub(crate) profile: Option<ProfileName>,
    pub(crate) profiles: Profiles,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) site_secret_file: Option<PathBuf>,
    pub(crate) accept_new: bool,
    pub(crate) config_dir: Option<PathBuf>,
}

impl Settings {
    /// For a command that logs in.
    pub(crate) fn of(login: &LoginArgs) -> Result<Self, Failure> {
        let profiles = profiles(login);
        let kept = match profiles.kept() {
            // Who names the server needs no profile, and may not be able to look for one.
            Err(_) if login.host.is_some() => Vec::new(),
            kept => kept?,
        };
        match choose(login.host.as_ref(), login.profile.as_ref(), &kept)? {
            Choice::Profile(name) => {
                let profile = profiles.load(&name)?;
                Ok(Self::with(login, profiles, profile, Some(name)))
            }
            Choice::Target(target) => Ok(Self::with(login, profiles, just(target), None)),
        }
    }

    /// For a login, which makes a profile or signs in again as one that is there.
    pub(crate) fn of_login(login: &LoginArgs) -> Result<Self, Failure> {
        let profiles = profiles(login);
        let kept = profiles.kept()?;
        let (name, target) = match (&login.host, &login.profile) {
            (Some(target), Some(name)) => (name.clone(), Some(target.clone())),
            (Some(target), None) => (name_for(target, &kept)?, Some(target.clone())),
            (None, name) => match choose(None, name.as_ref(), &kept) {
                Ok(Choice::Profile(name)) => (name, None),
                Err(ChoiceError::Nobody) | Ok(Choice::Target(_)) => {
                    let sentence = t!("no server: say whom and where, as in berth login USER@HOST");
                    return Err(Failure::usage(sentence));
                }
                Err(other) => return Err(other.into()),
            },
        };
        Self::to_be_kept(login, profiles, name, target)
    }

    /// For somebody who joins: the code's certificate is among the known ones then, and nothing else is needed.
    pub(crate) fn of_code(login: &LoginArgs, target: Target) -> Result<Self, Failure> {
        let profiles = profiles(login);
        let name = match &login.profile {
            Some(name) => name.clone(),
            None => name_for(&target, &profiles.kept()?)?,
        };
        let settings = Self::to_be_kept(login, profiles, name, Some(target))?;
        Ok(Self { fingerprint: None, ca_file: None, ..settings })
    }

    fn to_be_kept(
        login: &LoginArgs,
        profiles: Profiles,
        name: ProfileName,
        target: Option<Target>,
    ) -> Result<Self, Failure> {
        let profile = match (profiles.load(&name), target) {
            // The key of another user or server would be lost.
            (Ok(there), Some(target)) if there.target != target => {
                return Err(Failure::usage(t!(
                    "there is a profile %{name}, and it is of %{user}@%{server}: choose another name by -P, or \
                     `berth logout -P %{name}` first",
                    name = name,
                    user = there.target.user,
                    server = there.target.server
                )));
            }
            (Ok(there), _) => there,
            (Err(ProfileError::Missing(_)), Some(target)) => just(target),
            (Err(error), _) => return Err(error.into()),
        };
        Ok(Self::with(login, profiles, profile, Some(name)))
    }

    fn with(
        login: &LoginArgs,
        profiles: Profiles,
        profile: Profile,
        name: Option<ProfileName>,
    ) -> Self {
        // Either says whom to trust, so that one that is typed puts both of the profile's aside.
        let (fingerprint, ca_file) = match (login.fingerprint, absolute(&login.ca_file)) {
            (None, None) => (profile.fingerprint, profile.ca_file),
            typed => typed,
        };
        Self {
            target: profile.target,
            profile: name,
            profiles,
            fingerprint,
            ca_file,
            site_secret_file: absolute(&login.site_secret_file).or(profile.site_secret_file),
            accept_new: login.accept_new,
            config_dir: config_dir(login),
        }
    }

    /// What a profile keeps of them.
    pub(crate) fn to_profile(&self) -> Profile {
        Profile {
            target: self.target.clone(),
            ca_file: self.ca_file.clone(),
            fingerprint: self.fingerprint,
            site_secret_file: self.site_secret_file.clone(),
        }
    }

    pub(crate) fn site_secret(&self) -> Result<Option<SiteSecret>, Failure> {
        let Some(path) = &self.site_secret_file else {
            return Ok(None);
        };
        let content = std::fs::read(path).map_err(|error| {
            Failure::usage(t!(
                "cannot read the site secret %{path}: %{reason}",
                path = path.display(),
                reason = human::reason(&error)
            ))
        })?;
        Ok(Some(SiteSecret::from_file_content(&content)))
    }
}

/// The profiles of the configuration directory that the command line means.
pub(crate) fn profiles(login: &LoginArgs) -> Profiles {
    Profiles::new(config_dir(login).as_deref())
}

/// The configuration directory that the command line means; `None` where there is none.
pub(crate) fn config_dir(login: &LoginArgs) -> Option<PathBuf> {
    login.config_dir.clone().or_else(dirs::config)
}

/// What the profile of this user there is called, or is to be.
fn name_for(target: &Target, kept: &[crate::profiles::Kept]) -> Result<ProfileName, Failure> {
    match of_target(target, kept) {
        Some(name) => Ok(name),
        None => ProfileName::of(target)
            .map_err(|_| Failure::usage(t!("give the profile a name, by -P NAME"))),
    }
}

fn just(target: Target) -> Profile {
    Profile { target, ca_file: None, fingerprint: None, site_secret_file: None }
}

#[cfg(test)]
mod tests {
    use berth::device::DeviceSecret;

    use super::*;
    use crate::args::Args;
    use crate::exit::Exit;

    struct Scene(tempfile::TempDir);

    impl Scene {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn login(&self, line: &str) -> LoginArgs {
            let dir = self.0.path().display();
            Args::read(format!("berth --config-dir {dir} {line}").split(' ')).unwrap().login
        }

        fn keep(&self, line: &str) {
            let settings = Settings::of_login(&self.login(line)).unwrap();
            let name = settings.profile.clone().unwrap();
            settings.profiles.prepare(&name, &DeviceSecret::generate().unwrap()).unwrap();
            settings.profiles.save(&name, &settings.to_profile()).unwrap();
        }

        fn of(&self, line: &str) -> Result<Settings, Failure> {
            Settings::of(&self.login(line))
        }

        fn name(&self, line: &str) -> Option<String> {
            Settings::of_login(&self.login(line)).unwrap().profile.map(|name| name.to_string())
        }
    }

    #[test]
    fn a_profile_says_what_was_given_at_login_and_what_is_typed_beats_it() {
        let scene = Scene::new();
        let print = "ab".repeat(32);
        scene.keep("login alice@h:5 --ca-file /ca.pem --site-secret-file /site");
        let settings = scene.of("df").unwrap();
        assert_eq!(settings.target, "alice@h:5".parse().unwrap());
        assert_eq!(settings.profile.unwrap().as_str(), "alice@h:5");
        assert_eq!(settings.ca_file, Some("/ca.pem".into()));
        assert_eq!(settings.site_secret_file, Some("/site".into()));
        let typed =
            scene.of(&format!("df --fingerprint {print} --site-secret-file /other")).unwrap();
        assert_eq!((typed.fingerprint, typed.ca_file), (print.parse().ok(), None));
        assert_eq!(typed.site_secret_file, Some("/other".into()));
        let same = scene.of("df -H alice@h:5").unwrap();
        assert_eq!(same.ca_file, Some("/ca.pem".into()));
        let other = scene.of("df -H bob@h:5").unwrap();
        assert_eq!((other.profile, other.ca_file), (None, None));
    }

    #[test]
    fn relative_paths_are_kept_from_the_root() {
        let scene = Scene::new();
        scene.keep("login alice@h --ca-file ca.pem");
        assert!(scene.of("df").unwrap().ca_file.unwrap().is_absolute());
    }

    #[test]
    fn a_login_signs_in_again_as_the_profile_that_is_there() {
        let scene = Scene::new();
        assert_eq!(scene.name("login alice@h").as_deref(), Some("alice@h"));
        scene.keep("login alice@h -P work");
        assert_eq!(scene.name("login alice@h").as_deref(), Some("work"));
        assert_eq!(scene.name("login alice@h -P other").as_deref(), Some("other"));
        assert_eq!(scene.name("login").as_deref(), Some("work"), "the only one");
        assert_eq!(scene.name("login -P work").as_deref(), Some("work"));
        assert_eq!(scene.name("login bob@h").as_deref(), Some("bob@h"));
    }

    #[test]
    fn no_login_takes_the_name_of_another_users_profile() {
        let scene = Scene::new();
        scene.keep("login alice@h -P work");
        let failure = Settings::of_login(&scene.login("login bob@h -P work")).unwrap_err();
        assert!(failure.sentence.contains("it is of alice@h:4022"), "{failure}");
        let failure = Settings::of_login(&scene.login("login -P none")).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        let nobody = Scene::new();
        let failure = Settings::of_login(&nobody.login("login")).unwrap_err();
        assert!(failure.sentence.contains("berth login USER@HOST"), "{failure}");
    }
}

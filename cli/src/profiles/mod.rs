//! Profiles: where a user has signed in, a pair of files each in the directory `profiles` of the configuration.
//!
//! `NAME.toml` says whom and where, `NAME.key` beside it is this device's key. A profile is there when both are: the
//! key is put in place first, and goes last. A key that is about to be registered waits as `NAME.pending`, so that the
//! one before it is of use until the server knows the new one.

mod choice;
mod name;
mod profile;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use berth::device::{DeviceError, DeviceSecret};
use berth::private_file::{make_private, write_private};

pub(crate) use choice::{Choice, ChoiceError, Kept, choose, of_target};
pub use name::{ProfileName, ProfileNameError};
pub use profile::Profile;

use crate::human;
use crate::wording::InWords;
use rust_i18n::t;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A file or the directory cannot be read or written.
    #[error("{}", t!("cannot use the profile's file %{path}: %{reason}", path = path.display(), reason = human::reason(source)))]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is no profile.
    #[error("{}", t!("%{path} is no profile: %{reason}; correct it, or delete it and sign in again", path = path.display(), reason = reason))]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such profile, or only the key of a login that was cut off.
    #[error("{}", t!("there is no profile %{name}; sign in by `berth login`", name = _0))]
    Missing(ProfileName),
    /// The key is gone.
    #[error("{}", t!("the profile %{name} has lost its key; sign in again by `berth login -P %{name}`", name = _0))]
    NoKey(ProfileName),
    /// The key cannot be used.
    #[error("{}", _0.in_words())]
    Key(#[from] DeviceError),
}

/// The directory of the profiles.
#[derive(Clone, Debug)]
pub struct Profiles {
    /// `None` where there is no configuration directory, so that nothing can be kept.
    dir: Option<PathBuf>,
}

impl Profiles {
    /// The profiles of a configuration directory.
    #[must_use]
    pub fn new(config_dir: Option<&Path>) -> Self {
        Self { dir: config_dir.map(|dir| dir.join("profiles")) }
    }

    fn path(&self, name: &ProfileName, ending: &str) -> Result<PathBuf, ProfileError> {
        let file = format!("{name}.{ending}");
        match &self.dir {
            Some(dir) => Ok(dir.join(file)),
            None => Err(ProfileError::Io {
                path: file.into(),
                source: io::Error::other(t!(
                    "no configuration directory: set HOME or give --config-dir"
                )),
            }),
        }
    }

    /// The names of all profiles, in order. Other files are none.
    ///
    /// # Errors
    /// `Io`; that there is no directory yet is none.
    pub fn names(&self) -> Result<Vec<ProfileName>, ProfileError> {
        let Some(dir) = &self.dir else { return Ok(Vec::new()) };
        let failed = |source| ProfileError::Io { path: dir.clone(), source };
        let entries = match fs::read_dir(dir) {
            // A home such as /dev/null has none either.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Vec::new());
            }
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(failed)?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".toml"));
            names.extend(name.and_then(|name| ProfileName::new(name).ok()));
        }
        names.sort();
        Ok(names)
    }

    /// All profiles, for a choice among them.
    pub(crate) fn kept(&self) -> Result<Vec<Kept>, ProfileError> {
        let kept = |name: ProfileName| Kept {
            target: self.load(&name).ok().map(|profile| profile.target),
            name,
        };
        Ok(self.names()?.into_iter().map(kept).collect())
    }

    /// Reads a profile.
    ///
    /// # Errors
    /// `Io`, `Damaged` and `Missing`.
    pub fn load(&self, name: &ProfileName) -> Result<Profile, ProfileError> {
        let path = self.path(name, "toml")?;
        let text = fs::read_to_string(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ProfileError::Missing(name.clone()),
            _ => ProfileError::Io { path: path.clone(), source },
        })?;
        Profile::from_text(&text).map_err(|reason| ProfileError::Damaged { path, reason })
    }

    /// Reads a profile's key.
    ///
    /// # Errors
    /// `NoKey` and `Key`.
    pub fn key(&self, name: &ProfileName) -> Result<DeviceSecret, ProfileError> {
        DeviceSecret::load(&self.path(name, "key")?).map_err(|error| match error {
            DeviceError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ProfileError::NoKey(name.clone())
            }
            other => other.into(),
        })
    }

    /// Keeps a key that the server is told of next. The profile's own key stays until [`Profiles::save`].
    ///
    /// # Errors
    /// `Io` and `Key`.
    pub fn prepare(&self, name: &ProfileName, key: &DeviceSecret) -> Result<(), ProfileError> {
        let path = self.path(name, "pending")?;
        let dir = path.parent().unwrap_or(Path::new("."));
        make_private(dir).map_err(|source| ProfileError::Io { path: dir.to_owned(), source })?;
        Ok(key.store(&path)?)
    }

    /// Keys that this name has had and that the server may know: the one in use, and one of a login that was cut off.
    #[must_use]
    pub fn former_keys(&self, name: &ProfileName) -> Vec<DeviceSecret> {
        let load = |ending| DeviceSecret::load(&self.path(name, ending).ok()?).ok();
        ["key", "pending"].into_iter().filter_map(load).collect()
    }

    /// Puts the key of [`Profiles::prepare`] and the profile in place of what is there. Cut off in between, the key is
    /// one that the server knows, and the profile that of before, or none.
    ///
    /// # Errors
    /// `Io`.
    pub fn save(&self, name: &ProfileName, profile: &Profile) -> Result<(), ProfileError> {
        let path = self.path(name, "toml")?;
        let failed = |source| ProfileError::Io { path: path.clone(), source };
        let text = profile.to_text().map_err(|reason| failed(io::Error::other(reason)))?;
        fs::rename(self.path(name, "pending")?, self.path(name, "key")?).map_err(failed)?;
        write_private(&path, text.as_bytes()).map_err(failed)
    }

    /// Removes a profile and its keys.
    ///
    /// # Errors
    /// `Io`; what is gone already is none.
    pub fn remove(&self, name: &ProfileName) -> Result<(), ProfileError> {
        for ending in ["toml", "pending", "key"] {
            let path = self.path(name, ending)?;
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(ProfileError::Io { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn name(text: &str) -> ProfileName {
        ProfileName::new(text).unwrap()
    }

    fn profile(target: &str) -> Profile {
        Profile {
            target: target.parse().unwrap(),
            ca_file: None,
            fingerprint: None,
            site_secret_file: None,
        }
    }

    fn sign_in(profiles: &Profiles, text: &str, target: &str) -> DeviceSecret {
        let key = DeviceSecret::generate().unwrap();
        profiles.prepare(&name(text), &key).unwrap();
        profiles.save(&name(text), &profile(target)).unwrap();
        key
    }

    #[test]
    fn a_profile_is_kept_with_its_key_and_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let profiles = Profiles::new(Some(&dir.path().join("config")));
        assert_eq!(profiles.names().unwrap(), []);
        let key = sign_in(&profiles, "work", "alice@h");
        sign_in(&profiles, "alice@h:5", "alice@h:5");
        assert_eq!(profiles.names().unwrap(), [name("alice@h:5"), name("work")]);
        assert_eq!(profiles.load(&name("work")).unwrap(), profile("alice@h"));
        assert_eq!(profiles.key(&name("work")).unwrap().key(), key.key());
        for entry in fs::read_dir(dir.path().join("config/profiles")).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        profiles.remove(&name("work")).unwrap();
        profiles.remove(&name("work")).unwrap();
        assert_eq!(profiles.names().unwrap(), [name("alice@h:5")]);
        assert_eq!(fs::read_dir(dir.path().join("config/profiles")).unwrap().count(), 2);
    }

    #[test]
    fn a_login_that_is_cut_off_takes_nothing_away() {
        let dir = tempfile::tempdir().unwrap();
        let profiles = Profiles::new(Some(dir.path()));
        let (work, new) = (name("work"), DeviceSecret::generate().unwrap());
        profiles.prepare(&work, &new).unwrap();
        assert_eq!(profiles.names().unwrap(), [], "a key alone is no profile");
        assert!(matches!(profiles.load(&work), Err(ProfileError::Missing(_))));
        let key = sign_in(&profiles, "work", "alice@h");
        profiles.prepare(&work, &new).unwrap();
        assert_eq!(profiles.key(&work).unwrap().key(), key.key(), "it is of use until the end");
        let former: Vec<_> = profiles.former_keys(&work).iter().map(DeviceSecret::key).collect();
        assert_eq!(former, [key.key(), new.key()]);
        profiles.save(&work, &profile("alice@h")).unwrap();
        assert_eq!(profiles.key(&work).unwrap().key(), new.key());
    }

    #[test]
    fn half_a_profile_is_told_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let profiles = Profiles::new(Some(dir.path()));
        sign_in(&profiles, "work", "alice@h");
        fs::remove_file(dir.path().join("profiles/work.key")).unwrap();
        let error = profiles.key(&name("work")).unwrap_err();
        assert!(matches!(error, ProfileError::NoKey(_)), "{error}");
        fs::write(dir.path().join("profiles/work.toml"), "user = 3").unwrap();
        let error = profiles.load(&name("work")).unwrap_err();
        assert!(matches!(error, ProfileError::Damaged { .. }), "{error}");
        assert_eq!(profiles.kept().unwrap()[0].target, None);
    }

    #[test]
    fn without_a_configuration_directory_there_are_none_and_none_is_kept() {
        let profiles = Profiles::new(None);
        assert_eq!(profiles.names().unwrap(), []);
        let key = DeviceSecret::generate().unwrap();
        assert!(matches!(profiles.prepare(&name("x"), &key), Err(ProfileError::Io { .. })));
    }
}

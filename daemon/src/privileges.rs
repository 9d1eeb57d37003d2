//! From root to the configured user, for good. `berthd` never serves as root.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Uid, User};
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::sys;

/// Why the daemon does not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivilegeError {
    /// There is no such user in the system.
    #[error("there is no system user {0:?}: make one, or set `user` in the configuration")]
    NoUser(String),
    /// The user is root by another name.
    #[error("berthd does not serve as root, which {0:?} is")]
    Root(String),
    /// A system call failed.
    #[error("cannot become {user:?}: {source}")]
    Change {
        /// Who.
        user: String,
        source: io::Error,
    },
    /// It could go back.
    #[error("could still become root after becoming {0:?}")]
    NotForGood(String),
}

/// Whom to become.
#[derive(Debug)]
pub(crate) struct Target {
    name: String,
    uid: Uid,
    gid: Gid,
}

impl Target {
    /// The user to become if this is root; `None` for an ordinary user, who serves as it is.
    ///
    /// # Errors
    /// [`PrivilegeError::NoUser`] and [`PrivilegeError::Root`].
    pub(crate) fn find(name: &str) -> Result<Option<Self>, PrivilegeError> {
        if !Uid::effective().is_root() && !Uid::current().is_root() {
            return Ok(None);
        }
        let user = User::from_name(name)
            .ok()
            .flatten()
            .ok_or_else(|| PrivilegeError::NoUser(name.to_owned()))?;
        if user.uid.is_root() || user.gid.as_raw() == 0 {
            return Err(PrivilegeError::Root(name.to_owned()));
        }
        Ok(Some(Self { name: name.to_owned(), uid: user.uid, gid: user.gid }))
    }

    /// Numbers of user and group, to whom the data directory is given.
    pub(crate) fn ids(&self) -> (u32, u32) {
        (self.uid.as_raw(), self.gid.as_raw())
    }

    /// Becomes it: groups first, since only root may, then the group, then the user.
    ///
    /// # Errors
    /// [`PrivilegeError::Change`] and [`PrivilegeError::NotForGood`].
    pub(crate) fn become_for_good(self) -> Result<(), PrivilegeError> {
        let Self { name, uid, gid } = self;
        let failed =
            |error: nix::Error| PrivilegeError::Change { user: name.clone(), source: error.into() };
        let c_name = CString::new(name.as_str()).map_err(|_| failed(nix::Error::EINVAL))?;
        nix::unistd::initgroups(&c_name, gid).map_err(failed)?;
        nix::unistd::setresgid(gid, gid, gid).map_err(failed)?;
        nix::unistd::setresuid(uid, uid, uid).map_err(failed)?;
        let ids = nix::unistd::getresuid().map_err(failed)?;
        let for_good = [ids.real, ids.effective, ids.saved] == [uid; 3]
            && nix::unistd::setuid(Uid::from_raw(0)).is_err();
        if for_good { Ok(()) } else { Err(PrivilegeError::NotForGood(name)) }
    }
}

/// What every daemon does to itself: files are made for the user alone, other processes of the same user
/// cannot trace it or read its memory, it may have as many descriptors as the system allows, and none
/// that it was started with by mistake is handed on to its children.
///
/// # Errors
/// When it cannot be made undumpable, or its descriptors cannot be closed in children.
pub(crate) fn close_to_others() -> io::Result<()> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, most) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    sys::close_on_exec_from(3)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_root_an_unknown_user_and_root_itself_are_refused() {
        if !Uid::effective().is_root() {
            assert!(Target::find("root").unwrap().is_none());
            return;
        }
        assert!(matches!(Target::find("no such user"), Err(PrivilegeError::NoUser(_))));
        assert!(matches!(Target::find("root"), Err(PrivilegeError::Root(_))));
        assert!(Target::find("nobody").unwrap().is_some());
    }
}

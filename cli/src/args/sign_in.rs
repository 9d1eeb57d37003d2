//! The command lines by which a device signs in and out. They work without a session, or make one themselves.

use std::path::PathBuf;

use berth::invitation::InvitationCode;
use berth::target::Target;
use berth_common::credentials::DeviceName;
use berth_common::ids::UserName;
use clap::Subcommand;

/// Commands that make and end what other commands log in by.
#[derive(Clone, Debug, Subcommand)]
pub enum SignIn {
    /// Sign this device in, so that later commands need no password
    ///
    /// Asks for the password once, makes a key for this device, has the server register it, and keeps both as a
    /// profile, named USER@HOST or as -P says, in profiles/ of the configuration directory. Later commands log in by
    /// the key: the only profile is used by itself, one of several by -P NAME, BERTH_PROFILE or -H USER@HOST. What
    /// was given here of --ca-file, --fingerprint and --site-secret-file is kept too.
    ///
    /// Signing in again on the same profile replaces its key and revokes the old one. Whoever can read the key file
    /// can log in: it is made for its owner alone, and refused when others can read it. `berth devices` lists the
    /// keys that the server accepts, `berth logout` gives this one up.
    Login(SignInArgs),
    /// Sign this device out: the server forgets its key, and the profile is removed
    ///
    /// When the server cannot be reached nothing is removed, unless --local is given.
    Logout(LogoutArgs),
    /// Make an account by an invitation, and sign this device in
    ///
    /// CODE is the line that the administrator's `berthctl invite` has printed. It names the server and its
    /// certificate, so that no other server is spoken to, and can be used once. You choose the password, and the
    /// name unless the invitation is for one. Then it goes on as `berth login` does.
    Join(JoinArgs),
    /// List the profiles of this device
    Profiles,
}

/// `berth login`.
#[derive(Clone, Debug, clap::Args)]
pub struct SignInArgs {
    /// The user and the server [default: those of -H, or of the profile]
    #[arg(value_name = "USER@HOST[:PORT]")]
    pub target: Option<Target>,
    /// What to call this device [default: the name of this machine]
    #[arg(long, value_name = "DEVICE", value_parser = device_name)]
    pub name: Option<DeviceName>,
}

/// `berth logout`.
#[derive(Clone, Debug, clap::Args)]
pub struct LogoutArgs {
    /// Ask no server: remove the profile alone, and let the device be revoked from another one
    #[arg(long)]
    pub local: bool,
}

/// `berth join`.
#[derive(Clone, Debug, clap::Args)]
pub struct JoinArgs {
    /// The invitation's code, berth://HOST/join/…
    #[arg(value_name = "CODE")]
    pub code: InvitationCode,
    /// The user's name, where the invitation leaves it open; else you are asked
    #[arg(long, value_name = "NAME")]
    pub user: Option<UserName>,
    /// What to call this device [default: the name of this machine]
    #[arg(long, value_name = "DEVICE", value_parser = device_name)]
    pub name: Option<DeviceName>,
}

fn device_name(text: &str) -> Result<DeviceName, String> {
    DeviceName::new(text).map_err(|error| error.to_string())
}

/// A file's path from the root, to be kept in a profile.
pub(crate) fn absolute(path: &Option<PathBuf>) -> Option<PathBuf> {
    // Without a working directory the path stays as it was typed.
    path.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()))
}

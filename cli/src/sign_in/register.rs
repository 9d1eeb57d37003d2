//! How a device comes to its profile: a key is made and put aside, the server registers it, and only then it takes the
//! place of the one before. Cut off anywhere, the profile of before is of use, or the new one is.

use berth::device::DeviceSecret;
use berth::session::Session;
use berth_common::credentials::{DeviceName, DeviceNameError};
use rust_i18n::t;

use crate::commands::{failed, failed_credential};
use crate::failure::Failure;
use crate::output::Output;
use crate::password::Password;
use crate::profiles::{ProfileError, ProfileName};
use crate::reach::Settings;

/// Registers this device by a session that has logged in with `password`, and keeps it as the settings' profile.
pub(super) async fn register(
    session: &Session,
    password: &Password,
    settings: &Settings,
    device: Option<&DeviceName>,
    output: &Output,
) -> Result<ProfileName, Failure> {
    let Some(name) = settings.profile.clone() else {
        return Err(Failure::usage(t!("give the profile a name, by -P NAME")));
    };
    let profiles = &settings.profiles;
    let former = profiles.former_keys(&name);
    let device = device.cloned().map_or_else(this_machine, Ok).map_err(Failure::usage)?;
    let key = DeviceSecret::generate().map_err(ProfileError::from)?;
    profiles.prepare(&name, &key)?;
    let registered = session.register_device(password, key.key(), device).await;
    registered
        .map_err(|error| failed_credential(&error).of(t!("this device was not registered")))?;
    profiles.save(&name, &settings.to_profile())?;
    let former: Vec<_> = former.iter().map(DeviceSecret::id).collect();
    if let Err(error) = session.revoke_devices(&former).await {
        let reason = failed(&error);
        output.note(&t!(
            "the key of before was not revoked (%{reason}); see berth devices",
            reason = reason
        ));
    }
    Ok(name)
}

/// What this device is called unless its user says so: as the machine is.
fn this_machine() -> Result<DeviceName, DeviceNameError> {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    DeviceName::new(&machine).or_else(|_| DeviceName::new("a machine without a short name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_always_has_a_name() {
        assert!(this_machine().is_ok());
    }
}

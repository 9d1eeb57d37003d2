//! `berth devices`: the devices whose keys the server accepts for this user, and how they are revoked.

use berth_common::credentials::{DeviceId, DeviceSummary};
use rust_i18n::t;
use serde_json::{Value, json};

use super::{Context, failed, show};
use crate::args::{DevicesArgs, DevicesCommand, RevokeArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::language::message;
use crate::looking::columns::left;
use crate::output::{Output, escaped};

pub(super) async fn run(context: &Context, args: &DevicesArgs) -> Result<Exit, Failure> {
    let devices = context.session.devices().await.map_err(|error| failed(&error).of("devices"))?;
    let settings = &context.way.settings;
    let key = settings.profile.as_ref().and_then(|name| settings.profiles.key(name).ok());
    let this = key.map(|key| key.id());
    match &args.command {
        None => list(&context.output, &devices, this),
        Some(DevicesCommand::Revoke(args)) => revoke(context, &devices, this, args).await,
    }
}

fn list(
    output: &Output,
    devices: &[DeviceSummary],
    this: Option<DeviceId>,
) -> Result<Exit, Failure> {
    if output.style().json {
        for device in devices {
            output.json(&as_json(device, this))?;
        }
        return Ok(Exit::Success);
    }
    if devices.is_empty() {
        output.note(&t!("no devices are signed in"));
        return Ok(Exit::Success);
    }
    output.line(&format!(
        "  {} {} {} {}",
        left(&t!("ID"), 16),
        left(&t!("REGISTERED"), 19),
        left(&t!("LAST USED"), 19),
        t!("NAME")
    ))?;
    for device in devices {
        output.line(&row(device, this))?;
    }
    Ok(Exit::Success)
}

/// A line of the table; this device has a mark.
fn row(device: &DeviceSummary, this: Option<DeviceId>) -> String {
    format!(
        "{} {} {:<19} {} {}",
        if this == Some(device.device) { '*' } else { ' ' },
        device.device,
        local_time(device.created_s),
        left(&device.used_s.map_or_else(|| t!("never").into_owned(), local_time), 19),
        // A name that turns the direction of writing would make the line look like another, in a pipe too.
        escaped(device.name.as_str()),
    )
}

fn local_time(seconds: i64) -> String {
    show::local_time(seconds.saturating_mul(1_000_000_000))
}

fn as_json(device: &DeviceSummary, this: Option<DeviceId>) -> Value {
    let time = |seconds: i64| show::utc_time(seconds.saturating_mul(1_000_000_000));
    json!({
        "id": device.device.to_string(),
        "name": device.name.as_str(),
        "registered": time(device.created_s),
        "last_used": device.used_s.map(time),
        "this": this == Some(device.device),
    })
}

async fn revoke(
    context: &Context,
    devices: &[DeviceSummary],
    this: Option<DeviceId>,
    args: &RevokeArgs,
) -> Result<Exit, Failure> {
    let revoked = if args.all_others {
        let this = this.ok_or_else(|| {
            let sentence =
                t!("this device is not signed in, so all are others: name them by their IDs");
            Failure::usage(sentence)
        })?;
        devices.iter().map(|device| device.device).filter(|id| *id != this).collect()
    } else {
        named(devices, &args.devices)?
    };
    let asked = context.session.revoke_devices(&revoked).await;
    asked.map_err(|error| failed(&error).of("devices revoke"))?;
    context.output.note(&human::count(
        revoked.len(),
        message!("revoked %{number} device"),
        message!("revoked %{number} devices"),
    ));
    if let (true, Some(name)) =
        (this.is_some_and(|id| revoked.contains(&id)), &context.way.settings.profile)
    {
        context.output.note(&t!("this device is not signed in any more; `berth logout --local -P %{name}` removes its profile", name = name));
    }
    Ok(Exit::Success)
}

/// The devices that were typed: all of them are found, or none is revoked.
fn named(devices: &[DeviceSummary], typed: &[String]) -> Result<Vec<DeviceId>, Failure> {
    let mut found = Vec::new();
    for typed in typed {
        let fitting = devices.iter().map(|device| device.device);
        let fitting: Vec<_> = fitting.filter(|id| id.to_string().starts_with(typed)).collect();
        match fitting[..] {
            [] => {
                return Err(Failure::new(
                    Exit::NotFound,
                    t!("there is no device %{typed}", typed = typed),
                ));
            }
            [id] if found.contains(&id) => {}
            [id] => found.push(id),
            _ => {
                let sentence = t!(
                    "%{fitting} devices begin with %{typed}: write more of it",
                    fitting = fitting.len(),
                    typed = typed
                );
                return Err(Failure::usage(sentence));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use berth_common::credentials::DeviceName;

    use super::*;

    fn device(id: &str, name: &str) -> DeviceSummary {
        DeviceSummary {
            device: id.parse().unwrap(),
            name: DeviceName::new(name).unwrap(),
            created_s: 1_600_000_000,
            used_s: None,
        }
    }

    #[test]
    fn devices_are_named_by_the_beginning_of_their_ids() {
        let devices = [
            device("abcd000000000001", "a"),
            device("abce000000000002", "b"),
            device(&"0".repeat(16), "c"),
        ];
        let named = |typed: &[&str]| {
            let typed: Vec<_> = typed.iter().map(|text| (*text).to_owned()).collect();
            named(&devices, &typed).map_err(|failure| failure.exit)
        };
        assert_eq!(named(&["abcd", "0"]), Ok(vec![devices[0].device, devices[2].device]));
        assert_eq!(named(&["abcd", "abcd000000000001"]), Ok(vec![devices[0].device]));
        assert_eq!(named(&["abc"]), Err(Exit::Usage));
        assert_eq!(named(&["abcd", "f"]), Err(Exit::NotFound));
    }

    #[test]
    fn this_device_has_a_mark_and_a_name_cannot_turn_the_line() {
        let (one, other) =
            (device("abcd000000000001", "laptop"), device(&"0".repeat(16), "x\u{202e}y"));
        let this = Some(one.device);
        assert!(row(&one, this).starts_with("* abcd000000000001 20"), "{}", row(&one, this));
        assert!(row(&one, this).ends_with(" never               laptop"));
        assert!(row(&other, this).starts_with("  0000"));
        assert!(row(&other, this).ends_with("x\\u{202e}y"));
        let json = as_json(&one, this);
        assert_eq!((&json["this"], &json["last_used"]), (&json!(true), &Value::Null));
        assert_eq!(json["registered"], "2020-09-13T12:26:40Z");
    }
}

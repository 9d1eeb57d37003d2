//! `berthctl device`: list and revoke.

use berth_common::admin_protocol::{AdminToDaemon, DaemonToAdmin};
use berth_common::credentials::DeviceSummary;
use berth_common::ids::UserName;
use rust_i18n::t;
use serde_json::{Value, json};

use super::args::DeviceCommand;
use super::failure::Failure;
use super::show::{self, Align, Printer};
use super::socket::AdminSocket;
use super::user::done;
use crate::output::escaped;

/// Carries out one of the commands.
///
/// # Errors
/// Whatever keeps it from being carried out.
pub(super) fn carry_out(
    command: DeviceCommand,
    socket: &AdminSocket,
    printer: &Printer,
) -> Result<(), Failure> {
    match command {
        DeviceCommand::List { name } => list(name, socket, printer),
        DeviceCommand::Revoke { name, id, .. } => {
            let text = match id {
                Some(id) => t!("device %{id} of %{name} was revoked", id = id, name = name),
                None => t!("all devices of %{name} were revoked", name = name),
            };
            let json = json!({
                "user": name.as_str(),
                "device": id.map(|id| id.to_string()),
                "revoked": true,
            });
            done(socket, &AdminToDaemon::DeviceRevoke { user: name, device: id })?;
            Ok(printer.print(&text, &json)?)
        }
    }
}

fn list(user: UserName, socket: &AdminSocket, printer: &Printer) -> Result<(), Failure> {
    let devices = match socket.ask(&AdminToDaemon::DeviceList { user })? {
        DaemonToAdmin::Devices(devices) => devices,
        DaemonToAdmin::Refused(error) => return Err(error.into()),
        _ => return Err(Failure::OtherAnswer),
    };
    let rows: Vec<_> = devices.iter().map(row).collect();
    Ok(printer.print(&table(&rows), &devices.iter().map(as_json).collect::<Value>())?)
}

fn table(rows: &[[String; 4]]) -> String {
    use Align::Left;
    show::table(
        [
            (t!("DEVICE"), Left),
            (t!("REGISTERED"), Left),
            (t!("LAST USED"), Left),
            (t!("NAME"), Left),
        ],
        rows,
    )
}

fn row(device: &DeviceSummary) -> [String; 4] {
    [
        device.device.to_string(),
        show::utc(device.created_s),
        device.used_s.map_or_else(|| t!("never").into_owned(), show::utc),
        // What users call their devices is not for an administrator's terminal to act upon.
        escaped(device.name.as_str()).into_owned(),
    ]
}

fn as_json(device: &DeviceSummary) -> Value {
    json!({
        "device": device.device.to_string(),
        "name": device.name.as_str(),
        "created_s": device.created_s,
        "used_s": device.used_s,
    })
}

#[cfg(test)]
mod tests {
    use berth_common::credentials::DeviceName;

    use super::*;

    #[test]
    fn a_device_is_a_row_and_a_json_object() {
        let device = DeviceSummary {
            device: "00000000000000ab".parse().unwrap(),
            name: DeviceName::new("x\u{202e}y").unwrap(),
            created_s: 0,
            used_s: None,
        };
        let text = table(&[row(&device)]);
        let line = text.lines().nth(1).unwrap();
        assert!(line.starts_with("00000000000000ab  1970-01-01 00:00 UTC  never"), "{text}");
        assert!(line.ends_with("x\\u{202e}y"), "{text}");
        assert_eq!(as_json(&device)["used_s"], Value::Null);
    }
}

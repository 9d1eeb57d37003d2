//! `berthctl quota`: set and show. Verify is in [`super::verify`].

use std::borrow::Cow;

use berth_common::admin_protocol::AdminToDaemon;
use berth_common::entry::Usage;
use rust_i18n::t;
use serde_json::json;

use super::args::{Limit, QuotaCommand};
use super::failure::Failure;
use super::show::{self, Printer};
use super::socket::AdminSocket;
use super::user::{done, summary};
use super::verify;
use crate::human;

/// Carries out one of the commands.
///
/// # Errors
/// Whatever keeps it from being carried out.
pub(super) fn carry_out(
    command: QuotaCommand,
    socket: &AdminSocket,
    printer: &Printer,
) -> Result<(), Failure> {
    let name = match command {
        QuotaCommand::Set { name, bytes, entries } => {
            let (bytes, entries) = (Limit::change(bytes), Limit::change(entries));
            done(socket, &AdminToDaemon::QuotaSet { user: name.clone(), bytes, entries })?;
            name
        }
        QuotaCommand::Show { name } => name,
        QuotaCommand::Verify { name, fix } => {
            return verify::carry_out(name, fix, socket, printer);
        }
    };
    // After a change too: a limit below what is used is allowed, and worth seeing.
    let user = summary(name, socket)?;
    let mut text = vec![(t!("user"), user.user.to_string())];
    text.extend(lines(&user.usage));
    let mut object = show::usage_json(&user.usage);
    object["user"] = json!(user.user.as_str());
    Ok(printer.print(&show::properties(&text), &object)?)
}

/// Limits and usage, line by line.
pub(super) fn lines(usage: &Usage) -> Vec<(Cow<'static, str>, String)> {
    vec![
        (t!("bytes used"), human::signed_size(usage.used_bytes)),
        (t!("bytes reserved"), human::size(usage.reserved_bytes)),
        (t!("bytes limit"), show::byte_limit(usage.limits.bytes)),
        (t!("entries used"), usage.used_entries.to_string()),
        (t!("entries reserved"), usage.reserved_entries.to_string()),
        (t!("entries limit"), show::entry_limit(usage.limits.entries)),
    ]
}

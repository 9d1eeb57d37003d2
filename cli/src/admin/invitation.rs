//! `berthctl invite`, `invitation list` and `invitation revoke`.
//!
//! The secret is made here and is in the printed code alone: the daemon gets what checks it.

use berth::invitation::InvitationCode;
use berth_common::admin_protocol::{AdminToDaemon, DaemonToAdmin, InvitationSummary, Status};
use berth_common::credentials::{INVITATION_ITERATIONS, InvitationSecret};
use berth_common::entry::Limits;
use berth_common::scram::ScramVerifier;
use rust_i18n::t;
use serde_json::{Value, json};

use super::address::{self, Address};
use super::args::{InvitationCommand, InviteArgs};
use super::failure::Failure;
use super::show::{self, Align, Printer};
use super::socket::{AdminSocket, pages};
use super::user::done;
use crate::language::message;
use crate::output::complain;

/// Invites somebody, and prints the code.
///
/// # Errors
/// Whatever keeps it from being made.
pub(super) fn invite(
    args: InviteArgs,
    socket: &AdminSocket,
    printer: &Printer,
) -> Result<(), Failure> {
    let status = match socket.ask(&AdminToDaemon::Status)? {
        DaemonToAdmin::Status(status) => status,
        DaemonToAdmin::Refused(error) => return Err(error.into()),
        _ => return Err(Failure::OtherAnswer),
    };
    let InviteArgs { quota, entries, expires, name, server } = args;
    let address = match server {
        Some(server) => Address { server, guessed: false },
        None => address_of(&status)?,
    };
    let secret = InvitationSecret::random()?;
    let code = InvitationCode {
        user: name.clone(),
        server: address.server,
        secret,
        fingerprint: status.fingerprint.parse().map_err(|_| Failure::OtherAnswer)?,
    };
    let mut salt = vec![0; 16];
    getrandom::fill(&mut salt)?;
    // Rounds of PBKDF2 make guessing a password dear; a secret of 128 random bits is not guessed, with as few as may be.
    let verifier =
        ScramVerifier::from_password(&secret.as_password(), salt, INVITATION_ITERATIONS)?;
    let question = AdminToDaemon::InvitationAdd {
        invitation: secret.id(),
        verifier,
        user: name,
        limits: Limits { bytes: quota.0, entries: entries.0 },
        valid_s: expires.0,
    };
    done(socket, &question)?;
    if address.guessed && !printer.json {
        complain(&t!(
            "The code names this server as %{server}; say --server HOST[:PORT] if others reach it by another name.",
            server = code.server
        ));
    }
    let json = json!({
        "code": code.to_string(),
        "invitation": secret.id().to_string(),
        "server": code.server.to_string(),
        "user": code.user.as_ref().map(|user| user.as_str()),
        "valid_s": expires.0,
    });
    Ok(printer.print(&code.to_string(), &json)?)
}

fn address_of(status: &Status) -> Result<Address, Failure> {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    address::of(&status.listen, &machine).ok_or(Failure::NoAddress)
}

/// Carries out one of the other commands.
///
/// # Errors
/// Whatever keeps it from being carried out.
pub(super) fn carry_out(
    command: InvitationCommand,
    socket: &AdminSocket,
    printer: &Printer,
) -> Result<(), Failure> {
    match command {
        InvitationCommand::List => list(socket, printer),
        InvitationCommand::Revoke { id } => {
            done(socket, &AdminToDaemon::InvitationRevoke { invitation: id })?;
            let json = json!({ "invitation": id.to_string(), "revoked": true });
            Ok(printer.print(&t!("invitation %{id} was revoked", id = id), &json)?)
        }
    }
}

fn list(socket: &AdminSocket, printer: &Printer) -> Result<(), Failure> {
    let page = |after| match socket.ask(&AdminToDaemon::InvitationList { after })? {
        DaemonToAdmin::Invitations { invitations, last } => Ok((invitations, last)),
        DaemonToAdmin::Refused(error) => Err(Failure::from(error)),
        _ => Err(Failure::OtherAnswer),
    };
    let invitations = pages(page, |summary: &InvitationSummary| summary.invitation)?;
    let now_s = jiff::Timestamp::now().as_second();
    let rows: Vec<_> = invitations.iter().map(|invitation| row(invitation, now_s)).collect();
    let json = invitations.iter().map(|invitation| as_json(invitation, now_s)).collect::<Value>();
    Ok(printer.print(&table(&rows), &json)?)
}

fn table(rows: &[[String; 7]]) -> String {
    use Align::{Left, Right};
    show::table(
        [
            (t!("INVITATION"), Left),
            (t!("STATE"), Left),
            (t!("USER"), Left),
            (t!("QUOTA"), Right),
            (t!("ENTRIES"), Right),
            (t!("CREATED"), Left),
            (t!("EXPIRES"), Left),
        ],
        rows,
    )
}

fn row(invitation: &InvitationSummary, now_s: i64) -> [String; 7] {
    let user = invitation.used_by.as_ref().or(invitation.user.as_ref());
    [
        invitation.invitation.to_string(),
        t!(state(invitation, now_s)).into_owned(),
        user.map_or_else(|| "-".to_owned(), ToString::to_string),
        show::byte_limit(invitation.limits.bytes),
        show::entry_limit(invitation.limits.entries),
        show::utc(invitation.created_s),
        show::utc(invitation.expires_s),
    ]
}

fn state(invitation: &InvitationSummary, now_s: i64) -> &'static str {
    if invitation.used_by.is_some() {
        message!("used")
    } else if invitation.expires_s <= now_s {
        message!("expired")
    } else {
        message!("open")
    }
}

fn as_json(invitation: &InvitationSummary, now_s: i64) -> Value {
    json!({
        "invitation": invitation.invitation.to_string(),
        "state": state(invitation, now_s),
        "user": invitation.user.as_ref().map(|user| user.as_str()),
        "used_by": invitation.used_by.as_ref().map(|user| user.as_str()),
        "limit_bytes": invitation.limits.bytes,
        "limit_entries": invitation.limits.entries,
        "created_s": invitation.created_s,
        "expires_s": invitation.expires_s,
    })
}

#[cfg(test)]
mod tests {
    use berth_common::ids::UserName;

    use super::*;

    fn invitation() -> InvitationSummary {
        InvitationSummary {
            invitation: "00000000000000ab".parse().unwrap(),
            user: None,
            limits: Limits { bytes: Some(5 << 30), entries: None },
            created_s: 0,
            expires_s: 60,
            used_by: None,
        }
    }

    #[test]
    fn an_invitation_is_open_until_it_is_used_or_has_expired() {
        let mut one = invitation();
        assert_eq!((state(&one, 59), state(&one, 60)), ("open", "expired"));
        one.used_by = Some(UserName::new("alice").unwrap());
        assert_eq!(state(&one, 1000), "used");
        let text = table(&[row(&one, 1000)]);
        assert!(
            text.lines().nth(1).unwrap().starts_with("00000000000000ab  used   alice"),
            "{text}"
        );
        assert!(text.contains("5.0 GiB  unlimited"), "{text}");
        let json = as_json(&one, 0);
        assert_eq!((&json["used_by"], &json["user"]), (&json!("alice"), &Value::Null));
    }
}

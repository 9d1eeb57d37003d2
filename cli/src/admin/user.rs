//! `berthctl user`: add, list, show, passwd, lock, unlock, remove; what it may run is in `program`.

use berth_common::admin_protocol::{AdminToDaemon, DaemonToAdmin, UserSummary};
use berth_common::entry::Limits;
use berth_common::ids::UserName;
use berth_common::scram::ScramVerifier;
use serde_json::{Value, json};

use super::args::{PasswordSource, UserCommand};
use super::failure::Failure;
use super::program;
use super::show::{self, Align, Printer};
use super::socket::{AdminSocket, pages};
use crate::{ask, human, password};

/// Carries out one of the commands.
///
/// # Errors
/// Whatever keeps it from being carried out.
pub(super) fn carry_out(
    command: UserCommand,
    socket: &AdminSocket,
    printer: &Printer,
) -> Result<(), Failure> {
    match command {
        UserCommand::Add { name, quota, entries, password } => {
            let verifier = new_verifier(&name, &password)?;
            let limits = Limits { bytes: quota.0, entries: entries.0 };
            let text = format!("user {name} was added; quota: {}", limits_text(limits));
            let json = json!({ "user": name.as_str(), "added": true });
            done(socket, &AdminToDaemon::UserAdd { user: name, verifier, limits })?;
            Ok(printer.print(&text, &json)?)
        }
        UserCommand::List => list(socket, printer),
        UserCommand::Show { name } => show(name, socket, printer),
        UserCommand::AllowExec { name, programs } => {
            program::allow(name, programs, socket, printer)
        }
        UserCommand::DenyExec { name, programs } => program::deny(name, programs, socket, printer),
        UserCommand::Passwd { name, password } => {
            let verifier = new_verifier(&name, &password)?;
            let text = format!("the password of {name} was changed");
            let json = json!({ "user": name.as_str(), "changed": true });
            done(socket, &AdminToDaemon::UserPassword { user: name, verifier })?;
            Ok(printer.print(&text, &json)?)
        }
        UserCommand::Lock { name } => {
            let text = format!("user {name} is locked; all sessions were ended");
            let json = json!({ "user": name.as_str(), "locked": true });
            done(socket, &AdminToDaemon::UserLock { user: name })?;
            Ok(printer.print(&text, &json)?)
        }
        UserCommand::Unlock { name } => {
            let text = format!("user {name} is unlocked");
            let json = json!({ "user": name.as_str(), "locked": false });
            done(socket, &AdminToDaemon::UserUnlock { user: name })?;
            Ok(printer.print(&text, &json)?)
        }
        UserCommand::Remove { name, yes } => {
            if !yes {
                confirm_removal(&summary(name.clone(), socket)?)?;
            }
            let text = format!("user {name} and all files of the user's were removed");
            let json = json!({ "user": name.as_str(), "removed": true });
            done(socket, &AdminToDaemon::UserRemove { user: name })?;
            Ok(printer.print(&text, &json)?)
        }
    }
}

/// Asks for something that is answered by `Done`.
///
/// # Errors
/// The socket's, and the daemon's refusal.
pub(super) fn done(socket: &AdminSocket, question: &AdminToDaemon) -> Result<(), Failure> {
    match socket.ask(question)? {
        DaemonToAdmin::Done => Ok(()),
        DaemonToAdmin::Refused(error) => Err(error.into()),
        _ => Err(Failure::OtherAnswer),
    }
}

/// Asks for one user.
///
/// # Errors
/// The socket's, and the daemon's refusal.
pub(super) fn summary(user: UserName, socket: &AdminSocket) -> Result<UserSummary, Failure> {
    match socket.ask(&AdminToDaemon::UserShow { user })? {
        DaemonToAdmin::User(summary) => Ok(summary),
        DaemonToAdmin::Refused(error) => Err(error.into()),
        _ => Err(Failure::OtherAnswer),
    }
}

fn list(socket: &AdminSocket, printer: &Printer) -> Result<(), Failure> {
    let users = all(socket)?;
    let rows: Vec<_> = users.iter().map(row).collect();
    let text = table(&rows);
    Ok(printer.print(&text, &users.iter().map(show::user_json).collect::<Value>())?)
}

/// All users, in the order of their names.
///
/// # Errors
/// Whatever keeps them from being listed.
pub(super) fn all(socket: &AdminSocket) -> Result<Vec<UserSummary>, Failure> {
    let page = |after| match socket.ask(&AdminToDaemon::UserList { after })? {
        DaemonToAdmin::Users { users, last } => Ok((users, last)),
        DaemonToAdmin::Refused(error) => Err(Failure::from(error)),
        _ => Err(Failure::OtherAnswer),
    };
    pages(page, |user: &UserSummary| user.user.clone())
}

fn table(rows: &[[String; 9]]) -> String {
    use Align::{Left, Right};
    show::table(
        [
            ("USER", Left),
            ("STATE", Left),
            ("USED", Right),
            ("RESERVED", Right),
            ("QUOTA", Right),
            ("ENTRIES", Right),
            ("LIMIT", Right),
            ("SESSIONS", Right),
            ("UPLOADS", Right),
        ],
        rows,
    )
}

fn row(user: &UserSummary) -> [String; 9] {
    let usage = &user.usage;
    [
        user.user.to_string(),
        state(user).to_owned(),
        human::signed_size(usage.used_bytes),
        human::size(usage.reserved_bytes),
        show::byte_limit(usage.limits.bytes),
        usage.used_entries.to_string(),
        show::entry_limit(usage.limits.entries),
        user.sessions.to_string(),
        user.uploads.to_string(),
    ]
}

fn state(user: &UserSummary) -> &'static str {
    if user.locked { "locked" } else { "active" }
}

fn show(name: UserName, socket: &AdminSocket, printer: &Printer) -> Result<(), Failure> {
    let user = summary(name.clone(), socket)?;
    let programs = program::of_user(name, socket)?;
    let mut lines = vec![
        ("user", user.user.to_string()),
        ("state", state(&user).to_owned()),
        ("created", show::utc(user.created_s)),
        ("sessions", user.sessions.to_string()),
        ("open uploads", user.uploads.to_string()),
    ];
    lines.push(("may run", program::list(&programs)));
    lines.extend(super::quota::lines(&user.usage));
    let mut json = show::user_json(&user);
    json["programs"] = json!(programs);
    Ok(printer.print(&show::properties(&lines), &json)?)
}

fn limits_text(limits: Limits) -> String {
    let entries = match limits.entries {
        None => "unlimited entries".to_owned(),
        Some(1) => "1 entry".to_owned(),
        Some(entries) => format!("{entries} entries"),
    };
    match limits.bytes {
        None => format!("unlimited bytes, {entries}"),
        Some(bytes) => format!("{}, {entries}", human::size(bytes)),
    }
}

/// Asks for the new password and makes what the daemon keeps of it.
fn new_verifier(user: &UserName, source: &PasswordSource) -> Result<ScramVerifier, Failure> {
    let password = match password::without_asking(source.password_file.as_deref())? {
        Some(password) => password,
        None => password::ask_new(&format!("New password of {user}: "))?,
    };
    Ok(ScramVerifier::generate(password.as_str())?)
}

/// Asks the person at the terminal to type the user's name.
fn confirm_removal(user: &UserSummary) -> Result<(), Failure> {
    let name = user.user.as_str();
    if !ask::somebody() {
        return Err(Failure::NeedsYes(format!("user {name}")));
    }
    let typed = ask::line(&format!(
        "This ends all sessions of user {name} and removes {} entries with {}. \
         It cannot be undone.\nType the user's name to go on: ",
        user.usage.used_entries,
        human::signed_size(user.usage.used_bytes),
    ))?;
    if typed == name { Ok(()) } else { Err(Failure::NotConfirmed) }
}

#[cfg(test)]
mod tests {
    use berth_common::entry::Usage;

    use super::*;

    fn alice() -> UserSummary {
        UserSummary {
            user: UserName::new("alice").unwrap(),
            locked: true,
            usage: Usage {
                limits: Limits { bytes: Some(10 << 30), entries: None },
                used_bytes: 3,
                used_entries: 2,
                reserved_bytes: 0,
                reserved_entries: 0,
            },
            sessions: 1,
            uploads: 0,
            created_s: 0,
        }
    }

    #[test]
    fn a_user_is_a_row_and_a_json_object() {
        let text = table(&[row(&alice())]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("alice  locked"), "{text}");
        assert!(lines[1].contains("unlimited"), "{text}");
        let json = show::user_json(&alice());
        assert_eq!(json["user"], "alice");
        assert_eq!(json["limit_bytes"], 10u64 << 30);
        assert_eq!(json["limit_entries"], Value::Null);
    }

    #[test]
    fn limits_are_told_in_words() {
        assert_eq!(
            limits_text(Limits { bytes: None, entries: Some(1) }),
            "unlimited bytes, 1 entry"
        );
        assert!(limits_text(alice().usage.limits).ends_with("unlimited entries"));
    }
}

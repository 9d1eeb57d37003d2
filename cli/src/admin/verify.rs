//! `berthctl quota verify`: one user after the other, a line each, all of them in one answer.
//!
//! The daemon compares; this asks, prints, and chooses the exit code.

use berth_common::admin_protocol::{
    AdminError, AdminToDaemon, DaemonToAdmin, UserSummary, Verification,
};
use berth_common::ids::UserName;
use rust_i18n::t;
use serde_json::{Value, json};

use super::failure::Failure;
use super::show::{self, Align, Printer};
use super::socket::AdminSocket;
use super::user;
use crate::language::message;
use crate::wording::InWords;

/// Verifies one user, or all.
///
/// # Errors
/// `Differs` and `NotVerified` after the answer was printed; whatever keeps it from being asked for.
pub(super) fn carry_out(
    name: Option<UserName>,
    fix: bool,
    socket: &AdminSocket,
    printer: &Printer,
) -> Result<(), Failure> {
    let (found, asked) = match name {
        Some(name) => (vec![Found::Compared(ask(name, fix, socket)??)], Ok(())),
        None => all(fix, socket)?,
    };
    let json: Value = found.iter().map(Found::json).collect();
    printer.print(&text(&found), &json)?;
    asked?;
    let failed = found.iter().filter(|found| matches!(found, Found::Failed { .. })).count();
    let differing = found.iter().filter(|found| found.differs()).count();
    match (failed, differing) {
        (0, 0) => Ok(()),
        (0, ledgers) => Err(Failure::Differs(ledgers)),
        (homes, _) => Err(Failure::NotVerified(homes)),
    }
}

/// What there is to say of a user.
#[derive(Debug)]
enum Found {
    Compared(Verification),
    Failed { user: UserName, error: AdminError },
}

fn ask(
    user: UserName,
    fix: bool,
    socket: &AdminSocket,
) -> Result<Result<Verification, AdminError>, Failure> {
    match socket.ask(&AdminToDaemon::QuotaVerify { user, fix })? {
        DaemonToAdmin::Verified(verification) => Ok(Ok(verification)),
        DaemonToAdmin::Refused(error) => Ok(Err(error)),
        _ => Err(Failure::OtherAnswer),
    }
}

/// One that fails does not keep the others from being verified. Who goes meanwhile is left out. When the
/// daemon goes, what was found before is told all the same.
fn all(fix: bool, socket: &AdminSocket) -> Result<(Vec<Found>, Result<(), Failure>), Failure> {
    let mut found = Vec::new();
    for UserSummary { user, .. } in user::all(socket)? {
        match ask(user.clone(), fix, socket) {
            Ok(Ok(verification)) => found.push(Found::Compared(verification)),
            Ok(Err(AdminError::NoSuchUser(_) | AdminError::UserGoing(_))) => {}
            Ok(Err(error)) => found.push(Found::Failed { user, error }),
            Err(failure) if found.is_empty() => return Err(failure),
            Err(failure) => return Ok((found, Err(failure))),
        }
    }
    Ok((found, Ok(())))
}

impl Found {
    fn differs(&self) -> bool {
        matches!(self, Self::Compared(found) if !found.is_exact() && !found.fixed)
    }

    fn json(&self) -> Value {
        match self {
            Self::Compared(found) => {
                let (bytes, entries) = found.difference();
                json!({
                    "user": found.user.as_str(),
                    "result": result(found),
                    "ledger_bytes": found.ledger_bytes,
                    "ledger_entries": found.ledger_entries,
                    "disk_bytes": found.disk_bytes,
                    "disk_entries": found.disk_entries,
                    "difference_bytes": i64::try_from(bytes).ok(),
                    "difference_entries": i64::try_from(entries).ok(),
                    "writable_again": found.writable_again,
                    "files_with_several_names": found.linked,
                    "some_of_their_paths": found.linked_names,
                })
            }
            Self::Failed { user, error } => json!({
                "user": user.as_str(),
                "result": "failed",
                "reason": error.to_string(),
            }),
        }
    }
}

fn result(found: &Verification) -> &'static str {
    match (found.is_exact(), found.fixed) {
        (true, _) => message!("exact"),
        (false, true) => message!("fixed"),
        (false, false) => message!("drift"),
    }
}

fn text(found: &[Found]) -> String {
    use Align::{Left, Right};
    let headings = [
        (t!("USER"), Left),
        (t!("LEDGER"), Right),
        (t!("ENTRIES"), Right),
        (t!("DISK"), Right),
        (t!("ENTRIES"), Right),
        (t!("DIFFERENCE"), Right),
        (t!("ENTRIES"), Right),
        (t!("RESULT"), Left),
    ];
    let rows: Vec<_> = found.iter().map(row).collect();
    let mut text = show::table(headings, &rows);
    for found in found {
        match found {
            Found::Failed { error, .. } => text.push_str(&format!("{}\n", error.in_words())),
            Found::Compared(found) => text.push_str(&remarks(found)),
        }
    }
    text
}

fn row(found: &Found) -> [String; 8] {
    let none = || "-".to_owned();
    match found {
        Found::Compared(found) => {
            let (bytes, entries) = found.difference();
            [
                found.user.to_string(),
                // To the byte: what differs may be one.
                found.ledger_bytes.to_string(),
                found.ledger_entries.to_string(),
                found.disk_bytes.to_string(),
                found.disk_entries.to_string(),
                format!("{bytes:+}"),
                format!("{entries:+}"),
                t!(result(found)).into_owned(),
            ]
        }
        Found::Failed { user, .. } => {
            let mut row: [String; 8] = std::array::from_fn(|_| none());
            row[0] = user.to_string();
            row[7] = t!("failed").into_owned();
            row
        }
    }
}

fn remarks(found: &Verification) -> String {
    let mut text = String::new();
    if found.writable_again {
        text.push_str(&t!("%{user}: the home may be changed again", user = found.user));
        text.push('\n');
    }
    if found.linked > 0 {
        let told = match found.linked {
            1 => t!(
                "%{user}: 1 file with several names, which Berth does not serve:",
                user = found.user
            ),
            number => t!(
                "%{user}: %{number} files with several names, which Berth does not serve:",
                user = found.user,
                number = number
            ),
        };
        text.push_str(&told);
        text.push('\n');
        for name in &found.linked_names {
            // A name is whatever an administrator has put there.
            text.push_str(&format!("  {}\n", name.escape_debug()));
        }
        if found.linked > found.linked_names.len() as u64 {
            text.push_str("  …\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(ledger_bytes: i64, disk_bytes: u64, fixed: bool) -> Verification {
        Verification {
            user: UserName::new("alice").unwrap(),
            ledger_bytes,
            ledger_entries: 2,
            disk_bytes,
            disk_entries: 2,
            fixed,
            writable_again: false,
            linked: 0,
            linked_names: vec![],
        }
    }

    #[test]
    fn a_difference_is_told_to_the_byte_with_its_sign() {
        let exact = Found::Compared(found(5, 5, false));
        let drift = Found::Compared(found(5, 4, false));
        let fixed = Found::Compared(found(-1, 4, true));
        assert_eq!((exact.differs(), drift.differs(), fixed.differs()), (false, true, false));
        let text = text(&[exact, drift, fixed]);
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["alice", "5", "2", "5", "2", "+0", "+0", "exact"]);
        assert_eq!(lines[2], ["alice", "5", "2", "4", "2", "-1", "+0", "drift"]);
        assert_eq!(lines[3], ["alice", "-1", "2", "4", "2", "+5", "+0", "fixed"]);
        let json = Found::Compared(found(5, 4, false)).json();
        assert_eq!((&json["result"], &json["difference_bytes"]), (&json!("drift"), &json!(-1)));
    }

    #[test]
    fn files_with_several_names_and_failures_are_named() {
        let mut linked = found(5, 5, false);
        (linked.linked, linked.linked_names) = (2, vec!["d/x\n".to_owned()]);
        let error = AdminError::NotVerified {
            user: UserName::new("bob").unwrap(),
            reason: "cannot read \"/d\"".to_owned(),
        };
        let failed = Found::Failed { user: UserName::new("bob").unwrap(), error };
        let text = text(&[Found::Compared(linked), failed]);
        for part in ["2 files with several names", "  d/x\\n\n  …", "bob", "cannot read \"/d\""] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

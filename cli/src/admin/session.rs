//! `berthctl session`: list and kill.

use berth_common::admin_protocol::{AdminToDaemon, DaemonToAdmin, SessionSummary};
use berth_common::ids::SessionId;
use rust_i18n::t;
use serde_json::{Value, json};

use super::args::SessionCommand;
use super::failure::Failure;
use super::show::{self, Align, Printer};
use super::socket::{AdminSocket, pages};
use super::user::done;
use crate::human;

/// Carries out one of the commands.
///
/// # Errors
/// Whatever keeps it from being carried out.
pub(super) fn carry_out(
    command: SessionCommand,
    socket: &AdminSocket,
    printer: &Printer,
) -> Result<(), Failure> {
    match command {
        SessionCommand::List => list(socket, printer),
        SessionCommand::Kill { id } => {
            done(socket, &AdminToDaemon::SessionKill { session: SessionId(id) })?;
            let json = json!({ "session": id, "killed": true });
            Ok(printer.print(&t!("session %{id} was ended", id = id), &json)?)
        }
    }
}

fn list(socket: &AdminSocket, printer: &Printer) -> Result<(), Failure> {
    let page = |after| match socket.ask(&AdminToDaemon::SessionList { after })? {
        DaemonToAdmin::Sessions { sessions, last } => Ok((sessions, last)),
        DaemonToAdmin::Refused(error) => Err(Failure::from(error)),
        _ => Err(Failure::OtherAnswer),
    };
    let sessions = pages(page, |session: &SessionSummary| session.session)?;
    let rows: Vec<_> = sessions.iter().map(row).collect();
    let text = table(&rows);
    Ok(printer.print(&text, &sessions.iter().map(session_json).collect::<Value>())?)
}

fn table(rows: &[[String; 9]]) -> String {
    use Align::{Left, Right};
    show::table(
        [
            (t!("SESSION"), Right),
            (t!("USER"), Left),
            (t!("CLIENT"), Left),
            (t!("AGE"), Right),
            (t!("IDLE"), Right),
            (t!("TRANSFERS"), Right),
            (t!("RECEIVED"), Right),
            (t!("SENT"), Right),
            (t!("PROCESSES"), Left),
        ],
        rows,
    )
}

fn row(session: &SessionSummary) -> [String; 9] {
    let filer = session.filer_pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    [
        session.session.to_string(),
        session.user.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        session.peer.clone(),
        show::duration(session.age_s),
        show::duration(session.idle_s),
        session.transfers.to_string(),
        human::size(session.received),
        human::size(session.sent),
        format!("{} {filer}", session.worker_pid),
    ]
}

fn session_json(session: &SessionSummary) -> Value {
    json!({
        "session": session.session.0,
        "user": session.user.as_ref().map(|user| user.as_str()),
        "peer": session.peer,
        "age_s": session.age_s,
        "idle_s": session.idle_s,
        "transfers": session.transfers,
        "received": session.received,
        "sent": session.sent,
        "worker_pid": session.worker_pid,
        "filer_pid": session.filer_pid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_before_login_has_neither_user_nor_filer() {
        let session = SessionSummary {
            session: SessionId(7),
            user: None,
            peer: "127.0.0.1:5000".to_owned(),
            age_s: 1,
            idle_s: 0,
            transfers: 0,
            received: 0,
            sent: 0,
            worker_pid: 42,
            filer_pid: None,
        };
        assert_eq!(row(&session)[8], "42 -");
        let json = session_json(&session);
        assert_eq!((&json["user"], &json["filer_pid"]), (&Value::Null, &Value::Null));
        assert_eq!((&json["session"], &json["worker_pid"]), (&json!(7), &json!(42)));
    }
}

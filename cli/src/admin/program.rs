//! `berthctl user allow-exec` and `deny-exec`: which programs a user may run.

use berth_common::admin_protocol::{AdminToDaemon, DaemonToAdmin};
use berth_common::exec::ProgramName;
use berth_common::ids::UserName;
use serde_json::json;

use super::failure::Failure;
use super::show::Printer;
use super::socket::AdminSocket;
use super::user::done;

/// What may be run from now on is told, and so is what may be run no more.
pub(super) fn allow(
    user: UserName,
    programs: Vec<ProgramName>,
    socket: &AdminSocket,
    printer: &Printer,
) -> Result<(), Failure> {
    done(socket, &AdminToDaemon::ExecAllow { user: user.clone(), programs })?;
    tell(user, socket, printer)
}

/// None named means all of them.
pub(super) fn deny(
    user: UserName,
    programs: Vec<ProgramName>,
    socket: &AdminSocket,
    printer: &Printer,
) -> Result<(), Failure> {
    done(socket, &AdminToDaemon::ExecDeny { user: user.clone(), programs })?;
    tell(user, socket, printer)
}

fn tell(user: UserName, socket: &AdminSocket, printer: &Printer) -> Result<(), Failure> {
    let programs = of_user(user.clone(), socket)?;
    let text = format!("user {user} may run: {}", list(&programs));
    let json = json!({ "user": user.as_str(), "programs": programs });
    Ok(printer.print(&text, &json)?)
}

/// Asks what a user may run.
pub(super) fn of_user(user: UserName, socket: &AdminSocket) -> Result<Vec<ProgramName>, Failure> {
    match socket.ask(&AdminToDaemon::ExecList { user })? {
        DaemonToAdmin::Programs(programs) => Ok(programs),
        DaemonToAdmin::Refused(error) => Err(error.into()),
        _ => Err(Failure::OtherAnswer),
    }
}

/// As it is told: names, or that there are none.
pub(super) fn list(programs: &[ProgramName]) -> String {
    if programs.is_empty() {
        return "no programs".to_owned();
    }
    programs.iter().map(ProgramName::as_str).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_by_name_or_that_there_are_none() {
        assert_eq!(list(&[]), "no programs");
        let names = ["du", "wc"].map(|name| ProgramName::new(name).unwrap());
        assert_eq!(list(&names), "du wc");
    }
}

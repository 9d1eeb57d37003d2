//! `berthctl status`.

use berth_common::admin_protocol::{
    AdminToDaemon, DaemonToAdmin, Incident, IncidentCounts, Incidents, LedgerWork, Status,
    TicketTimes,
};
use serde_json::{Value, json};

use super::failure::Failure;
use super::show::{self, Printer};
use super::socket::AdminSocket;

/// Asks how the server is.
///
/// # Errors
/// Whatever keeps it from being asked.
pub(super) fn carry_out(socket: &AdminSocket, printer: &Printer) -> Result<(), Failure> {
    match socket.ask(&AdminToDaemon::Status)? {
        DaemonToAdmin::Status(status) => {
            Ok(printer.print(&show::properties(&lines(&status)), &status_json(&status))?)
        }
        DaemonToAdmin::Refused(error) => Err(error.into()),
        _ => Err(Failure::OtherAnswer),
    }
}

fn lines(status: &Status) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("version", status.version.clone()),
        ("process", status.pid.to_string()),
        ("up for", show::duration(status.uptime_s)),
        ("listening on", status.listen.join(", ")),
        ("certificate", format!("SHA256:{}", status.fingerprint)),
        ("users", status.users.to_string()),
        ("connections", format!("{}, {} logged in", status.connections, status.sessions)),
        ("spares", format!("{} workers, {} filers", status.spare_workers, status.spare_filers)),
        ("incidents", totals(&status.incidents)),
        ("ledger", ledger(&status.ledger)),
        ("tickets", tickets(&status.tickets)),
    ];
    if !status.read_only_users.is_empty() {
        lines.push(("read-only", read_only(status).join(", ")));
    }
    // The latest first, as it is the one that is looked for.
    let latest = status.incidents.latest.iter().rev();
    lines.extend(latest.map(|incident| ("incident", told(incident))));
    lines
}

fn totals(incidents: &Incidents) -> String {
    if incidents.total() == 0 {
        return "none".to_owned();
    }
    let of = |name, counts: &IncidentCounts| {
        let kinds = kinds(counts).into_iter().filter(|(_, count)| *count > 0);
        let kinds: Vec<String> = kinds.map(|(kind, count)| format!("{count} {kind}")).collect();
        (!kinds.is_empty()).then(|| format!("{name}: {}", kinds.join(", ")))
    };
    let parts = [
        of("workers", &incidents.workers),
        of("filers", &incidents.filers),
        of("jails", &incidents.jails),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The counts by what they are called, in words that follow a number.
fn kinds(counts: &IncidentCounts) -> [(&'static str, u64); 5] {
    let IncidentCounts { crashed, sandbox, memory, stalled, broke } = *counts;
    [
        ("crashed", crashed),
        ("ended by the sandbox", sandbox),
        ("out of memory", memory),
        ("stalled", stalled),
        ("broke the protocol", broke),
    ]
}

fn told(incident: &Incident) -> String {
    let Incident { at_s, program, pid, session, user, peer, what, .. } = incident;
    let mut line = format!("{} {program} {pid}", show::utc(at_s.cast_signed()));
    if let Some(session) = session {
        line.push_str(&format!(", session {session}"));
    }
    for part in [user.as_ref().map(|user| user.as_str()), peer.as_deref()].into_iter().flatten() {
        line.push_str(", ");
        line.push_str(part);
    }
    format!("{line}: {what}")
}

fn ledger(work: &LedgerWork) -> String {
    format!("{} requests in {} durable transactions", work.requests, work.transactions)
}

fn tickets(times: &TicketTimes) -> String {
    let ms = |us: u64| us as f64 / 1000.0;
    let (p50, p99, most) = (ms(times.p50_us), ms(times.p99_us), ms(times.most_us));
    format!("{} granted; held p50 {p50:.1} ms, p99 {p99:.1} ms, most {most:.1} ms", times.granted)
}

fn read_only(status: &Status) -> Vec<&str> {
    status.read_only_users.iter().map(|user| user.as_str()).collect()
}

fn status_json(status: &Status) -> Value {
    json!({
        "version": status.version,
        "pid": status.pid,
        "uptime_s": status.uptime_s,
        "listen": status.listen,
        "fingerprint": status.fingerprint,
        "users": status.users,
        "connections": status.connections,
        "sessions": status.sessions,
        "spare_workers": status.spare_workers,
        "spare_filers": status.spare_filers,
        "crashes": status.incidents.total(),
        "incidents": {
            "workers": counts_json(&status.incidents.workers),
            "filers": counts_json(&status.incidents.filers),
            "jails": counts_json(&status.incidents.jails),
            "latest": status.incidents.latest.iter().map(incident_json).collect::<Vec<_>>(),
        },
        "tickets": {
            "granted": status.tickets.granted,
            "held_p50_us": status.tickets.p50_us,
            "held_p99_us": status.tickets.p99_us,
            "held_most_us": status.tickets.most_us,
        },
        "ledger": {
            "requests": status.ledger.requests,
            "transactions": status.ledger.transactions,
        },
        "read_only_users": read_only(status),
    })
}

fn counts_json(counts: &IncidentCounts) -> Value {
    let IncidentCounts { crashed, sandbox, memory, stalled, broke } = counts;
    json!({
        "crashed": crashed, "sandbox": sandbox, "memory": memory, "stalled": stalled, "broke": broke,
    })
}

fn incident_json(incident: &Incident) -> Value {
    json!({
        "at_s": incident.at_s,
        "program": incident.program,
        "pid": incident.pid,
        "session": incident.session.map(|session| session.0),
        "user": incident.user.as_ref().map(|user| user.as_str()),
        "peer": incident.peer,
        "kind": incident.kind.name(),
        "what": incident.what,
    })
}

#[cfg(test)]
mod tests {
    use berth_common::admin_protocol::IncidentKind;
    use berth_common::ids::{SessionId, UserName};

    use super::*;

    #[test]
    fn batching_and_holding_times_are_shown() {
        let work = LedgerWork { requests: 10, transactions: 3 };
        assert_eq!(ledger(&work), "10 requests in 3 durable transactions");
        let times = TicketTimes { granted: 9, p50_us: 1_500, p99_us: 20_000, most_us: 31_040 };
        let shown = "9 granted; held p50 1.5 ms, p99 20.0 ms, most 31.0 ms";
        assert_eq!(tickets(&times), shown);
    }

    #[test]
    fn incidents_are_told_by_kind_and_the_latest_by_name() {
        let mut incidents = Incidents::default();
        assert_eq!(totals(&incidents), "none");
        incidents.workers = IncidentCounts { crashed: 2, broke: 1, ..IncidentCounts::default() };
        assert_eq!(totals(&incidents), "workers: 2 crashed, 1 broke the protocol");
        incidents.filers.memory = 3;
        let shown = "workers: 2 crashed, 1 broke the protocol; filers: 3 out of memory";
        assert_eq!(totals(&incidents), shown);
        let incident = Incident {
            at_s: 0,
            program: "berth-worker".to_owned(),
            pid: 7,
            session: Some(SessionId(9)),
            user: Some(UserName::new("bob").unwrap()),
            peer: Some("10.0.0.7:55".to_owned()),
            kind: IncidentKind::Broke,
            what: "killed: broke the protocol: sent too many messages".to_owned(),
        };
        let line = told(&incident);
        let end = " berth-worker 7, session 9, bob, 10.0.0.7:55: killed: broke the protocol: \
                   sent too many messages";
        assert!(line.ends_with(end), "{line}");
        let json = incident_json(&incident);
        assert_eq!((&json["kind"], &json["session"]), (&json!("broke"), &json!(9)));
    }

    #[test]
    fn a_read_only_user_is_shown_and_an_empty_list_is_not() {
        let mut status = Status {
            version: "0.1.0".to_owned(),
            pid: 1,
            uptime_s: 2,
            listen: vec!["127.0.0.1:4022".to_owned()],
            fingerprint: "ab".to_owned(),
            users: 3,
            connections: 4,
            sessions: 5,
            spare_workers: 6,
            spare_filers: 7,
            incidents: Incidents::default(),
            tickets: TicketTimes { granted: 9, p50_us: 1_500, p99_us: 20_000, most_us: 31_040 },
            ledger: LedgerWork { requests: 10, transactions: 3 },
            read_only_users: Vec::new(),
        };
        assert!(!lines(&status).iter().any(|(name, _)| *name == "read-only"));
        status.read_only_users = vec![UserName::new("bob").unwrap()];
        assert!(lines(&status).contains(&("read-only", "bob".to_owned())));
        assert_eq!(status_json(&status)["read_only_users"], json!(["bob"]));
    }
}

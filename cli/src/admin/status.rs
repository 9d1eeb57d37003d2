//! `berthctl status`.

use berth_common::admin_protocol::{AdminToDaemon, DaemonToAdmin, LedgerWork, Status, TicketTimes};
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
        ("crashes", status.crashes.to_string()),
        ("ledger", ledger(&status.ledger)),
        ("tickets", tickets(&status.tickets)),
    ];
    if !status.read_only_users.is_empty() {
        lines.push(("read-only", read_only(status).join(", ")));
    }
    lines
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
        "crashes": status.crashes,
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

#[cfg(test)]
mod tests {
    use berth_common::ids::UserName;

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
            crashes: 8,
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

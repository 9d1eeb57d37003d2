//! Goal 6: the most memory that worker and filer of a session have while it transfers a large file.

use std::fs;

use berth_tests::{Client, Server, wait_for};

use super::{Outcome, Setting, float, wanted};
use crate::account;
use crate::files;
use crate::goals::Verdict;

const MOST_MIB: f64 = 24.0;

pub(super) fn measure(setting: &Setting) -> Outcome {
    if !account::is_root() {
        return Err("it needs root to see the memory of a process that hides it".to_owned());
    }
    let server = setting.server();
    server.add_user("busy", "b", "unlimited");
    let client = server.client("busy", "b");
    files::make_large(&client.file("large"), setting.large).map_err(|error| error.to_string())?;
    let moves: [(&str, &[&str]); 2] =
        [("put", &["put", "large"]), ("get", &["get", "large", "--to", "back"])];
    let mut rows = Vec::new();
    for (direction, arguments) in moves {
        let text = format!(
            "memory (PSS) of worker and filer at most, {direction} of {}: MiB",
            setting.large_described()
        );
        rows.push((text, peak(&server, &client, arguments)?));
    }
    Ok(rows)
}

fn peak(server: &Server, client: &Client, arguments: &[&str]) -> Result<Verdict, String> {
    server.wait_for_no_session_of("busy");
    let mut running = client.spawn(arguments);
    let session = wait_for("the session", || {
        let sessions = server.list_sessions().ok()?;
        let session = sessions.into_iter().find(|session| session.user.is_some())?;
        Some((session.worker_pid, session.filer_pid?))
    });
    let mut most = 0;
    let mut looked = 0;
    while !running.has_ended() {
        if let Some(both) = pss(session.0).zip(pss(session.1)) {
            most = most.max(both.0 + both.1);
            looked += 1;
        }
    }
    running.wait().ok();
    if looked < 10 {
        return Err(format!("the transfer was looked at {looked} times only"));
    }
    let mib = float(most) / float(1 << 20);
    Ok(wanted(format!("{mib:.1}"), format!("under {MOST_MIB:.0}"), mib < MOST_MIB))
}

/// Proportional memory of a process that may have ended.
fn pss(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

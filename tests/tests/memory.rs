//! What an idle session costs: proportional memory of worker and filer, with many of them.

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::entry::Limits;
use berth_common::rel_path::RelPath;
use berth_tests::{Options, Raw, Server, account, client::at_once, process, wait_until};

/// The most that one idle session may cost, worker and filer together.
const MOST_BYTES: u64 = 700 * 1024;

/// Debug programs are larger, and fewer of them share the pages of their code.
const MOST_BYTES_DEBUG: u64 = 1280 * 1024;

#[test]
fn an_idle_session_costs_little_even_of_debug_programs() {
    idle(100, MOST_BYTES_DEBUG);
}

#[test]
#[ignore = "a measurement of release programs: the command is in docs/PERFORMANCE.md"]
fn five_hundred_idle_sessions_cost_under_700_kib_each() {
    idle(500, MOST_BYTES);
}

fn idle(count: usize, most: u64) {
    if account::skipped_without_root() {
        return;
    }
    let options = Options::new()
        .set(&format!("max_connections = {}", count + 12))
        .set(&format!("max_connections_per_address = {}", count + 12))
        .set(&format!("max_sessions_per_user = {count}"))
        .set("login_seconds = 600");
    let server = Server::start(options);
    server.add_user_with("alice", "a", Limits { bytes: None, entries: None });
    // Logged in by two threads: proving a password costs the client, not the server.
    let log_in = || (0..count / 2).map(|_| Raw::login(&server, "alice", "a")).collect::<Vec<_>>();
    let mut idle: Vec<_> = at_once(vec![log_in, log_in]).into_iter().flatten().collect();
    // Each has done something: a listing, after which its buffers are to be given back.
    for raw in &mut idle {
        let listed = raw.ask(|id| ClientToWorker::List { id, path: RelPath::root(), notes: false });
        assert!(matches!(listed, WorkerToClient::Entries { last: true, .. }), "{listed:?}");
    }
    wait_until("all are logged in", || server.sessions_of("alice").len() == count);
    let mut costs: Vec<(u64, u64)> = server
        .sessions_of("alice")
        .iter()
        .map(|session| {
            (process::pss_bytes(session.worker), process::pss_bytes(session.filer.unwrap()))
        })
        .collect();
    costs.sort_unstable_by_key(|(worker, filer)| worker + filer);
    let (worker, filer) = costs[count / 2];
    let dearest = costs.last().map(|(worker, filer)| worker + filer).unwrap();
    berth_tests::report(&format!(
        "{count} idle sessions: median {} KiB (worker {} + filer {}), most {} KiB; daemon {} KiB",
        (worker + filer) / 1024,
        worker / 1024,
        filer / 1024,
        dearest / 1024,
        process::pss_bytes(server.pid()) / 1024
    ));
    assert!(worker + filer < most, "{} bytes", worker + filer);
    drop(idle);
}

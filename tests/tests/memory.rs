//! What an idle session costs: proportional memory of worker and filer, with 100 of them.

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::rel_path::RelPath;
use berth_tests::{Options, Raw, Server, account, client::at_once, process, wait_until};

const SESSIONS: usize = 100;

/// The most that one idle session may cost, worker and filer together.
const MOST_BYTES: u64 = 1_258_291; // 1.2 MiB

#[test]
fn an_idle_session_costs_under_1_2_mib() {
    if account::skipped_without_root() {
        return;
    }
    let options = Options::new()
        .set("max_connections_per_address = 200")
        .set("max_sessions_per_user = 200")
        .set("login_seconds = 600");
    let server = Server::start(options);
    server.add_user("alice", "a", "unlimited");
    // Logged in by two threads: proving a password costs the client, not the server.
    let log_in =
        || (0..SESSIONS / 2).map(|_| Raw::login(&server, "alice", "a")).collect::<Vec<_>>();
    let mut idle: Vec<_> = at_once(vec![log_in, log_in]).into_iter().flatten().collect();
    // Each has done something: a listing, after which its buffers are to be given back.
    for raw in &mut idle {
        let listed = raw.ask(|id| ClientToWorker::List { id, path: RelPath::root() });
        assert!(matches!(listed, WorkerToClient::Entries { last: true, .. }), "{listed:?}");
    }
    wait_until("all are logged in", || server.sessions_of("alice").len() == SESSIONS);
    let mut costs: Vec<(u64, u64)> = server
        .sessions_of("alice")
        .iter()
        .map(|session| {
            (process::pss_bytes(session.worker), process::pss_bytes(session.filer.unwrap()))
        })
        .collect();
    costs.sort_unstable_by_key(|(worker, filer)| worker + filer);
    let (worker, filer) = costs[SESSIONS / 2];
    let most = costs.last().map(|(worker, filer)| worker + filer).unwrap();
    berth_tests::report(&format!(
        "{SESSIONS} idle sessions: median {} KiB (worker {} + filer {}), most {} KiB",
        (worker + filer) / 1024,
        worker / 1024,
        filer / 1024,
        most / 1024
    ));
    assert!(worker + filer < MOST_BYTES, "{} bytes", worker + filer);
    drop(idle);
}

//! Many sessions at once, and how long a connection takes until its handshake is over. Long: run by hand, with
//! release programs; the commands are in `docs/PERFORMANCE.md`.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::entry::Limits;
use berth_common::rel_path::RelPath;
use berth_tests::client::at_once;
use berth_tests::files::assert_same;
use berth_tests::{Content, Options, Raw, Server, process, report, wait_until};

const SESSIONS: usize = 1000;
const TRANSFERRING: usize = 50;
const BYTES: u64 = 128 << 20;
/// The most that a connection may take to the end of its handshake, at the median, with spares waiting.
const MOST_TO_HANDSHAKE: Duration = Duration::from_millis(2);
const UNLIMITED: Limits = Limits { bytes: None, entries: None };

#[test]
#[ignore = "a load test of release programs: the command is in docs/PERFORMANCE.md"]
fn a_thousand_sessions_are_served_while_fifty_of_them_transfer() {
    let options = Options::new()
        .set("max_connections = 1100")
        .set("max_connections_per_address = 1100")
        .set("max_sessions_per_user = 1000")
        .set("login_seconds = 600");
    let server = Server::start(options);
    server.add_user_with("idle", "i", UNLIMITED);
    let users: Vec<String> = (0..TRANSFERRING).map(|n| format!("user{n}")).collect();
    for user in &users {
        server.add_user_with(user, "u", UNLIMITED);
    }
    let began = Instant::now();
    let quiet = SESSIONS - TRANSFERRING;
    let log_in = || (0..quiet / 2).map(|_| Raw::login(&server, "idle", "i")).collect::<Vec<_>>();
    let mut idle: Vec<Raw> = at_once(vec![log_in, log_in]).into_iter().flatten().collect();
    report(&format!("{quiet} logins one after the other on two threads: {:.0?}", began.elapsed()));

    let clients: Vec<_> = users
        .iter()
        .enumerate()
        .map(|(number, user)| {
            let client = server.client(user, "u");
            Content::seed(number as u64).write(&client.file("f"), BYTES);
            client
        })
        .collect();
    let began = Instant::now();
    let transfers: Vec<_> = clients
        .iter()
        .map(|client| {
            move || {
                client.run(&["put", "f"]).ok();
                client.run(&["get", "f", "--to", "back"]).ok();
                assert_same(&client.file("f"), &client.file("back"));
            }
        })
        .collect();
    std::thread::scope(|scope| {
        let transfers = scope.spawn(|| at_once(transfers));
        wait_until("all of them are logged in at once", || {
            server.list_sessions().is_ok_and(|sessions| {
                let transferring = sessions.iter().filter(|session| {
                    session.user.as_ref().is_some_and(|user| user.as_str() != "idle")
                });
                transferring.count() == TRANSFERRING && sessions.len() == SESSIONS
            })
        });
        // The idle ones are answered meanwhile.
        for raw in idle.iter_mut().step_by(50) {
            assert_listing(raw);
        }
        transfers.join().unwrap();
    });
    let moved = (2 * TRANSFERRING as u64 * BYTES) >> 20;
    report(&format!("{TRANSFERRING} puts and gets, {moved} MiB in all: {:.0?}", began.elapsed()));
    // None of them was lost.
    idle.iter_mut().for_each(assert_listing);
    assert_eq!(server.sessions_of("idle").len(), quiet);
    report(&format!("the daemon: {} KiB", process::pss_bytes(server.pid()) / 1024));
    drop(idle);
    for user in users.iter().map(String::as_str).chain(["idle"]) {
        server.assert_at_rest(user);
    }
}

fn assert_listing(raw: &mut Raw) {
    let listed = raw.ask(|id| ClientToWorker::List { id, path: RelPath::root(), notes: false });
    assert!(matches!(listed, WorkerToClient::Entries { last: true, .. }), "{listed:?}");
}

#[test]
#[ignore = "a measurement of release programs: the command is in docs/PERFORMANCE.md"]
fn how_long_from_the_connection_to_the_end_of_the_handshake() {
    const ROUNDS: usize = 500;
    let server = Server::start(Options::new());
    let address: SocketAddr = server.address().parse().unwrap();
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            wait_until("spares wait", || {
                let status = server.status();
                status.spare_workers >= 2
            });
            let began = Instant::now();
            let raw = Raw::over(TcpStream::connect(address).unwrap()).unwrap();
            let time = began.elapsed();
            drop(raw);
            time
        })
        .collect();
    times.sort_unstable();
    let at = |percent: usize| times[ROUNDS * percent / 100];
    report(&format!(
        "connect to end of handshake: p10 {:.2?}, median {:.2?}, p90 {:.2?}, p99 {:.2?}",
        at(10),
        at(50),
        at(90),
        at(99)
    ));
    assert!(at(50) < MOST_TO_HANDSHAKE, "the median is {:.2?}", at(50));
}

//! Connections that never come to anything, by the thousand: their address runs full, others are let in.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::rel_path::RelPath;
use berth_tests::raw::leaving::is_closed;
use berth_tests::raw::tcp;
use berth_tests::wait::{DEADLINE, within};
use berth_tests::{Options, Raw, process, report, wait_until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::scene::Scene;

/// As many connections as one address tries to hold.
const CROWD: usize = 1000;

/// As many as it may have.
const ADMITTED: usize = 64;

/// Seconds for somebody's login by which bob's is bounded.
const PATIENT: u32 = 20;

/// Lets this process have as many descriptors as the system allows.
fn allow_descriptors() {
    let limits = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limits.maximum, ..limits };
    setrlimit(Resource::Nofile, most).expect("descriptors for a thousand connections");
}

#[test]
fn a_thousand_half_open_connections_from_one_address_do_not_keep_another_out() {
    allow_descriptors();
    // Ten times as long as this test waits for anything: who gets in has not waited for any of them to end.
    let time = 10 * DEADLINE;
    let mut scene = Scene::new(Options::new().set(&format!("login_seconds = {}", time.as_secs())));
    let crowd: Vec<TcpStream> =
        (0..CROWD).map(|_| tcp(scene.address(), None).expect("a connection")).collect();
    let open = || crowd.iter().filter(|socket| !is_closed(socket)).count();
    wait_until("as many are left as an address may have", || open() == ADMITTED);
    let sessions = |scene: &Scene| scene.server.list_sessions().unwrap().len();
    wait_until("each of them has a worker", || sessions(&scene) == ADMITTED);

    let [from, elsewhere] =
        ["127.0.0.2:0", "127.0.0.3:0"].map(|text| text.parse::<SocketAddr>().unwrap());
    // Of others who come from now on none has much time, and bob is in before it is over for one who came first.
    scene.reload(&[&format!("login_seconds = {PATIENT}")]);
    let patient = tcp(scene.address(), Some(elsewhere)).unwrap();
    wait_until("it has a worker", || sessions(&scene) == ADMITTED + 1);
    let mark = scene.server.log().mark();
    let began = Instant::now();
    let mut bob = Raw::connect_from(&scene.server, Some(from)).expect("another address is let in");
    bob.authenticate("bob", "b").expect("and may log in");
    let took = began.elapsed();
    report(&format!("login beside {CROWD} half-open connections: {took:?}"));
    assert_eq!((open(), sessions(&scene)), (ADMITTED, ADMITTED + 2), "the crowd is still there");
    let ended = scene.server.log().after(mark, |line| line.message().starts_with("session ended"));
    assert!(ended.is_empty(), "nobody was ended for the newcomer, or before it: {ended:?}");
    drop(patient);
    scene.bob_is_served();
    // The address itself is full, whoever else is behind it.
    assert!(Raw::connect_from(&scene.server, None).is_err());
    report(&format!(
        "the daemon with them: {} KiB",
        process::peak_bytes(scene.server.pid()) / 1024
    ));
    let told = scene.server.log().after(0, |line| line.message().starts_with("refused: too many"));
    assert_eq!(told.len(), 1, "a flood of connections is no flood of log lines");
    drop((bob, crowd));
    scene.only_spares_are_left();
    scene.assert_unharmed();
}

#[test]
fn a_server_that_is_full_of_strangers_has_room_again_when_their_time_is_over() {
    let options = Options::new()
        .set("max_connections = 12")
        .set("max_connections_per_address = 4")
        .set("login_seconds = 2");
    let scene = Scene::new(options);
    let from = |number: usize| -> SocketAddr { format!("127.0.1.{number}:0").parse().unwrap() };
    // From six addresses, four each: twice as many as there are places, so half of them wait in the backlog.
    let strangers: Vec<_> =
        (0..24).map(|number| tcp(scene.address(), Some(from(1 + number / 4))).unwrap()).collect();
    wait_until("bob is let in after them", || {
        scene.server.client("bob", "b").run(&["ls"]).code == Some(0)
    });
    wait_until("all of them are ended", || strangers.iter().all(is_closed));
    scene.assert_unharmed();
}

/// Strangers from two addresses in each of these networks, who come again whenever they are closed. The networks
/// are fewer than the places, so that one of them always has more than bob.
const NETWORKS: usize = 32;
const EACH: usize = 12;

/// How often a stranger looks whether it is still connected.
const LOOK: Duration = Duration::from_millis(20);

/// How often bob comes.
const LOGINS: usize = 6;

/// Holds connections from these networks until `over`, and counts those that it has made.
fn besiege(
    to: SocketAddr,
    networks: std::ops::Range<usize>,
    over: &AtomicBool,
    made: &AtomicUsize,
) {
    let connect = |network: usize, address: usize| {
        let from: SocketAddr = format!("127.1.{network}.{address}:0").parse().unwrap();
        made.fetch_add(1, Ordering::Relaxed);
        tcp(to, Some(from)).ok()
    };
    let mut strangers: Vec<(usize, usize, Option<TcpStream>)> = networks
        .flat_map(|network| (0..EACH).map(move |number| (network, 1 + number % 2, None)))
        .collect();
    let is_over = || over.load(Ordering::Relaxed);
    while within(LOOK, || is_over().then_some(())).is_none() {
        for (network, address, socket) in &mut strangers {
            if !is_over() && socket.as_ref().is_none_or(is_closed) {
                *socket = connect(*network, *address);
            }
        }
    }
}

#[test]
fn strangers_from_many_networks_who_come_again_keep_nobody_out_and_end_no_session() {
    allow_descriptors();
    let options = Options::new()
        .set("max_connections = 64")
        .set("max_connections_per_address = 8")
        .set("max_logins_pending = 48")
        .set("login_seconds = 5")
        .set("backlog = 128");
    let scene = Scene::new(options);
    let mut mallory = scene.mallory();
    let (over, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    let to = scene.address();
    let mut longest = Duration::ZERO;
    let pending = || {
        let sessions = scene.server.list_sessions().unwrap();
        sessions.iter().filter(|session| session.user.is_none()).count()
    };
    thread::scope(|scope| {
        for first in (0..NETWORKS).step_by(NETWORKS / 4) {
            let (over, made) = (&over, &made);
            scope.spawn(move || besiege(to, first..first + NETWORKS / 4, over, made));
        }
        // Also when a claim fails, so that its panic is told.
        let _over = Over(&over);
        wait_until("as many strangers are there as may be", || pending() >= 48);
        for _ in 0..LOGINS {
            let began = Instant::now();
            let from = Some("127.0.0.2:0".parse().unwrap());
            let mut bob = Raw::connect_from(&scene.server, from).expect("bob is let in");
            bob.authenticate("bob", "b").expect("bob is logged in");
            longest = longest.max(began.elapsed());
        }
        scene.bob_is_served();
        scene.server.client("bob", "b").run(&["ls"]).ok();
        wait_until("they have come again", || made.load(Ordering::Relaxed) > 2 * NETWORKS * EACH);
        scene.bob_is_served();
    });
    report(&format!(
        "login beside {} strangers who made {} connections: {longest:?} at most",
        NETWORKS * EACH,
        made.into_inner()
    ));
    let asked = mallory.ask(|id| ClientToWorker::List { id, path: RelPath::root(), notes: false });
    assert!(matches!(asked, WorkerToClient::Entries { .. }), "hers was never ended: {asked:?}");
    drop(mallory);
    let told = scene.server.log().after(0, |line| line.message().starts_with("too many conn"));
    assert!((1..=NETWORKS).contains(&told.len()), "named {} times", told.len());
    scene.only_spares_are_left();
    scene.assert_unharmed();
}

/// Ends the siege when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

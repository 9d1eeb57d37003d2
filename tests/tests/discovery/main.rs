//! Servers that are announced and found on a local network of the test's own: real processes on two machines with a
//! cable between them.

mod confined;
mod hostile;
mod packets;

use std::sync::Arc;

use berth_tests::binaries::Binaries;
use berth_tests::{Announcer, Client, Machine, Manager, Network, Options, Outcome, Server};
use serde_json::{Value, json};

/// `berth` on a machine, as somebody who is signed in nowhere.
struct Seeker {
    binaries: Arc<Binaries>,
    home: tempfile::TempDir,
}

impl Seeker {
    fn new() -> Self {
        let home = tempfile::Builder::new().prefix("berth-seeker-").tempdir().unwrap();
        berth_tests::account::give(home.path());
        Self { binaries: Binaries::shared(), home }
    }

    fn client(&self) -> Client {
        Client::alone(Arc::clone(&self.binaries), self.home.path().join("client"))
    }

    fn discover(&self, machine: &Machine, arguments: &[&str]) -> Outcome {
        let words = [&["discover"], arguments].concat();
        machine.within(|| self.client().run(&words))
    }

    /// The servers that are found, as JSON.
    fn found(&self, machine: &Machine) -> Vec<Value> {
        self.discover(machine, &["--json", "--for", "2"]).ok().json_lines()
    }
}

fn names(found: &[Value]) -> Vec<&str> {
    found.iter().map(|server| server["name"].as_str().unwrap()).collect()
}

#[test]
fn a_server_that_is_announced_is_found_and_can_be_connected_to() {
    let Some(network) = Network::new() else { return };
    let server = network.first.within(|| Server::start(Options::new().listen("10.77.0.1:0")));
    server.add_user("alice", "a", "1MiB");
    let (_, port) = server.address().rsplit_once(':').unwrap();
    let arguments = ["--name", "Files. of us", "--port", port, "--tell-version"];
    let announcer = Announcer::start(&network.first, &arguments);
    announcer.wait_for_name("Files. of us");

    let seeker = Seeker::new();
    let found = seeker.found(&network.second);
    let host = found[0]["host"].as_str().unwrap();
    assert!(host.ends_with("-berth.local"), "{host}");
    let expected = json!({
        "name": "Files. of us",
        "host": host,
        "port": port.parse::<u16>().unwrap(),
        "addresses": ["10.77.0.1", "fd77::1"],
        "protocol": "1",
        "version": env!("CARGO_PKG_VERSION"),
    });
    assert_eq!(found, [expected]);

    let table = seeker.discover(&network.second, &["--for", "2"]).ok().stdout;
    let row = table.lines().nth(1).unwrap().strip_prefix("Files. of us  ").expect(&table);
    let place = row.split(' ').next().unwrap();
    let alice = server.client("alice", "a").at(place, server.fingerprint());
    alice.write("file", "content");
    network.second.within(|| alice.run(&["put", "file"]).ok());
    assert_eq!(std::fs::read(server.home("alice").join("file")).unwrap(), b"content");
}

#[test]
fn a_server_that_is_not_announced_is_not_found_and_opens_no_udp_socket() {
    let Some(network) = Network::new() else { return };
    let server = network.first.within(|| Server::start(Options::new().listen("10.77.0.1:0")));
    server.add_user("alice", "a", "1MiB");
    let alice = server.client("alice", "a");
    network.second.within(|| {
        alice.write("file", "content");
        alice.run(&["put", "file"]).ok();
    });
    server.hang_up("reloaded");
    // Workers and filers are children on the same machine, so their sockets would stand there too.
    assert_eq!(network.first.udp_sockets(), [""; 0]);
    let nothing = Seeker::new().discover(&network.second, &["--for", "2"]).ok();
    assert_eq!(nothing.stdout, "");
    nothing.says("no server is announced on the local network");

    let announcer = Announcer::start(&network.first, &["--name", "now"]);
    announcer.wait_for_name("now");
    // The test can fail, and hears no packet that is not for the group: 224.0.0.251 and ff02::fb, port 5353.
    let sockets = network.first.udp_sockets();
    assert_eq!(sockets.len(), 2, "{sockets:?}");
    let group = |socket: &String| {
        ["FB0000E0:14E9", "000002FF0000000000000000FB000000:14E9"].contains(&socket.as_str())
    };
    assert!(sockets.iter().all(group), "{sockets:?}");
}

#[test]
fn an_announcement_that_ends_is_taken_back() {
    let Some(network) = Network::new() else { return };
    let (first, second) = (
        Announcer::start(&network.first, &["--name", "stays"]),
        Announcer::start(&network.first, &["--name", "goes"]),
    );
    first.wait_for_name("stays");
    second.wait_for_name("goes");
    let seeker = Seeker::new();
    assert_eq!(names(&seeker.found(&network.second)), ["goes", "stays"]);

    // Also for one who listens while it ends.
    let client = seeker.client();
    let listening = network.second.within(|| client.spawn(&["discover", "--json", "--for", "20"]));
    berth_tests::wait_until("it listens", || network.second.udp_sockets().len() == 2);
    assert_eq!(second.terminate(), Some(0));
    assert_eq!(names(&seeker.found(&network.second)), ["stays"]);
    assert_eq!(names(&listening.wait().ok().json_lines()), ["stays"]);
    let left = seeker.discover(&network.second, &["--json", "--for", "2"]).ok().json_lines();
    assert_eq!(left[0].get("version"), Some(&Value::Null), "nobody asked for it to be told");
}

#[test]
fn a_name_that_is_taken_gets_a_number() {
    let Some(network) = Network::new() else { return };
    let first = Announcer::start(&network.first, &["--name", "files", "--port", "1"]);
    first.wait_for_name("files");
    let second = Announcer::start(&network.second, &["--name", "files", "--port", "2"]);
    second.wait_for_name("files (2)");
    second.log().wait_after(0, "the log says so", |line| {
        line.message() == "another server has the name; this one is tried"
    });
    let found = Seeker::new().found(&network.second);
    let ports: Vec<_> = found.iter().map(|server| server["port"].as_u64().unwrap()).collect();
    assert_eq!((names(&found), ports), (vec!["files", "files (2)"], vec![1, 2]));
    assert_eq!(found[0]["addresses"], json!(["10.77.0.1", "fd77::1"]));
    assert_eq!(found[1]["addresses"], json!(["10.77.0.2", "fd77::2"]));
}

#[test]
fn a_network_that_goes_comes_back_and_has_other_addresses_is_followed() {
    let Some(network) = Network::new() else { return };
    let (machine, manager) = (&network.first, Manager::new());
    machine.ip("link set cable down");
    let variable = [("NOTIFY_SOCKET", manager.address())];
    let environment = variable.each_ref().map(|(name, value)| (*name, value.as_str()));
    let announcer = Announcer::with_environment(machine, &["--name", "files"], &environment);
    // Without a network it is ready all the same: a boot need not wait for one.
    manager.wait_after(0, "READY=1");
    manager.wait_after(0, "STATUS=no network to announce on");

    machine.ip("link set cable up");
    machine.ip("addr add fd77::1/64 dev cable nodad");
    announcer.wait_for_name("files");
    manager.wait_after(0, "STATUS=announced on cable");
    let seeker = Seeker::new();
    assert_eq!(names(&seeker.found(&network.second)), ["files"]);

    machine.ip("addr del 10.77.0.1/24 dev cable");
    machine.ip("addr add 10.77.0.9/24 dev cable");
    berth_tests::wait_until("the new address is announced", || {
        let found = seeker.discover(&network.second, &["--json", "--for", "2"]).ok().json_lines();
        found.iter().any(|server| server["addresses"] == json!(["10.77.0.9", "fd77::1"]))
    });
    assert_eq!(announcer.terminate(), Some(0));
    manager.wait_after(0, "STOPPING=1");
}

#[test]
fn an_interface_that_is_named_is_the_only_one() {
    let Some(network) = Network::new() else { return };
    let elsewhere = Announcer::start(&network.first, &["--name", "no", "--interface", "other"]);
    let here = Announcer::start(&network.first, &["--name", "yes", "--interface", "cable"]);
    here.wait_for_name("yes");
    elsewhere.log().wait_after(0, "it waits", |line| line.text("interfaces") == Some("[]".into()));
    assert_eq!(names(&Seeker::new().found(&network.second)), ["yes"]);
}

#[test]
fn without_an_interface_the_reason_is_told() {
    let Some(network) = Network::new() else { return };
    network.second.ip("link set cable down");
    let seeker = Seeker::new();
    let failed = seeker.discover(&network.second, &[]).code_is(1);
    failed.says("no network interface is up that can do multicast");
    // Somebody on this machine who keeps the port to themselves.
    network.second.ip("link set cable up");
    let held = network.second.within(|| std::net::UdpSocket::bind("[::]:5353").unwrap());
    let failed = seeker.discover(&network.second, &[]).code_is(1);
    failed.says("cannot listen to multicast DNS (UDP port 5353) on cable");
    drop(held);
}

#[test]
fn ctrl_c_ends_it_at_once() {
    let Some(network) = Network::new() else { return };
    let seeker = Seeker::new();
    let client = seeker.client();
    let listening = network.second.within(|| client.spawn(&["discover", "--for", "3600"]));
    berth_tests::wait_until("it listens", || !network.second.udp_sockets().is_empty());
    listening.interrupt();
    let ended = listening.wait().code_is(130);
    assert_eq!(ended.stdout, "");
}

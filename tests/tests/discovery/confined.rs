//! What the announcer has given up, seen from outside; `worker/sandbox/tests/announcer.rs` tries it from within.

use std::fs;

use berth_tests::{Announcer, Manager, Network, wait_until};

fn status(pid: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    line.trim_start_matches(':').trim().to_owned()
}

#[test]
fn the_announcer_has_no_file_no_capability_and_no_way_to_more() {
    let Some(network) = Network::new() else { return };
    let announcer = Announcer::start(&network.first, &["--name", "files"]);
    announcer.wait_for_name("files");
    let pid = announcer.pid();
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(status(pid, set), "0000000000000000", "{set}");
    }
    assert_eq!((status(pid, "NoNewPrivs"), status(pid, "Threads")), ("1".into(), "1".into()));
    assert!(!status(pid, "Uid").split_whitespace().any(|uid| uid == "0"));
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open: Vec<_> = open.map(|fd| fs::read_link(fd.unwrap().path()).unwrap()).collect();
    // Standard streams of the test, the sockets, and what waits for them.
    for target in open.iter().map(|target| target.to_str().unwrap()) {
        let is_none =
            ["socket:", "pipe:", "anon_inode:"].iter().any(|kind| target.starts_with(kind));
        assert!(is_none || target == "/dev/null", "{target}");
    }
    // Not even root's children may read the memory of a process that is not dumpable, unless they are root.
    let owner = fs::metadata(format!("/proc/{pid}/mem")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0, "it is dumpable");
    assert_eq!(announcer.terminate(), Some(0));
}

#[test]
fn it_reaches_the_service_manager_though_it_may_look_up_no_socket_any_more() {
    let Some(network) = Network::new() else { return };
    // Kernels keep it from abstract addresses before they keep it from those in files.
    let manager = network.first.within(Manager::without_file);
    let address = manager.address();
    let environment = [("NOTIFY_SOCKET", address.as_str())];
    let announcer = Announcer::with_environment(&network.first, &["--name", "files"], &environment);
    manager.wait_after(0, "READY=1");
    assert_eq!(announcer.terminate(), Some(0));
    manager.wait_after(0, "STOPPING=1");
}

#[test]
fn started_as_root_it_becomes_somebody_who_owns_nothing() {
    let Some(network) = Network::new() else { return };
    let binaries = berth_tests::binaries::Binaries::shared();
    let mut command = std::process::Command::new(binaries.path("berthd"));
    command.args(["announce", "--name", "files"]).stderr(std::process::Stdio::null());
    let mut child = network.first.within(|| command.spawn().unwrap());
    wait_until("it has given root up", || {
        status(child.id(), "Uid").starts_with("65534\t65534\t65534")
    });
    wait_until("it announces", || network.first.udp_sockets().len() == 2);
    assert_eq!(status(child.id(), "CapPrm"), "0000000000000000");
    assert_eq!(status(child.id(), "Groups"), "65534");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn it_opens_no_file_once_it_is_shut_in_and_never_the_data_directory() {
    let Some(network) = Network::new() else { return };
    let (scratch, binaries) =
        (tempfile::tempdir().unwrap(), berth_tests::binaries::Binaries::shared());
    let calls = scratch.path().join("calls");
    let berthd = binaries.path("berthd");
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-o"]).arg(&calls).arg(&berthd);
    strace.args(["announce", "--name", "files"]).stderr(std::process::Stdio::null());
    let mut child = network.first.within(|| strace.spawn().expect("strace is installed"));
    wait_until("it announces", || network.first.udp_sockets().len() == 2);
    let seeker = crate::Seeker::new();
    wait_until("it answers", || !seeker.found(&network.second).is_empty());
    // strace passes the signal on to what it traces by ending itself; the program is asked by its number.
    let traced = berth_tests::process::children(child.id());
    traced.iter().for_each(|pid| berth_tests::process::signal(*pid, rustix::process::Signal::TERM));
    assert!(child.wait().unwrap().success());

    let text = fs::read_to_string(&calls).unwrap();
    assert!(!text.contains("/var/lib/berth") && !text.contains("/etc/berth"), "{text}");
    let (before, after) = text.split_once("landlock_restrict_self(").expect("it shuts itself in");
    let group = "sin_addr=inet_addr(\"224.0.0.251\")";
    assert!(!before.contains("AF_INET") && after.contains(group), "it hears the network too early");
    let opens = |line: &&str| {
        ["open(", "openat(", "openat2(", "execve("].iter().any(|it| line.contains(it))
    };
    let opened: Vec<_> =
        after.lines().filter(opens).filter(|line| !line.contains("= -1")).collect();
    assert!(opened.is_empty(), "{opened:#?}");
}

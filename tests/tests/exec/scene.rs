//! A server whose user may run programs, and what a test asks of the machine about them.

use std::fs;
use std::path::Path;

use berth_tests::{Binaries, Client, Options, Server, process, wait_until};

/// What alice may run, of what every machine has that the tests run on.
pub(crate) const ALLOWED: [&str; 11] =
    ["cat", "du", "find", "grep", "head", "ls", "sha256sum", "sleep", "sort", "wc", "stat"];

/// A server with alice, who may run these and the tests' own program.
pub(crate) fn scene(options: Options) -> (Server, Client) {
    let server = start(options);
    server.add_user("alice", "a", "unlimited");
    let mut allow = vec!["user", "allow-exec", "alice", PROGRAM];
    allow.extend(ALLOWED);
    server.berthctl(&allow).ok();
    let alice = server.client("alice", "a");
    (server, alice)
}

/// The tests' own program: one attack, or one bad habit, a run.
pub(crate) const PROGRAM: &str = "berth-puppet-program";

/// A server that finds programs where the system has them, and where this one lies.
pub(crate) fn start(options: Options) -> Server {
    // Held until the server has them: they go with their last holder.
    let binaries = Binaries::shared();
    let own = binaries.path("");
    Server::start(options.set(&format!("exec_path = [\"/usr/bin\", \"/bin\", {own:?}]")))
}

/// Runs the tests' own program.
pub(crate) fn program(alice: &Client, words: &[&str]) -> berth_tests::Outcome {
    let mut arguments = vec!["exec", "-n", "--", PROGRAM];
    arguments.extend(words);
    alice.run(&arguments)
}

/// The processes of this server's jails, the programs in them included.
pub(crate) fn jailed(server: &Server) -> Vec<u32> {
    let jails = process::children(server.pid()).into_iter().filter(|pid| is_jail(*pid));
    let mut all: Vec<u32> = jails.collect();
    let mut next = 0;
    while let Some(pid) = all.get(next) {
        all.extend(process::children(*pid));
        next += 1;
    }
    all
}

fn is_jail(pid: u32) -> bool {
    let name = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm"));
    name.is_ok_and(|name| name.trim_end() == "berth-jail")
}

/// Waits until a program runs, and gives its processes: the jail's two, and its own.
pub(crate) fn running(server: &Server) -> Vec<u32> {
    wait_until("a program runs", || jailed(server).len() == 3);
    jailed(server)
}

/// Claims that all of them end.
pub(crate) fn assert_gone(processes: &[u32]) {
    wait_until("nothing of the program is left", || {
        !processes.iter().any(|pid| process::runs(*pid))
    });
}

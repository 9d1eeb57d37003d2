//! A local network of a test's own: two machines, each with a network and a name of its own, with a cable between them.
//!
//! Nothing of the real machine's network is touched, and everything goes with the two processes that hold the
//! namespaces, which end when the value is dropped or the test dies. Needs root.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::wait::wait_until;

/// Two machines on one cable.
#[derive(Debug)]
pub struct Network {
    /// `files`, with `10.77.0.1` and `fd77::1` at its interface `cable`.
    pub first: Machine,
    /// `laptop`, with `10.77.0.2` and `fd77::2` at its interface `cable`.
    pub second: Machine,
}

/// A machine: programs that are started [within](Machine::within) it have its network.
#[derive(Debug)]
pub struct Machine {
    holder: Child,
    network: File,
    name: File,
}

impl Network {
    /// Two machines; nothing, with a report, where none can be made.
    ///
    /// # Panics
    /// When the cable cannot be laid.
    #[must_use]
    pub fn new() -> Option<Self> {
        if crate::account::skipped_without_root() {
            return None;
        }
        if !Command::new("unshare").args(["--net", "true"]).status().is_ok_and(|it| it.success()) {
            crate::report("skipped: no network namespace can be made here");
            return None;
        }
        let (first, second) = (Machine::new("files"), Machine::new("laptop"));
        let to = second.holder.id().to_string();
        let laid = first.try_ip(&format!("link add cable type veth peer name cable netns {to}"));
        if !laid {
            crate::report("skipped: this kernel has no veth");
            return None;
        }
        for (machine, number) in [(&first, 1), (&second, 2)] {
            machine.ip("link set lo up");
            machine.ip(&format!("addr add 10.77.0.{number}/24 dev cable"));
            machine.ip(&format!("addr add fd77::{number}/64 dev cable nodad"));
            machine.ip("link set cable up");
        }
        Some(Self { first, second })
    }
}

impl Machine {
    fn new(name: &str) -> Self {
        let holder = Command::new("unshare")
            .args(["--net", "--uts", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("unshare can be run");
        let [network, own_name] = ["net", "uts"].map(|kind| {
            let path = format!("/proc/{}/ns/{kind}", holder.id());
            let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            wait_until("the namespace is made", || {
                std::fs::read_link(&path).is_ok_and(|theirs| theirs != ours)
            });
            File::open(path).unwrap()
        });
        let machine = Self { holder, network, name: own_name };
        machine.within(|| nix::unistd::sethostname(name)).expect("the machine is named");
        machine
    }

    /// Does something on this machine: sockets are its own, and programs that are started here stay here.
    ///
    /// # Panics
    /// When it does.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        // A thread of its own, since a namespace is a thread's.
        let entered = || {
            setns(&self.network, CloneFlags::CLONE_NEWNET).expect("the network is entered");
            setns(&self.name, CloneFlags::CLONE_NEWUTS).expect("the name is taken");
            work()
        };
        thread::scope(|scope| scope.spawn(entered).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs `ip` with these words.
    ///
    /// # Panics
    /// When it fails.
    pub fn ip(&self, words: &str) {
        assert!(self.try_ip(words), "ip {words}");
    }

    fn try_ip(&self, words: &str) -> bool {
        let ip = || Command::new("ip").args(words.split(' ')).status().expect("ip can be run");
        self.within(ip).success()
    }

    /// The UDP sockets of all processes here: their own addresses and ports, as the kernel writes them.
    ///
    /// # Panics
    /// When the kernel does not tell.
    #[must_use]
    pub fn udp_sockets(&self) -> Vec<String> {
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).expect("a table")
        };
        let tables =
            self.within(|| ["udp", "udp6", "udplite", "udplite6", "raw", "raw6"].map(read));
        let lines = tables.iter().flat_map(|table| table.lines().skip(1));
        lines.filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

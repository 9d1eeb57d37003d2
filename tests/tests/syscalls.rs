//! What a worker asks of the kernel once it is ready, seen by strace: no path, no socket, no thread.
//!
//! The sandbox makes this a wall; this test shows from outside that nothing runs into it, for commands that a
//! client may give.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};

use berth_tests::files::{Content, assert_same};
use berth_tests::{Options, Server, account, process, report, wait_until};

/// System calls that take a path. `fstat` and its like, on a descriptor, are not among them; glibc's
/// own `fstat` is `newfstatat`, which takes one.
const PATH_CALLS: &[&str] = &[
    "access",
    "acct",
    "chdir",
    "chmod",
    "chown",
    "chroot",
    "creat",
    "execve",
    "execveat",
    "faccessat",
    "faccessat2",
    "fanotify_mark",
    "fchdir",
    "fchmodat",
    "fchmodat2",
    "fchownat",
    "futimesat",
    "getcwd",
    "getxattr",
    "inotify_add_watch",
    "lchown",
    "lgetxattr",
    "link",
    "linkat",
    "listxattr",
    "llistxattr",
    "lremovexattr",
    "lsetxattr",
    "lstat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mount",
    "name_to_handle_at",
    "newfstatat",
    "open",
    "open_by_handle_at",
    "open_tree",
    "openat",
    "openat2",
    "readlink",
    "readlinkat",
    "removexattr",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "setxattr",
    "stat",
    "statfs",
    "statx",
    "swapon",
    "symlink",
    "symlinkat",
    "truncate",
    "umount2",
    "unlink",
    "unlinkat",
    "uselib",
    "utime",
    "utimensat",
    "utimes",
];

/// Calls that make sockets or connections, or carry descriptors away.
const SOCKET_CALLS: &[&str] = &[
    "accept",
    "accept4",
    "bind",
    "connect",
    "listen",
    "sendmmsg",
    "sendmsg",
    "socket",
    "socketpair",
];

/// Calls that make processes or threads, or touch others.
const PROCESS_CALLS: &[&str] = &[
    "clone",
    "clone3",
    "fork",
    "kill",
    "pidfd_getfd",
    "pidfd_open",
    "pidfd_send_signal",
    "prlimit64",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "setns",
    "tkill",
    "unshare",
    "vfork",
];

/// Calls that the sandbox's table leaves out for other reasons.
const OTHER_CALLS: &[&str] = &[
    "bpf",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "keyctl",
    "memfd_create",
    "perf_event_open",
    "prctl",
    "seccomp",
    "shmget",
    "userfaultfd",
];

/// What the traced workers serve: one command each, as many as there are spares.
const COMMANDS: [&[&str]; 8] = [
    &["put", "small", "large"],
    &["get", "large", "--to", "back"],
    &["mkdir", "-p", "d/e"],
    &["mv", "small", "d/e/f"],
    &["ls", "-l", "d/e"],
    &["md5", "large"],
    &["rm", "-r", "d"],
    &["df"],
];

#[test]
fn a_ready_worker_makes_no_path_call_opens_no_socket_and_starts_no_thread() {
    if account::skipped_without_root() {
        return;
    }
    // All the workers that there are, so that the one that is taken is among them.
    let server = Server::start(Options::new().set("spare_workers = 8"));
    server.add_user("alice", "a", "unlimited");
    wait_until("the spares are ready", || {
        server.berthctl(&["status", "--json"]).ok().json()["spare_workers"] == 8
    });
    let workers: Vec<_> = process::children(server.pid())
        .into_iter()
        .filter(|pid| process::name(*pid).as_deref() == Some("berth-worker"))
        .collect();
    assert_eq!(workers.len(), COMMANDS.len());

    let trace = server.directory().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o"]).arg(&trace);
    for worker in &workers {
        strace.args(["-p", &worker.to_string()]);
    }
    let mut strace = strace.stdin(Stdio::null()).spawn().expect("strace is installed");
    wait_until("strace has attached to every thread", || {
        workers.iter().all(|pid| process::is_traced(*pid))
    });

    let alice = server.client("alice", "a");
    Content::seed(1).write(&alice.file("small"), 1000);
    Content::seed(2).write(&alice.file("large"), 20 << 20);
    // One session a command: each worker serves one client, and every one of them is traced.
    for command in COMMANDS {
        alice.run(command).ok();
    }
    assert_same(&alice.file("large"), &alice.file("back"));
    // When the traced workers have ended, strace ends too.
    wait_until("the traced workers end", || !workers.iter().any(|pid| process::runs(*pid)));
    strace.wait().unwrap();

    let seen = calls(&fs::read_to_string(&trace).unwrap());
    let counts: Vec<_> = seen.iter().map(|(call, count)| format!("{call} {count}")).collect();
    let list = counts.join(", ");
    report(&format!("system calls of {} workers after Ready: {list}", workers.len()));
    assert!(seen.contains_key("epoll_wait") || seen.contains_key("epoll_pwait"), "{seen:?}");
    let forbidden: BTreeSet<_> =
        [PATH_CALLS, SOCKET_CALLS, PROCESS_CALLS, OTHER_CALLS].concat().into_iter().collect();
    let made: Vec<_> = seen.keys().filter(|call| forbidden.contains(call.as_str())).collect();
    assert!(made.is_empty(), "a worker made the calls {made:?}");
}

/// Counts the calls in strace's output: lines of `PID name(…) = …`. A call that was under way when
/// strace attached or was interrupted by another thread's is `resumed` or `unfinished`.
fn calls(trace: &str) -> BTreeMap<String, u64> {
    let mut seen = BTreeMap::new();
    for line in trace.lines() {
        let text = line.split_once(' ').map_or(line, |(_, rest)| rest.trim_start());
        let name: String =
            text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if !name.is_empty() && text[name.len()..].starts_with('(') {
            *seen.entry(name).or_insert(0) += 1;
        }
    }
    seen
}

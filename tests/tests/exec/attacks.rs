//! What a program tries against the walls of its jail: each attack that they name, and which wall stops it.
//!
//! The tests' own program makes the calls that a line of the table says, in words of `berth_puppets::habits`, and tells
//! what the kernel answers. Where the walls are tried one by one, a server without namespaces (`best-effort` in a world
//! that gives none) has Landlock and seccomp alone.

#![cfg(target_arch = "x86_64")]

use std::fmt::Write as _;
use std::fs;

use berth_tests::exit::NOT_RUN;
use berth_tests::{Client, Options, Server, account};

use crate::scene::{assert_gone, program, running, scene};

/// What stops an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wall {
    /// The program's root has no such name: ENOENT, in whatever way it is asked for.
    Root,
    /// No file system that it sees can be written: EROFS, or EACCES from Landlock before it.
    Landlock,
    /// The table of system calls: EPERM.
    Seccomp,
    /// libc is to fall back to a call that is not in the table: ENOSYS.
    Absent,
    /// Attributes are not to be had: EOPNOTSUPP.
    NoAttributes,
    /// Nothing: what is asked is the program's own business.
    None,
}

impl Wall {
    fn answers(self, result: i64) -> bool {
        let errno = i32::try_from(-result).unwrap_or(0);
        match self {
            Self::Root => errno == libc::ENOENT,
            Self::Landlock => matches!(errno, libc::EACCES | libc::EROFS),
            Self::Seccomp => errno == libc::EPERM,
            Self::Absent => errno == libc::ENOSYS,
            Self::NoAttributes => errno == libc::EOPNOTSUPP,
            Self::None => result >= 0,
        }
    }
}

const CWD: i64 = libc::AT_FDCWD as i64;

/// What is to be filled in: paths and numbers of the server under attack.
struct Targets {
    data: String,
    home: String,
    other_home: String,
    daemon: u32,
    worker: u32,
}

impl Targets {
    fn of(server: &Server) -> Self {
        Self {
            data: server.data().display().to_string(),
            home: server.home("alice").display().to_string(),
            other_home: server.home("bob").display().to_string(),
            daemon: server.pid(),
            worker: server.session_of("alice").worker,
        }
    }
}

type Row = (&'static str, String, Wall, Wall);

/// The attacks: what it is, the call, and what stops it behind all walls and without namespaces.
fn table(targets: &Targets) -> Vec<Row> {
    use Wall::{Absent, Landlock, NoAttributes, None, Root, Seccomp};
    let mut rows: Vec<Row> = Vec::new();
    let Targets { data, home, other_home, daemon, worker } = targets;
    let mut row = |what, call: String, behind_all: Wall, without_namespaces: Wall| {
        rows.push((what, call, behind_all, without_namespaces));
    };
    let open = |path: &str, flags: i32| format!("{} {CWD} s:{path} {flags} 438", libc::SYS_openat);
    let stat = |path: &str| format!("{} {CWD} s:{path} b:256 0", libc::SYS_newfstatat);

    // What lies outside: neither read nor even asked about. Landlock alone would tell of it.
    for (what, path) in [
        ("the ledger", format!("{data}/ledger.sqlite")),
        ("the TLS key", format!("{data}/server.key")),
        ("the server's secret", format!("{data}/server.secret")),
        ("the lock file", format!("{data}/lock")),
        ("another home", format!("{other_home}/secret")),
        ("its user's staging", format!("{data}/users/alice/staging")),
        ("/etc/passwd", "/etc/passwd".to_owned()),
        ("the machine's processes", "/proc/1/status".to_owned()),
        ("its own process by name", "/proc/self/mem".to_owned()),
        ("another program", "/usr/bin/env".to_owned()),
        ("a shell", "/bin/sh".to_owned()),
        ("a device", "/dev/null".to_owned()),
        ("the terminal", "/dev/tty".to_owned()),
        ("the kernel's settings", "/sys/kernel".to_owned()),
        ("files of all", "/tmp".to_owned()),
    ] {
        row(what, open(&path, libc::O_RDONLY), Root, Landlock);
        row(what, stat(&path), Root, None);
        let flags = libc::O_PATH;
        row(what, open(&path, flags), Root, None);
    }
    // Where there are no other roots, what it names so lies in the jail's or nowhere.
    row("the real home", open(&format!("{home}/file"), libc::O_RDONLY), Root, None);
    row("beyond the root", open("/home/../../../../etc/passwd", libc::O_RDONLY), Root, Landlock);

    // The home: read, and nothing of it changed. Landlock or the mount refuses what the table lets through.
    row("the home", open("file", libc::O_RDONLY), None, None);
    for (what, flags) in [
        ("open to write", libc::O_WRONLY),
        ("open to read and write", libc::O_RDWR),
        ("open and cut", libc::O_RDONLY | libc::O_TRUNC),
        ("create", libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL),
        ("append", libc::O_WRONLY | libc::O_APPEND),
    ] {
        let name = if flags & libc::O_CREAT == 0 { "file" } else { "new" };
        row(what, open(name, flags), Landlock, Landlock);
    }
    row("a nameless file", open(".", libc::O_RDWR | libc::O_TMPFILE), Landlock, Landlock);
    let how = format!("x:{:016x}", u64::from(libc::O_WRONLY as u32).swap_bytes());
    let openat2 = format!("{} {CWD} s:file {how}{} 24", libc::SYS_openat2, "0".repeat(32));
    row("open to write by openat2", openat2, Landlock, Landlock);
    for (what, call) in [
        ("chmod", format!("{} s:file 511", libc::SYS_chmod)),
        ("fchmodat", format!("{} {CWD} s:file 511", libc::SYS_fchmodat)),
        ("fchmodat2", format!("{} {CWD} s:file 511 0", libc::SYS_fchmodat2)),
        ("chown", format!("{} s:file -1 -1", libc::SYS_chown)),
        ("fchownat", format!("{} {CWD} s:file -1 -1 0", libc::SYS_fchownat)),
        ("utimensat", format!("{} {CWD} s:file 0 0", libc::SYS_utimensat)),
        ("utimes", format!("{} s:file 0", libc::SYS_utimes)),
        ("utime", format!("{} s:file 0", libc::SYS_utime)),
        ("futimesat", format!("{} {CWD} s:file 0", libc::SYS_futimesat)),
        ("setxattr", format!("{} s:file s:user.x s:y 1 0", libc::SYS_setxattr)),
        ("lsetxattr", format!("{} s:file s:user.x s:y 1 0", libc::SYS_lsetxattr)),
        ("removexattr", format!("{} s:file s:user.berth.digest", libc::SYS_removexattr)),
        ("link", format!("{} s:file s:new", libc::SYS_link)),
        ("linkat", format!("{} {CWD} s:file {CWD} s:new 0", libc::SYS_linkat)),
        ("symlink", format!("{} s:/etc s:new", libc::SYS_symlink)),
        ("symlinkat", format!("{} s:/etc {CWD} s:new", libc::SYS_symlinkat)),
        ("rename", format!("{} s:file s:new", libc::SYS_rename)),
        ("renameat2", format!("{} {CWD} s:file {CWD} s:new 0", libc::SYS_renameat2)),
        ("unlink", format!("{} s:file", libc::SYS_unlink)),
        ("unlinkat", format!("{} {CWD} s:file 0", libc::SYS_unlinkat)),
        ("rmdir", format!("{} s:empty", libc::SYS_rmdir)),
        ("mkdir", format!("{} s:new 493", libc::SYS_mkdir)),
        ("mkdirat", format!("{} {CWD} s:new 493", libc::SYS_mkdirat)),
        ("mknod", format!("{} s:new 4516 0", libc::SYS_mknod)),
        ("truncate", format!("{} s:file 0", libc::SYS_truncate)),
        ("creat", format!("{} s:new 420", libc::SYS_creat)),
    ] {
        row(what, call, Seccomp, Seccomp);
    }
    for call in [libc::SYS_getxattr, libc::SYS_lgetxattr] {
        let call = format!("{call} s:file s:user.berth.digest b:64 64");
        row("read an attribute", call, NoAttributes, NoAttributes);
    }
    row(
        "list attributes",
        format!("{} s:file b:64 64", libc::SYS_listxattr),
        NoAttributes,
        NoAttributes,
    );
    // By an open descriptor, which is the first thing that a line's first call opens.
    let opened = |call: String| format!("{} ; {call}", open("file", libc::O_RDONLY));
    for (what, call) in [
        ("fchmod", format!("{} =0 511", libc::SYS_fchmod)),
        ("fchown", format!("{} =0 -1 -1", libc::SYS_fchown)),
        ("fsetxattr", format!("{} =0 s:user.x s:y 1 0", libc::SYS_fsetxattr)),
        ("ftruncate", format!("{} =0 0", libc::SYS_ftruncate)),
        ("fallocate", format!("{} =0 0 0 1", libc::SYS_fallocate)),
        ("flock", format!("{} =0 {}", libc::SYS_flock, libc::LOCK_EX)),
        ("a lease", format!("{} =0 {} 0", libc::SYS_fcntl, libc::F_SETLEASE)),
        ("a lock", format!("{} =0 {} b:64", libc::SYS_fcntl, libc::F_SETLK)),
        ("an owner for signals", format!("{} =0 {} 1", libc::SYS_fcntl, libc::F_SETOWN)),
        (
            "signals by descriptor",
            format!("{} =0 {} {}", libc::SYS_fcntl, libc::F_SETFL, libc::O_ASYNC),
        ),
        ("a notice of changes", format!("{} =0 {} 1", libc::SYS_fcntl, libc::F_NOTIFY)),
        ("clone a file", format!("{} =0 1074041865 =0", libc::SYS_ioctl)),
        ("file attributes", format!("{} =0 1074292226 b:8", libc::SYS_ioctl)),
        ("execveat", format!("{} =0 s: 0 0 {}", libc::SYS_execveat, libc::AT_EMPTY_PATH)),
    ] {
        row(what, opened(call), Seccomp, Seccomp);
    }

    // Other programs: of the home, whatever its mode says, and of the machine.
    let execute = |path: &str| format!("{} s:{path} 0 0", libc::SYS_execve);
    row("execute a file of the home", execute("program"), Landlock, Landlock);
    row("execute a shell", execute("/bin/sh"), Root, Landlock);
    row(
        "execute a library's program",
        execute("/usr/lib/x86_64-linux-gnu/libc.so.6"),
        Landlock,
        Landlock,
    );
    let code = format!(
        "{} 0 4096 {} {} =0 0",
        libc::SYS_mmap,
        libc::PROT_READ | libc::PROT_EXEC,
        libc::MAP_PRIVATE
    );
    // The mount is not to be executed from; without it a program may load code that its user put there.
    row("map a file of the home as code", opened(code), Seccomp, None);

    // The network, of every family.
    for (what, family) in [
        ("unix", libc::AF_UNIX),
        ("inet", libc::AF_INET),
        ("inet6", libc::AF_INET6),
        ("netlink", libc::AF_NETLINK),
        ("packet", libc::AF_PACKET),
        ("vsock", libc::AF_VSOCK),
        ("bluetooth", libc::AF_BLUETOOTH),
        ("alg", libc::AF_ALG),
    ] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW] {
            row(what, format!("{} {family} {kind} 0", libc::SYS_socket), Seccomp, Seccomp);
        }
    }
    row("socketpair", format!("{} 1 1 0 b:8", libc::SYS_socketpair), Seccomp, Seccomp);

    // Other processes.
    for pid in [1, i64::from(*daemon), i64::from(*worker), -1] {
        for (what, call) in [
            ("kill", format!("{} {pid} 9", libc::SYS_kill)),
            ("stop", format!("{} {pid} {}", libc::SYS_kill, libc::SIGSTOP)),
            ("tkill", format!("{} {pid} 9", libc::SYS_tkill)),
            ("tgkill", format!("{} {pid} {pid} 9", libc::SYS_tgkill)),
            ("a queued signal", format!("{} {pid} 10 b:128", libc::SYS_rt_sigqueueinfo)),
            ("ptrace", format!("{} {} {pid} 0 0", libc::SYS_ptrace, libc::PTRACE_ATTACH)),
            ("seize", format!("{} {} {pid} 0 0", libc::SYS_ptrace, libc::PTRACE_SEIZE)),
            ("process_vm_readv", format!("{} {pid} b:16 1 b:16 1 0", libc::SYS_process_vm_readv)),
            ("process_vm_writev", format!("{} {pid} b:16 1 b:16 1 0", libc::SYS_process_vm_writev)),
            ("pidfd_open", format!("{} {pid} 0", libc::SYS_pidfd_open)),
            ("its limits", format!("{} {pid} 7 0 b:16", libc::SYS_prlimit64)),
            ("limit it", format!("{} {pid} 7 b:16 0", libc::SYS_prlimit64)),
            ("its priority", format!("{} 0 {pid} 19", libc::SYS_setpriority)),
            ("its scheduler", format!("{} {pid} 5 b:8", libc::SYS_sched_setscheduler)),
            ("its processors", format!("{} {pid} 8 b:8", libc::SYS_sched_setaffinity)),
            ("kcmp", format!("{} {pid} {pid} 0 0 0", libc::SYS_kcmp)),
            ("its group", format!("{} {pid} {pid}", libc::SYS_setpgid)),
        ] {
            row(what, call, Seccomp, Seccomp);
        }
    }
    row("new limits of its own", format!("{} 0 7 b:16 0", libc::SYS_prlimit64), Seccomp, Seccomp);
    row("more by setrlimit", format!("{} 9 b:16", libc::SYS_setrlimit), Seccomp, Seccomp);

    // Processes, threads and new worlds.
    row("clone3", format!("{} b:88 88", libc::SYS_clone3), Absent, Absent);
    let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
    for (what, call) in [
        ("fork", format!("{}", libc::SYS_fork)),
        ("vfork", format!("{}", libc::SYS_vfork)),
        ("clone", format!("{} {} 0 0 0 0", libc::SYS_clone, libc::SIGCHLD)),
        ("a thread", format!("{} {thread} 0 0 0 0", libc::SYS_clone)),
        ("unshare", format!("{} {}", libc::SYS_unshare, libc::CLONE_NEWUSER)),
        ("setns", format!("{} 0 0", libc::SYS_setns)),
        ("mount", format!("{} s:x s:/home s:tmpfs 0 0", libc::SYS_mount)),
        ("remount", format!("{} 0 s:/home 0 4128 0", libc::SYS_mount)),
        ("umount2", format!("{} s:/home 2", libc::SYS_umount2)),
        ("mount_setattr", format!("{} {CWD} s:/home 0 b:32 32", libc::SYS_mount_setattr)),
        ("fsopen", format!("{} s:tmpfs 0", libc::SYS_fsopen)),
        ("open_tree", format!("{} {CWD} s:/ 1", libc::SYS_open_tree)),
        ("pivot_root", format!("{} s:. s:.", libc::SYS_pivot_root)),
        ("chroot", format!("{} s:.", libc::SYS_chroot)),
        ("sethostname", format!("{} s:x 1", libc::SYS_sethostname)),
    ] {
        row(what, call, Seccomp, Seccomp);
    }

    // The kernel's other doors.
    for (what, call) in [
        ("ptrace itself", format!("{} 0 0 0 0", libc::SYS_ptrace)),
        ("prctl", format!("{} {} 1 0 0 0", libc::SYS_prctl, libc::PR_SET_DUMPABLE)),
        ("no death signal", format!("{} {} 0 0 0 0", libc::SYS_prctl, libc::PR_SET_PDEATHSIG)),
        ("personality", format!("{} 262144", libc::SYS_personality)),
        ("seccomp", format!("{} 1 0 0", libc::SYS_seccomp)),
        ("landlock", format!("{} 0 0 1", libc::SYS_landlock_create_ruleset)),
        ("keyctl", format!("{} 0 -3 0", libc::SYS_keyctl)),
        ("add_key", format!("{} s:user s:x s:y 1 -3", libc::SYS_add_key)),
        ("bpf", format!("{} 0 b:128 128", libc::SYS_bpf)),
        ("perf_event_open", format!("{} b:128 0 -1 -1 0", libc::SYS_perf_event_open)),
        ("userfaultfd", format!("{} 0", libc::SYS_userfaultfd)),
        ("io_uring", format!("{} 1 b:120", libc::SYS_io_uring_setup)),
        ("io_setup", format!("{} 1 b:8", libc::SYS_io_setup)),
        ("memfd", format!("{} s:x 0", libc::SYS_memfd_create)),
        ("inotify", format!("{} 0", libc::SYS_inotify_init1)),
        ("fanotify", format!("{} 0 0", libc::SYS_fanotify_init)),
        ("handles", format!("{} {CWD} s:file b:64 b:8 0", libc::SYS_name_to_handle_at)),
        ("open by handle", format!("{} 3 b:64 0", libc::SYS_open_by_handle_at)),
        ("shared memory", format!("{} 1 4096 950", libc::SYS_shmget)),
        ("messages", format!("{} 1 950", libc::SYS_msgget)),
        ("semaphores", format!("{} 1 1 950", libc::SYS_semget)),
        ("queues", format!("{} s:x 66 420 0", libc::SYS_mq_open)),
        ("sync", format!("{}", libc::SYS_sync)),
        ("swapon", format!("{} s:file 0", libc::SYS_swapon)),
        ("reboot", format!("{} 0 0 0 0", libc::SYS_reboot)),
        ("modules", format!("{} 0 0 s:", libc::SYS_init_module)),
        ("kexec", format!("{} 0 0 0 0", libc::SYS_kexec_load)),
        ("the clock", format!("{} 0 b:16", libc::SYS_clock_settime)),
        ("setuid", format!("{} 0", libc::SYS_setuid)),
        ("capset", format!("{} b:8 b:24", libc::SYS_capset)),
        ("quotactl", format!("{} 0 0 0 0", libc::SYS_quotactl)),
        ("syslog", format!("{} 3 b:64 64", libc::SYS_syslog)),
        ("ioperm", format!("{} 0 1 1", libc::SYS_ioperm)),
        ("type into a terminal", format!("{} 0 {} s:x", libc::SYS_ioctl, libc::TIOCSTI)),
        ("take a terminal", format!("{} 0 {} 0", libc::SYS_ioctl, libc::TIOCSCTTY)),
        ("a pipe", format!("{} b:8 0", libc::SYS_pipe2)),
        ("send a descriptor", format!("{} 1 b:56 0", libc::SYS_sendmsg)),
        ("wait", format!("{} -1 0 0 0", libc::SYS_wait4)),
        ("robust list of another", format!("{} {daemon} b:8 b:8", libc::SYS_get_robust_list)),
    ] {
        row(what, call, Seccomp, Seccomp);
    }
    // The same calls by the other door of the machine: numbers of x32.
    row("x32", format!("{} s:file", 0x4000_0000 + libc::SYS_unlink), Seccomp, Seccomp);

    // What it may.
    for (what, call) in [
        ("its own number", format!("{}", libc::SYS_getpid)),
        ("its own limits", format!("{} 0 7 0 b:16", libc::SYS_prlimit64)),
        ("the time", format!("{} 0 b:16", libc::SYS_clock_gettime)),
        ("memory", format!("{} 0 4096 3 34 -1 0", libc::SYS_mmap)),
    ] {
        row(what, call, None, None);
    }
    rows
}

/// A home with something in it, and another one.
fn furnished(options: Options) -> (Server, Client) {
    let (server, alice) = scene(options);
    alice.make(&["file", "program", "empty/"]);
    alice.run(&["put", "-r", "file", "program", "empty"]).ok();
    fs::set_permissions(
        server.home("alice").join("program"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    server.add_user("bob", "b", "unlimited");
    let bob = server.client("bob", "b");
    bob.make(&["secret"]);
    bob.run(&["put", "secret"]).ok();
    (server, alice)
}

/// Tries every row, and returns those whose answer is another one, with it.
fn tried(server: &Server, alice: &Client, wall_of: impl Fn(&Row) -> Wall) -> Vec<String> {
    // A session whose worker can be attacked.
    let (other, pipe) = alice.spawn_piped(&["shell"]);
    berth_tests::wait_until("it is there", || !server.sessions_of("alice").is_empty());
    let rows = table(&Targets::of(server));
    let mut wrong = Vec::new();
    // Several a run, each by itself: what one has opened the next one does not see.
    for row in &rows {
        let mut words = vec!["calls"];
        words.extend(row.1.split(' '));
        let outcome = program(alice, &words);
        let last = outcome.stdout.lines().last().unwrap_or_default().to_owned();
        let result: i64 = last.parse().unwrap_or(i64::MIN);
        if !wall_of(row).answers(result) {
            wrong.push(format!("{} ({}): {result}, {outcome:?}", row.0, row.1));
        }
    }
    drop(pipe);
    other.wait().ok();
    wrong
}

#[test]
fn each_attack_is_stopped_by_its_wall() {
    let (server, alice) = furnished(Options::new());
    let before = (server.home_sums("alice"), server.home_sums("bob"));
    let wrong = tried(&server, &alice, |row| row.2);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((server.home_sums("alice"), server.home_sums("bob")), before);
    alice.run(&["get", "file", "--to", "back"]).ok();
    server.assert_at_rest("alice");
    server.assert_at_rest("bob");
}

#[test]
fn landlock_and_seccomp_stop_what_they_can_where_there_are_no_namespaces() {
    if account::skipped_without_root() {
        return;
    }
    let options = Options::new().without_user_namespaces();
    let (server, alice) = furnished(options.set("sandbox = \"best-effort\""));
    let wrong = tried(&server, &alice, |row| row.3);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.assert_at_rest("alice");
}

#[test]
fn where_there_are_no_namespaces_nothing_runs_unless_that_is_accepted() {
    if account::skipped_without_root() {
        return;
    }
    let (server, alice) = scene(Options::new().without_user_namespaces());
    alice.run(&["exec", "-n", "--", "ls"]).code_is(NOT_RUN).says("its log says why");
    // It is read on a thread of its own, which may come after the answer.
    berth_tests::wait_until("the log says why", || server.log().text().contains("make namespaces"));
    alice.run(&["ls"]).ok();
}

#[test]
fn a_program_has_its_three_pipes_and_no_other_descriptor() {
    let (_server, alice) = scene(Options::new());
    let mut words = vec!["calls".to_owned()];
    for descriptor in 0..200 {
        let flags = libc::F_GETFD;
        words.extend(
            format!("{} {descriptor} {flags} ;", libc::SYS_fcntl).split(' ').map(str::to_owned),
        );
    }
    words.pop();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let told = program(&alice, &words).ok().stdout;
    let open: Vec<usize> = told
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('-'))
        .map(|(descriptor, _)| descriptor)
        .collect();
    assert_eq!(open, [0, 1, 2]);
    let kinds = format!(
        "{0} 0 b:144 ; {0} 1 b:144 ; {1} 0 0 1 ; {1} 1 0 1",
        libc::SYS_fstat,
        libc::SYS_lseek
    );
    let mut words = vec!["calls"];
    words.extend(kinds.split(' '));
    let told = program(&alice, &words).ok().stdout;
    let seek = format!("-{}", libc::ESPIPE);
    assert!(told.lines().skip(2).eq([&seek, &seek]), "they are pipes: {told}");
}

#[test]
fn the_lock_of_the_daemon_is_held_and_not_by_the_program() {
    let (server, alice) = scene(Options::new());
    let client = alice.spawn(&["exec", "-n", "--", "sleep", "600"]);
    let processes = running(&server);
    let [jail, keeper, program] = processes[..] else { panic!("{processes:?}") };
    let has_lock = |pid: u32| {
        let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let lock = server.data().join("lock");
        links.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|path| path == lock))
    };
    if account::is_root() {
        assert!(has_lock(jail) && has_lock(keeper) && !has_lock(program));
    }
    drop(client);
    assert_gone(&processes);
}

#[test]
fn nothing_is_left_of_the_capabilities_that_the_walls_were_made_with() {
    let (server, alice) = scene(Options::new());
    let client = alice.spawn(&["exec", "-n", "--", "sleep", "600"]);
    let processes = running(&server);
    let mut told = String::new();
    for pid in &processes {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        for name in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
            assert_eq!(field(name), "0000000000000000", "{name} of {pid}");
        }
        assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".into(), "2".into()));
        let _ = write!(told, "{} ", field("Name:"));
    }
    assert_eq!(told, "berth-jail berth-jail sleep ");
    drop(client);
    assert_gone(&processes);
}

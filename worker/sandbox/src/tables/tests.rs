//! Tests of the tables: what stands in none of them, and that no call stands twice.

use super::*;

/// Calls that have no place in any table: paths without `openat2`, new sockets and connections, processes and
/// threads, other processes, and the sandbox itself.
const IN_NONE: &[&str] = &[
    "open",
    "openat",
    "creat",
    "stat",
    "lstat",
    "statx",
    "newfstatat",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "fchownat",
    "truncate",
    "chdir",
    "fchdir",
    "chroot",
    "mkdir",
    "rmdir",
    "unlink",
    "rename",
    "renameat",
    "link",
    "symlink",
    "symlinkat",
    "mknod",
    "mknodat",
    "setxattr",
    "lsetxattr",
    "getxattr",
    "listxattr",
    "removexattr",
    "utime",
    "utimes",
    "futimesat",
    "statfs",
    "fstatfs",
    "mount",
    "umount2",
    "open_tree",
    "move_mount",
    "fsopen",
    "name_to_handle_at",
    "open_by_handle_at",
    "inotify_init1",
    "inotify_add_watch",
    "fanotify_init",
    "socket",
    "socketpair",
    "connect",
    "bind",
    "listen",
    "accept",
    "accept4",
    "sendmmsg",
    "recvmmsg",
    "pipe",
    "pipe2",
    "eventfd2",
    "memfd_create",
    "memfd_secret",
    "dup",
    "dup2",
    "dup3",
    "clone",
    "fork",
    "vfork",
    "execve",
    "execveat",
    "unshare",
    "setns",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_open",
    "pidfd_getfd",
    "pidfd_send_signal",
    "kcmp",
    "tkill",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "prctl",
    "arch_prctl",
    "prlimit64",
    "setrlimit",
    "setpriority",
    "sched_setscheduler",
    "sched_setaffinity",
    "ioprio_set",
    "setuid",
    "setgid",
    "setresuid",
    "capset",
    "seccomp",
    "landlock_create_ruleset",
    "landlock_add_rule",
    "landlock_restrict_self",
    "io_uring_setup",
    "io_uring_enter",
    "io_setup",
    "io_submit",
    "userfaultfd",
    "perf_event_open",
    "bpf",
    "keyctl",
    "add_key",
    "request_key",
    "shmget",
    "shmat",
    "msgget",
    "semget",
    "mq_open",
    "membarrier",
    "personality",
    "splice",
    "tee",
    "vmsplice",
];

fn names(table: Table) -> Vec<&'static str> {
    table.rows().into_iter().map(|row| row.name).collect()
}

#[test]
fn no_call_stands_twice() {
    for table in Table::OWN.into_iter().chain([Table::JailProgram]) {
        assert_eq!(table.duplicate(), None, "{table:?}");
    }
}

#[test]
fn a_program_has_no_call_that_changes_or_reaches_anything() {
    let program = names(Table::JailProgram);
    // What it has, and no process of Berth's own: names and files to read, and its own execution.
    let reading = [
        "open",
        "openat",
        "stat",
        "lstat",
        "statx",
        "newfstatat",
        "access",
        "faccessat",
        "faccessat2",
        "readlink",
        "readlinkat",
        "chdir",
        "fchdir",
        "statfs",
        "fstatfs",
        "dup",
        "dup2",
        "dup3",
        "execve",
        "arch_prctl",
        "prlimit64",
        "getxattr",
        "lgetxattr",
        "fgetxattr",
        "listxattr",
        "llistxattr",
        "flistxattr",
    ];
    for call in IN_NONE.iter().filter(|call| !reading.contains(call)) {
        assert!(!program.contains(call), "{call}");
    }
    for call in [
        "fchmodat2",
        "utimensat",
        "fsetxattr",
        "lsetxattr",
        "fremovexattr",
        "linkat",
        "unlinkat",
        "renameat2",
        "mkdirat",
        "ftruncate",
        "fallocate",
        "copy_file_range",
        "sendfile",
        "sendto",
        "sendmsg",
        "recvmsg",
        "kill",
        "flock",
        "fsync",
        "syncfs",
        "execveat",
        "wait4",
        "setsid",
        "setpgid",
        "sched_setattr",
        "rmdir",
        "creat",
    ] {
        assert!(!program.contains(&call), "{call}");
    }
}

#[test]
fn what_a_program_has_of_other_things_is_tied_to_its_arguments() {
    let bound = ["fcntl", "ioctl", "madvise", "tgkill", "prlimit64", "arch_prctl"];
    for row in Table::JailProgram.rows() {
        let open = row.when.iter().any(|list| list.is_empty()) || row.when.is_empty();
        assert!(!(bound.contains(&row.name) && open), "{}", row.name);
    }
}

#[test]
fn those_who_wait_for_a_program_have_nothing_by_name() {
    let keeper = names(Table::JailKeeper);
    for call in ["openat2", "getdents64", "sendmsg", "kill", "epoll_ctl", "ftruncate", "ioctl"] {
        assert!(!keeper.contains(&call), "{call}");
    }
}

#[test]
fn what_has_no_place_is_in_no_table() {
    for table in Table::OWN {
        let names = names(table);
        for call in IN_NONE {
            assert!(!names.contains(call), "{table:?} has {call}");
        }
    }
}

#[test]
fn a_worker_names_nothing_and_hands_no_descriptor_over() {
    let worker = names(Table::Worker);
    for call in [
        "openat2",
        "getdents64",
        "mkdirat",
        "linkat",
        "renameat2",
        "unlinkat",
        "utimensat",
        "sendmsg",
        "kill",
        "syncfs",
        "fsetxattr",
        "fremovexattr",
        "copy_file_range",
    ] {
        assert!(!worker.contains(&call), "{call}");
    }
}

#[test]
fn who_walks_or_recovers_makes_nothing() {
    for call in [
        "mkdirat",
        "linkat",
        "copy_file_range",
        "sendmsg",
        "fsetxattr",
        "fremovexattr",
        "utimensat",
    ] {
        assert!(!names(Table::FilerWalk).contains(&call), "{call}");
        assert!(!names(Table::FilerRecover).contains(&call), "{call}");
    }
    for call in ["renameat2", "unlinkat", "ftruncate"] {
        assert!(!names(Table::FilerWalk).contains(&call), "{call}");
    }
}

#[test]
fn what_may_reach_others_is_tied_to_its_arguments() {
    for table in Table::OWN {
        for row in table.rows() {
            let needs = [
                "fcntl",
                "ioctl",
                "mmap",
                "mprotect",
                "mremap",
                "madvise",
                "sendto",
                "sendmsg",
                "tgkill",
                "kill",
                "rt_sigaction",
                "setsockopt",
                "getsockopt",
                "utimensat",
                "renameat2",
                "linkat",
            ];
            let open = row.when.iter().any(|list| list.is_empty()) || row.when.is_empty();
            assert!(!(needs.contains(&row.name) && open), "{table:?}: {}", row.name);
        }
    }
}

#[test]
fn the_signal_that_names_forbidden_calls_stays_with_its_handler() {
    for table in Table::OWN {
        let rows = table.rows();
        let row = rows.iter().find(|row| row.name == "rt_sigaction").unwrap();
        for list in row.when {
            let [Condition { argument: 0, check: Check::Is(signal), .. }] = list else {
                panic!("{table:?}: {row:?}")
            };
            assert_ne!(*signal, libc::SIGSYS as u64);
        }
    }
}

#[test]
fn what_debug_builds_need_is_in_no_release() {
    let asks = |row: &Row, flags: i32| {
        let is_it = |list: &&[Condition]| matches!(list, [Condition { check: Check::Is(value), .. }] if *value == flags as u64);
        row.name == "fcntl" && row.when.iter().any(is_it)
    };
    for table in Table::OWN {
        let rows = table.rows();
        for flags in [libc::F_GETFD, libc::F_GETFL] {
            let is_there = rows.iter().any(|row| asks(row, flags));
            assert!(cfg!(debug_assertions) || !is_there, "{table:?}: {flags}");
        }
        let stops = rows.iter().any(|row| row.name == "kill");
        assert!(cfg!(debug_assertions) || !stops, "{table:?}: kill");
    }
}

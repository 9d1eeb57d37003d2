//! Towards the kernel: new processes and programs, other namespaces, objects of the whole user's or the machine's.

use std::path::Path;

use berth_tests::puppets::{Order, Report};
use libc::*;

use super::{call, ended, ended_untried, on_path, refused};
use crate::attacks::{Attack, Want, Without};

/// A row whose process is ended without a name in the log: the number is of no table that is ours.
fn ended_unnamed(name: &'static str, how: super::How) -> Attack {
    let want = Want::Ended("");
    Attack { worker: want, filer: want, ..ended_untried(name, how) }
}

pub(super) fn rows() -> Vec<Attack> {
    let mut rows = processes();
    rows.extend(objects());
    rows.extend(privileged());
    rows.extend(disguised());
    rows
}

fn processes() -> Vec<Attack> {
    let enosys = Want::Refused(&[ENOSYS]);
    vec![
        ended("fork: a process", |p, _| call(p, SYS_fork, &[])),
        ended_untried("vfork: a process", |p, _| call(p, SYS_vfork, &[])),
        ended("clone: a process", |p, _| call(p, SYS_clone, &[SIGCHLD as u64, 0, 0, 0, 0])),
        ended("clone: a process in a user namespace", |p, _| {
            call(p, SYS_clone, &[(SIGCHLD | CLONE_NEWUSER) as u64, 0, 0, 0, 0])
        }),
        Attack {
            worker: enosys,
            filer: enosys,
            ..ended("clone3: a process", |p, _| {
                let mut arguments = [0; 64];
                arguments[32] = SIGCHLD as u8;
                let arguments = p.put(&arguments)?;
                call(p, SYS_clone3, &[arguments, 64])
            })
        },
        Attack {
            free: Without::Works,
            // libc blocks all signals meanwhile, so that the kernel ends it and nothing names the call.
            ..ended_unnamed("a thread, as the standard library makes one", |p, _| {
                match p.order(&Order::Thread)? {
                    Report::Failed { errno } => refused(errno),
                    _ => Ok(()),
                }
            })
        },
        Attack {
            free: Without::Ends,
            ..ended("execve: a program", |p, _| {
                let none = p.put(&[0; 8])?;
                on_path(p, SYS_execve, Path::new("/bin/true"), &[none, none])
            })
        },
        ended_untried("execveat: a descriptor", |p, _| {
            let (path, none) = (p.put(&[0; 8])?, p.put(&[0; 8])?);
            call(p, SYS_execveat, &[1, path, none, none, AT_EMPTY_PATH as u64])
        }),
        ended("unshare: its directory", |p, _| call(p, SYS_unshare, &[CLONE_FS as u64])),
        // It is for processes of one thread; `clone` shows what it would give.
        ended_untried("unshare: into a user namespace", |p, _| {
            call(p, SYS_unshare, &[CLONE_NEWUSER as u64])
        }),
        ended_untried("setns: a neighbour's", |p, _| call(p, SYS_setns, &[0, 0])),
        ended_untried("setpgid: a neighbour's", |p, t| {
            call(p, SYS_setpgid, &[t.process.into(), 0])
        }),
        ended_untried("setsid: a session", |p, _| call(p, SYS_setsid, &[])),
        ended_untried("wait4: for anybody", |p, _| {
            call(p, SYS_wait4, &[u64::MAX, 0, WNOHANG as u64, 0])
        }),
        ended_untried("rseq: registers", |p, _| call(p, SYS_rseq, &[0, 0, 0, 0])),
        ended_untried("membarrier: of everybody", |p, _| call(p, SYS_membarrier, &[1, 0, 0])),
    ]
}

/// Of these a user has few, or they outlive the process.
fn objects() -> Vec<Attack> {
    vec![
        ended("shmget: shared memory", |p, _| {
            let id = p.call(SYS_shmget, &[0, 4096, 0o1600])?;
            call(p, SYS_shmctl, &[id, IPC_RMID as u64, 0])
        }),
        ended("msgget: a message queue", |p, _| {
            let id = p.call(SYS_msgget, &[0, 0o1600])?;
            call(p, SYS_msgctl, &[id, IPC_RMID as u64, 0])
        }),
        ended("semget: semaphores", |p, _| {
            let id = p.call(SYS_semget, &[0, 1, 0o1600])?;
            call(p, SYS_semctl, &[id, 0, IPC_RMID as u64, 0])
        }),
        ended_untried("mq_open: a message queue by name", |p, t| {
            let name = p.text(format!("/berth-test-{}", t.own))?;
            call(p, SYS_mq_open, &[name, O_RDONLY as u64, 0, 0])
        }),
        ended("memfd_create: a file in memory", |p, _| {
            let name = p.text("x")?;
            call(p, SYS_memfd_create, &[name, 0])
        }),
        ended_untried("memfd_secret: a file in memory", |p, _| call(p, SYS_memfd_secret, &[0])),
        ended("add_key: a key", |p, _| {
            let (kind, name, bytes) = (p.text("user")?, p.text("berth-test")?, p.put(b"x")?);
            // The process's own keyring.
            call(p, SYS_add_key, &[kind, name, bytes, 1, -2i64 as u64])
        }),
        ended_untried("request_key: a key", |p, _| {
            let (kind, name) = (p.text("user")?, p.text("berth-test")?);
            call(p, SYS_request_key, &[kind, name, 0, 0])
        }),
        ended_untried("keyctl: the user's keyring", |p, _| {
            call(p, SYS_keyctl, &[0, -4i64 as u64, 0])
        }),
        ended("inotify_init1: watches the data directory", |p, t| {
            let watcher = p.call(SYS_inotify_init1, &[0])?;
            let path = p.text(&t.data)?;
            call(p, SYS_inotify_add_watch, &[watcher, path, IN_ALL_EVENTS.into()])
        }),
        ended("inotify_init1: watches another's home, whose name is known", |p, t| {
            let watcher = p.call(SYS_inotify_init1, &[0])?;
            let path = p.text(t.data.join("users/bob/home"))?;
            call(p, SYS_inotify_add_watch, &[watcher, path, IN_ALL_EVENTS.into()])
        }),
        ended_untried("inotify_add_watch: by itself", |p, t| {
            let path = p.text(&t.data)?;
            call(p, SYS_inotify_add_watch, &[0, path, IN_ALL_EVENTS.into()])
        }),
        ended_untried("fanotify_init: watches", |p, _| call(p, SYS_fanotify_init, &[0x200, 0])),
        ended_untried("io_uring_setup: a ring", |p, _| {
            let parameters = p.put(&[0; 120])?;
            call(p, SYS_io_uring_setup, &[8, parameters])
        }),
        ended_untried("io_uring_enter: a ring", |p, _| {
            call(p, SYS_io_uring_enter, &[0, 0, 0, 0, 0, 0])
        }),
        ended("io_setup: a queue", |p, _| {
            let context = p.put(&[0; 8])?;
            call(p, SYS_io_setup, &[1, context])
        }),
        ended_untried("userfaultfd: faults", |p, _| call(p, SYS_userfaultfd, &[1])),
        ended("pipe2: a pipe", |p, _| {
            let pair = p.put(&[0; 8])?;
            call(p, SYS_pipe2, &[pair, 0])
        }),
        ended("eventfd2: a descriptor", |p, _| call(p, SYS_eventfd2, &[0, 0])),
        ended("epoll_create1: a descriptor", |p, _| call(p, SYS_epoll_create1, &[0])),
        ended("timerfd_create: a descriptor", |p, _| call(p, SYS_timerfd_create, &[1, 0])),
        ended_untried("signalfd4: a descriptor", |p, _| {
            let mask = p.put(&[0; 8])?;
            call(p, SYS_signalfd4, &[u64::MAX, mask, 8, 0])
        }),
        ended_untried("timer_create: a timer that signals", |p, _| {
            let id = p.put(&[0; 8])?;
            call(p, SYS_timer_create, &[1, 0, id])
        }),
    ]
}

/// What needs more rights than the user has, and is ended before the kernel asks for them.
fn privileged() -> Vec<Attack> {
    vec![
        ended_untried("bpf: a program", |p, _| call(p, SYS_bpf, &[5, 0, 0])),
        ended_untried("mount: a file system", |p, _| call(p, SYS_mount, &[0, 0, 0, 0, 0])),
        ended_untried("umount2: a file system", |p, _| call(p, SYS_umount2, &[0, 0])),
        ended_untried("fsopen: a file system", |p, _| call(p, SYS_fsopen, &[0, 0])),
        ended_untried("move_mount: a file system", |p, _| call(p, SYS_move_mount, &[0; 5])),
        ended_untried("pivot_root: the root", |p, _| call(p, SYS_pivot_root, &[0, 0])),
        ended_untried("chroot: the root", |p, _| on_path(p, SYS_chroot, Path::new("/"), &[])),
        ended("open_tree: a mount", |p, _| {
            let path = p.text("/")?;
            call(p, SYS_open_tree, &[super::CWD, path, 0x8_0000])
        }),
        ended("name_to_handle_at: a handle", |p, t| {
            let mut handle = vec![0; 136];
            handle[0] = 128;
            let (path, handle, mount) = (p.text(&t.data)?, p.put(&handle)?, p.put(&[0; 4])?);
            call(p, SYS_name_to_handle_at, &[super::CWD, path, handle, mount, 0])
        }),
        ended_untried("open_by_handle_at: a handle", |p, _| {
            let handle = p.put(&[0; 136])?;
            call(p, SYS_open_by_handle_at, &[0, handle, 0])
        }),
        ended_untried("setuid: root", |p, _| call(p, SYS_setuid, &[0])),
        ended_untried("setresuid: root", |p, _| call(p, SYS_setresuid, &[0, 0, 0])),
        ended_untried("setgroups: root's", |p, _| call(p, SYS_setgroups, &[0, 0])),
        ended_untried("capset: all", |p, _| call(p, SYS_capset, &[0, 0])),
        ended_untried("personality: lets data be code", |p, _| {
            call(p, SYS_personality, &[READ_IMPLIES_EXEC as u64])
        }),
        ended_untried("arch_prctl: its registers", |p, _| {
            let room = p.put(&[0; 8])?;
            call(p, SYS_arch_prctl, &[0x1003, room])
        }),
        ended_untried("seccomp: another filter", |p, _| call(p, SYS_seccomp, &[0, 0, 0])),
        ended_untried("landlock_create_ruleset: another layer", |p, _| {
            call(p, SYS_landlock_create_ruleset, &[0, 0, 1])
        }),
        ended_untried("landlock_restrict_self: another layer", |p, _| {
            call(p, SYS_landlock_restrict_self, &[0, 0])
        }),
        ended_untried("reboot: the machine", |p, _| call(p, SYS_reboot, &[0, 0, 0, 0])),
        ended_untried("init_module: a module", |p, _| call(p, SYS_init_module, &[0, 0, 0])),
        ended_untried("clock_settime: the clock", |p, _| call(p, SYS_clock_settime, &[0, 0])),
        ended_untried("syslog: the kernel's log", |p, _| call(p, SYS_syslog, &[3, 0, 0])),
        ended_untried("quotactl: quotas", |p, _| call(p, SYS_quotactl, &[0, 0, 0, 0])),
        ended_untried("ioperm: ports", |p, _| call(p, SYS_ioperm, &[0, 1, 1])),
        ended_untried("uselib: a library", |p, _| call(p, SYS_uselib, &[0])),
    ]
}

/// The same calls by other doors.
fn disguised() -> Vec<Attack> {
    const X32: i64 = 0x4000_0000;
    vec![
        ended_unnamed("int 0x80: a call of the 32-bit table", |p, _| {
            match p.order(&Order::Call32 { number: 20 })? {
                Report::Returned(errno @ ..0) => refused(-errno as i32),
                _ => Ok(()),
            }
        }),
        ended_unnamed("a call of the x32 table", |p, _| call(p, X32 + SYS_getpid, &[])),
        ended_unnamed("a call that there is not", |p, _| call(p, 4000, &[])),
        ended_unnamed("a call with a number below zero", |p, _| call(p, -5, &[])),
        Attack {
            worker: Want::Ended("getuid"),
            filer: Want::Ended("getuid"),
            free: Without::Works,
            ..ended("a helper thread, which is older than the filter", |p, _| {
                p.call_on_a_helper(SYS_getuid, &[]).map(drop)
            })
        },
    ]
}

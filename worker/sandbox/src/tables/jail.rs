//! What the processes of a jail may: the two that wait, and the program, which others have written.
//!
//! The program's table is wide where nothing but the program itself is concerned, and where Landlock and the mounts
//! decide what is reached. What is not in it fails with EPERM: no process or thread, no socket, no signal to others,
//! no change of a name, a mode, a time or an attribute, and nothing by which another process is seen or limited.

use libc::{
    F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_SETFD, F_SETFL, MADV_DONTNEED, MADV_FREE,
    MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED,
    O_APPEND, O_NONBLOCK, O_RDWR, O_WRONLY,
};

use super::{Row, is, null, own_process, table, within};

/// The flags that `F_SETFL` may set. Not `O_ASYNC`, by which descriptors send signals.
const STATUS: i32 = O_APPEND | O_NONBLOCK | O_WRONLY | O_RDWR | LARGE_FILES;

/// `O_LARGEFILE`, which libc has as 0 where it is always set.
const LARGE_FILES: i32 = 0o100_000;

/// The two that wait: for the daemon, for each other, and for their children's ends.
pub(super) const KEEPER: &[Row] = table! {
    SYS_wait4;
    // Asked by std when it closes a descriptor, with debug assertions alone.
    #[cfg(debug_assertions)]
    SYS_fcntl [is(1, F_GETFD)];
};

/// The program.
pub(super) const PROGRAM: &[Row] = table! {
    // Once for the program itself. Landlock leaves nothing else to be executed.
    SYS_execve;
    // Names and files, which Landlock and the mounts leave to be read.
    SYS_openat;
    SYS_openat2;
    SYS_close;
    SYS_close_range;
    SYS_newfstatat;
    SYS_fstat;
    SYS_statx;
    SYS_statfs;
    SYS_fstatfs;
    SYS_faccessat;
    SYS_faccessat2;
    SYS_readlinkat;
    SYS_getdents64;
    SYS_getcwd;
    SYS_chdir;
    SYS_fchdir;
    SYS_umask;
    // Open descriptors.
    SYS_read;
    SYS_readv;
    SYS_pread64;
    SYS_preadv;
    SYS_write;
    SYS_writev;
    SYS_lseek;
    SYS_fadvise64;
    SYS_dup;
    SYS_dup3;
    SYS_ppoll;
    SYS_pselect6;
    // Not F_SETOWN and F_SETSIG, which send signals to others, nor locks and leases, which hold others up.
    SYS_fcntl
        [is(1, F_DUPFD)] [is(1, F_DUPFD_CLOEXEC)] [is(1, F_GETFD)] [is(1, F_SETFD)] [is(1, F_GETFL)]
        [is(1, F_SETFL), within(2, STATUS)];
    // Whether it is a terminal, and how much can be read. Nothing by which a terminal is typed into.
    SYS_ioctl [is(1, TCGETS)] [is(1, TIOCGWINSZ)] [is(1, FIONREAD)];
    // Memory; its code too, which the loader maps. Its sum is limited.
    SYS_brk;
    SYS_mmap;
    SYS_mprotect;
    SYS_mremap;
    SYS_munmap;
    SYS_madvise
        [is(2, MADV_NORMAL)] [is(2, MADV_RANDOM)] [is(2, MADV_SEQUENTIAL)] [is(2, MADV_WILLNEED)]
        [is(2, MADV_DONTNEED)] [is(2, MADV_FREE)] [is(2, MADV_HUGEPAGE)] [is(2, MADV_NOHUGEPAGE)];
    // Its only thread.
    SYS_futex;
    SYS_set_tid_address;
    SYS_set_robust_list;
    SYS_rseq;
    SYS_sched_yield;
    SYS_sched_getaffinity;
    SYS_getcpu;
    // Time and chance.
    SYS_clock_gettime;
    SYS_clock_getres;
    SYS_clock_nanosleep;
    SYS_nanosleep;
    SYS_gettimeofday;
    SYS_times;
    SYS_getitimer;
    SYS_setitimer;
    SYS_getrandom;
    // Who it is, and what it has used.
    SYS_getpid;
    SYS_getppid;
    SYS_gettid;
    SYS_getuid;
    SYS_geteuid;
    SYS_getgid;
    SYS_getegid;
    SYS_getgroups;
    SYS_getrusage;
    SYS_sysinfo;
    SYS_uname;
    // Its own limits, to be asked: neither another process, nor a new value.
    SYS_prlimit64 [is(0, 0), null(2)];
    // Signals to itself.
    SYS_rt_sigaction;
    SYS_rt_sigprocmask;
    SYS_rt_sigreturn;
    SYS_rt_sigpending;
    SYS_rt_sigsuspend;
    SYS_rt_sigtimedwait;
    SYS_sigaltstack;
    SYS_restart_syscall;
    SYS_tgkill [own_process(0)];
    SYS_exit;
    SYS_exit_group;
    // The filter before this one answers ENOSYS, so that libc falls back to clone, which is not here.
    SYS_clone3;
    // A filter before this one answers EOPNOTSUPP: no file has any attribute.
    SYS_getxattr;
    SYS_lgetxattr;
    SYS_fgetxattr;
    SYS_listxattr;
    SYS_llistxattr;
    SYS_flistxattr;
    // What newer libraries ask in other words, on an architecture with a long past.
    #[cfg(target_arch = "x86_64")]
    SYS_arch_prctl [is(0, ARCH_SET_FS)];
    #[cfg(target_arch = "x86_64")]
    SYS_open;
    #[cfg(target_arch = "x86_64")]
    SYS_stat;
    #[cfg(target_arch = "x86_64")]
    SYS_lstat;
    #[cfg(target_arch = "x86_64")]
    SYS_access;
    #[cfg(target_arch = "x86_64")]
    SYS_readlink;
    #[cfg(target_arch = "x86_64")]
    SYS_getdents;
    #[cfg(target_arch = "x86_64")]
    SYS_dup2;
    #[cfg(target_arch = "x86_64")]
    SYS_poll;
    #[cfg(target_arch = "x86_64")]
    SYS_select;
    #[cfg(target_arch = "x86_64")]
    SYS_time;
    #[cfg(target_arch = "x86_64")]
    SYS_alarm;
    #[cfg(target_arch = "x86_64")]
    SYS_pause;
    #[cfg(target_arch = "x86_64")]
    SYS_getpgrp;
    #[cfg(target_arch = "x86_64")]
    SYS_getrlimit;
};

const TCGETS: i32 = 0x5401;
const TIOCGWINSZ: i32 = 0x5413;
const FIONREAD: i32 = 0x541b;

/// The thread's own storage, which libc sets once.
#[cfg(target_arch = "x86_64")]
const ARCH_SET_FS: i32 = 0x1002;

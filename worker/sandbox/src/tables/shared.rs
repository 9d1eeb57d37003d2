//! What worker and filer both may: bytes of open descriptors, memory, waiting, and their own end.

use libc::{
    MADV_DONTNEED, MAP_ANONYMOUS, MAP_NORESERVE, MAP_PRIVATE, MAP_STACK, MREMAP_MAYMOVE,
    MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL, PROT_NONE, PROT_READ, PROT_WRITE, SIGABRT, SIGBUS,
    SIGSEGV,
};

use super::{Row, is, null, own_process, table, within, within_long};

const DATA: i32 = PROT_NONE | PROT_READ | PROT_WRITE;
const OWN_MEMORY: i32 = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK;

pub(super) const ROWS: &[Row] = table! {
    // Open descriptors, of which no more can be had than others hand over.
    SYS_read;
    SYS_write;
    SYS_readv;
    SYS_writev;
    SYS_close;
    SYS_pread64;
    SYS_pwrite64;
    SYS_fstat;
    SYS_recvmsg;
    SYS_recvfrom;
    SYS_shutdown;
    // Without an address and without MSG_FASTOPEN it cannot connect; unlike sendmsg it carries no descriptors.
    SYS_sendto [null(4), within(3, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE)];
    SYS_ppoll;
    // Memory: the process's own, and never code.
    SYS_brk;
    SYS_mmap [within_long(2, DATA), within_long(3, OWN_MEMORY)];
    SYS_mprotect [within_long(2, DATA)];
    SYS_mremap [within_long(3, MREMAP_MAYMOVE)];
    SYS_munmap;
    SYS_madvise [is(2, MADV_DONTNEED)];
    // Threads that are there, time, chance.
    SYS_futex;
    SYS_sched_yield;
    SYS_clock_gettime;
    SYS_getpid;
    SYS_gettid;
    SYS_getrandom;
    SYS_restart_syscall;
    // The end, a panic's included: abort unblocks SIGABRT and sends it to its own thread.
    SYS_exit;
    SYS_exit_group;
    SYS_rt_sigprocmask;
    SYS_rt_sigreturn;
    SYS_sigaltstack;
    SYS_tgkill [own_process(0), is(2, SIGABRT)];
    // After a fault std's handler gives the signal its default back, so that a crash is seen as one. Not
    // for SIGSYS: nobody inside may replace the handler that names forbidden calls.
    SYS_rt_sigaction [is(0, SIGSEGV)] [is(0, SIGBUS)];
    // The filter before this one answers ENOSYS, so that libc falls back to clone, which is not here.
    SYS_clone3;
};

//! What a worker may besides: its runtime and its client's connection. No path, no name, no new descriptor.

use libc::{F_DUPFD_CLOEXEC, FIONBIO, IPPROTO_TCP, SO_TYPE, SOL_SOCKET, TCP_NODELAY};

use super::{Row, is, table};

pub(super) const ROWS: &[Row] = table! {
    // The runtime, which is there already.
    SYS_epoll_ctl;
    SYS_epoll_pwait;
    #[cfg(target_arch = "x86_64")]
    SYS_epoll_wait;
    SYS_ioctl [is(1, FIONBIO as i32)];
    // Not F_SETOWN and F_SETSIG, which send signals to others. F_GETFD is asked by std and F_GETFL by tokio,
    // both with debug assertions alone.
    SYS_fcntl
        [is(1, F_DUPFD_CLOEXEC)]
        #[cfg(debug_assertions)] [is(1, libc::F_GETFD)]
        #[cfg(debug_assertions)] [is(1, libc::F_GETFL)];
    // The client's connection, and the filer's channel, which is checked to be one.
    SYS_setsockopt [is(1, IPPROTO_TCP), is(2, TCP_NODELAY)];
    SYS_getsockopt [is(1, SOL_SOCKET), is(2, SO_TYPE)];
    // Files that are passed: uploads and their journals are cut to their length, and made durable.
    SYS_ftruncate;
    SYS_fdatasync;
};

//! What a filer may besides, by its role: names below the directories that Landlock leaves to it.
//!
//! No call that follows a path freely is here: what is opened goes through `openat2`, whose flags seccomp
//! cannot see, so that Landlock is the wall there. Names are made, moved and unlinked; that nothing but
//! files and directories is made is because no call here makes anything else.

use libc::{F_DUPFD_CLOEXEC, F_SETLEASE, MSG_NOSIGNAL, RENAME_EXCHANGE, RENAME_NOREPLACE};

use super::{Row, is, null, table, within};

/// All roles: to look around.
pub(super) const ROWS: &[Row] = table! {
    SYS_openat2;
    SYS_getdents64;
    // A listing begins anew.
    SYS_lseek;
    // A point at which a test stops this process.
    #[cfg(debug_assertions)]
    SYS_kill [super::own_process(0), is(1, libc::SIGSTOP)];
};

/// Serve and recover: to move, unlink and make durable.
pub(super) const CHANGES: &[Row] = table! {
    // Not RENAME_WHITEOUT, which makes a device.
    SYS_renameat2 [within(4, (RENAME_EXCHANGE | RENAME_NOREPLACE) as i32)];
    SYS_unlinkat;
    SYS_fsync;
    SYS_syncfs;
};

/// Serve alone: to make names, to fill files from files, and to hand opened files over.
pub(super) const SERVES: &[Row] = table! {
    SYS_mkdirat;
    // By name, never by descriptor: not AT_EMPTY_PATH, nor following a link.
    SYS_linkat [is(4, 0)];
    SYS_ftruncate;
    SYS_copy_file_range;
    SYS_ioctl [is(1, FICLONE)];
    SYS_fgetxattr;
    SYS_fsetxattr;
    // A note that is taken away, of an open file.
    SYS_fremovexattr;
    // The times of an open file, not of a path.
    SYS_utimensat [null(1)];
    // A lease tells whether a file still has a writer. Not F_SETOWN and F_SETSIG, which send signals to others.
    // F_GETFD is asked by std when it closes a descriptor, with debug assertions alone.
    SYS_fcntl
        [is(1, F_SETLEASE)]
        [is(1, F_DUPFD_CLOEXEC)]
        #[cfg(debug_assertions)] [is(1, libc::F_GETFD)];
    // With descriptors, to the worker. The address cannot be seen here, but no socket is unconnected.
    SYS_sendmsg [is(2, MSG_NOSIGNAL)];
};

/// Recover and walk: no leases.
pub(super) const DUPLICATES: &[Row] = table! {
    SYS_fcntl [is(1, F_DUPFD_CLOEXEC)] #[cfg(debug_assertions)] [is(1, libc::F_GETFD)];
};

/// Makes a file share another one's blocks: `_IOW(0x94, 9, int)`.
const FICLONE: i32 = 0x4004_9409;

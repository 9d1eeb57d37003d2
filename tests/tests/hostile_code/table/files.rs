//! Descriptors that are there: the channel, the lock file, the pipe for panics, and of a filer its directories.

use berth_tests::puppets::{Puppet, Station};
use libc::*;

use super::{call, ended, ended_untried, out_of_reach};
use crate::attacks::{Attack, Made, Target, Want, Without};

/// The lock file, which all helpers have inherited.
const LOCK: u64 = 1;

/// Of `F_NOTIFY`: a file was written.
const DN_MODIFY: u64 = 2;

/// Calls that both have, on what is not theirs to change.
fn refused(name: &'static str, how: super::How, errnos: &'static [i32]) -> Attack {
    let want = Want::Refused(errnos);
    Attack { worker: want, filer: want, ..ended_untried(name, how) }
}

/// What a filer may do to its user's own directories.
fn own(name: &'static str, how: super::How) -> Attack {
    Attack { filer: Want::Remains("the user's own files"), ..ended_untried(name, how) }
}

fn home(target: &Target) -> u64 {
    target.directories.map_or(LOCK, |(home, _)| home as u64)
}

/// Sets an attribute of a descriptor.
fn set(puppet: &mut Puppet, descriptor: u64, name: &str, value: &[u8]) -> Made {
    let (name, bytes) = (puppet.text(name)?, puppet.put(value)?);
    call(puppet, SYS_fsetxattr, &[descriptor, name, bytes, value.len() as u64, 0])
}

/// Takes a lease on the lock file, by which the kernel holds up who opens it.
fn lease(puppet: &mut Puppet, _: &Target) -> Made {
    call(puppet, SYS_fcntl, &[LOCK, F_SETLEASE as u64, F_WRLCK as u64])
}

pub(super) fn rows() -> Vec<Attack> {
    let mut rows = lock();
    rows.extend(others());
    rows
}

fn lock() -> Vec<Attack> {
    vec![
        refused(
            "write: to the lock file",
            |p, _| {
                let bytes = p.put(b"x")?;
                call(p, SYS_write, &[LOCK, bytes, 1])
            },
            &[EBADF],
        ),
        refused(
            "pwrite64: to the lock file",
            |p, _| {
                let bytes = p.put(b"x")?;
                call(p, SYS_pwrite64, &[LOCK, bytes, 1, 1 << 30])
            },
            &[EBADF],
        ),
        refused(
            "ftruncate: the lock file",
            |p, _| call(p, SYS_ftruncate, &[LOCK, 1 << 40]),
            &[EBADF, EINVAL],
        ),
        ended_untried("flock: lets the lock go that the next daemon waits for", |p, _| {
            call(p, SYS_flock, &[LOCK, LOCK_UN as u64])
        }),
        ended_untried("fcntl: locks of another kind", |p, _| {
            let lock = p.put(&[0; 32])?;
            call(p, SYS_fcntl, &[LOCK, F_SETLK as u64, lock])
        }),
        ended_untried("fallocate: fills the disk", |p, _| {
            call(p, SYS_fallocate, &[LOCK, 0, 0, 1 << 30])
        }),
        ended_untried("fchmod: the lock file", |p, _| call(p, SYS_fchmod, &[LOCK, 0])),
        ended_untried("fchown: the lock file", |p, _| {
            call(p, SYS_fchown, &[LOCK, u64::MAX, u64::MAX])
        }),
        Attack {
            filer: Want::Remains("attributes of the lock file"),
            ..ended_untried("fsetxattr: the lock file", |p, _| set(p, LOCK, "user.x", b"x"))
        },
        ended_untried("fstatfs: the disk", |p, _| {
            let room = p.put(&[0; 256])?;
            call(p, SYS_fstatfs, &[LOCK, room])
        }),
        ended("dup: the lock file", |p, _| call(p, SYS_dup, &[LOCK])),
        ended("dup2: over the channel", |p, _| call(p, SYS_dup2, &[LOCK, 50])),
        ended("dup3: over the channel", |p, _| call(p, SYS_dup3, &[LOCK, 50, 0])),
    ]
}

fn others() -> Vec<Attack> {
    vec![
        ended_untried("fcntl: a larger pipe", |p, _| {
            call(p, SYS_fcntl, &[2, F_SETPIPE_SZ as u64, 1 << 20])
        }),
        ended("fcntl: is told of changes in a directory", |p, t| {
            let directory = if p.station() == Station::Free {
                let path = p.text(t.data.join("users/bob/home"))?;
                p.call(SYS_open, &[path, (O_RDONLY | O_DIRECTORY) as u64])?
            } else {
                home(t)
            };
            call(p, SYS_fcntl, &[directory, F_NOTIFY as u64, DN_MODIFY])
        }),
        Attack {
            filer: Want::Remains("a lease on the lock file"),
            ..ended_untried("fcntl: a lease on the lock file", lease)
        },
        own("fcntl: a lease on a file in the own home", |p, t| {
            let Some((home, _)) = t.directories else { return lease(p, t) };
            let name = p.text("leased")?;
            let how = [(O_RDONLY | O_CREAT) as u64, 0o600, 0].map(u64::to_ne_bytes).concat();
            let how = p.put(&how)?;
            let file = p.call(SYS_openat2, &[home as u64, name, how, 24])?;
            call(p, SYS_fcntl, &[file, F_SETLEASE as u64, F_RDLCK as u64])?;
            call(p, SYS_unlinkat, &[home as u64, name, 0])
        }),
        ended_untried("ioctl: any other than ours", |p, _| {
            let room = p.put(&[0; 64])?;
            call(p, SYS_ioctl, &[0, FIONREAD, room])
        }),
        ended_untried("splice: moves bytes past the process", |p, _| {
            call(p, SYS_splice, &[LOCK, 0, 2, 0, 1, 0])
        }),
        ended_untried("sendfile: moves bytes past the process", |p, _| {
            call(p, SYS_sendfile, &[p.descriptor(1) as u64, LOCK, 0, 1])
        }),
        ended_untried("sync: the machine", |p, _| call(p, SYS_sync, &[])),
        out_of_reach(
            "getdents64: of what is no directory",
            |p, _| {
                let room = p.put(&[0; 256])?;
                call(p, SYS_getdents64, &[LOCK, room, 256])
            },
            &[ENOTDIR],
        )
        .untried(),
        out_of_reach(
            "copy_file_range: the lock file's bytes",
            |p, _| call(p, SYS_copy_file_range, &[LOCK, 0, LOCK, 0, 1, 0]),
            &[EBADF],
        )
        .untried(),
        own("unlinkat: a name in the own home", |p, t| {
            let name = p.text("own")?;
            call(p, SYS_mkdirat, &[home(t), name, 0o700])?;
            call(p, SYS_unlinkat, &[home(t), name, AT_REMOVEDIR as u64])
        })
        .worker("mkdirat"),
        own("fsetxattr: an attribute of the own home", |p, t| set(p, home(t), "user.x", b"x")),
        own("fremovexattr: an attribute of the own home", |p, t| {
            set(p, home(t), "user.x", b"x")?;
            let name = p.text("user.x")?;
            call(p, SYS_fremovexattr, &[home(t), name])
        })
        .worker("fsetxattr"),
        own("syncfs: the whole file system", |p, t| call(p, SYS_syncfs, &[home(t)])),
        Attack {
            worker: Want::Remains("its own time"),
            filer: Want::Remains("its own time"),
            free: Without::Works,
            ..ended("burns time", |p, _| (0..100).try_for_each(|_| call(p, SYS_sched_yield, &[])))
        },
    ]
}

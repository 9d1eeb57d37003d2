//! Files by their paths: the ledger, the key, another user's home, the machine's.

use std::path::{Path, PathBuf};

use berth_tests::puppets::{Fate, Puppet};
use libc::*;

use super::{CWD, at_path, call, ended, ended_untried, on_path, out_of_reach, users};
use crate::attacks::{Attack, Made, Target, Want, Without};

/// What Landlock says of what no rule grants; a link or a rename out of its reach is as if across file systems.
pub(super) const FORBIDDEN: &[i32] = &[EACCES];
pub(super) const FORBIDDEN_ACROSS: &[i32] = &[EACCES, EXDEV];

fn ledger(target: &Target) -> PathBuf {
    target.data.join("ledger.sqlite")
}

fn key(target: &Target) -> PathBuf {
    target.data.join("server.key")
}

pub(super) fn others_file(target: &Target) -> PathBuf {
    target.data.join("users/bob/home/secret")
}

/// The directory of the user's own that the attack starts from: of a filer its home.
fn own_directory(target: &Target) -> u64 {
    target.directories.map_or(CWD, |(home, _)| home as u64)
}

/// Opens by `openat2`, from a directory.
pub(super) fn open_from(
    puppet: &mut Puppet,
    from: u64,
    path: &Path,
    flags: i32,
) -> Result<u64, Fate> {
    let mode = if flags & O_CREAT != 0 { 0o600u64 } else { 0 };
    let how = [(flags as u64).to_ne_bytes(), mode.to_ne_bytes(), 0u64.to_ne_bytes()].concat();
    let (path, how) = (puppet.text(path)?, puppet.put(&how)?);
    puppet.call(SYS_openat2, &[from, path, how, 24])
}

fn open(puppet: &mut Puppet, path: &Path, flags: i32) -> Made {
    open_from(puppet, CWD, path, flags).map(drop)
}

pub(super) fn rows() -> Vec<Attack> {
    let mut rows = opens();
    rows.extend(users::rows());
    rows.extend(looks());
    rows.extend(changes());
    rows
}

/// The one way to open that a filer has.
fn opens() -> Vec<Attack> {
    let deny = FORBIDDEN;
    vec![
        out_of_reach("openat2: the ledger", |p, t| open(p, &ledger(t), O_RDWR), deny),
        out_of_reach("openat2: the ledger, to read", |p, t| open(p, &ledger(t), O_RDONLY), deny),
        out_of_reach("openat2: the key", |p, t| open(p, &key(t), O_RDONLY), deny),
        out_of_reach(
            "openat2: another user's file",
            |p, t| open(p, &others_file(t), O_RDONLY),
            deny,
        ),
        out_of_reach(
            "openat2: another user's file, from the own home",
            |p, t| {
                let climbs = PathBuf::from("../../../users/bob/home/secret");
                let path = if t.directories.is_some() { climbs } else { others_file(t) };
                open_from(p, own_directory(t), &path, O_RDONLY).map(drop)
            },
            deny,
        ),
        out_of_reach(
            "openat2: a new file in another's home",
            |p, t| {
                let path = t.data.join(format!("users/bob/staging/new-{}", t.own));
                open(p, &path, O_RDWR | O_CREAT)
            },
            deny,
        )
        .untried(),
        out_of_reach(
            "openat2: all users' names",
            |p, t| open(p, &t.data.join("users"), O_RDONLY | O_DIRECTORY),
            deny,
        ),
        out_of_reach(
            "openat2: an account of the machine",
            |p, _| open(p, Path::new("/etc/passwd"), O_RDONLY),
            deny,
        ),
        out_of_reach("openat2: a program", |p, _| open(p, Path::new("/bin/sh"), O_RDONLY), deny),
        out_of_reach(
            "openat2: its own memory as a file",
            |p, _| open(p, Path::new("/proc/self/mem"), O_RDWR),
            deny,
        ),
        out_of_reach(
            "openat2: a neighbour's memory as a file",
            |p, t| open(p, format!("/proc/{}/mem", t.process).as_ref(), O_RDWR),
            deny,
        ),
        out_of_reach(
            "openat2: all processes",
            |p, _| open(p, Path::new("/proc"), O_RDONLY | O_DIRECTORY),
            deny,
        ),
        out_of_reach(
            "openat2: its descriptors, as a directory",
            |p, _| open(p, Path::new("/proc/self/fd"), O_RDONLY | O_DIRECTORY),
            deny,
        ),
        out_of_reach(
            "openat2: the lock file again, to write",
            |p, t| open(p, &t.data.join("lock"), O_RDWR),
            deny,
        ),
        out_of_reach(
            "openat2: a shared memory file",
            |p, t| open(p, format!("/dev/shm/berth-test-{}", t.own).as_ref(), O_RDWR | O_CREAT),
            deny,
        )
        .untried(),
        out_of_reach("openat2: a device", |p, _| open(p, Path::new("/dev/null"), O_RDWR), deny),
        out_of_reach("openat2: a terminal", |p, _| open(p, Path::new("/dev/ptmx"), O_RDWR), deny)
            .untried(),
        Attack {
            filer: Want::Remains("names of other files"),
            ..ended("openat2: that the key is there, and its size", |p, t| {
                let file = open_from(p, CWD, &key(t), O_PATH)?;
                let room = p.put(&[0; 256])?;
                call(p, SYS_fstat, &[file, room])
            })
        },
        Attack {
            filer: Want::Refused(&[EBADF]),
            free: Without::Untried,
            ..ended("openat2: a directory without reading it, then its names", |p, t| {
                let users = open_from(p, CWD, &t.data.join("users"), O_PATH | O_DIRECTORY)?;
                let room = p.put(&[0; 4096])?;
                call(p, SYS_getdents64, &[users, room, 4096])
            })
        },
        Attack {
            filer: Want::Refused(&[EBADF]),
            free: Without::Untried,
            ..ended("openat2: the key without reading it, then its attributes", |p, t| {
                let file = open_from(p, CWD, &key(t), O_PATH)?;
                let (name, room) = (p.text("user.x")?, p.put(&[0; 64])?);
                call(p, SYS_fgetxattr, &[file, name, room, 64])
            })
        },
        Attack {
            filer: Want::Ended("fchmodat2"),
            free: Without::Untried,
            ..ended("openat2: the key without reading it, then its mode", |p, t| {
                let file = open_from(p, CWD, &key(t), O_PATH)?;
                let empty = p.text("")?;
                call(p, SYS_fchmodat2, &[file, empty, 0o666, AT_EMPTY_PATH as u64])
            })
        },
        Attack {
            filer: Want::Refused(FORBIDDEN),
            ..ended("openat2: the key without reading it, then by /proc", |p, t| {
                let file = open_from(p, CWD, &key(t), O_PATH)?;
                open(p, format!("/proc/self/fd/{file}").as_ref(), O_RDONLY)
            })
        },
    ]
}

/// By calls that neither has.
fn looks() -> Vec<Attack> {
    vec![
        ended("open: the ledger", |p, t| on_path(p, SYS_open, &ledger(t), &[O_RDWR as u64])),
        ended("openat: the key", |p, t| at_path(p, SYS_openat, &key(t), &[O_RDONLY as u64])),
        ended_untried("creat: a file", |p, t| on_path(p, SYS_creat, &t.data.join("new"), &[0o600])),
        ended("stat: the ledger", |p, t| {
            let room = p.put(&[0; 256])?;
            on_path(p, SYS_stat, &ledger(t), &[room])
        }),
        ended("lstat: the key", |p, t| {
            let room = p.put(&[0; 256])?;
            on_path(p, SYS_lstat, &key(t), &[room])
        }),
        ended("newfstatat: another user's file", |p, t| {
            let room = p.put(&[0; 256])?;
            at_path(p, SYS_newfstatat, &others_file(t), &[room, 0])
        }),
        ended("statx: an account of the machine", |p, _| {
            let room = p.put(&[0; 256])?;
            at_path(p, SYS_statx, Path::new("/etc/passwd"), &[0, 0xfff, room])
        }),
        ended("readlink: its own program", |p, _| {
            let room = p.put(&[0; 256])?;
            on_path(p, SYS_readlink, Path::new("/proc/self/exe"), &[room, 256])
        }),
        ended("readlinkat: a descriptor", |p, _| {
            let room = p.put(&[0; 256])?;
            at_path(p, SYS_readlinkat, Path::new("/proc/self/fd/0"), &[room, 256])
        }),
        ended("access: the key", |p, t| on_path(p, SYS_access, &key(t), &[0])),
        ended("faccessat: the key", |p, t| at_path(p, SYS_faccessat, &key(t), &[0])),
        ended("faccessat2: the key", |p, t| at_path(p, SYS_faccessat2, &key(t), &[0, 0])),
        ended("getxattr: another user's file", |p, t| {
            let (name, room) = (p.text("user.berth.digest")?, p.put(&[0; 256])?);
            on_path(p, SYS_getxattr, &others_file(t), &[name, room, 256])
        }),
        ended("listxattr: another user's file", |p, t| {
            let room = p.put(&[0; 256])?;
            on_path(p, SYS_listxattr, &others_file(t), &[room, 256])
        }),
        ended("statfs: the disk", |p, t| {
            let room = p.put(&[0; 256])?;
            on_path(p, SYS_statfs, &t.data, &[room])
        }),
        ended("getcwd: where it is", |p, _| {
            let room = p.put(&[0; 4096])?;
            call(p, SYS_getcwd, &[room, 4096])
        }),
        ended_untried("getdents: names", |p, _| {
            let room = p.put(&[0; 256])?;
            call(p, SYS_getdents, &[1, room, 256])
        }),
        ended("chdir: elsewhere", |p, t| on_path(p, SYS_chdir, &t.data, &[])),
        ended_untried("fchdir: elsewhere", |p, _| call(p, SYS_fchdir, &[1])),
        ended("uname: the machine", |p, _| {
            let room = p.put(&[0; 512])?;
            call(p, SYS_uname, &[room])
        }),
        ended("sysinfo: the machine", |p, _| {
            let room = p.put(&[0; 512])?;
            call(p, SYS_sysinfo, &[room])
        }),
    ]
}

/// What would change something: the calls that a filer has are tried on what is not its own.
fn changes() -> Vec<Attack> {
    let deny = FORBIDDEN_ACROSS;
    vec![
        ended("chmod: the key", |p, t| on_path(p, SYS_chmod, &key(t), &[0o600])),
        ended("fchmodat: the key", |p, t| at_path(p, SYS_fchmodat, &key(t), &[0o600])),
        ended_untried("fchmodat2: the key", |p, t| at_path(p, SYS_fchmodat2, &key(t), &[0o600, 0])),
        ended("chown: the key", |p, t| on_path(p, SYS_chown, &key(t), &[u64::MAX, u64::MAX])),
        ended("lchown: the key", |p, t| on_path(p, SYS_lchown, &key(t), &[u64::MAX, u64::MAX])),
        ended("fchownat: the key", |p, t| {
            at_path(p, SYS_fchownat, &key(t), &[u64::MAX, u64::MAX, 0])
        }),
        ended("utimensat: the ledger", |p, t| at_path(p, SYS_utimensat, &ledger(t), &[0, 0])),
        ended("utime: the ledger", |p, t| on_path(p, SYS_utime, &ledger(t), &[0])),
        ended("utimes: the ledger", |p, t| on_path(p, SYS_utimes, &ledger(t), &[0])),
        ended("futimesat: the ledger", |p, t| at_path(p, SYS_futimesat, &ledger(t), &[0])),
        ended_untried("setxattr: the ledger", |p, t| {
            let name = p.text("user.x")?;
            on_path(p, SYS_setxattr, &ledger(t), &[name, name, 1, 0])
        }),
        ended_untried("lsetxattr: the ledger", |p, t| {
            let name = p.text("user.x")?;
            on_path(p, SYS_lsetxattr, &ledger(t), &[name, name, 1, 0])
        }),
        ended_untried("removexattr: another user's file", |p, t| {
            let name = p.text("user.berth.digest")?;
            on_path(p, SYS_removexattr, &others_file(t), &[name])
        }),
        ended_untried("truncate: the ledger", |p, t| on_path(p, SYS_truncate, &ledger(t), &[0])),
        ended_untried("unlink: the ledger", |p, t| on_path(p, SYS_unlink, &ledger(t), &[])),
        ended_untried("rmdir: another user's home", |p, t| {
            on_path(p, SYS_rmdir, &t.data.join("users/bob/home"), &[])
        }),
        ended_untried("mkdir: in the data directory", |p, t| {
            on_path(p, SYS_mkdir, &t.data.join("new"), &[0o700])
        }),
        ended_untried("rename: the ledger", |p, t| {
            let new = p.text(t.data.join("new"))?;
            on_path(p, SYS_rename, &ledger(t), &[new])
        }),
        ended_untried("link: the key", |p, t| {
            let new = p.text(t.data.join("new"))?;
            on_path(p, SYS_link, &key(t), &[new])
        }),
        ended_untried("symlink: to anywhere", |p, t| {
            let new = p.text(t.data.join("new"))?;
            on_path(p, SYS_symlink, Path::new("/"), &[new])
        }),
        ended_untried("symlinkat: to anywhere, in its own home", |p, t| {
            let (to, new) = (p.text("/")?, p.text("link")?);
            call(p, SYS_symlinkat, &[to, own_directory(t), new])
        }),
        ended_untried("mknod: a FIFO", |p, t| {
            on_path(p, SYS_mknod, &t.data.join("new"), &[u64::from(S_IFIFO) | 0o600, 0])
        }),
        ended_untried("mknodat: a FIFO, in its own home", |p, t| {
            let new = p.text("fifo")?;
            call(p, SYS_mknodat, &[own_directory(t), new, u64::from(S_IFIFO) | 0o600, 0])
        }),
        out_of_reach(
            "unlinkat: the ledger",
            |p, t| at_path(p, SYS_unlinkat, &ledger(t), &[0]),
            deny,
        )
        .untried(),
        out_of_reach(
            "mkdirat: in another's home",
            |p, t| at_path(p, SYS_mkdirat, &t.data.join("users/bob/home/new"), &[0o700]),
            deny,
        )
        .untried(),
        out_of_reach(
            "renameat2: another user's file to the own home",
            |p, t| {
                let (from, to) = (p.text(others_file(t))?, p.text("stolen")?);
                call(p, SYS_renameat2, &[CWD, from, own_directory(t), to, 0])
            },
            deny,
        )
        .untried(),
        out_of_reach(
            "renameat2: exchanges an own file for the ledger",
            |p, t| {
                let (from, to) = (p.text("own")?, p.text(ledger(t))?);
                let exchange = u64::from(RENAME_EXCHANGE);
                call(p, SYS_renameat2, &[own_directory(t), from, CWD, to, exchange])
            },
            &[EACCES, EXDEV, ENOENT],
        )
        .untried(),
        ended_untried("renameat2: leaves a device behind", |p, t| {
            let (from, to) = (p.text("own")?, p.text("new")?);
            let own = own_directory(t);
            call(p, SYS_renameat2, &[own, from, own, to, u64::from(RENAME_WHITEOUT)])
        }),
        out_of_reach(
            "linkat: another user's file into the own home",
            |p, t| {
                let (from, to) = (p.text(others_file(t))?, p.text("stolen")?);
                call(p, SYS_linkat, &[CWD, from, own_directory(t), to, 0])
            },
            deny,
        )
        .untried(),
        ended_untried("linkat: by a descriptor", |p, t| {
            let (from, to) = (p.text("")?, p.text("stolen")?);
            call(p, SYS_linkat, &[1, from, own_directory(t), to, AT_EMPTY_PATH as u64])
        }),
        ended_untried("linkat: through a link", |p, t| {
            let (from, to) = (p.text("/proc/self/fd/1")?, p.text("stolen")?);
            let follow = AT_SYMLINK_FOLLOW as u64;
            call(p, SYS_linkat, &[CWD, from, own_directory(t), to, follow])
        }),
        out_of_reach(
            "linkat: the key without reading it, by /proc",
            |p, t| {
                let file = open_from(p, CWD, &key(t), O_PATH)?;
                let (from, to) = (p.text(format!("/proc/self/fd/{file}"))?, p.text("stolen")?);
                call(p, SYS_linkat, &[CWD, from, own_directory(t), to, 0])
            },
            deny,
        )
        .untried()
        .worker("openat2"),
    ]
}

//! The directory of all users and another's home, by descriptors that are open without being readable: a filer has
//! the calls, and Landlock or the kind of the descriptor is what refuses them.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use berth_tests::puppets::{Fate, Puppet};
use libc::*;

use super::paths::{FORBIDDEN, FORBIDDEN_ACROSS, open_from, others_file};
use super::{CWD, call, ended, out_of_reach};
use crate::attacks::{Attack, Made, Target, Want};

/// Where `st_nlink` stands in what `fstat` gives.
const LINKS: u64 = 16;

fn users(target: &Target) -> PathBuf {
    target.data.join("users")
}

fn others_home(target: &Target) -> PathBuf {
    users(target).join("bob/home")
}

/// Opens a directory without reading it, which no Landlock rule is asked for.
fn enter(puppet: &mut Puppet, path: PathBuf) -> Result<u64, Fate> {
    open_from(puppet, CWD, &path, O_PATH | O_DIRECTORY)
}

/// Sets an attribute of what is not open for reading: the call asks no Landlock rule.
fn set(puppet: &mut Puppet, descriptor: u64, name: &str, value: &[u8]) -> Made {
    let (name, bytes) = (puppet.text(name)?, puppet.put(value)?);
    call(puppet, SYS_fsetxattr, &[descriptor, name, bytes, value.len() as u64, 0])
}

/// An access list by which everybody may do everything.
fn all_for_everybody() -> Vec<u8> {
    let mut list = 2u32.to_ne_bytes().to_vec();
    for tag in [1u16, 4, 32] {
        list.extend(tag.to_ne_bytes());
        list.extend(7u16.to_ne_bytes());
        list.extend(u32::MAX.to_ne_bytes());
    }
    list
}

/// Moves it away and, where that goes, back again.
fn there_and_back(puppet: &mut Puppet, from: PathBuf, to: PathBuf) -> Made {
    let (from, to) = (puppet.text(from)?, puppet.text(to)?);
    call(puppet, SYS_renameat2, &[CWD, from, CWD, to, 0])?;
    call(puppet, SYS_renameat2, &[CWD, to, CWD, from, 0])
}

pub(super) fn rows() -> Vec<Attack> {
    let mut rows = looks();
    rows.extend(changes());
    rows
}

fn looks() -> Vec<Attack> {
    let deny = FORBIDDEN;
    vec![
        out_of_reach(
            "openat2: all users without reading them, then their names from there",
            |p, t| {
                let users = enter(p, users(t))?;
                open_from(p, users, ".".as_ref(), O_RDONLY | O_DIRECTORY).map(drop)
            },
            deny,
        ),
        out_of_reach(
            "openat2: all users without reading them, then their names by /proc",
            |p, t| {
                let users = enter(p, users(t))?;
                let path = format!("/proc/self/fd/{users}");
                open_from(p, CWD, path.as_ref(), O_RDONLY | O_DIRECTORY).map(drop)
            },
            deny,
        ),
        out_of_reach(
            "openat2: another's home without reading it, then a file from there",
            |p, t| {
                let home = enter(p, others_home(t))?;
                open_from(p, home, "secret".as_ref(), O_RDONLY).map(drop)
            },
            deny,
        ),
        out_of_reach(
            "openat2: another's file without reading it, then a lease",
            |p, t| {
                let file = open_from(p, CWD, &others_file(t), O_PATH)?;
                call(p, SYS_fcntl, &[file, F_SETLEASE as u64, F_RDLCK as u64])
            },
            &[EBADF],
        )
        .untried(),
        Attack {
            filer: Want::Remains("names of other files"),
            ..ended("openat2: that another's home is there", |p, t| {
                let home = enter(p, others_home(t))?;
                let room = p.put(&[0; 256])?;
                call(p, SYS_fstat, &[home, room])
            })
        },
        Attack {
            filer: Want::Remains("the number of users"),
            ..ended("openat2: how many users there are, by their directory's links", |p, t| {
                let directory = enter(p, users(t))?;
                let room = p.put(&[0; 256])?;
                call(p, SYS_fstat, &[directory, room])?;
                let links = p.peek(room + LINKS, 8)?;
                let told = std::fs::metadata(users(t)).unwrap().nlink();
                super::refused(if links == told.to_ne_bytes() { 0 } else { ENODATA })
            })
        },
    ]
}

fn changes() -> Vec<Attack> {
    let deny = FORBIDDEN_ACROSS;
    vec![
        out_of_reach(
            "openat2: all users without reading them, then an attribute",
            |p, t| {
                let users = enter(p, users(t))?;
                set(p, users, "user.x", b"x")
            },
            &[EBADF],
        )
        .untried(),
        out_of_reach(
            "openat2: all users without reading them, then an access list",
            |p, t| {
                let users = enter(p, users(t))?;
                set(p, users, "system.posix_acl_access", &all_for_everybody())
            },
            &[EBADF],
        )
        .untried(),
        out_of_reach(
            "openat2: another's home without reading it, then an access list",
            |p, t| {
                let home = enter(p, others_home(t))?;
                set(p, home, "system.posix_acl_access", &all_for_everybody())
            },
            &[EBADF],
        )
        .untried(),
        out_of_reach(
            "renameat2: all users",
            |p, t| there_and_back(p, users(t), t.data.join("moved")),
            deny,
        ),
        out_of_reach(
            "renameat2: another's directory",
            |p, t| there_and_back(p, users(t).join("bob"), users(t).join("moved")),
            deny,
        ),
        out_of_reach(
            "renameat2: another's home into the own one",
            |p, t| match t.directories {
                Some((home, _)) => {
                    let (from, to) = (p.text(others_home(t))?, p.text("stolen")?);
                    call(p, SYS_renameat2, &[CWD, from, home as u64, to, 0])
                }
                None => there_and_back(p, others_home(t), users(t).join("alice/staging/moved")),
            },
            deny,
        ),
        out_of_reach(
            "renameat2: a name in another's home, from its descriptor",
            |p, t| {
                let home = enter(p, others_home(t))?;
                let (from, to) = (p.text("secret")?, p.text("moved")?);
                call(p, SYS_renameat2, &[home, from, home, to, 0])?;
                call(p, SYS_renameat2, &[home, to, home, from, 0])
            },
            deny,
        )
        .worker("openat2"),
        out_of_reach(
            "mkdirat: in the directory of all users, by its descriptor",
            |p, t| {
                let (users, name) = (enter(p, users(t))?, p.text("new")?);
                call(p, SYS_mkdirat, &[users, name, 0o700])?;
                call(p, SYS_unlinkat, &[users, name, AT_REMOVEDIR as u64])
            },
            deny,
        )
        .worker("openat2"),
    ]
}

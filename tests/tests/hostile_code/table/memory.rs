//! Memory and descriptors: what is code, what is shared, and how much there is.

use berth_tests::puppets::{Fate, Order, Puppet, Report};
use libc::*;

use super::{call, ended, ended_untried, refused};
use crate::attacks::{Attack, Made, Want, Without};

const ANYWHERE: i32 = MAP_PRIVATE | MAP_ANONYMOUS;

fn map(puppet: &mut Puppet, protection: i32, flags: i32) -> Result<u64, Fate> {
    let (protection, flags) = (protection as u64, flags as u64);
    puppet.call(SYS_mmap, &[0, 4096, protection, flags, u64::MAX, 0])
}

/// Takes descriptors until there are no more, or it has as many.
fn descriptors(puppet: &mut Puppet, most: u32) -> Made {
    let own = puppet.descriptor(0) as u64;
    (0..most).try_for_each(|_| call(puppet, SYS_fcntl, &[own, F_DUPFD_CLOEXEC as u64, 0]))
}

pub(super) fn rows() -> Vec<Attack> {
    vec![
        ended("mmap: code", |p, _| map(p, PROT_READ | PROT_EXEC, ANYWHERE).map(drop)),
        ended("mmap: code that can be written", |p, _| {
            map(p, PROT_READ | PROT_WRITE | PROT_EXEC, ANYWHERE).map(drop)
        }),
        ended("mmap: shared memory, which no limit counts", |p, _| {
            map(p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS).map(drop)
        }),
        ended("mmap: over what is there", |p, _| {
            let page = map(p, PROT_READ | PROT_WRITE, ANYWHERE)?;
            let (protection, flags) = (PROT_READ as u64, (ANYWHERE | MAP_FIXED) as u64);
            call(p, SYS_mmap, &[page, 4096, protection, flags, u64::MAX, 0])
        }),
        ended_untried("mmap: a shared file", |p, _| {
            let (protection, flags) = ((PROT_READ | PROT_WRITE) as u64, MAP_SHARED as u64);
            call(p, SYS_mmap, &[0, 4096, protection, flags, 1, 0])
        }),
        ended("mprotect: data becomes code", |p, _| {
            let page = map(p, PROT_READ | PROT_WRITE, ANYWHERE)?;
            call(p, SYS_mprotect, &[page, 4096, (PROT_READ | PROT_EXEC) as u64])
        }),
        ended("pkey_mprotect: data becomes code", |p, _| {
            let page = map(p, PROT_READ | PROT_WRITE, ANYWHERE)?;
            let protection = (PROT_READ | PROT_EXEC) as u64;
            call(p, SYS_pkey_mprotect, &[page, 4096, protection, u64::MAX])
        }),
        ended_untried("remap_file_pages: another order", |p, _| {
            call(p, SYS_remap_file_pages, &[0, 4096, 0, 0, 0])
        }),
        ended_untried("mremap: to a place of its choice", |p, _| {
            let page = map(p, PROT_READ | PROT_WRITE, ANYWHERE)?;
            let flags = (MREMAP_MAYMOVE | MREMAP_FIXED) as u64;
            call(p, SYS_mremap, &[page, 4096, 4096, flags, page + 65536])
        }),
        ended_untried("mlock: keeps memory", |p, _| {
            let page = map(p, PROT_READ | PROT_WRITE, ANYWHERE)?;
            call(p, SYS_mlock, &[page, 4096])
        }),
        ended_untried("madvise: huge pages", |p, _| {
            let page = map(p, PROT_READ | PROT_WRITE, ANYWHERE)?;
            call(p, SYS_madvise, &[page, 4096, MADV_HUGEPAGE as u64])
        }),
        Attack {
            worker: Want::Refused(&[ENOMEM]),
            filer: Want::Refused(&[ENOMEM]),
            free: Without::Works,
            ..ended("memory beyond the limit", |p, _| match p.order(&Order::Hog { most: 160 })? {
                Report::Sent { errno, .. } => refused(errno),
                other => panic!("{other:?}"),
            })
        },
        Attack {
            worker: Want::Remains("memory"),
            filer: Want::Remains("memory"),
            free: Without::Works,
            ..ended("memory up to the limit", |p, _| match p.order(&Order::Hog { most: 64 })? {
                Report::Sent { errno, .. } => refused(errno),
                other => panic!("{other:?}"),
            })
        },
        Attack {
            worker: Want::Refused(&[EMFILE]),
            filer: Want::Refused(&[EMFILE]),
            free: Without::Untried,
            ..ended("descriptors beyond the limit", |p, _| descriptors(p, 4097))
        },
        Attack {
            worker: Want::Remains("descriptors"),
            filer: Want::Remains("descriptors"),
            free: Without::Works,
            ..ended("descriptors up to the limit", |p, _| descriptors(p, 48))
        },
    ]
}

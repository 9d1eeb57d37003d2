//! Against the daemon and other sessions' processes, which run as the same user.

use libc::*;

use super::{call, ended, ended_untried, on_path};
use crate::attacks::{Attack, Want, Without};
use crate::in_flight;

/// What a signal carries that a process queues.
fn signal_information(signal: i32) -> Vec<u8> {
    let mut information = vec![0; 128];
    information[..4].copy_from_slice(&signal.to_ne_bytes());
    information[8..12].copy_from_slice(&SI_QUEUE.to_ne_bytes());
    information
}

fn pair(first: u64, second: u64) -> Vec<u8> {
    [first.to_ne_bytes(), second.to_ne_bytes()].concat()
}

pub(super) fn rows() -> Vec<Attack> {
    let mut rows = memory();
    rows.extend(signals());
    rows.extend(resources());
    rows
}

fn memory() -> Vec<Attack> {
    vec![
        ended("ptrace: a neighbour is seized", |p, t| {
            call(p, SYS_ptrace, &[u64::from(PTRACE_SEIZE), t.process.into(), 0, 0])
        }),
        ended("process_vm_readv: a neighbour's memory is read", |p, t| {
            let own = p.put(&[0; 64])?;
            let (local, remote) = (p.put(&pair(own, 8))?, p.put(&pair(t.address, 8))?);
            call(p, SYS_process_vm_readv, &[t.process.into(), local, 1, remote, 1, 0])
        }),
        ended("process_vm_writev: a neighbour's memory is written", |p, t| {
            let own = p.put(&[0; 64])?;
            let (local, remote) = (p.put(&pair(own, 8))?, p.put(&pair(t.address, 8))?);
            call(p, SYS_process_vm_writev, &[t.process.into(), local, 1, remote, 1, 0])
        }),
        ended("open: a neighbour's memory as a file", |p, t| {
            let path = format!("/proc/{}/mem", t.process);
            on_path(p, SYS_open, path.as_ref(), &[O_RDWR as u64])
        }),
        ended("open: a neighbour's environment", |p, t| {
            let path = format!("/proc/{}/environ", t.process);
            on_path(p, SYS_open, path.as_ref(), &[O_RDONLY as u64])
        }),
        ended("readlink: a neighbour's descriptor", |p, t| {
            let room = p.put(&[0; 64])?;
            let path = format!("/proc/{}/fd/0", t.process);
            on_path(p, SYS_readlink, path.as_ref(), &[room, 64])
        }),
        ended("pidfd_open: a neighbour", |p, t| call(p, SYS_pidfd_open, &[t.process.into(), 0])),
        Attack {
            worker: Want::Ended("pidfd_open"),
            filer: Want::Ended("pidfd_open"),
            ..ended("pidfd_getfd: a neighbour's descriptor is taken", |p, t| {
                let pidfd = p.call(SYS_pidfd_open, &[t.process.into(), 0])?;
                call(p, SYS_pidfd_getfd, &[pidfd, 0, 0])
            })
        },
        ended_untried("pidfd_getfd: by itself", |p, _| call(p, SYS_pidfd_getfd, &[0, 0, 0])),
        ended("kcmp: what a neighbour shares", |p, t| {
            call(p, SYS_kcmp, &[t.own.into(), t.process.into(), 1, 0, 0])
        }),
        ended("get_robust_list: of a neighbour", |p, t| {
            let (head, length) = (p.put(&[0; 8])?, p.put(&[0; 8])?);
            call(p, SYS_get_robust_list, &[t.process.into(), head, length])
        }),
        ended("move_pages: of a neighbour", |p, t| {
            call(p, SYS_move_pages, &[t.process.into(), 0, 0, 0, 0, 0])
        }),
        ended_untried("process_madvise: by itself", |p, _| {
            call(p, SYS_process_madvise, &[0, 0, 0, 0, 0])
        }),
        ended_untried("process_mrelease: by itself", |p, _| call(p, SYS_process_mrelease, &[0, 0])),
        ended_untried("perf_event_open: of a neighbour", |p, t| {
            let mut attributes = vec![0; 128];
            attributes[0] = 1;
            attributes[4] = 128;
            let attributes = p.put(&attributes)?;
            call(p, SYS_perf_event_open, &[attributes, t.process.into(), u64::MAX, u64::MAX, 0])
        }),
    ]
}

fn signals() -> Vec<Attack> {
    vec![
        ended("kill: asks whether a neighbour is there", |p, t| {
            call(p, SYS_kill, &[t.process.into(), 0])
        }),
        ended("kill: stops a neighbour", |p, t| {
            call(p, SYS_kill, &[t.process.into(), SIGSTOP as u64])
        }),
        ended("kill: asks everybody", |p, _| call(p, SYS_kill, &[u64::MAX, 0])),
        ended("kill: kills a neighbour", |p, t| {
            call(p, SYS_kill, &[t.process.into(), SIGKILL as u64])
        }),
        ended("tgkill: a neighbour's thread", |p, t| {
            call(p, SYS_tgkill, &[t.process.into(), t.process.into(), SIGABRT as u64])
        }),
        ended_untried("tgkill: itself, to stop", |p, t| {
            call(p, SYS_tgkill, &[t.own.into(), t.own.into(), SIGSTOP as u64])
        }),
        ended("tkill: a neighbour's thread", |p, t| {
            call(p, SYS_tkill, &[t.process.into(), SIGSTOP as u64])
        }),
        ended("rt_sigqueueinfo: a neighbour", |p, t| {
            let information = p.put(&signal_information(SIGTERM))?;
            call(p, SYS_rt_sigqueueinfo, &[t.process.into(), SIGTERM as u64, information])
        }),
        ended("rt_tgsigqueueinfo: a neighbour's thread", |p, t| {
            let information = p.put(&signal_information(SIGTERM))?;
            let process = t.process.into();
            call(p, SYS_rt_tgsigqueueinfo, &[process, process, SIGTERM as u64, information])
        }),
        ended_untried("pidfd_send_signal: by itself", |p, _| {
            call(p, SYS_pidfd_send_signal, &[0, SIGSTOP as u64, 0, 0])
        }),
        ended("fcntl: has a neighbour signalled by a descriptor", |p, t| {
            let descriptor = p.descriptor(0) as u64;
            call(p, SYS_fcntl, &[descriptor, F_SETOWN as u64, t.process.into()])
        }),
        ended("fcntl: chooses that signal", |p, _| {
            let descriptor = p.descriptor(0) as u64;
            call(p, SYS_fcntl, &[descriptor, 10, SIGKILL as u64])
        }),
        ended("fcntl: has it sent", |p, _| {
            let descriptor = p.descriptor(0) as u64;
            call(p, SYS_fcntl, &[descriptor, F_SETFL as u64, (O_ASYNC | O_RDWR) as u64])
        }),
        ended("ioctl: has a neighbour signalled by a descriptor", |p, t| {
            let owner = p.put(&t.process.to_ne_bytes())?;
            call(p, SYS_ioctl, &[p.descriptor(0) as u64, 0x8901, owner])
        }),
        ended_untried("rt_sigaction: takes the signal that ends it", |p, _| {
            let action = p.put(&[0; 32])?;
            call(p, SYS_rt_sigaction, &[SIGSYS as u64, action, 0, 8])
        }),
        Attack {
            // The kernel ends it then, without the line that names the call.
            worker: Want::Ended(""),
            filer: Want::Ended(""),
            free: Without::Works,
            ..ended("rt_sigprocmask: blocks the signal that ends it, and goes on", |p, _| {
                let mask = p.put(&(1u64 << (SIGSYS - 1)).to_ne_bytes())?;
                call(p, SYS_rt_sigprocmask, &[SIG_BLOCK as u64, mask, 0, 8])?;
                call(p, SYS_getuid, &[])
            })
        },
    ]
}

fn resources() -> Vec<Attack> {
    vec![
        Attack {
            filer: Want::Remains("descriptors in flight"),
            ..ended_untried("sendmsg: more descriptors than the user may have in flight", |p, t| {
                let to = if t.directories.is_some() { p.descriptor(4) } else { p.descriptor(0) };
                in_flight::crowd(p, to)
            })
        },
        ended("prlimit64: a neighbour's descriptors", |p, t| {
            let old = p.put(&[0; 16])?;
            call(p, SYS_prlimit64, &[t.process.into(), RLIMIT_NOFILE.into(), 0, old])
        }),
        ended("setpriority: a neighbour's", |p, t| {
            call(p, SYS_setpriority, &[0, t.process.into(), 19])
        }),
        ended("sched_setscheduler: a neighbour's", |p, t| {
            let parameter = p.put(&[0; 4])?;
            call(p, SYS_sched_setscheduler, &[t.process.into(), SCHED_BATCH as u64, parameter])
        }),
        ended("sched_setattr: a neighbour's", |p, t| {
            let mut attributes = vec![0; 48];
            attributes[0] = 48;
            attributes[4] = SCHED_BATCH as u8;
            let attributes = p.put(&attributes)?;
            call(p, SYS_sched_setattr, &[t.process.into(), attributes, 0])
        }),
        ended("sched_setaffinity: a neighbour's", |p, t| {
            let mask = p.put(&[255; 128])?;
            call(p, SYS_sched_setaffinity, &[t.process.into(), 128, mask])
        }),
        ended("ioprio_set: a neighbour's", |p, t| {
            call(p, SYS_ioprio_set, &[1, t.process.into(), (3 << 13) | 7])
        }),
        ended("prctl: outlives its parent", |p, _| {
            call(p, SYS_prctl, &[PR_SET_PDEATHSIG as u64, 0])
        }),
        ended("prctl: shows its memory", |p, _| call(p, SYS_prctl, &[PR_SET_DUMPABLE as u64, 1])),
        ended("prctl: takes another name", |p, _| {
            let name = p.text("berthd")?;
            call(p, SYS_prctl, &[PR_SET_NAME as u64, name])
        }),
        ended("setrlimit: its own cores", |p, _| {
            let limit = p.put(&[0; 16])?;
            call(p, SYS_setrlimit, &[RLIMIT_CORE.into(), limit])
        }),
    ]
}

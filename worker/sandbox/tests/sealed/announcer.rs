//! An announcer that was taken over: it has its sockets and tries for more.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use berth_common::sandbox_mode::SandboxMode;
use libc::{AF_INET, AT_FDCWD, O_CREAT, O_DIRECTORY, O_RDONLY, O_WRONLY, SOCK_DGRAM, SOCK_STREAM};

use crate::{EACCES, Sealed, sys};

/// Shuts this process in as an announcer and does what it is told, a call a line.
pub(crate) fn live() {
    // What would be inherited by mistake is closed; the channel is descriptor 0.
    let _early = fs::File::open("/etc/passwd").map(std::mem::ManuallyDrop::new).unwrap();
    berth_sandbox::demote_announcer().unwrap();
    berth_sandbox::confine_announcer(SandboxMode::Require).unwrap();
    let channel = UnixStream::from(rustix::io::dup(std::io::stdin()).unwrap());
    // The first two lines name directories, which it has no use for.
    for line in BufReader::new(channel.try_clone().unwrap()).lines().skip(2) {
        let line = line.unwrap();
        let answer = match line.as_str() {
            "capabilities" => i64::from(has_capabilities()),
            "privileges" => i64::from(!rustix::thread::no_new_privs().unwrap()),
            _ => sys::call(&line.split_whitespace().collect::<Vec<_>>()),
        };
        writeln!(&channel, "{answer}").unwrap();
    }
    std::process::exit(0);
}

fn has_capabilities() -> bool {
    let sets = rustix::thread::capabilities(None).unwrap();
    !(sets.effective | sets.permitted | sets.inheritable).is_empty()
}

pub(crate) fn an_announcer_has_udp_and_neither_files_nor_tcp_nor_other_processes() {
    let mut announcer = Sealed::start("announcer");
    let path = |name: &str| format!("p:{}", announcer.directory.path().join(name).display());
    let (file, directory, new) = (path("home/f"), path("home"), path("home/new"));
    // The kernel's version of Landlock, asked without a restriction.
    let version = sys::call(&[&libc::SYS_landlock_create_ruleset.to_string(), "0", "0", "1"]);
    let kill = format!("{} {} 0", libc::SYS_kill, std::process::id());
    let open = libc::SYS_openat;
    let files = [
        format!("{open} {AT_FDCWD} {file} {O_RDONLY}"),
        format!("{open} {AT_FDCWD} {file} {O_WRONLY}"),
        format!("{open} {AT_FDCWD} {directory} {}", O_RDONLY | O_DIRECTORY),
        format!("{open} {AT_FDCWD} {new} {} 384", O_WRONLY | O_CREAT),
        format!("{open} {AT_FDCWD} p:/etc/passwd {O_RDONLY}"),
        format!("{} {AT_FDCWD} {file} 0", libc::SYS_unlinkat),
        format!("{} {AT_FDCWD} {new} 448", libc::SYS_mkdirat),
        format!("{} p:/bin/true 0 0", libc::SYS_execve),
    ];
    for call in &files {
        assert_eq!(announcer.attempt(call), EACCES, "{call}");
    }
    assert!(fs::read(announcer.directory.path().join("home/f")).is_ok(), "we may");

    // The passwd file that it had open was descriptor 3, and is none now: the channel's copy is.
    let udp = announcer.attempt(&format!("{} {AF_INET} {SOCK_DGRAM} 0", libc::SYS_socket));
    assert!(udp > 3, "{udp}");
    assert_eq!(announcer.attempt(&format!("{} {udp} z 16", libc::SYS_bind)), 0);
    let tcp = announcer.attempt(&format!("{} {AF_INET} {SOCK_STREAM} 0", libc::SYS_socket));
    let bound = announcer.attempt(&format!("{} {tcp} z 16", libc::SYS_bind));
    assert_eq!(bound, if version >= 4 { EACCES } else { 0 });
    let expected = if version >= 6 { -i64::from(libc::EPERM) } else { 0 };
    assert_eq!(announcer.attempt(&kill), expected, "a signal to its parent");
    assert_eq!((announcer.attempt("capabilities"), announcer.attempt("privileges")), (0, 0));
    // Both ends of ours: then the channel ends.
    drop((announcer.channel, announcer.answers));
    assert!(announcer.process.wait().unwrap().success());
}

//! Demotions with the real calls, each in a process of its own: this test program, executed again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "no test is confined, but for its children, which do what they are told"
)]

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Resource, getrlimit};

/// Runs the child test `name` of this program with `channel` as descriptor 0.
fn start(name: &str, channel: OwnedFd, setup: impl FnOnce(&mut Command)) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .env_clear()
        .stdin(Stdio::from(channel))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    setup(&mut command);
    command.spawn().unwrap()
}

/// What the child wrote into its channel until it ended.
fn report(name: &str, setup: impl FnOnce(&mut Command)) -> String {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut child = start(name, theirs.into(), setup);
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    text
}

/// Demotes this process and writes into the channel what became of it.
fn demote_and_report(demote: fn() -> Result<OwnedFd, berth_sandbox::DemotionError>) {
    let spare = std::mem::ManuallyDrop::new(std::fs::File::open("/dev/null").unwrap());
    let copy = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 100).unwrap();
    let copy = std::mem::ManuallyDrop::new(copy);
    match demote() {
        Err(error) => {
            let mut stream = UnixStream::from(copy.try_clone().unwrap());
            writeln!(stream, "error: {error}").unwrap();
        }
        Ok(channel) => {
            let mut stream = UnixStream::from(channel);
            let soft = |resource| getrlimit(resource).current.unwrap();
            let again = demote().is_err();
            write!(
                stream,
                "privs={} dumpable={:?} signal={:?} core={} files={} data={} lock={} queue={} \
                 pending={} oom={} again={again} open={}{}",
                rustix::thread::no_new_privs().unwrap(),
                rustix::process::dumpable_behavior().unwrap(),
                rustix::process::parent_process_death_signal().unwrap(),
                soft(Resource::Core),
                soft(Resource::Nofile),
                soft(Resource::Data),
                soft(Resource::Memlock),
                soft(Resource::Msgqueue),
                soft(Resource::Sigpending),
                std::fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim(),
                u8::from(rustix::io::fcntl_getfd(&*spare).is_ok()),
                u8::from(rustix::io::fcntl_getfd(&*copy).is_ok()),
            )
            .unwrap();
            // A block of the largest size still fits.
            std::hint::black_box(vec![1u8; 1024 * 1024]);
        }
    }
}

/// Whether this process was started by [`start`], not by somebody who runs ignored tests.
fn is_child() -> bool {
    std::env::vars_os().next().is_none()
}

#[test]
#[ignore = "the body of a process that the other tests start"]
fn child_worker() {
    if is_child() {
        demote_and_report(berth_sandbox::demote_worker);
    }
}

#[test]
#[ignore = "the body of a process that the other tests start"]
fn child_filer() {
    if is_child() {
        demote_and_report(berth_sandbox::demote_filer);
    }
}

#[test]
#[ignore = "the body of a process that the other tests start"]
fn child_with_environment() {
    demote_and_report(berth_sandbox::demote_worker);
}

#[test]
#[ignore = "the body of a process that the other tests start"]
fn child_that_waits() {
    if is_child() {
        let mut stream = UnixStream::from(berth_sandbox::demote_worker().unwrap());
        stream.write_all(b"up").unwrap();
        let _ = stream.read(&mut [0]);
    }
}

/// The hard limit in force, which no demotion can exceed.
fn capped(resource: Resource, wanted: u64) -> u64 {
    getrlimit(resource).maximum.map_or(wanted, |hard| hard.min(wanted))
}

#[test]
fn a_worker_is_demoted() {
    let text = report("child_worker", |_| {});
    assert!(
        text.starts_with("privs=true dumpable=NotDumpable signal=Some(\"Signal::KILL\")"),
        "{text}"
    );
    let files = capped(Resource::Nofile, 80);
    let data = capped(Resource::Data, 96 * 1024 * 1024);
    assert!(
        text.contains(&format!(
            "core=0 files={files} data={data} lock=0 queue=0 pending=0 oom=500"
        )),
        "{text}"
    );
    assert!(text.contains("again=true"), "the channel is taken once: {text}");
    assert!(text.contains("open=00"), "{text}");
}

#[test]
fn a_filer_is_demoted_with_limits_of_its_own() {
    let text = report("child_filer", |_| {});
    let files = capped(Resource::Nofile, 4096);
    let data = capped(Resource::Data, 128 * 1024 * 1024);
    assert!(text.contains(&format!("files={files} data={data}")), "{text}");
    assert!(text.contains("open=00"), "{text}");
}

#[test]
fn an_environment_is_refused() {
    let text = report("child_with_environment", |command| {
        command.env("LD_SOMETHING", "1");
    });
    assert!(text.starts_with("error: environment: it holds \"LD_SOMETHING\""), "{text}");
}

#[test]
fn a_process_whose_parent_did_not_make_the_channel_is_refused() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let exe = std::env::current_exe().unwrap();
    // The shell stands between, as a reaper would after the daemon's death.
    let mut shell = Command::new("/bin/sh")
        .args(["-c", "unset PWD OLDPWD SHLVL _; \"$0\" \"$@\"; exit 0"])
        .arg(&exe)
        .args(["--exact", "child_worker", "--ignored", "--nocapture", "--test-threads=1"])
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    let shell_pid = shell.id();
    shell.wait().unwrap();
    let expected = format!(
        "error: parent: it is process {shell_pid}, but process {} made the channel",
        std::process::id()
    );
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn a_process_without_a_socket_as_its_channel_is_refused() {
    // It has no way to report; that it ends at once, and not well, is the claim.
    let null = std::fs::File::open("/dev/null").unwrap();
    let mut child = start("child_that_waits", null.into(), |_| {});
    assert_eq!(child.wait().unwrap().code(), Some(101));
}

#[test]
fn a_demoted_process_is_killed_when_the_thread_that_started_it_ends() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut reader = ours.try_clone().unwrap();
    let mut child = std::thread::spawn(move || {
        let child = start("child_that_waits", theirs.into(), |_| {});
        reader.read_exact(&mut [0; 2]).unwrap();
        child
    })
    .join()
    .unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(ours.read(&mut [0]).unwrap(), 0);
}

//! The worker as a process of its own: its start, as the daemon makes it, and its end as a spare.

#![allow(clippy::unwrap_used, reason = "clippy knows helpers of tests only within a crate's own")]

use std::fs;
use std::process::{Child, Command, Stdio};

use berth_common::broker_protocol::{DaemonToWorker, WorkerSetup, WorkerToDaemon};
use berth_common::channel::Channel;
use berth_common::sandbox_mode::SandboxMode;
use serde_bytes::ByteBuf;

type DaemonEnd = Channel<DaemonToWorker, WorkerToDaemon>;

fn spawn() -> (Child, DaemonEnd) {
    let (daemon, worker) = Channel::pair().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_berth-worker"))
        .env_clear()
        .stdin(Stdio::from(worker.into_descriptor()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child, daemon)
}

fn setup() -> DaemonToWorker {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    DaemonToWorker::Setup(WorkerSetup {
        sandbox: SandboxMode::Require,
        certificates: vec![ByteBuf::from(params.self_signed(&key).unwrap().der().to_vec())],
        signature_scheme: 0x0403,
        server: "test".into(),
        boot_id: [1; 16],
        idle_seconds: 60,
        stall_seconds: 60,
        login_seconds: 10,
        max_transfers: 4,
    })
}

#[test]
fn a_spare_has_all_its_threads_when_it_is_ready_and_ends_with_its_channel() {
    let (child, daemon) = spawn();
    daemon.send(&setup(), &[]).unwrap();
    assert_eq!(daemon.recv().unwrap().message, WorkerToDaemon::Ready);
    // Its own, and the two helpers; not dumpable, so only root may look.
    if let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", child.id())) {
        assert_eq!(tasks.count(), 3);
    }
    drop(daemon);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_spare_that_is_shut_down_ends_well() {
    let (child, daemon) = spawn();
    daemon.send(&setup(), &[]).unwrap();
    assert_eq!(daemon.recv().unwrap().message, WorkerToDaemon::Ready);
    daemon.send(&DaemonToWorker::Shutdown { grace_seconds: 5 }, &[]).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn a_daemon_that_says_something_else_first_is_complained_of() {
    let (child, daemon) = spawn();
    daemon.send(&DaemonToWorker::SiteAccepted, &[]).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not expected"), "{output:?}");
}

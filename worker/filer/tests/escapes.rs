//! Ways out of a home, tried against the real filer: none may succeed, whoever made the links.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "no test is confined"
)]

mod harness;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use berth_common::filer_protocol::{FilerToWorker, WORKER_BROKE_EXIT, WorkerToFiler};
use berth_common::ids::OpId;
use berth_common::note::Note;
use berth_common::rel_path::RelPath;
use harness::{Bench, process, rel, source, upload};

const FILER: &str = env!("CARGO_BIN_EXE_berth-filer");

const SECRET: &[u8] = b"a secret of somebody else's";

/// A home with neighbours: `outside/secret`, and a directory that is not to be touched.
fn bench() -> (Bench, PathBuf) {
    let bench = Bench::serving(process(FILER));
    let outside = bench.directory.path().join("outside");
    fs::create_dir_all(outside.join("directory")).unwrap();
    fs::write(outside.join("secret"), SECRET).unwrap();
    (bench, outside)
}

fn assert_untouched(outside: &Path) {
    assert_eq!(fs::read(outside.join("secret")).unwrap(), SECRET);
    let names: Vec<_> = fs::read_dir(outside).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(fs::read_dir(outside.join("directory")).unwrap().count(), 0);
}

/// Every operation that takes a path, on this one. What it may never get is told apart from what it may.
fn try_everything(bench: &mut Bench, path: &str) {
    let at = || rel(path);
    let other = || rel("escape-target");
    let questions: Vec<Box<dyn FnOnce(OpId) -> WorkerToFiler>> = vec![
        Box::new(|op| WorkerToFiler::Stat { op, path: at() }),
        Box::new(|op| WorkerToFiler::List { op, path: at(), notes: true }),
        Box::new(|op| WorkerToFiler::OpenRead { op, path: at() }),
        Box::new(|op| WorkerToFiler::OpenUpload { op, upload: upload(path, source(3, 0), true) }),
        Box::new(|op| WorkerToFiler::MakeDirectory { op, path: at(), parents: false }),
        Box::new(|op| WorkerToFiler::MakeDirectory { op, path: at(), parents: true }),
        Box::new(|op| WorkerToFiler::Rename { op, from: at(), to: other(), overwrite: true }),
        Box::new(|op| WorkerToFiler::Rename { op, from: rel("mine"), to: at(), overwrite: true }),
        Box::new(|op| WorkerToFiler::SetNote { op, path: at(), note: Note::new("stolen").ok() }),
    ];
    for question in questions {
        let op = bench.begin(question);
        match bench.answer(op).0 {
            FilerToWorker::Failed { .. } => {}
            // A link may be shown as the link that it is.
            FilerToWorker::Entry { entry, .. } => {
                assert_eq!(entry.kind, berth_common::entry::EntryKind::Symlink, "{path}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[test]
fn texts_that_lead_out_are_no_paths() {
    let long = "x".repeat(256);
    let deep = "x/".repeat(2048) + "x";
    let texts = [
        "..",
        "../",
        "../secret",
        "../../etc/passwd",
        "a/..",
        "a/../..",
        "a/../../b",
        "a/b/../../..",
        "/",
        "/etc/passwd",
        "/..",
        "//etc",
        "a//b",
        "a/",
        "./..",
        ".",
        "./a",
        "a/.",
        "a/./b",
        "\0",
        "a\0",
        "a\0/../b",
        "../\0",
        "a/\0/b",
        &long,
        &deep,
    ];
    assert_eq!(texts.len(), 26);
    for text in texts {
        assert!(RelPath::new(text).is_err(), "{text:?}");
    }
}

#[test]
fn bytes_that_carry_a_bad_path_end_the_worker_and_reach_no_file() {
    // Written by hand into a packet that is otherwise right, since the types do not let them be made.
    let bad: [&[u8]; 5] = [b"../s", b"/etc", b"a\0bc", b"a\xff\xfeb", b"a//b"];
    for bytes in bad {
        let (mut bench, outside) = bench();
        let mut packet = Vec::new();
        let message = WorkerToFiler::OpenRead { op: OpId(1), path: rel("PATH") };
        berth_common::codec::encode_into(&message, &mut packet).unwrap();
        let at = packet.windows(4).position(|window| window == b"PATH").unwrap();
        packet[at..at + 4].copy_from_slice(bytes);
        let worker = bench.worker.as_ref().unwrap();
        rustix::net::send(worker, &packet, rustix::net::SendFlags::NOSIGNAL).unwrap();
        assert_eq!(bench.ends(), Some(WORKER_BROKE_EXIT.into()), "{bytes:?}");
        assert_untouched(&outside);
    }
}

#[test]
fn links_in_every_position_are_refused() {
    let (mut bench, outside) = bench();
    let home = bench.home.clone();
    fs::write(home.join("mine"), b"abc").unwrap();
    fs::create_dir_all(home.join("d/e")).unwrap();
    let links: [(&str, &Path); 14] = [
        ("to-secret", &outside.join("secret")),
        ("to-outside", &outside),
        ("to-relative", Path::new("../outside")),
        ("to-relative-secret", Path::new("../outside/secret")),
        ("to-root", Path::new("/")),
        ("to-parent", Path::new("..")),
        ("to-itself", Path::new("to-itself")),
        ("to-proc-root", Path::new("/proc/self/root")),
        ("to-proc-cwd", Path::new("/proc/self/cwd")),
        ("to-proc-fd", Path::new("/proc/self/fd")),
        ("to-inside", Path::new("d")),
        ("d/to-outside", Path::new("../../outside")),
        ("d/e/to-outside", &outside),
        ("to-nothing", Path::new("../outside/directory/new")),
    ];
    for (name, target) in links {
        symlink(target, home.join(name)).unwrap();
    }
    bench.charge_home();
    let paths = [
        // As the last component.
        "to-secret",
        "to-outside",
        "to-relative",
        "to-relative-secret",
        "to-root",
        "to-parent",
        "to-itself",
        "to-proc-root",
        "to-proc-cwd",
        "to-proc-fd",
        "to-inside",
        "d/to-outside",
        "d/e/to-outside",
        "to-nothing",
        // As the parent.
        "to-outside/secret",
        "to-relative/secret",
        "to-outside/new",
        "to-root/etc",
        "to-parent/outside",
        "to-proc-root/etc",
        "to-proc-cwd/x",
        "to-proc-fd/0",
        "to-proc-fd/3",
        "to-inside/e",
        "to-nothing/x",
        "to-itself/x",
        "d/to-outside/secret",
        "d/e/to-outside/secret",
        // Further up.
        "to-outside/directory/new",
        "to-root/etc/passwd",
        "to-parent/outside/secret",
        "to-parent/home/mine",
        "to-proc-root/etc/passwd",
        "to-proc-fd/0/x",
        "to-inside/e/x",
        "d/to-outside/directory/x",
        "d/e/to-outside/directory/x",
        "to-secret/x",
        "to-relative/directory/y",
    ];
    assert!(paths.len() >= 39);
    for path in paths {
        try_everything(&mut bench, path);
        assert_untouched(&outside);
    }
    // Removing takes the link itself, or nothing.
    for path in ["to-outside/secret", "to-parent/outside", "d/to-outside/directory"] {
        bench.remove(path, true).unwrap_err();
    }
    for path in ["to-outside", "to-secret", "d/e/to-outside"] {
        bench.remove(path, true).unwrap();
    }
    assert_untouched(&outside);
    assert_eq!(fs::read(home.join("mine")).unwrap(), b"abc");
    bench.check();
}

#[test]
fn the_longest_path_is_refused_not_cut() {
    let (mut bench, outside) = bench();
    let path = format!("{}x", "y/".repeat(2047));
    assert_eq!(path.len(), 4095);
    bench.remove(&path, true).unwrap_err();
    let path = format!("{}xx", "y/".repeat(2047));
    bench.remove(&path, true).unwrap_err();
    bench.make_directory(&path, false).unwrap_err();
    assert_untouched(&outside);
}

#[test]
fn a_link_that_is_swapped_in_during_operations_leads_nowhere() {
    let (mut bench, outside) = bench();
    let home = bench.home.clone();
    fs::create_dir(home.join("real")).unwrap();
    fs::write(home.join("real/secret"), b"mine").unwrap();
    symlink(&outside, home.join("link")).unwrap();
    fs::rename(home.join("real"), home.join("p")).unwrap();

    // Exchanges the directory and the link as fast as it can.
    let stop = Arc::new(AtomicBool::new(false));
    let (own, racing_home) = (Arc::clone(&stop), home.clone());
    let racer = std::thread::spawn(move || {
        let mut swaps = 0u64;
        while !own.load(Ordering::Relaxed) {
            rustix::fs::renameat_with(
                rustix::fs::CWD,
                racing_home.join("p"),
                rustix::fs::CWD,
                racing_home.join("link"),
                rustix::fs::RenameFlags::EXCHANGE,
            )
            .unwrap();
            swaps += 1;
        }
        swaps
    });
    let (mut refused, mut served) = (0, 0);
    for n in 0..1500 {
        let path = rel("p/secret");
        let op = bench.begin(|op| WorkerToFiler::OpenRead { op, path });
        match bench.answer(op) {
            (FilerToWorker::Opened { handle, .. }, files) => {
                let mut bytes = [0; 64];
                let read = rustix::io::read(&files[0], &mut bytes).unwrap();
                assert_eq!(&bytes[..read], b"mine");
                bench.tell(WorkerToFiler::CloseRead { handle });
                served += 1;
            }
            (FilerToWorker::Failed { .. }, _) => refused += 1,
            other => panic!("{other:?}"),
        }
        let put = bench.put("p/new", b"new", true).is_ok();
        let made = bench.make_directory(&format!("p/d{n}"), false).is_ok();
        let removed = bench.remove("p/secret-too", false).is_ok();
        let renamed = bench.rename("p/new", "p/secret2", true).is_ok();
        let _ = (put, made, removed, renamed);
    }
    stop.store(true, Ordering::Relaxed);
    let swaps = racer.join().unwrap();
    assert_untouched(&outside);
    assert!(
        swaps > 1000 && refused > 0 && served > 0,
        "{swaps} swaps, {refused} refused, {served} served"
    );
}

//! A worker's puppet that asks its filer for the way out: texts that are no paths, links that an administrator made,
//! names of others. All are refused, and nothing outside is read or changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use berth_common::codec;
use berth_common::entry::EntryKind;
use berth_common::filer_protocol::{FilerToWorker, WorkerToFiler};
use berth_common::ids::{OpId, StagingName};
use berth_common::note::Note;
use berth_common::rel_path::RelPath;
use berth_tests::account;

use crate::asking::{Asking, path, upload};
use crate::scene::{SECRET, Scene};

/// Stands for a path in messages that are then altered.
const MARKER: &str = "path-to-be-replaced";

fn outside(scene: &Scene) -> PathBuf {
    let outside = scene.server.directory().join("outside");
    account::make_dir(&outside);
    fs::write(outside.join("secret"), SECRET).unwrap();
    account::give(&outside.join("secret"));
    outside
}

#[track_caller]
fn assert_contained(scene: &Scene, what: &str) {
    let outside = scene.server.directory().join("outside");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{what}");
    assert_eq!(fs::read(outside.join("secret")).unwrap(), SECRET, "{what}");
    assert_eq!(fs::read(scene.server.home("bob").join("secret")).unwrap(), SECRET, "{what}");
    let data: Vec<_> = berth_tests::disk::entries(&scene.server.data().join("users"));
    assert_eq!(data.len(), 2, "{what}: {data:?}");
}

/// Every question that names a path.
fn questions(at: &RelPath) -> Vec<WorkerToFiler> {
    let op = OpId(1);
    let own = || path("own");
    let at = || at.clone();
    vec![
        WorkerToFiler::Stat { op, path: at() },
        WorkerToFiler::List { op, path: at(), notes: false },
        WorkerToFiler::OpenRead { op, path: at() },
        WorkerToFiler::OpenUpload { op, upload: crate::asking::at(upload("x", Some(3)), at()) },
        WorkerToFiler::OpenUpload { op, upload: crate::asking::at(upload("x", None), at()) },
        WorkerToFiler::OpenUpload {
            op,
            upload: crate::asking::at(upload("x", Some(2 << 20)), at()),
        },
        WorkerToFiler::MakeDirectory { op, path: at(), parents: false },
        WorkerToFiler::MakeDirectory { op, path: at(), parents: true },
        WorkerToFiler::Rename { op, from: at(), to: path("stolen"), overwrite: true },
        WorkerToFiler::Rename { op, from: own(), to: at(), overwrite: true },
        WorkerToFiler::SetNote { op, path: at(), note: Note::new("stolen").ok() },
    ]
}

/// A message with other bytes in the place of the path.
fn with_path(message: &WorkerToFiler, bytes: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    codec::encode_into(message, &mut packet).unwrap();
    let marker = [&[0xa0 | MARKER.len() as u8], MARKER.as_bytes()].concat();
    let at = packet.windows(marker.len()).position(|window| window == marker).unwrap();
    let mut text = vec![0xda];
    text.extend((bytes.len() as u16).to_be_bytes());
    text.extend(bytes);
    packet.splice(at..at + marker.len(), text);
    packet
}

#[test]
fn texts_that_are_no_paths_end_both() {
    let scene = Scene::new();
    outside(&scene);
    let long = vec![b'x'; 256];
    let deep = [b"x/".repeat(2048), b"x".to_vec()].concat();
    let texts: Vec<&[u8]> = vec![
        b"..",
        b"../../bob/home/secret",
        b"a/../..",
        b"/",
        b"/etc/passwd",
        b"//etc/passwd",
        b"/proc/self/root",
        b".",
        b"./own",
        b"a//b",
        b"a/",
        b"a\0",
        b"own\0/../..",
        b"\xff\xfe",
        &long,
        &deep,
    ];
    let questions = questions(&path(MARKER));
    // Each text in one question, and each question with one text.
    for round in 0..texts.len().max(questions.len()) {
        let (text, question) = (texts[round % texts.len()], &questions[round % questions.len()]);
        let mut asking = Asking::new(&scene);
        let _ = asking.puppet.send_bytes(asking.filer, with_path(question, text));
        asking.puppet.ended();
        let (_, filer) = scene.ends_of(asking.puppet.pid());
        let told = filer.contains("failed") || filer.contains("broke the protocol");
        assert!(told, "{text:?}: {filer}");
        assert_contained(&scene, &format!("{text:?}"));
    }
    scene.assert_exact();
}

#[test]
fn links_lead_nowhere_and_staging_has_no_name() {
    let scene = Scene::new();
    let outside = outside(&scene);
    let home = scene.server.home("alice");
    let links = [
        ("to-secret", outside.join("secret")),
        ("to-outside", outside.clone()),
        ("to-root", "/".into()),
        ("to-parent", "..".into()),
        ("to-staging", "../staging".into()),
        ("to-bob", "../../bob/home".into()),
        ("to-proc", "/proc/self/fd".into()),
        ("to-lock", "/proc/self/fd/1".into()),
        ("to-itself", "to-itself".into()),
    ];
    for (name, target) in &links {
        symlink(target, home.join(name)).unwrap();
        account::give(&home.join(name));
    }
    let paths = [
        "to-secret",
        "to-outside",
        "to-outside/secret",
        "to-root/etc/passwd",
        "to-parent/staging",
        "to-parent/home/to-secret",
        "to-staging/0000000000000001",
        "to-bob",
        "to-bob/secret",
        "to-proc",
        "to-proc/0",
        "to-proc/3/secret",
        "to-lock",
        "to-itself/x",
        "staging",
        "bob",
        "users/bob/home/secret",
        "proc/self/mem",
        "0000000000000001",
        "0000000000000001.journal",
        "owed-0000000000000001",
    ];
    let mut asking = Asking::new(&scene);
    for at in paths {
        let is_free = !at.starts_with("to-") && !at.contains('/');
        for question in questions(&path(at)) {
            let makes = matches!(
                question,
                WorkerToFiler::OpenUpload { .. } | WorkerToFiler::MakeDirectory { .. }
            );
            let makes_parents =
                matches!(question, WorkerToFiler::MakeDirectory { parents: true, .. });
            let free = is_free || (!at.starts_with("to-") && makes_parents);
            // Names that are only like others' are the user's to give.
            if makes && free {
                continue;
            }
            match asking.ask(|op| with_op(question.clone(), op)).unwrap().0 {
                FilerToWorker::Failed { .. } => {}
                FilerToWorker::Entry { entry, .. } => assert_eq!(entry.kind, EntryKind::Symlink),
                other => panic!("{at}: {question:?}: {other:?}"),
            }
        }
        assert_contained(&scene, at);
    }
    for name in [0, 1, u64::MAX] {
        let upload = StagingName(name);
        let answer = asking.ask(|op| WorkerToFiler::AbortUpload { op, upload }).unwrap().0;
        assert!(matches!(answer, FilerToWorker::Failed { .. }), "{answer:?}");
    }
    let bobs = scene.open_upload_of_bobs();
    let answer = asking.ask(|op| WorkerToFiler::AbortUpload { op, upload: bobs }).unwrap().0;
    assert!(matches!(answer, FilerToWorker::Failed { .. }), "{answer:?}");
    assert!(scene.server.staging("bob").join(bobs.file_name()).exists());
    drop(asking);
    // What was placed beside the server was not counted.
    for (name, _) in links {
        fs::remove_file(home.join(name)).unwrap();
    }
    scene.assert_unharmed();
}

/// The same question under another number.
fn with_op(question: WorkerToFiler, new: OpId) -> WorkerToFiler {
    let mut question = question;
    match &mut question {
        WorkerToFiler::Stat { op, .. }
        | WorkerToFiler::List { op, .. }
        | WorkerToFiler::OpenRead { op, .. }
        | WorkerToFiler::OpenUpload { op, .. }
        | WorkerToFiler::MakeDirectory { op, .. }
        | WorkerToFiler::SetNote { op, .. }
        | WorkerToFiler::Rename { op, .. } => *op = new,
        other => panic!("{other:?} names no path"),
    }
    question
}

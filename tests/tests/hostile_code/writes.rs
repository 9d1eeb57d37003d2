//! A worker's puppet that writes what it may not: past what it has reserved, when it has ended the upload, and after.
//! The quota stays exact, and what is in the home is what the ledger has.

use std::fs;

use berth_common::error_code::ErrorCode;
use berth_common::filer_protocol::{FilerToWorker, WorkerToFiler};
use berth_tests::puppets::Fate;

use crate::asking::{Asking, Upload, path};
use crate::scene::{QUOTA, Scene};

const SMALL: u64 = 1000;
const LARGE: u64 = 2 << 20;

/// Sizes of uploads, each kind: without a journal, with one, and of unknown size.
const KINDS: [Option<u64>; 3] = [Some(SMALL), Some(LARGE), None];

#[track_caller]
fn assert_refused(answer: &FilerToWorker) {
    let refused = matches!(answer, FilerToWorker::Failed { error: ErrorCode::Protocol, .. });
    assert!(refused, "{answer:?}");
}

fn fill(asking: &mut Asking, file: u64, size: u64) {
    let block = vec![7; 128 * 1024];
    let mut at = 0;
    while at < size {
        let count = block.len().min((size - at) as usize);
        at += asking.write(file, &block[..count], at).unwrap();
    }
}

#[test]
fn a_file_of_another_size_than_was_reserved_is_not_committed() {
    let scene = Scene::new();
    for kind in KINDS {
        for past in [1, 5 << 20] {
            let mut asking = Asking::new(&scene);
            let upload = asking.open("f", kind);
            let size = kind.or(upload.limit).unwrap();
            let bytes = [7; 1];
            match asking.write(upload.files[0], &bytes, size + past - 1) {
                Ok(_) => {
                    upload.files.iter().for_each(|file| asking.close(*file));
                    assert_refused(&asking.commit(upload.handle).unwrap());
                }
                // The daemon bounds a worker's file sizes.
                Err(Fate::Refused(errno)) => assert_eq!(errno, libc::EFBIG),
                Err(Fate::Ended) => {}
            }
            drop(asking);
            scene.server.wait_for_no_session_of("alice");
            assert!(!scene.server.home("alice").join("f").exists());
        }
    }
    abort_uploads(&scene);
    scene.assert_exact();
}

#[test]
fn a_file_that_is_cut_to_another_size_is_not_committed() {
    let scene = Scene::new();
    for size in [0, SMALL - 1, SMALL + 1, 1 << 40] {
        let mut asking = Asking::new(&scene);
        let upload = asking.open("f", Some(SMALL));
        fill(&mut asking, upload.files[0], SMALL);
        if asking.puppet.call(libc::SYS_ftruncate, &[upload.files[0], size]).is_ok() {
            asking.close(upload.files[0]);
            assert_refused(&asking.commit(upload.handle).unwrap());
        }
        drop(asking);
        scene.server.wait_for_no_session_of("alice");
    }
    scene.assert_exact();
}

/// How a worker ends an upload that it can still write to.
#[derive(Clone, Copy, Debug)]
enum Ended {
    Committed,
    Kept,
    Dropped,
}

const ENDS: [Ended; 3] = [Ended::Committed, Ended::Kept, Ended::Dropped];

/// Ends the upload, and claims that the session ends for it, and that the log blames the worker.
#[track_caller]
fn assert_blamed(scene: &Scene, mut asking: Asking, upload: &Upload, ended: Ended) {
    let handle = upload.handle;
    let _ = match ended {
        Ended::Committed => asking.commit(handle).map(drop),
        Ended::Kept | Ended::Dropped => {
            let keep = matches!(ended, Ended::Kept);
            asking.ask(|op| WorkerToFiler::CloseUpload { op, handle, keep }).map(drop)
        }
    };
    let (_, filer) = scene.ends_of(asking.puppet.pid());
    let blamed =
        filer.contains("its worker broke the protocol") && filer.contains("can still write");
    assert!(blamed, "{ended:?}: {filer}");
    drop(asking);
    scene.server.wait_for_no_session_of("alice");
}

#[test]
fn a_worker_that_ends_an_upload_and_goes_on_writing_is_ended() {
    let scene = Scene::new();
    for kind in KINDS {
        for ended in ENDS {
            for copied in [false, true] {
                let mut asking = Asking::new(&scene);
                let upload = asking.open("f", kind);
                let data = upload.files[0];
                fill(&mut asking, data, kind.unwrap_or(SMALL));
                if copied {
                    let copy = [data, libc::F_DUPFD_CLOEXEC as u64, 0];
                    asking.puppet.call(libc::SYS_fcntl, &copy).unwrap();
                    asking.close(data);
                }
                assert_blamed(&scene, asking, &upload, ended);
                assert!(!scene.server.home("alice").join("f").exists());
            }
        }
    }
    abort_uploads(&scene);
    scene.assert_exact();
}

/// It is unlinked with the upload, and its bytes count nowhere.
#[test]
fn a_worker_that_keeps_a_journal_is_ended() {
    let scene = Scene::new();
    for ended in ENDS {
        let mut asking = Asking::new(&scene);
        let upload = asking.open("f", Some(LARGE));
        fill(&mut asking, upload.files[0], LARGE);
        asking.close(upload.files[0]);
        assert_blamed(&scene, asking, &upload, ended);
    }
    abort_uploads(&scene);
    scene.assert_exact();
}

#[test]
fn a_committed_file_is_out_of_its_writers_reach() {
    let scene = Scene::new();
    let mut asking = Asking::new(&scene);
    let upload = asking.open("f", Some(SMALL));
    fill(&mut asking, upload.files[0], SMALL);
    asking.close(upload.files[0]);
    let committed = asking.commit(upload.handle).unwrap();
    assert!(matches!(committed, FilerToWorker::Committed { .. }), "{committed:?}");
    // Again, by a handle that is gone, ends both.
    let at = path("f");
    let (opened, files) = asking.ask(|op| WorkerToFiler::OpenRead { op, path: at }).unwrap();
    assert!(matches!(opened, FilerToWorker::Opened { .. }), "{opened:?}");
    let file = files[0] as u64;
    assert_eq!(asking.write(file, b"x", 0), Err(Fate::Refused(libc::EBADF)));
    let truncated = asking.puppet.call(libc::SYS_ftruncate, &[file, 0]);
    assert!(matches!(truncated, Err(Fate::Refused(libc::EBADF | libc::EINVAL))), "{truncated:?}");
    assert_eq!(fs::read(scene.server.home("alice").join("f")).unwrap(), vec![7; SMALL as usize]);
    let metadata = fs::metadata(scene.server.home("alice").join("f")).unwrap();
    assert_eq!(
        std::os::unix::fs::MetadataExt::mode(&metadata) & 0o7077,
        0,
        "no setuid, nobody else"
    );
    drop(asking);
    scene.assert_exact();
}

#[test]
fn the_quota_holds_whatever_is_asked_for() {
    let scene = Scene::new();
    let mut asking = Asking::new(&scene);
    let mut admitted = 0;
    for number in 0..20 {
        let request = crate::asking::upload(&format!("f{number}"), Some(QUOTA / 8));
        let answer = asking.ask(|op| WorkerToFiler::OpenUpload { op, upload: request }).unwrap().0;
        match answer {
            FilerToWorker::UploadOpened { .. } => admitted += 1,
            FilerToWorker::Failed { error: ErrorCode::QuotaExceeded { .. }, .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(admitted, 8);
    for size in [u64::MAX, 1 << 63, i64::MAX as u64] {
        let request = crate::asking::upload("huge", Some(size));
        let answer = asking.ask(|op| WorkerToFiler::OpenUpload { op, upload: request }).unwrap().0;
        assert!(matches!(answer, FilerToWorker::Failed { .. }), "{answer:?}");
    }
    drop(asking);
    scene.server.wait_for_no_session_of("alice");
    abort_uploads(&scene);
    scene.assert_exact();
}

/// What is left to be gone on with, by a client of its own.
fn abort_uploads(scene: &Scene) {
    let mut asking = Asking::new(scene);
    let (uploads, _) = asking.ask(|op| WorkerToFiler::Uploads { op }).unwrap();
    let FilerToWorker::Uploads { uploads, .. } = uploads else { panic!("{uploads:?}") };
    for upload in uploads {
        let upload = upload.upload;
        asking.ask(|op| WorkerToFiler::AbortUpload { op, upload }).unwrap();
    }
}

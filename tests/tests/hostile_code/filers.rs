//! What a worker's puppet says to a real filer: malformed, out of order, too much. The filer ends, and nobody else
//! notices; what it had begun is replayed.

use berth_common::codec;
use berth_common::digest::Md5;
use berth_common::filer_protocol::{FilerToWorker, MAX_HANDLES, MAX_OPERATIONS, WorkerToFiler};
use berth_common::ids::{Handle, OpId};
use berth_tests::puppets::{Fate, Order};

use crate::asking::{Asking, path, upload};
use crate::packets::broken;
use crate::scene::Scene;

const OP: OpId = OpId(1);

/// Claims that the filer has ended itself for what the worker said.
#[track_caller]
fn assert_ended(scene: &Scene, mut asking: Asking, what: &str) {
    asking.puppet.ended();
    let (_, filer) = scene.ends_of(asking.puppet.pid());
    let told = filer.contains("failed") || filer.contains("broke the protocol");
    assert!(told, "{what}: {filer}");
}

fn order(asking: &Asking, message: &WorkerToFiler, times: u64) -> Order {
    let mut packet = Vec::new();
    codec::encode_into(message, &mut packet).unwrap();
    Order::Send { descriptor: asking.filer, packet, times, per_second: 0 }
}

#[test]
fn a_packet_that_is_no_message_ends_both() {
    let scene = Scene::new();
    for (what, packet) in broken(&WorkerToFiler::Usage { op: OP }) {
        let mut asking = Asking::new(&scene);
        match asking.puppet.send_bytes(asking.filer, packet.clone()) {
            Err(Fate::Refused(_)) if packet.len() > 128 * 1024 => continue,
            _ => assert_ended(&scene, asking, what),
        }
    }
    scene.assert_exact();
}

#[test]
fn what_was_never_opened_or_asked_ends_both() {
    let scene = Scene::new();
    for handle in [Handle(0), Handle(7), Handle(u32::MAX)] {
        let digest = Md5::of(b"");
        for message in [
            WorkerToFiler::Commit { op: OP, handle, digest },
            WorkerToFiler::CloseUpload { op: OP, handle, keep: true },
            WorkerToFiler::Extend { op: OP, handle, least: u64::MAX },
            WorkerToFiler::KeepMd5 { op: OP, handle, md5: digest },
            WorkerToFiler::CloseRead { handle },
            WorkerToFiler::ListMore { op: OP },
            WorkerToFiler::DescriptorsTaken { messages: u32::MAX },
        ] {
            let mut asking = Asking::new(&scene);
            asking.tell(&message).unwrap();
            // It may be what had ended just before; else it ends both.
            match asking.ask(|op| WorkerToFiler::Usage { op }) {
                Ok((FilerToWorker::Usage { .. }, _))
                    if matches!(message, WorkerToFiler::ListMore { .. }) => {}
                Ok((other, _)) => panic!("{message:?}: {other:?}"),
                Err(_) => assert_ended(&scene, asking, &format!("{message:?}")),
            }
        }
    }
    scene.assert_exact();
}

#[test]
fn too_many_questions_files_and_numbers_twice_end_both() {
    let scene = Scene::new();
    let mut asking = Asking::new(&scene);
    let list = WorkerToFiler::List { op: OP, path: path(""), notes: false };
    asking.tell(&list).unwrap();
    let _ = asking.tell(&list);
    drop(asking);

    // Its answers are not read.
    let mut asking = Asking::new(&scene);
    let stat = WorkerToFiler::Uploads { op: OP };
    asking.puppet.begin(&order(&asking, &stat, 10_000_000));
    scene.assert_steady();
    assert_ended(&scene, asking, "a flood under one number");

    let mut asking = Asking::new(&scene);
    for number in 0..=MAX_OPERATIONS as u32 + 50 {
        let op = OpId(1000 + number);
        let message = WorkerToFiler::OpenUpload { op, upload: upload("f", None) };
        let order = order(&asking, &message, 1);
        asking.puppet.begin(&order);
    }
    scene.assert_steady();
    drop(asking);
    scene.server.wait_for_no_session_of("alice");

    let mut asking = Asking::new(&scene);
    let upload = asking.open("f", Some(0));
    asking.close(upload.files[0]);
    let committed = asking.commit(upload.handle).unwrap();
    assert!(matches!(committed, FilerToWorker::Committed { .. }), "{committed:?}");
    let mut opened = 0;
    for _ in 0..=MAX_HANDLES {
        let at = path("f");
        match asking.ask(|op| WorkerToFiler::OpenRead { op, path: at }) {
            Ok((FilerToWorker::Opened { .. }, files)) => {
                opened += 1;
                files.iter().for_each(|file| asking.close(*file as u64));
            }
            Ok((other, _)) => panic!("{other:?}"),
            Err(_) => break,
        }
    }
    assert!(opened <= MAX_HANDLES, "{opened} files are open");
    drop(asking);
    scene.assert_exact();
}

#[test]
fn descriptors_that_are_not_taken_are_not_sent_without_end() {
    let scene = Scene::new();
    let mut asking = Asking::new(&scene);
    let upload = asking.open("f", Some(0));
    asking.close(upload.files[0]);
    asking.commit(upload.handle).unwrap();
    for number in 0..200 {
        let message = WorkerToFiler::OpenRead { op: OpId(5000 + number), path: path("f") };
        let order = order(&asking, &message, 1);
        asking.puppet.begin(&order);
    }
    // In flight they count for all sessions: the others can pass theirs on.
    scene.assert_steady();
    drop(asking);
    scene.assert_exact();
}

#[test]
fn a_worker_that_leaves_at_any_moment_leaves_nothing_behind() {
    let scene = Scene::new();
    for question in [
        WorkerToFiler::OpenUpload { op: OP, upload: upload("f", Some(10)) },
        WorkerToFiler::OpenUpload { op: OP, upload: upload("f", None) },
        WorkerToFiler::MakeDirectory { op: OP, path: path("a/b/c"), parents: true },
        WorkerToFiler::Remove { op: OP, path: path("a"), recursive: true },
        WorkerToFiler::List { op: OP, path: path(""), notes: false },
    ] {
        let mut asking = Asking::new(&scene);
        asking.tell(&question).unwrap();
        asking.puppet.begin(&Order::Exit(0));
        asking.puppet.ended();
        drop(asking);
        scene.server.wait_for_no_session_of("alice");
    }
    scene.assert_exact();
}

//! Puppets that exit, crash, hang or are stopped at each station of their lives: it shows as what it is, and
//! another session's transfers go on.

use berth_common::broker_protocol::WorkerToDaemon;
use berth_common::channel::Message;
use berth_common::codec;
use berth_puppets::orders::Script;
use berth_tests::process;
use berth_tests::puppets::{Order, log_in};
use rustix::process::Signal;

use crate::scene::Scene;

/// How a process ends itself, and what the log calls it.
fn ends() -> [(Order, &'static str); 4] {
    [
        (Order::Exit(7), "exit code 7"),
        (Order::Fault, "signal 11"),
        (Order::Panic, "exit code 101"),
        (Order::Hog { most: 0 }, ""),
    ]
}

fn send(message: &impl Message) -> Order {
    let mut packet = Vec::new();
    codec::encode_into(message, &mut packet).unwrap();
    Order::Send { descriptor: 0, packet, times: 1, per_second: 0 }
}

#[test]
fn a_workers_end_is_logged_as_what_it_is() {
    let scene = Scene::new();
    for logged_in in [false, true] {
        for (order, name) in ends().into_iter().filter(|(_, name)| !name.is_empty()) {
            let mut puppet = scene.server.puppet();
            if logged_in {
                log_in(&mut puppet, "alice", "a");
            }
            puppet.begin(&order);
            puppet.ended();
            let (worker, _) = scene.ends_of(puppet.pid());
            assert!(worker.contains(name), "{order:?}: {worker}");
            scene.assert_steady();
        }
    }
    scene.assert_exact();
}

#[test]
fn a_filers_end_is_logged_as_what_it_is() {
    let scene = Scene::new();
    for (order, name) in ends().into_iter().filter(|(_, name)| !name.is_empty()) {
        let (mut filer, worker) = scene.filer();
        filer.begin(&order);
        filer.ended();
        let (_, end) = scene.ends_of(worker.pid());
        assert!(end.contains(name), "{order:?}: {end}");
        scene.assert_steady();
    }
    scene.assert_exact();
}

#[test]
fn filers_that_end_before_they_serve_cost_the_login_alone() {
    let scene = Scene::new();
    for stations in 0..3 {
        let (mut worker, filers) = scene.worker_at_login();
        let mut filer = filers.next();
        // The next one is real.
        filers.stop();
        for _ in 0..stations {
            filer = filer.proceed();
        }
        filer.begin(&Order::Exit(3));
        filer.ended();
        worker.accepted().unwrap();
        scene.assert_steady();
    }
    scene.assert_exact();
}

#[test]
fn workers_that_end_before_they_have_a_client_cost_nobody_a_session() {
    let scene = Scene::new();
    let flood = Order::Complain { bytes: vec![b'x'; 1000], times: 100_000 };
    let scripts = [
        Script { at_start: vec![Order::Exit(3)], ..Script::default() },
        Script { demoted: vec![Order::Fault], ..Script::default() },
        Script { demoted: vec![flood, Order::Exit(0)], ..Script::default() },
        Script {
            demoted: vec![send(&WorkerToDaemon::Handshaken { exporter: [0; 32] })],
            ..Script::default()
        },
        Script { as_a_spare: vec![send(&WorkerToDaemon::Ready)], ..Script::default() },
        Script { as_a_spare: vec![Order::Exit(0)], ..Script::default() },
    ];
    for script in scripts {
        let mark = scene.server.log().mark();
        scene.server.puppet_workers(&script);
        // The spare that waited is used up; the next ones are lost one after the other.
        let _ = std::net::TcpStream::connect(scene.server.address());
        scene
            .server
            .log()
            .wait_after(mark, "a spare is lost", |line| line.message() == "a spare was lost");
        scene.assert_steady();
        scene.server.puppet_workers(&Script::default());
        // In time somebody gets in again.
        let (puppet, _) = scene.worker_after_login();
        drop(puppet);
    }
    scene.assert_exact();
}

#[test]
fn a_stopped_worker_or_filer_holds_nobody_else_up() {
    let scene = Scene::new();
    let (puppet, _) = scene.worker_after_login();
    let session = scene.server.session_of("alice");
    for pid in [session.worker, session.filer.unwrap()] {
        process::signal(pid, Signal::STOP);
    }
    scene.assert_steady();
    scene.server.berthctl(&["status"]).ok();
    scene.server.berthctl(&["session", "kill", &session.id.to_string()]).ok();
    scene.end_of(puppet.pid());
    drop(puppet);
    scene.assert_exact();
}

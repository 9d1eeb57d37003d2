//! Workers and filers whose clients leave, or say nothing any more: each ends, by its client's leaving or its own
//! deadline, and the log tells which.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

use berth_tests::log::Line;
use berth_tests::raw::leaving::Leaving;
use berth_tests::raw::tcp;
use berth_tests::{Raw, process, report, wait_until};

use crate::scene::Scene;
use crate::transfers::{open, put};

/// Seconds that a session may have by which the ends of others are bounded.
const PATIENT: u32 = 20;

/// What ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Deadline,
    ClientLeft,
}

/// A session by its client's address.
struct Seen {
    what: String,
    from: SocketAddr,
    cause: Cause,
}

impl Seen {
    fn new(what: impl Into<String>, from: SocketAddr, cause: Cause) -> Self {
        Self { what: what.into(), from, cause }
    }

    /// The line that says that it has begun: from then on its time is counted.
    #[track_caller]
    fn begun(&self, scene: &Scene) -> Line {
        let from = self.from.to_string();
        scene.server.log().wait_after(0, "the session began", |line| {
            line.message() == "connection" && line.text("addr").as_ref() == Some(&from)
        })
    }

    /// Claims that it is still there, as far as the log tells.
    #[track_caller]
    fn assert_there(&self, scene: &Scene) {
        let session = self.begun(scene).number("session");
        let ended = scene.server.log().after(0, |line| {
            line.number("session") == session && line.message().starts_with("session ended")
        });
        assert!(ended.is_empty(), "{}: {ended:?}", self.what);
    }

    /// Waits for its end: by this cause, in worker and filer, and neither process is left.
    #[track_caller]
    fn assert_ended(&self, scene: &Scene) {
        let (log, what) = (scene.server.log(), &self.what);
        let begun = self.begun(scene);
        let session = begun.number("session");
        let of_it = |line: &Line| line.number("session") == session;
        let ended = log.wait_after(0, &format!("{what}: the session ends"), |line| {
            of_it(line) && line.message().starts_with("session ended")
        });
        assert_eq!(ended.message(), "session ended", "{what}: {}", ended.text);
        let told = |field: &str| ended.text(field).unwrap_or_default();
        let (worker, closing) = (told("worker"), told("closing"));
        match self.cause {
            Cause::Deadline => {
                assert!(worker.contains("the session timed out"), "{what}: {}", ended.text);
            }
            Cause::ClientLeft => {
                assert_eq!(worker, "ended normally", "{what}");
                // A reset tells no more than that; and where the filer is quicker to end, its worker is not heard.
                assert!(["ClientLeft", "Network", ""].contains(&&*closing), "{what}: {closing}");
            }
        }
        let login = log.after(0, |line| of_it(line) && line.message() == "login").pop();
        let filer = login.map(|line| line.number("filer").expect("a filer"));
        assert_eq!(told("filer"), if filer.is_some() { "ended normally" } else { "" }, "{what}");
        for pid in begun.number("worker").into_iter().chain(filer) {
            let pid = u32::try_from(pid).unwrap();
            wait_until(&format!("{what}: {pid} is gone"), || {
                !process::is_child(pid, scene.server.pid())
            });
        }
    }
}

fn address(raw: &Raw) -> SocketAddr {
    raw.local_address().unwrap()
}

#[test]
fn no_worker_or_filer_outlives_a_client_that_leaves_or_says_nothing_after_its_login() {
    let mut scene = Scene::roomy();
    let mut left = Vec::new();
    for how in Leaving::ALL {
        for with_an_upload in [false, true] {
            let mut raw = scene.mallory();
            if with_an_upload {
                open(&mut raw, put(&format!("left-{how:?}"), 5 << 20));
            }
            let what = format!("{how:?}, with an upload: {with_an_upload}");
            let seen = Seen::new(what, address(&raw), Cause::ClientLeft);
            left.push((seen, raw.leave(how)));
        }
    }
    left.iter().for_each(|(seen, _)| seen.assert_ended(&scene));
    drop(left);

    // Those that stay and say nothing hold their connections until all are looked at.
    scene.reload(&["idle_seconds = 3", "stall_seconds = 1"]);
    let idle = scene.mallory();
    let mut declared = scene.mallory();
    open(&mut declared, put("declared", 5 << 20));
    let began = Instant::now();
    let overdue = [("idle", &idle), ("an upload that is never sent", &declared)]
        .map(|(what, raw)| Seen::new(what, address(raw), Cause::Deadline));
    // One that came later and has more time is there when they have ended.
    scene.reload(&[&format!("idle_seconds = {PATIENT}")]);
    let patient = scene.mallory();
    overdue.iter().for_each(|seen| seen.assert_ended(&scene));
    Seen::new("patient", address(&patient), Cause::Deadline).assert_there(&scene);
    report(&format!("3 s and 1 s without a word: ended within {:?}", began.elapsed()));
    drop((idle, declared, patient));
    scene.reload(&[]);
    scene.assert_unharmed();
}

#[test]
fn no_worker_outlives_a_client_that_leaves_or_says_nothing_before_its_login() {
    let mut scene = Scene::roomy();
    let left = Leaving::ALL.map(|how| {
        let raw = Raw::connect(&scene.server);
        let from = address(&raw);
        (Seen::new(format!("{how:?}"), from, Cause::ClientLeft), raw.leave(how))
    });
    left.iter().for_each(|(seen, _)| seen.assert_ended(&scene));
    drop(left);

    scene.reload(&["login_seconds = 1"]);
    let began = Instant::now();
    let mutes = [0, 1, 2, 3].map(|number| {
        let mute = tcp(scene.address(), None).unwrap();
        // Bytes of no message's end put nothing off.
        (&mute).write_all(&[22, 3, 1][..number]).unwrap();
        let from = mute.local_addr().unwrap();
        (Seen::new(format!("{number} bytes"), from, Cause::Deadline), mute)
    });
    for (seen, _) in &mutes {
        seen.begun(&scene);
    }
    // One that came later and has more time is there when they have ended.
    scene.reload(&[&format!("login_seconds = {PATIENT}")]);
    let patient = tcp(scene.address(), None).unwrap();
    let there = Seen::new("patient", patient.local_addr().unwrap(), Cause::Deadline);
    there.begun(&scene);
    mutes.iter().for_each(|(seen, _)| seen.assert_ended(&scene));
    there.assert_there(&scene);
    report(&format!("1 s for a login: ended within {:?}", began.elapsed()));
    drop(patient);
    drop(mutes);
    scene.reload(&[]);
    scene.assert_unharmed();
}

//! Goal 7: a hundred gets of different users at once share the machine, and reach together what one alone does.
//!
//! The clients are threads of this process that discard what comes, so that no disk and no program's start is measured.
//! All are logged in before the first asks.
//!
//! How even the shares are depends on how long the gets last: hundreds of threads take turns of a millisecond or two, in
//! which a session moves megabytes, and how long each waits for its next turn is chance, which evens out. So the goal is
//! judged by gets that last half a minute, and what those of some seconds reach is told.

use std::sync::Barrier;
use std::time::Instant;

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::rel_path::RelPath;
use berth_tests::{Raw, Received, Server, client::at_once, files};

use super::{Outcome, Setting, float, told, wanted};

const USERS: u64 = 100;
/// How much faster than the slowest the fastest may be done: within 20%.
const SHARED: f64 = 0.8;
const TOTAL: f64 = 0.9;
const BRIEF: &str = "brief";
const LONG: &str = "long";

pub(super) fn measure(setting: &Setting) -> Outcome {
    let server = setting.server();
    let (brief, long) = (setting.large / 16, setting.large / 2);
    for user in users() {
        server.add_user(&user, "u", "unlimited");
        provide(&server, &user, BRIEF, brief);
        provide(&server, &user, LONG, long);
    }
    server.add_user("alone", "u", "unlimited");
    provide(&server, "alone", LONG, setting.large);
    let one = || rates(&server, vec!["alone".to_owned()], LONG, setting.large).total;

    let before = one();
    let (briefly, together) =
        (rates(&server, users(), BRIEF, brief), rates(&server, users(), LONG, long));
    let one = f64::midpoint(before, one());

    let shares =
        |size: u64| format!("{USERS} gets of {} MiB at once: slowest ÷ fastest", size >> 20);
    let (shared, total) = (together.evenness(), together.total / one);
    let totals = format!("{USERS} gets at once: all together ÷ one alone ({:.0} MB/s)", one / 1e6);
    Ok(vec![
        (shares(long), wanted(format!("{shared:.2}"), format!("{SHARED:.2}"), shared >= SHARED)),
        (shares(brief), told(format!("{:.2}", briefly.evenness()))),
        (totals, wanted(format!("{total:.2}"), format!("{TOTAL:.2}"), total >= TOTAL)),
    ])
}

fn users() -> Vec<String> {
    (0..USERS).map(|number| format!("user{number}")).collect()
}

/// A file that takes no room: it is read, encrypted and hashed like any other.
fn provide(server: &Server, user: &str, name: &str, size: u64) {
    let file = server.home(user).join(name);
    files::write_sparse(&file, size, &[]);
    berth_tests::account::give(&file);
}

/// Bytes a second.
struct Rates {
    slowest: f64,
    fastest: f64,
    total: f64,
}

impl Rates {
    fn evenness(&self) -> f64 {
        self.slowest / self.fastest
    }
}

/// Lets these users get the file of this name and size at once.
fn rates(server: &Server, users: Vec<String>, name: &str, each: u64) -> Rates {
    let barrier = Barrier::new(users.len());
    let number = float(users.len() as u64);
    let jobs = users.into_iter().map(|user| {
        let barrier = &barrier;
        move || {
            let mut raw = Raw::login(server, &user, "u");
            barrier.wait();
            let began = Instant::now();
            get(&mut raw, name, each);
            began.elapsed().as_secs_f64()
        }
    });
    let seconds = at_once(jobs.collect());
    let longest = seconds.iter().copied().fold(0.0, f64::max);
    let shortest = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let each = float(each);
    Rates { slowest: each / longest, fastest: each / shortest, total: number * each / longest }
}

/// Gets the file, and discards it.
///
/// # Panics
/// When something else comes.
fn get(raw: &mut Raw, name: &str, size: u64) {
    let path = RelPath::new(name).unwrap_or_else(|_| RelPath::root());
    let id = raw.id();
    raw.send(&ClientToWorker::Get { id, path, resume: None });
    let mut received = 0;
    loop {
        match raw.receive() {
            Received::Block(_, data) => received += data.len() as u64,
            Received::Message(WorkerToClient::GetReady { .. }) => {}
            Received::Message(WorkerToClient::GetEnd { .. }) => break,
            other => panic!("{other:?}"),
        }
    }
    raw.send(&ClientToWorker::GetDone { id });
    assert_eq!(received, size, "bytes of the file");
}

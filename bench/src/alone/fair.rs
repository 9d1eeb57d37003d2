//! Goal 7: a hundred gets of different users at once share the machine, and reach together what one alone does.
//!
//! The clients are threads of this process that discard what comes, so that no disk and no program's start is measured.
//! All are logged in before the first asks.

use std::sync::Barrier;
use std::time::Instant;

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::rel_path::RelPath;
use berth_tests::{Raw, Received, Server, client::at_once, files};

use super::{Outcome, Setting, float, wanted};

const USERS: u64 = 100;
/// How much faster than the slowest the fastest may be done: within 20%.
const SHARED: f64 = 0.8;
const TOTAL: f64 = 0.9;

pub(super) fn measure(setting: &Setting) -> Outcome {
    let server = setting.server();
    // All of it together is what one alone moves, times so much that nobody is done at once.
    let each = setting.large / 16;
    for number in 0..USERS {
        provide(&server, &name(number), each);
    }
    provide(&server, "alone", setting.large);
    let alone = rates(&server, vec!["alone".to_owned()], setting.large);
    let names = (0..USERS).map(name).collect();
    let together = rates(&server, names, each);
    let again = rates(&server, vec!["alone".to_owned()], setting.large);

    let one = f64::midpoint(alone.total, again.total);
    let (shared, total) = (together.slowest / together.fastest, together.total / one);
    let shares = format!("{USERS} gets of {} MiB at once: slowest ÷ fastest", each >> 20);
    let totals = format!("{USERS} gets at once: all together ÷ one alone ({:.0} MB/s)", one / 1e6);
    Ok(vec![
        (shares, wanted(format!("{shared:.2}"), format!("{SHARED:.2}"), shared >= SHARED)),
        (totals, wanted(format!("{total:.2}"), format!("{TOTAL:.2}"), total >= TOTAL)),
    ])
}

fn name(number: u64) -> String {
    format!("user{number}")
}

/// A user with a file that takes no room: it is read, encrypted and hashed like any other.
fn provide(server: &Server, user: &str, size: u64) {
    server.add_user(user, "u", "unlimited");
    let file = server.home(user).join("file");
    files::write_sparse(&file, size, &[]);
    berth_tests::account::give(&file);
}

/// Bytes a second.
struct Rates {
    slowest: f64,
    fastest: f64,
    total: f64,
}

/// Lets these users get their files at once.
fn rates(server: &Server, users: Vec<String>, each: u64) -> Rates {
    let barrier = Barrier::new(users.len());
    let number = float(users.len() as u64);
    let jobs = users.into_iter().map(|user| {
        let barrier = &barrier;
        move || {
            let mut raw = Raw::login(server, &user, "u");
            barrier.wait();
            let began = Instant::now();
            get(&mut raw, each);
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
fn get(raw: &mut Raw, size: u64) {
    let path = RelPath::new("file").unwrap_or_else(|_| RelPath::root());
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

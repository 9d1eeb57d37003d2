//! Goal 6: logins a second, each with a handshake of its own, beside sshd's with a key.

use std::time::Instant;

use berth_common::scram::{ITERATIONS, SALT_SIZE, ScramVerifier};
use berth_tests::{Raw, client::at_once};

use super::{Outcome, Setting, float, told, wanted};
use crate::client;
use crate::goals::Verdict;
use crate::peers;

const WANTED: f64 = 300.0;
/// Clients at once: as many as keep the processors of a small machine busy.
const AT_ONCE: u64 = 4;

pub(super) fn measure(setting: &Setting) -> Outcome {
    let (each, derivation) = (if setting.short { 100 } else { 500 }, derivation());
    let server = setting.server();
    server.add_user("often", "o", "unlimited");
    let jobs =
        (0..AT_ONCE).map(|_| || (0..each).for_each(|_| drop(Raw::login(&server, "often", "o"))));
    let began = Instant::now();
    at_once(jobs.collect());
    let all = began.elapsed().as_secs_f64();
    let logins = float(AT_ONCE * each);
    // The clients derive their keys on the same processors, all of which are busy.
    let processors = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let derived = logins * derivation / float(processors as u64);
    let rate = logins / (all - derived);
    let text = format!(
        "logins a second, each with a handshake, less {:.1} ms for the client's keys",
        derivation * 1e3
    );
    let mut rows =
        vec![(text, wanted(format!("{rate:.0}"), format!("{WANTED:.0}"), rate >= WANTED))];
    drop(server);
    let verdict =
        sshd(setting).map_or_else(Verdict::NotMeasured, |rate| told(format!("{rate:.0}")));
    rows.push((
        "logins a second of sshd, with a process of sftp and a key each".to_owned(),
        verdict,
    ));
    Ok(rows)
}

/// Seconds that deriving a test's keys takes.
fn derivation() -> f64 {
    const TIMES: u32 = 50;
    let began = Instant::now();
    for _ in 0..TIMES {
        let _ = ScramVerifier::from_password("o", vec![7; SALT_SIZE], *ITERATIONS.start());
    }
    began.elapsed().as_secs_f64() / f64::from(TIMES)
}

/// Logins a second of the same number of clients.
fn sshd(setting: &Setting) -> Result<f64, String> {
    let each = if setting.short { 5 } else { 25 };
    let place = setting.place("sshd")?;
    let sshd = peers::Sftp::start(&place).map_err(|error| error.to_string())?;
    let jobs = (0..AT_ONCE).map(|number| {
        let (sshd, output) = (&sshd, place.root().join(format!("client-{number}")));
        move || {
            (0..each).try_for_each(|_| {
                let client = sshd.login().map_err(|error| error.to_string())?;
                client::run(client, &output).map(drop).map_err(|error| error.to_string())
            })
        }
    });
    let began = Instant::now();
    at_once(jobs.collect()).into_iter().collect::<Result<Vec<()>, String>>()?;
    Ok(float(AT_ONCE * each) / began.elapsed().as_secs_f64())
}

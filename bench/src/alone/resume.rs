//! Goal 5: a transfer that is resumed at 99% sends at once. The login is the daemon's line in its log, the first data
//! what passes a proxy beside the client.

use std::time::{Duration, SystemTime};

use berth_tests::{Client, Distance, Server, account, files, interrupted};

use super::{Outcome, Setting, float, wanted};
use crate::goals::Verdict;

const FULL: u64 = 4 << 30;
const MOST_MS: f64 = 200.0;

pub(super) fn measure(setting: &Setting) -> Outcome {
    // In full it is the goal's 4 GiB, whatever else is measured with.
    let size = if setting.short { setting.large } else { FULL };
    let server = setting.server();
    server.add_user("again", "a", "unlimited");
    let client = server.client("again", "a");
    // What is sent need not take room here: a hole is read and hashed like anything else.
    files::write_sparse(&client.file("large"), size, &[]);
    account::give(&client.file("large"));

    interrupted::put(&server, &client, "again", "large");
    let (way, login) = resumed(&server, &client, &["put", "large"]);
    let put = verdict("put", login, way.first_data_to_server())?;
    server.wait_for_no_session_of("again");

    // One of them is in memory at a time: what is got takes no room in the home either.
    client.run(&["rm", "large"]).ok();
    let hole = server.home("again").join("hole");
    files::write_sparse(&hole, size, &[]);
    account::give(&hole);
    account::make_dir(&client.file("back"));
    interrupted::get(&server, &client, "again", ("hole", size), "back/hole");
    let (way, login) = resumed(&server, &client, &["get", "hole", "--to", "back/hole"]);
    let get = verdict("get", login, way.first_data_from_server())?;
    let text = |direction: &str| {
        let gib = float(size) / float(1 << 30);
        format!("{direction}, resumed at 99% of {gib} GiB: ms from the login to the first data")
    };
    Ok(vec![(text("put"), put), (text("get"), get)])
}

/// Resumes a transfer through a proxy, and tells when it was logged in.
fn resumed(server: &Server, client: &Client, arguments: &[&str]) -> (Distance, SystemTime) {
    let way = Distance::to(server.address(), Duration::ZERO);
    let mark = server.log().mark();
    client.clone().at(way.address(), server.fingerprint()).run(arguments).ok();
    let login = server.log().wait_after(mark, "the login", |line| line.message() == "login");
    (way, login.at)
}

fn verdict(
    direction: &str,
    login: SystemTime,
    data: Option<SystemTime>,
) -> Result<Verdict, String> {
    let data = data.ok_or_else(|| format!("no data of the {direction} passed"))?;
    // A line is read a moment after it was written.
    let ms = data.duration_since(login).unwrap_or_default().as_secs_f64() * 1e3;
    Ok(wanted(format!("{ms:.0}"), format!("at most {MOST_MS:.0}"), ms <= MOST_MS))
}

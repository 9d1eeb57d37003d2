//! Goal 4: over a way that takes 100 ms there and back, beside the same way without the delay.

use std::time::{Duration, Instant};

use berth_tests::{Client, Distance, Server};

use super::{Outcome, Setting, float, wanted};
use crate::files;

const ROUND_TRIP: Duration = Duration::from_millis(100);

/// What is wanted of a tree: at most so many times as long as without the delay, and so many seconds more.
const MOST_TIMES: f64 = 1.5;
const MORE_SECONDS: f64 = 2.0;

/// What is wanted of one stream.
const MEGABITS: f64 = 1000.0;

/// A client twice: near the server, and far away. Both go through a proxy, so that it slows down neither more.
struct Ways {
    near: Client,
    far: Client,
    /// The proxies end with their values.
    _proxies: [Distance; 2],
    _server: Server,
}

impl Ways {
    fn make(setting: &Setting) -> Self {
        let server = setting.server();
        server.add_user("far", "f", "unlimited");
        let client = server.client("far", "f");
        let proxies = [Duration::ZERO, ROUND_TRIP].map(|time| Distance::to(server.address(), time));
        let [near, far] = proxies
            .each_ref()
            .map(|proxy| client.clone().at(proxy.address(), server.fingerprint()));
        Self { near, far, _proxies: proxies, _server: server }
    }
}

/// Seconds from a client's start to its end.
fn seconds(client: &Client, arguments: &[&str]) -> f64 {
    let began = Instant::now();
    client.run(arguments).ok();
    began.elapsed().as_secs_f64()
}

pub(super) fn trees(setting: &Setting) -> Outcome {
    let ways = Ways::make(setting);
    let tree = ways.near.file("tree");
    files::make_tree(&tree, setting.files).map_err(|error| error.to_string())?;
    let mut rows = Vec::new();
    let near = [
        seconds(&ways.near, &["put", "-r", "tree", "--to", "/near"]),
        seconds(&ways.near, &["get", "-r", "near", "--to", "near"]),
    ];
    let far = [
        seconds(&ways.far, &["put", "-r", "tree", "--to", "/far"]),
        seconds(&ways.far, &["get", "-r", "far", "--to", "far"]),
    ];
    for arrived in ["near", "far"] {
        let arrived = ways.near.file(arrived);
        if let Some(what) =
            files::difference(&tree, &arrived, true).map_err(|error| error.to_string())?
        {
            return Err(what);
        }
    }
    for (direction, (near, far)) in ["put -r", "get -r"].into_iter().zip(near.into_iter().zip(far))
    {
        let most = MOST_TIMES * near + MORE_SECONDS;
        let text = format!(
            "{direction}, {}, 100 ms of round-trip time: seconds, beside {near:.1} without",
            setting.files_described()
        );
        rows.push((text, wanted(format!("{far:.1}"), format!("under {most:.1}"), far < most)));
    }
    Ok(rows)
}

pub(super) fn large(setting: &Setting) -> Outcome {
    let ways = Ways::make(setting);
    let file = ways.near.file("large");
    files::make_large(&file, setting.large).map_err(|error| error.to_string())?;
    // No more than one copy stands beside the other, for they are in memory.
    let put = [seconds(&ways.near, &["put", "large", "--to", "/near"]), {
        ways.near.run(&["rm", "near"]).ok();
        seconds(&ways.far, &["put", "large", "--to", "/far"])
    }];
    let get = [seconds(&ways.near, &["get", "far", "--to", "near"]), {
        std::fs::remove_file(ways.near.file("near")).map_err(|error| error.to_string())?;
        seconds(&ways.far, &["get", "far", "--to", "far"])
    }];
    let mut rows = Vec::new();
    for (direction, seconds) in [("put", put), ("get", get)] {
        let [near, far] = seconds.map(|seconds| float(setting.large) * 8e-6 / seconds);
        let text = format!(
            "{direction}, {}, 100 ms of round-trip time: Mbit/s, beside {near:.0} without",
            setting.large_described()
        );
        let holds = far >= MEGABITS;
        rows.push((text, wanted(format!("{far:.0}"), format!("{MEGABITS:.0}"), holds)));
    }
    let same = files::difference(&file, &ways.near.file("far"), true);
    same.map_err(|error| error.to_string())?.map_or(Ok(rows), Err)
}

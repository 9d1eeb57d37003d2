//! Transfers that were cut when 99 of 100 parts had arrived: what resuming is tried on, by tests and by `bench/`.

use std::path::Path;

use berth_common::limits::{BLOCK_SIZE, LEAVES_PER_BLOCK};

use crate::disk::only_journal_leaves;
use crate::{Client, Server, Valve, wait_until};

/// Blocks that have arrived and may not be in the journal yet.
const LAG: u64 = 4;

/// Puts this local file through a connection that holds when 99% have passed, and kills the client. Returns how many
/// leaves the server's journal has.
pub fn put(server: &Server, client: &Client, user: &str, name: &str) -> u64 {
    let size = client.file(name).metadata().expect("a local file").len();
    let valve = Valve::behind(server.address(), passing(size));
    cut(server, client, user, &valve, &["put", name], &server.staging(user), size)
}

/// The same for a get of a file of this size into a directory of the client's, in which nothing else is resumed.
pub fn get(
    server: &Server,
    client: &Client,
    user: &str,
    (name, size): (&str, u64),
    to: &str,
) -> u64 {
    let valve = Valve::before(server.address(), passing(size));
    let arguments = ["get", name, "--to", to];
    let directory = client.file(to).parent().expect("a directory").to_owned();
    cut(server, client, user, &valve, &arguments, &directory, size)
}

/// Whole blocks of 99%.
fn blocks(size: u64) -> u64 {
    size / 100 * 99 / BLOCK_SIZE as u64
}

/// So many bytes of a connection that these blocks are among them, and hardly another.
fn passing(size: u64) -> usize {
    let blocks = usize::try_from(blocks(size)).expect("a size");
    // Each block has leaf digests, TLS has a few bytes a record, and there is a login before.
    blocks * (BLOCK_SIZE + BLOCK_SIZE / 500) + BLOCK_SIZE / 4
}

fn cut(
    server: &Server,
    client: &Client,
    user: &str,
    valve: &Valve,
    arguments: &[&str],
    journal: &Path,
    size: u64,
) -> u64 {
    let running = client.clone().at(valve.address(), server.fingerprint()).spawn(arguments);
    let most = blocks(size).saturating_sub(LAG) * LEAVES_PER_BLOCK as u64;
    wait_until("the journal has 99%", || only_journal_leaves(journal) >= most);
    running.kill();
    valve.open();
    server.wait_for_no_session_of(user);
    only_journal_leaves(journal)
}

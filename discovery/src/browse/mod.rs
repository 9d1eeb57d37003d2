//! Asking the local network which Berth servers there are: what `berth discover` does.
//!
//! It asks on all interfaces at once, listens for a given time, and returns a [`Found`]. It opens no connection to
//! any server, and believes nothing: see [`Server`].

mod list;

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::interfaces::{self, NetworkError};
use crate::link::{self, Link};
use crate::message::{query, read};
use list::List;

/// When it is asked again, since a packet may be lost: at first after this time, and then after twice the time of
/// before (RFC 6762, section 5.2).
const FIRST_REPEAT: Duration = Duration::from_secs(1);

/// A server as it was announced, which anybody on the network can do in anybody's name. Its texts may hold any
/// characters: escape them before they reach a terminal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// What it is called; at most 63 bytes as they were announced, and what is no UTF-8 replaced.
    pub name: String,
    /// The name of its host.
    pub host: String,
    /// At most 8.
    pub addresses: Vec<IpAddr>,
    /// Where it listens; never 0.
    pub port: u16,
    /// The version of the protocol, at most 64 characters.
    pub protocol: Option<String>,
    /// The version of the program, at most 64 characters.
    pub version: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// At most [`MOST_SERVERS`], sorted by name, each once.
    pub servers: Vec<Server>,
    /// Whether more have answered.
    pub more: bool,
}

pub use list::MOST_SERVERS;

/// Asks and listens for so long.
///
/// # Errors
/// [`NetworkError`], when it can be asked on no interface at all.
///
/// # Cancel safety
/// Nothing is left behind.
pub async fn browse(duration: Duration) -> Result<Found, NetworkError> {
    let end = Instant::now() + duration;
    let (queue, mut heard) = link::queue();
    let mut links = Vec::new();
    let mut unusable = None;
    for interface in interfaces::list(&[])? {
        match Link::join(&interface, &queue) {
            Ok(link) => links.push(link),
            Err(source) => {
                let interface = interface.name;
                unusable = unusable.or(Some(NetworkError::Unusable { interface, source }));
            }
        }
    }
    if links.is_empty() {
        return Err(unusable.unwrap_or(NetworkError::NoInterface));
    }
    let mut list = List::new();
    let (mut ask_at, mut wait) = (Instant::now(), FIRST_REPEAT);
    while Instant::now() < end {
        if Instant::now() >= ask_at {
            let packet = query(&list.questions(), &[]);
            links.iter().for_each(|link| link.send(&packet));
            (ask_at, wait) = (Instant::now() + wait, 2 * wait);
        }
        match timeout_at(end.min(ask_at), heard.recv()).await {
            Ok(Some(packet)) => {
                if let Some(message) = read(&packet.bytes) {
                    list.hear(&message);
                }
            }
            // No socket can be read any more.
            Ok(None) => sleep_until(end.min(ask_at)).await,
            Err(_) => {}
        }
    }
    Ok(Found { servers: list.servers(), more: list.overflowed() })
}

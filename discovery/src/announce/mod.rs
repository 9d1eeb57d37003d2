//! Announcing a server on the local network: what `berthd announce` does, on a runtime of its own.
//!
//! It joins the group on each interface, looks every few seconds for interfaces that came, went or have other
//! addresses, and says good-bye at the end. When a name is taken it goes on with the next one. It reads no file and
//! connects to nothing, and nothing that it hears does more than make it answer, ask again or take another name.

mod disputes;
mod responder;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::interfaces::{self, Interface, NetworkError};
use crate::link::{self, Heard, Link};
use crate::message::read;
use crate::service::{Announcement, Names};
use disputes::Disputes;
use responder::{Responder, Verdict};

/// How often it is looked which interfaces there are.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What is told of how it goes, for a log and a service manager.
pub trait Telling {
    /// It speaks on the interfaces that there are, or waits for one. Told once, before it is known whether the name
    /// is free, which any neighbour can put off for ever.
    fn began(&self);
    /// The server is announced as this on these interfaces; on none where there is no network.
    fn announced(&self, name: &str, interfaces: &[&str]);
    /// The name was taken, and this one is tried.
    fn renamed(&self, name: &str);
    /// An interface cannot be used; told once.
    fn unusable(&self, interface: &str, reason: &dyn std::fmt::Display);
}

/// Announces until `end`, and then says good-bye. Of the interfaces it uses those of these names, or all but the
/// loopback where none is named; one that is not there yet is waited for.
///
/// # Errors
/// [`NetworkError::Unlisted`], when it cannot be found out at the start which interfaces there are.
///
/// # Cancel safety
/// Who cancels it says no good-bye; others forget the server after two minutes.
pub async fn announce(
    announcement: &Announcement,
    wanted: &[String],
    telling: &impl Telling,
    end: impl Future<Output = ()>,
) -> Result<(), NetworkError> {
    let (queue, mut heard) = link::queue();
    let mut announcer = Announcer::new(announcement, telling, queue);
    announcer.look(interfaces::list(wanted)?);
    telling.began();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(end);
    loop {
        let due = announcer.act(Instant::now());
        tokio::select! {
            // In this order, so that no flood of packets keeps it from ending, looking or speaking.
            biased;
            () = &mut end => break,
            _ = looks.tick() => match interfaces::list(wanted) {
                Ok(interfaces) => announcer.look(interfaces),
                Err(error) => tracing::debug!(%error, "the interfaces stay as they were"),
            },
            () = tokio::time::sleep_until(due.into()) => {}
            // There is a sender as long as there is an announcer.
            Some(packet) = heard.recv() => announcer.hear(&packet, Instant::now()),
        }
    }
    announcer.good_bye();
    Ok(())
}

/// A link and what is said there.
struct Place {
    interface: Interface,
    link: Link,
    responder: Responder,
}

struct Announcer<'a, T> {
    announcement: &'a Announcement,
    telling: &'a T,
    queue: mpsc::Sender<Heard>,
    /// By which names it is announced everywhere.
    number: u32,
    names: Names,
    places: BTreeMap<u32, Place>,
    /// Of which it was told that they cannot be used.
    unusable: Vec<u32>,
    disputes: Disputes,
    told: Option<(u32, Vec<String>)>,
}

impl<'a, T: Telling> Announcer<'a, T> {
    fn new(announcement: &'a Announcement, telling: &'a T, queue: mpsc::Sender<Heard>) -> Self {
        Self {
            announcement,
            telling,
            queue,
            number: 1,
            names: announcement.names(1),
            places: BTreeMap::new(),
            unusable: Vec::new(),
            disputes: Disputes::default(),
            told: None,
        }
    }

    /// Goes by the interfaces that there are now.
    fn look(&mut self, interfaces: Vec<Interface>) {
        let now = Instant::now();
        let is_same = |a: &Interface, b: &Interface| {
            a.index == b.index && a.name == b.name && a.v4 == b.v4 && a.has_v6 == b.has_v6
        };
        self.places.retain(|_, place| interfaces.iter().any(|it| is_same(it, &place.interface)));
        self.unusable.retain(|index| interfaces.iter().any(|it| it.index == *index));
        for interface in interfaces {
            if interface.addresses.is_empty() {
                // Nobody could connect; its addresses may come.
                self.places.remove(&interface.index);
                continue;
            }
            if let Some(place) = self.places.get_mut(&interface.index) {
                if place.interface.addresses != interface.addresses {
                    place.responder.readdress(&interface.addresses, now);
                    place.interface = interface;
                }
                continue;
            }
            match Link::join(&interface, &self.queue) {
                Ok(link) => {
                    let responder = self.responder(&interface.addresses, now);
                    self.places.insert(interface.index, Place { interface, link, responder });
                }
                Err(error) if !self.unusable.contains(&interface.index) => {
                    self.unusable.push(interface.index);
                    self.telling.unusable(&interface.name, &error);
                }
                // It is tried again each time.
                Err(_) => {}
            }
        }
        self.tell();
    }

    fn responder(&self, addresses: &[IpAddr], start: Instant) -> Responder {
        Responder::new(self.announcement, &self.names, addresses, start)
    }

    /// Sends what is due, and returns when something is again.
    fn act(&mut self, now: Instant) -> Instant {
        for place in self.places.values_mut() {
            while let Some(packet) = place.responder.act(now) {
                place.link.send(&packet);
            }
        }
        self.tell();
        let due = self.places.values().filter_map(|place| place.responder.due()).min();
        due.unwrap_or(now + LOOK_EVERY)
    }

    fn hear(&mut self, packet: &Heard, now: Instant) {
        let Some(message) = read(&packet.bytes) else { return };
        let ours: Vec<IpAddr> =
            self.places.values().flat_map(|it| it.interface.addresses.iter().copied()).collect();
        let Some(place) = self.places.get_mut(&packet.interface) else { return };
        match place.responder.hear(&message, &ours, now) {
            Verdict::Fine => {}
            Verdict::Disputed => {
                self.disputes.add(now);
                place.responder.wait_until(now + self.disputes.pause(now));
                tracing::debug!(from = %packet.from, "another one claims the name");
            }
            Verdict::Taken => self.take_another_name(now),
        }
    }

    /// Everywhere, since a server has one name. What was said elsewhere is taken back first.
    fn take_another_name(&mut self, now: Instant) {
        self.good_bye();
        self.number = self.number.saturating_add(1);
        self.names = self.announcement.names(self.number);
        self.disputes.add(now);
        let start = now + self.disputes.pause(now);
        self.telling.renamed(&self.names.shown);
        let (announcement, names) = (self.announcement, &self.names);
        for place in self.places.values_mut() {
            place.responder =
                Responder::new(announcement, names, &place.interface.addresses, start);
        }
    }

    fn good_bye(&self) {
        for place in self.places.values() {
            if let Some(packet) = place.responder.good_bye() {
                place.link.send(&packet);
            }
        }
    }

    /// Tells where it is announced, when that has changed.
    fn tell(&mut self) {
        let announced = self.places.values().filter(|place| place.responder.has_announced());
        let interfaces: Vec<_> = announced.map(|place| place.interface.name.clone()).collect();
        // While it asks for names on all of them, nothing is certain yet.
        if interfaces.is_empty() && !self.places.is_empty() {
            return;
        }
        let now = (self.number, interfaces);
        if self.told.as_ref() != Some(&now) {
            let names: Vec<_> = now.1.iter().map(String::as_str).collect();
            self.telling.announced(&self.names.shown, &names);
            self.told = Some(now);
        }
    }
}

#[cfg(test)]
mod tests;

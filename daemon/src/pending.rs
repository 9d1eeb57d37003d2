//! Connections that have not logged in, and which of them goes when there are as many as may be: a pure table.
//!
//! Whoever comes is let in at the cost of the network that has most of them, so that a flood displaces itself and
//! others hardly notice it. Networks are compared first and addresses within them second, so that an office whose
//! network has one bad machine is not kept out with it. Of those who have most go first who have not finished their
//! handshake, and among equals chance decides, so that nobody can arrange to be the one who stays. Who has most loses one
//! at any age: also a network with two, beside as many others with one each as there are places besides.
//!
//! Where nobody has more than the newcomer, somebody goes for it as in OpenSSH's random early drop (`MaxStartups`),
//! with a probability that rises: there with the number of connections, here with the age of the one that is drawn.
//! Within [`SPARED`] nobody goes, which is enough for a handshake across the world; then who has not finished it goes
//! for any other network at once, and all others with a probability that rises from 0 to 1 at [`GRACE`]. When
//! nobody goes the newcomer is refused. So the logins that are under way are not ended by those who come, at most as
//! many processes are made in a second as there are places, and yet nobody is kept out for long.
//!
//! The worst case is an attacker with a connection from each of as many networks as there are places, or more, who
//! finishes every handshake and comes again as soon as he is refused or ended: nothing tells an honest newcomer from
//! him. With `M` places and `R` that come in a second
//! - a newcomer is let in with the probability `M / (R * L)`, in which `L`, the time that one has its place for, is
//!   `SPARED + sqrt(pi * M / R)` seconds, or [`GRACE`] where that is less; so at least with `M / (R * GRACE)`. Of
//!   128 places, one try in 13 comes in where a thousand come in a second, and nearly half of them where a hundred do;
//!   more than `M / (R * T)` nobody can give to logins that take the time `T`;
//! - it is still there at the age `a` with the probability `exp(-R / M * (a - 1)^2 / 4)`. A login takes five round trips
//!   after the connection and one derivation of a key, which is done within [`SPARED`] where a round trip takes up to
//!   150 ms: so it comes to its end certainly, once it is let in. Where it takes a second and a half, 61% of them do
//!   beside a thousand that come in a second, and 95% beside a hundred.
//!
//! Connections that come and go cost a process each too. Where workers run short, a network that has had many of
//! them for nothing is refused ([`IN_VAIN`]), so that others do not wait behind it.
//!
//! `accept` carries the decisions out. Time and chance are arguments.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use berth_common::ids::SessionId;

use crate::auth::AddressKey;
use crate::bucket::{Bucket, Rate};

/// What a handshake takes across the world. So long nobody goes for a newcomer that has as much of the table.
const SPARED: Duration = Duration::from_secs(1);

/// What a login takes over a slow line.
const GRACE: Duration = Duration::from_secs(3);

/// How many connections of a network may end without a login before workers are made for others first. A worker
/// takes some milliseconds to make, so that this is a small part of what a machine can do.
const IN_VAIN: Rate = Rate { a_second: 64, at_once: 256 };

/// Most networks of which it is known how many were in vain. Of more than these nothing is known again.
const MOST_KNOWN: usize = 4096;

/// A flood is over when nobody was ended or refused for so long; the next one is told again.
const CALM: Duration = Duration::from_secs(60);

/// Most networks that are named in one flood.
const MOST_NAMED: usize = 32;

/// What whoever floods is likely to have as a whole: an IPv4 network of 24 bits, or an IPv6 one of 48.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    V4([u8; 3]),
    V6([u8; 6]),
}

impl From<AddressKey> for Network {
    fn from(address: AddressKey) -> Self {
        match address {
            AddressKey::V4([a, b, c, _]) => Self::V4([a, b, c]),
            AddressKey::V6([a, b, c, d, e, f, _, _]) => Self::V6([a, b, c, d, e, f]),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4([a, b, c]) => write!(f, "{}/24", Ipv4Addr::new(a, b, c, 0)),
            Self::V6(bytes) => {
                let mut octets = [0; 16];
                octets[..bytes.len()].copy_from_slice(&bytes);
                write!(f, "{}/48", Ipv6Addr::from(octets))
            }
        }
    }
}

/// The table.
#[derive(Debug)]
pub(crate) struct Pending {
    most: u32,
    /// In the order in which they came.
    waiting: BTreeMap<SessionId, Waiting>,
    in_vain: HashMap<Network, Bucket>,
    named: HashSet<Network>,
    pressed: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    address: AddressKey,
    since: Instant,
    has_shaken_hands: bool,
}

/// What a newcomer would need and is not there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lack {
    /// A place for another connection of any kind.
    pub(crate) place: bool,
    /// A spare worker.
    pub(crate) worker: bool,
}

/// What becomes of a newcomer. Networks are given that are to be named in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// There is room.
    Fits,
    /// It is in the table in the place of this one, which is to be ended.
    Displaces(SessionId, Option<Network>),
    /// It is the one that goes, and is in no table.
    Refused(Option<Network>),
}

/// A random number, another one for each newcomer. Its halves are used for two decisions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lot(pub(crate) u64);

impl Lot {
    /// One of so many, each as likely; none of none.
    fn one_of<T: Copy>(self, all: &[T]) -> Option<T> {
        let drawn = u128::from(self.0 & u64::from(u32::MAX)) * all.len() as u128;
        all.get((drawn >> 32) as usize).copied()
    }

    /// As likely as the part of the whole is large.
    fn is_within(self, part: Duration, whole: Duration) -> bool {
        u128::from(self.0 >> 32) * whole.as_nanos() < part.as_nanos() << 32
    }
}

/// How much of the table is its network's and its address's. Who has most is the first to go.
type Share = (usize, usize);

/// How many there are of each network and of each address.
#[derive(Default)]
struct Shares {
    networks: HashMap<Network, usize>,
    addresses: HashMap<AddressKey, usize>,
}

impl Shares {
    fn count(addresses: impl Iterator<Item = AddressKey>) -> Self {
        let mut this = Self::default();
        for address in addresses {
            *this.networks.entry(address.into()).or_default() += 1;
            *this.addresses.entry(address).or_default() += 1;
        }
        this
    }

    fn of(&self, address: AddressKey) -> Share {
        let network = self.networks.get(&address.into()).copied().unwrap_or_default();
        (network, self.addresses.get(&address).copied().unwrap_or_default())
    }
}

impl Pending {
    /// Room for so many.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most,
            waiting: BTreeMap::new(),
            in_vain: HashMap::new(),
            named: HashSet::new(),
            pressed: None,
        }
    }

    /// From now on there is room for so many; those who are there stay, until others come.
    pub(crate) fn set_most(&mut self, most: u32) {
        self.most = most;
    }

    /// Whether nobody could be ended for a newcomer.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether it has neither logged in nor been displaced.
    pub(crate) fn has(&self, session: SessionId) -> bool {
        self.waiting.contains_key(&session)
    }

    /// A connection comes, younger than all others. Somebody has to go for it when the table is full, or when
    /// there is no place at all.
    pub(crate) fn enter(
        &mut self,
        session: SessionId,
        address: IpAddr,
        lack: Lack,
        lot: Lot,
        now: Instant,
    ) -> Arrival {
        let newcomer = Waiting { address: address.into(), since: now, has_shaken_hands: false };
        let network = newcomer.address.into();
        let bucket = self.in_vain.get_mut(&network);
        if lack.worker && bucket.is_some_and(|bucket| !bucket.has_one(now)) {
            return Arrival::Refused(self.name(network, now));
        }
        let is_full = lack.place || self.waiting.len() >= self.most as usize;
        let Some((victim, goes)) = is_full.then(|| self.who_goes(newcomer, lot)).flatten() else {
            self.waiting.insert(session, newcomer);
            return Arrival::Fits;
        };
        let named = self.name(goes.address.into(), now);
        match victim {
            Some(victim) => {
                self.leave(victim, now);
                self.waiting.insert(session, newcomer);
                Arrival::Displaces(victim, named)
            }
            None => Arrival::Refused(named),
        }
    }

    /// It has finished its handshake, as a client does and most of a flood does not.
    pub(crate) fn shake_hands(&mut self, session: SessionId) {
        if let Some(waiting) = self.waiting.get_mut(&session) {
            waiting.has_shaken_hands = true;
        }
    }

    /// It has logged in.
    pub(crate) fn log_in(&mut self, session: SessionId) {
        self.waiting.remove(&session);
    }

    /// It has ended: in vain, if it is still in the table.
    pub(crate) fn leave(&mut self, session: SessionId, now: Instant) {
        let Some(waiting) = self.waiting.remove(&session) else {
            return;
        };
        if self.in_vain.len() >= MOST_KNOWN {
            self.in_vain.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.in_vain.len() >= MOST_KNOWN {
            self.in_vain.clear();
        }
        let network = waiting.address.into();
        let bucket = self.in_vain.entry(network).or_insert_with(|| Bucket::new(IN_VAIN, now));
        bucket.take(1, now);
    }

    /// Who has to go for a newcomer, or with no number the newcomer itself. `None` when nobody is there.
    fn who_goes(&self, newcomer: Waiting, lot: Lot) -> Option<(Option<SessionId>, Waiting)> {
        let addresses = self.waiting.values().map(|waiting| waiting.address);
        let shares = Shares::count(addresses.chain([newcomer.address]));
        let most = self.waiting.values().map(|it| shares.of(it.address)).max()?;
        // The newcomer counts too, so that its share is never the largest alone.
        let is_equal = most == shares.of(newcomer.address);
        let age = |it: &Waiting| newcomer.since.saturating_duration_since(it.since);
        let (mut mute, mut shaken) = (Vec::new(), Vec::new());
        for (session, it) in &self.waiting {
            if shares.of(it.address) != most {
                continue;
            }
            if it.has_shaken_hands {
                shaken.push((Some(*session), *it));
            } else if !is_equal || age(it) >= SPARED {
                mute.push((Some(*session), *it));
            }
        }
        let drawn = lot.one_of(if mute.is_empty() { &shaken } else { &mute });
        let goes = drawn.filter(|(_, it)| {
            let is_a_stranger = Network::from(it.address) != newcomer.address.into();
            !is_equal
                || (!it.has_shaken_hands && is_a_stranger)
                || lot.is_within(age(it).saturating_sub(SPARED), GRACE - SPARED)
        });
        Some(goes.unwrap_or((None, newcomer)))
    }

    /// This network, if it is to be named: once in a flood.
    fn name(&mut self, network: Network, now: Instant) -> Option<Network> {
        let last = self.pressed.replace(now);
        if last.is_none_or(|last| now.saturating_duration_since(last) >= CALM) {
            self.named.clear();
        }
        let is_new = self.named.len() < MOST_NAMED && self.named.insert(network);
        is_new.then_some(network)
    }
}

#[cfg(test)]
mod tests;

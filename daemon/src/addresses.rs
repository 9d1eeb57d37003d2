//! How many connections each address has, checked before anything else: a pure table.
//!
//! An IPv6 address counts by its /64 ([`AddressKey`]), since whoever has one has all of it. The table also knows
//! who was told about already, so that a flood of refused connections is no flood of log lines.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::auth::AddressKey;

/// The table. Its size is bounded by the number of connections.
#[derive(Debug)]
pub(crate) struct Addresses {
    most: u32,
    counts: HashMap<AddressKey, Held>,
}

#[derive(Debug, Default)]
struct Held {
    connections: u32,
    /// A refusal was told, and more than half of the connections are still there.
    told: bool,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It is counted.
    Counted,
    /// It would be one too many.
    Refused {
        /// Whether it is the first since at most half as many were there, which is to be told.
        first: bool,
    },
}

impl Addresses {
    /// Allows `most` connections for each address.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, counts: HashMap::new() }
    }

    /// From now on so many are allowed; those who are there stay.
    pub(crate) fn set_most(&mut self, most: u32) {
        self.most = most;
    }

    /// Counts a connection, unless it would be one too many.
    pub(crate) fn enter(&mut self, address: IpAddr) -> Entry {
        let held = self.counts.entry(AddressKey::from(address)).or_default();
        if held.connections < self.most {
            held.connections += 1;
            return Entry::Counted;
        }
        Entry::Refused { first: !std::mem::replace(&mut held.told, true) }
    }

    /// Ends a connection that was counted.
    pub(crate) fn leave(&mut self, address: IpAddr) {
        let key = AddressKey::from(address);
        if let Some(held) = self.counts.get_mut(&key) {
            held.connections = held.connections.saturating_sub(1);
            held.told &= held.connections > self.most / 2;
            if held.connections == 0 {
                self.counts.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_refused(entry: Entry) -> bool {
        matches!(entry, Entry::Refused { .. })
    }

    #[test]
    fn an_address_has_its_bound_and_others_are_not_affected() {
        let mut addresses = Addresses::new(2);
        assert_eq!(addresses.enter(ip("10.0.0.1")), Entry::Counted);
        assert_eq!(addresses.enter(ip("10.0.0.1")), Entry::Counted);
        assert!(is_refused(addresses.enter(ip("10.0.0.1"))));
        assert_eq!(addresses.enter(ip("10.0.0.2")), Entry::Counted);
        addresses.leave(ip("10.0.0.1"));
        assert_eq!(addresses.enter(ip("10.0.0.1")), Entry::Counted);
    }

    #[test]
    fn ipv6_counts_by_its_64_and_mapped_addresses_as_ipv4() {
        let mut addresses = Addresses::new(1);
        assert_eq!(addresses.enter(ip("2001:db8:1:2::1")), Entry::Counted);
        assert!(is_refused(addresses.enter(ip("2001:db8:1:2:ffff::9"))));
        assert_eq!(addresses.enter(ip("2001:db8:1:3::1")), Entry::Counted);
        assert_eq!(addresses.enter(ip("10.0.0.1")), Entry::Counted);
        assert!(is_refused(addresses.enter(ip("::ffff:10.0.0.1"))));
    }

    #[test]
    fn a_refusal_is_told_once_until_half_of_them_have_left() {
        let mut addresses = Addresses::new(4);
        let address = ip("10.0.0.1");
        let told =
            |addresses: &mut Addresses| addresses.enter(address) == Entry::Refused { first: true };
        for _ in 0..4 {
            assert_eq!(addresses.enter(address), Entry::Counted);
        }
        assert!(told(&mut addresses));
        assert!(!told(&mut addresses));
        // One leaves and comes again: a client that tries without end is the same flood.
        addresses.leave(address);
        assert_eq!(addresses.enter(address), Entry::Counted);
        assert!(!told(&mut addresses));
        for _ in 0..2 {
            addresses.leave(address);
        }
        for _ in 0..2 {
            assert_eq!(addresses.enter(address), Entry::Counted);
        }
        assert!(told(&mut addresses));
    }

    #[test]
    fn a_lower_bound_ends_nobody_and_lets_nobody_in_until_enough_have_left() {
        let mut addresses = Addresses::new(2);
        for _ in 0..2 {
            assert_eq!(addresses.enter(ip("10.0.0.1")), Entry::Counted);
        }
        addresses.set_most(1);
        addresses.leave(ip("10.0.0.1"));
        assert!(is_refused(addresses.enter(ip("10.0.0.1"))));
        addresses.leave(ip("10.0.0.1"));
        assert_eq!(addresses.enter(ip("10.0.0.1")), Entry::Counted);
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let mut addresses = Addresses::new(3);
        for _ in 0..3 {
            assert_eq!(addresses.enter(ip("::1")), Entry::Counted);
        }
        for _ in 0..4 {
            addresses.leave(ip("::1"));
        }
        assert!(addresses.counts.is_empty());
    }
}

//! How many connections each address has, checked before anything else: a pure table.
//!
//! An IPv6 address counts by its /64 ([`AddressKey`]), since whoever has one has all of it.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::auth::AddressKey;

/// The table. Its size is bounded by the number of connections.
#[derive(Debug)]
pub(crate) struct Addresses {
    most: u32,
    counts: HashMap<AddressKey, u32>,
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

    /// Counts a connection; `false`, and not counted, when it would be one too many.
    pub(crate) fn enter(&mut self, address: IpAddr) -> bool {
        let count = self.counts.entry(AddressKey::from(address)).or_default();
        let fits = *count < self.most;
        if fits {
            *count += 1;
        }
        fits
    }

    /// Ends a connection that was counted.
    pub(crate) fn leave(&mut self, address: IpAddr) {
        let key = AddressKey::from(address);
        if let Some(count) = self.counts.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
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

    #[test]
    fn an_address_has_its_bound_and_others_are_not_affected() {
        let mut addresses = Addresses::new(2);
        assert!(addresses.enter(ip("10.0.0.1")));
        assert!(addresses.enter(ip("10.0.0.1")));
        assert!(!addresses.enter(ip("10.0.0.1")));
        assert!(addresses.enter(ip("10.0.0.2")));
        addresses.leave(ip("10.0.0.1"));
        assert!(addresses.enter(ip("10.0.0.1")));
    }

    #[test]
    fn ipv6_counts_by_its_64_and_mapped_addresses_as_ipv4() {
        let mut addresses = Addresses::new(1);
        assert!(addresses.enter(ip("2001:db8:1:2::1")));
        assert!(!addresses.enter(ip("2001:db8:1:2:ffff::9")));
        assert!(addresses.enter(ip("2001:db8:1:3::1")));
        assert!(addresses.enter(ip("10.0.0.1")));
        assert!(!addresses.enter(ip("::ffff:10.0.0.1")));
    }

    #[test]
    fn a_lower_bound_ends_nobody_and_lets_nobody_in_until_enough_have_left() {
        let mut addresses = Addresses::new(2);
        assert!(addresses.enter(ip("10.0.0.1")) && addresses.enter(ip("10.0.0.1")));
        addresses.set_most(1);
        addresses.leave(ip("10.0.0.1"));
        assert!(!addresses.enter(ip("10.0.0.1")));
        addresses.leave(ip("10.0.0.1"));
        assert!(addresses.enter(ip("10.0.0.1")));
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let mut addresses = Addresses::new(3);
        for _ in 0..3 {
            assert!(addresses.enter(ip("::1")));
        }
        for _ in 0..4 {
            addresses.leave(ip("::1"));
        }
        assert!(addresses.counts.is_empty());
    }
}

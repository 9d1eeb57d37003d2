//! Failed logins by address: the first are slowed down, then the address is refused for a while.
//!
//! A plain table; time is an argument. The broker asks [`Failures::check`] before each of a login's
//! two steps (so that logins begun side by side do not get more tries), tells it what became of the
//! login, and holds a refusal back for as long as [`Failures::failed`] says. One address never
//! affects another. A login makes the failures with its own name forgotten and no others, or whoever has
//! an account could try everybody else's password between two logins of their own.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use berth_common::error_code::ErrorCode;

/// What counts as one address: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AddressKey {
    /// An IPv4 address, also one that came mapped into IPv6.
    V4([u8; 4]),
    /// The first half of an IPv6 address: a customer gets at least that much.
    V6([u8; 8]),
}

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let bytes = address.octets();
                Self::V6(std::array::from_fn(|at| bytes[at]))
            }
        }
    }
}

/// How failures are answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailurePolicy {
    /// How long the second refusal is held back; the first is not, and each further one twice as
    /// long.
    pub(crate) delay: Duration,
    /// The longest that a refusal is held back.
    pub(crate) max_delay: Duration,
    /// Failures after which the address is refused.
    pub(crate) refuse_after: u32,
    /// For how long it is refused.
    pub(crate) refuse_for: Duration,
    /// How long after its last failure an address is forgotten; at least `refuse_for`.
    pub(crate) forget_after: Duration,
    /// Most addresses remembered; the ones whose last failure is the oldest are forgotten first.
    pub(crate) max_addresses: usize,
}

/// 1 s, doubling up to 4 s; ten failures, then five minutes; forgotten after fifteen; 16,384
/// addresses (about 2 MiB).
impl Default for FailurePolicy {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(4),
            refuse_after: 10,
            refuse_for: Duration::from_secs(300),
            forget_after: Duration::from_secs(900),
            max_addresses: 16_384,
        }
    }
}

/// Names that are told apart for one address; failures with further ones are not forgotten by a login.
const NAMES: usize = 16;

#[derive(Debug)]
struct Entry {
    failures: u32,
    /// How many of them were with which name, by its hash.
    names: Vec<(u64, u32)>,
    age: Age,
}

/// When the last failure was; the number tells those of one instant apart.
type Age = (Instant, u64);

/// The table.
#[derive(Debug)]
pub(crate) struct Failures {
    policy: FailurePolicy,
    entries: HashMap<AddressKey, Entry>,
    by_age: BTreeMap<Age, AddressKey>,
    next: u64,
    /// Keyed at random, so that nobody can choose two names of one hash.
    hasher: RandomState,
}

impl Failures {
    /// An empty table.
    pub(crate) fn new(policy: FailurePolicy) -> Self {
        let (entries, by_age, hasher) = Default::default();
        Self { policy, entries, by_age, next: 0, hasher }
    }

    /// What is remembered is answered by this policy from now on.
    pub(crate) fn set_policy(&mut self, policy: FailurePolicy) {
        self.policy = policy;
    }

    /// Whether this address may try to log in now.
    ///
    /// # Errors
    /// [`ErrorCode::TooManyFailures`] with the whole seconds to wait, at least 1.
    pub(crate) fn check(&self, address: AddressKey, now: Instant) -> Result<(), ErrorCode> {
        let Some(entry) = self.entries.get(&address) else {
            return Ok(());
        };
        let until = entry.age.0 + self.policy.refuse_for;
        if entry.failures < self.policy.refuse_after || now >= until {
            return Ok(());
        }
        let wait = until.duration_since(now).as_millis().div_ceil(1000);
        let retry_after_s = u32::try_from(wait).unwrap_or(u32::MAX);
        Err(ErrorCode::TooManyFailures { retry_after_s })
    }

    /// A login from this address failed, by the name that it claimed if it came so far. Tells how long its
    /// refusal is to be held back. One more failure after a time of refusal refuses the address again.
    pub(crate) fn failed(
        &mut self,
        address: AddressKey,
        name: Option<&str>,
        now: Instant,
    ) -> Duration {
        self.forget_old(now);
        let (before, mut names) = match self.entries.remove(&address) {
            Some(entry) => {
                self.by_age.remove(&entry.age);
                (entry.failures, entry.names)
            }
            None => (0, Vec::new()),
        };
        if let Some(hash) = name.map(|name| self.hasher.hash_one(name)) {
            match names.iter().position(|(known, _)| *known == hash) {
                Some(at) => names[at].1 = names[at].1.saturating_add(1),
                None if names.len() < NAMES => names.push((hash, 1)),
                None => {}
            }
        }
        while self.entries.len() >= self.policy.max_addresses.max(1) {
            self.forget_oldest();
        }
        let age = (now, self.next);
        self.next += 1;
        self.by_age.insert(age, address);
        self.entries.insert(address, Entry { failures: before.saturating_add(1), names, age });
        match before {
            0 => Duration::ZERO,
            // Beyond 2^16 every sensible bound is reached.
            n => (self.policy.delay * (1 << (n - 1).min(16))).min(self.policy.max_delay),
        }
    }

    /// A login from this address was accepted: its failures with this name are forgotten.
    pub(crate) fn succeeded(&mut self, address: AddressKey, name: &str) {
        let hash = self.hasher.hash_one(name);
        let Some(entry) = self.entries.get_mut(&address) else {
            return;
        };
        let Some(at) = entry.names.iter().position(|(known, _)| *known == hash) else {
            return;
        };
        let (_, forgotten) = entry.names.swap_remove(at);
        entry.failures = entry.failures.saturating_sub(forgotten);
        if entry.failures == 0 {
            self.by_age.remove(&entry.age);
            self.entries.remove(&address);
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(((last, _), _)) = self.by_age.first_key_value() {
            if now.saturating_duration_since(*last) < self.policy.forget_after {
                break;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, address)) = self.by_age.pop_first() {
            self.entries.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> AddressKey {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn failures_are_slowed_down_then_refused_then_allowed_again() {
        let mut table = Failures::new(FailurePolicy::default());
        let (a, start) = (key("192.0.2.1"), Instant::now());
        let delays: Vec<u64> = (0..10)
            .map(|n| {
                assert_eq!(table.check(a, start + seconds(n)), Ok(()));
                table.failed(a, Some("alice"), start + seconds(n)).as_secs()
            })
            .collect();
        assert_eq!(delays, [0, 1, 2, 4, 4, 4, 4, 4, 4, 4]);

        let refused = |retry_after_s| Err(ErrorCode::TooManyFailures { retry_after_s });
        assert_eq!(table.check(a, start + seconds(9)), refused(300));
        assert_eq!(table.check(a, start + Duration::from_millis(308_999)), refused(1));
        assert_eq!(table.check(a, start + seconds(309)), Ok(()));
        table.failed(a, Some("alice"), start + seconds(310));
        assert_eq!(table.check(a, start + seconds(311)), refused(299));
        assert_eq!(table.check(key("192.0.2.2"), start + seconds(311)), Ok(()));
    }

    #[test]
    fn a_login_clears_its_own_address_only() {
        let mut table = Failures::new(FailurePolicy { refuse_after: 2, ..Default::default() });
        let (a, b, now) = (key("192.0.2.1"), key("192.0.2.2"), Instant::now());
        for address in [a, a, b, b] {
            table.failed(address, Some("alice"), now);
        }
        table.succeeded(a, "alice");
        table.succeeded(key("192.0.2.3"), "alice");
        assert!(table.check(a, now).is_ok());
        assert!(table.check(b, now).is_err());
        assert_eq!(table.failed(a, Some("alice"), now), Duration::ZERO, "it begins anew");
    }

    #[test]
    fn a_login_makes_no_failures_with_other_names_forgotten() {
        let mut table = Failures::new(FailurePolicy { refuse_after: 3, ..Default::default() });
        let (a, now) = (key("192.0.2.1"), Instant::now());
        for _ in 0..2 {
            table.failed(a, Some("alice"), now);
            table.failed(a, Some("mallory"), now);
            table.succeeded(a, "mallory");
        }
        assert!(table.check(a, now).is_ok());
        table.failed(a, None, now);
        table.succeeded(a, "mallory");
        assert!(table.check(a, now).is_err(), "two with alice's name and one without");
        // Further names are counted, and not told apart.
        for n in 0..2 * NAMES {
            table.failed(a, Some(&n.to_string()), now);
        }
        assert_eq!(table.entries[&a].names.len(), NAMES);
    }

    #[test]
    fn ipv6_counts_by_network_and_mapped_ipv4_as_ipv4() {
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[test]
    fn memory_is_bounded_by_number_and_age() {
        let policy = FailurePolicy { max_addresses: 100, refuse_after: 1, ..Default::default() };
        let mut table = Failures::new(policy);
        let now = Instant::now();
        let address = |n: u32| AddressKey::V4(n.to_be_bytes());
        for n in 0..1000 {
            table.failed(address(n), Some("alice"), now);
            assert!(table.entries.len() <= 100);
            assert_eq!(table.entries.len(), table.by_age.len());
        }
        assert!(table.check(address(899), now).is_ok(), "the oldest are forgotten");
        assert!(table.check(address(900), now).is_err());

        table.failed(address(900), Some("alice"), now);
        table.failed(address(5000), Some("alice"), now);
        assert!(table.check(address(901), now).is_ok(), "a failure makes an entry young again");
        assert!(table.check(address(900), now).is_err());

        table.failed(address(1), Some("alice"), now + seconds(900));
        assert_eq!(table.entries.len(), 1, "old ones are forgotten");
    }

    #[test]
    fn any_number_of_failures_is_counted() {
        let mut table = Failures::new(FailurePolicy::default());
        let (a, now) = (key("192.0.2.1"), Instant::now());
        for _ in 0..100 {
            assert!(table.failed(a, Some("alice"), now) <= seconds(4));
        }
    }
}

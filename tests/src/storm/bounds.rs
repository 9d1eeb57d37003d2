//! What a user may have in a round: the limits, or what was there already where they were lowered.

use berth_common::entry::{Limits, Usage};
use berth_common::error_code::{ErrorCode, Resource};

/// Bytes and entries.
pub type Amounts = (i64, i64);

/// The bounds of a round, within which limits do not change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    limits: Limits,
    /// Used and reserved together when the round began.
    there: Amounts,
}

impl Bounds {
    /// Those of a round that begins with so much used and reserved, together.
    #[must_use]
    pub fn new(limits: Limits, there: Amounts) -> Self {
        Self { limits, there }
    }

    /// Whether so much may be used and reserved: what was there when a limit was lowered may stay, and
    /// nothing may grow beyond it. Below zero it never is.
    #[must_use]
    pub fn allow(&self, (bytes, entries): Amounts) -> bool {
        let fits = |sum: i64, there: i64, limit: Option<u64>| {
            let most = limit.map_or(i128::MAX, i128::from).max(there.into());
            (0..=most).contains(&sum.into())
        };
        fits(bytes, self.there.0, self.limits.bytes)
            && fits(entries, self.there.1, self.limits.entries)
    }

    /// Whether the server may tell this usage.
    #[must_use]
    pub fn allow_usage(&self, usage: &Usage) -> bool {
        let sum = |used: i64, reserved: u64| used.checked_add(i64::try_from(reserved).ok()?);
        let bytes = sum(usage.used_bytes, usage.reserved_bytes);
        let entries = sum(usage.used_entries, usage.reserved_entries);
        let sums = bytes.zip(entries);
        usage.limits == self.limits && sums.is_some_and(|sums| self.allow(sums))
    }

    /// Whether a refusal for the quota has a reason. Any other refusal has, as far as this can tell.
    #[must_use]
    pub fn allow_refusal(&self, error: &ErrorCode) -> bool {
        let ErrorCode::QuotaExceeded { resource, limit, used, reserved, requested } = error else {
            return true;
        };
        let ours = match resource {
            Resource::Bytes => self.limits.bytes,
            Resource::Entries => self.limits.entries,
        };
        let sum = i128::from(*used) + i128::from(*reserved) + i128::from(*requested);
        ours == Some(*limit) && *requested > 0 && sum > i128::from(*limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bytes: Some(10), entries: Some(3) };

    #[test]
    fn what_was_there_may_stay_and_nothing_grows_beyond() {
        let bounds = Bounds::new(LIMITS, (12, 1));
        assert!(bounds.allow((12, 3)) && bounds.allow((0, 0)));
        assert!(!bounds.allow((13, 1)), "a byte more than was there");
        assert!(!bounds.allow((12, 4)), "an entry more than the limit");
        assert!(!bounds.allow((-1, 0)) && !bounds.allow((0, -1)));
    }

    #[test]
    fn usage_and_refusals_have_to_agree_with_the_limits() {
        let bounds = Bounds::new(LIMITS, (0, 0));
        let usage = |used_bytes, reserved_bytes| Usage {
            limits: LIMITS,
            used_bytes,
            used_entries: 0,
            reserved_bytes,
            reserved_entries: 0,
        };
        assert!(bounds.allow_usage(&usage(-2, 12)));
        assert!(!bounds.allow_usage(&usage(1, 10)));
        assert!(!bounds.allow_usage(&usage(1, u64::MAX)));
        let refusal = |limit, requested| ErrorCode::QuotaExceeded {
            resource: Resource::Bytes,
            limit,
            used: 4,
            reserved: 2,
            requested,
        };
        assert!(bounds.allow_refusal(&refusal(10, 5)));
        assert!(!bounds.allow_refusal(&refusal(10, 4)), "it would have fitted");
        assert!(!bounds.allow_refusal(&refusal(9, 5)), "another limit");
    }
}

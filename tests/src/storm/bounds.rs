//! What a user may have: the limits, or what was there already where they were lowered. Pure.
//!
//! Limits change while operations are under way, so what is told of a span of time has to fit one of the epochs
//! that it overlaps. An epoch's limits may hold from the moment when they were asked for, and those before it
//! until they were acknowledged. As soon as somebody has seen what is there under the new ones, nothing may grow
//! beyond that and beyond them.

use berth_common::entry::{Limits, Usage};
use berth_common::error_code::{ErrorCode, Resource};

/// Bytes and entries.
pub type Amounts = (i64, i64);

/// A span of the round's clock, both ends included.
pub type Span = (u64, u64);

/// The bounds of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// In their order; never empty.
    epochs: Vec<Epoch>,
}

/// A time in which these limits may have been in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Epoch {
    limits: Limits,
    /// At most so much was used and reserved, together, when it began.
    there: Amounts,
    from: u64,
    /// `None` of the latest.
    until: Option<u64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { epochs: vec![Epoch::default()] }
    }
}

impl Bounds {
    /// Those of a round that begins with so much used and reserved, together.
    #[must_use]
    pub fn new(limits: Limits, there: Amounts) -> Self {
        Self { epochs: vec![Epoch { limits, there, from: 0, until: None }] }
    }

    /// These limits are asked for, and may be in force from now on, or not yet.
    pub fn may_change(&mut self, limits: Limits, now: u64) {
        let latest = self.latest();
        let most = |limit: Option<u64>, there: i64| match limit {
            Some(limit) => i64::try_from(limit).unwrap_or(i64::MAX).max(there),
            None => i64::MAX,
        };
        let there = (
            most(latest.limits.bytes, latest.there.0),
            most(latest.limits.entries, latest.there.1),
        );
        self.epochs.push(Epoch { limits, there, from: now, until: None });
    }

    /// The latest limits are acknowledged: from now on no others are in force.
    pub fn have_changed(&mut self, now: u64) {
        let earlier = self.epochs.len() - 1;
        for epoch in &mut self.epochs[..earlier] {
            epoch.until.get_or_insert(now);
        }
    }

    /// So much was used and reserved at a moment of this span, in which limits did not change.
    pub fn was_seen(&mut self, there: Amounts, (from, now): Span) {
        let limits = self.latest().limits;
        self.epochs.push(Epoch { limits, there, from, until: None });
        self.have_changed(now);
    }

    /// Whether so much may be used and reserved: what was there when a limit was lowered may stay, and
    /// nothing may grow beyond it. Below zero it never is.
    #[must_use]
    pub fn allow(&self, sums: Amounts, span: Span) -> bool {
        self.within(span).any(|epoch| epoch.allows(sums))
    }

    /// Whether the server may tell this usage.
    #[must_use]
    pub fn allow_usage(&self, usage: &Usage, span: Span) -> bool {
        let sums = sums_of(usage);
        self.within(span).any(|epoch| {
            usage.limits == epoch.limits && sums.is_some_and(|sums| epoch.allows(sums))
        })
    }

    /// Whether a refusal for the quota has a reason. Any other refusal has, as far as this can tell.
    #[must_use]
    pub fn allow_refusal(&self, error: &ErrorCode, span: Span) -> bool {
        let ErrorCode::QuotaExceeded { resource, limit, used, reserved, requested } = error else {
            return true;
        };
        let is_ours = |epoch: &Epoch| match resource {
            Resource::Bytes => epoch.limits.bytes == Some(*limit),
            Resource::Entries => epoch.limits.entries == Some(*limit),
        };
        let sum = i128::from(*used) + i128::from(*reserved) + i128::from(*requested);
        self.within(span).any(is_ours) && *requested > 0 && sum > i128::from(*limit)
    }

    fn latest(&self) -> Epoch {
        self.epochs.last().copied().unwrap_or_default()
    }

    fn within(&self, (begun, ended): Span) -> impl Iterator<Item = &Epoch> {
        self.epochs.iter().filter(move |epoch| {
            epoch.from <= ended && epoch.until.is_none_or(|until| until >= begun)
        })
    }
}

impl Epoch {
    fn allows(&self, (bytes, entries): Amounts) -> bool {
        let fits = |sum: i64, there: i64, limit: Option<u64>| {
            let most = limit.map_or(i128::MAX, i128::from).max(there.into());
            (0..=most).contains(&sum.into())
        };
        fits(bytes, self.there.0, self.limits.bytes)
            && fits(entries, self.there.1, self.limits.entries)
    }
}

/// Used and reserved together; `None` where they cannot be added.
#[must_use]
pub fn sums_of(usage: &Usage) -> Option<Amounts> {
    let sum = |used: i64, reserved: u64| used.checked_add(i64::try_from(reserved).ok()?);
    let bytes = sum(usage.used_bytes, usage.reserved_bytes)?;
    Some((bytes, sum(usage.used_entries, usage.reserved_entries)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bytes: Some(10), entries: Some(3) };
    const LOWER: Limits = Limits { bytes: Some(4), entries: Some(3) };
    const NOW: Span = (1, 1);

    fn usage(limits: Limits, used_bytes: i64, reserved_bytes: u64) -> Usage {
        Usage { limits, used_bytes, used_entries: 0, reserved_bytes, reserved_entries: 0 }
    }

    fn refusal(limit: u64, requested: u64) -> ErrorCode {
        ErrorCode::QuotaExceeded {
            resource: Resource::Bytes,
            limit,
            used: 4,
            reserved: 2,
            requested,
        }
    }

    #[test]
    fn what_was_there_may_stay_and_nothing_grows_beyond() {
        let bounds = Bounds::new(LIMITS, (12, 1));
        assert!(bounds.allow((12, 3), NOW) && bounds.allow((0, 0), NOW));
        assert!(!bounds.allow((13, 1), NOW), "a byte more than was there");
        assert!(!bounds.allow((12, 4), NOW), "an entry more than the limit");
        assert!(!bounds.allow((-1, 0), NOW) && !bounds.allow((0, -1), NOW));
    }

    #[test]
    fn usage_and_refusals_have_to_agree_with_the_limits() {
        let bounds = Bounds::new(LIMITS, (0, 0));
        assert!(bounds.allow_usage(&usage(LIMITS, -2, 12), NOW));
        assert!(!bounds.allow_usage(&usage(LIMITS, 1, 10), NOW));
        assert!(!bounds.allow_usage(&usage(LIMITS, 1, u64::MAX), NOW));
        assert!(bounds.allow_refusal(&refusal(10, 5), NOW));
        assert!(!bounds.allow_refusal(&refusal(10, 4), NOW), "it would have fitted");
        assert!(!bounds.allow_refusal(&refusal(9, 5), NOW), "another limit");
    }

    #[test]
    fn either_limit_may_be_told_of_what_overlaps_a_change_and_only_the_new_one_afterwards() {
        let mut bounds = Bounds::new(LIMITS, (0, 0));
        bounds.may_change(LOWER, 10);
        let told = |bounds: &Bounds, limits, span| {
            let refused = refusal(limits, 9);
            let both = Limits { bytes: Some(limits), ..LIMITS };
            let usage = bounds.allow_usage(&usage(both, 0, 0), span);
            assert_eq!(bounds.allow_refusal(&refused, span), usage);
            usage
        };
        assert!(told(&bounds, 10, (1, 20)) && told(&bounds, 4, (1, 20)));
        assert!(!told(&bounds, 4, (1, 9)), "it was not asked for yet");
        bounds.have_changed(30);
        assert!(told(&bounds, 10, (25, 35)) && told(&bounds, 4, (25, 35)));
        assert!(told(&bounds, 4, (31, 35)));
        assert!(!told(&bounds, 10, (31, 35)), "the new one was acknowledged");
    }

    #[test]
    fn after_a_lowering_nothing_grows_beyond_what_was_seen_there() {
        let mut bounds = Bounds::new(LIMITS, (0, 0));
        bounds.may_change(LOWER, 10);
        bounds.have_changed(20);
        assert!(bounds.allow((10, 3), (30, 30)), "it may have been there");
        bounds.was_seen((7, 1), (31, 32));
        assert!(bounds.allow((10, 3), (30, 40)), "at its beginning");
        assert!(bounds.allow((7, 3), (33, 40)) && !bounds.allow((8, 3), (33, 40)));
        bounds.may_change(LIMITS, 50);
        assert!(bounds.allow((8, 3), (45, 50)));
        bounds.have_changed(60);
        assert!(bounds.allow((10, 3), (61, 61)) && !bounds.allow((11, 3), (61, 61)));
    }
}

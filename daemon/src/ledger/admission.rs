//! The ledger's arithmetic: what may grow, and what an intent's end does to the sums. Pure; nothing
//! is ever clamped: a sum that does not fit is refused.

use berth_common::error_code::{ErrorCode, Resource};
use berth_common::ledger_protocol::Outcome;

use super::model::{IntentKind, LedgerError};

/// Bytes settled and not yet unlinked that any user may have.
const LEFTOVER_BYTES: u64 = 1 << 30;

/// Bytes and entries together, as reserved or as needed; neither is ever below zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) bytes: i64,
    pub(super) entries: i64,
}

/// One resource of a user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    /// `None` is unlimited, but for what 63 bits can count.
    pub(super) limit: Option<u64>,
    pub(super) used: i64,
    /// In the ledger and in memory.
    pub(super) reserved: i64,
}

/// The largest number that the ledger can keep.
const MOST: u64 = i64::MAX.cast_unsigned();

/// How much more may be reserved.
pub(super) fn left(sums: Sums) -> u64 {
    let limit = sums.limit.unwrap_or(MOST).min(MOST);
    let reserved = i128::from(sums.reserved);
    let below_limit = i128::from(limit) - i128::from(sums.used) - reserved;
    // `used` may be below zero, so that `reserved` has a bound of its own.
    let countable = i128::from(MOST) - reserved;
    u64::try_from(below_limit.min(countable)).unwrap_or(0)
}

/// Whether this may grow by so much. What does not grow is never refused: a limit that was lowered
/// below what is there takes nothing away.
///
/// # Errors
/// `QuotaExceeded`, with the largest number that the ledger can keep as the limit where there is
/// none.
pub(super) fn admit(resource: Resource, sums: Sums, growth: i128) -> Result<(), LedgerError> {
    if growth <= i128::from(left(sums)) {
        return Ok(());
    }
    Err(LedgerError::Refused(ErrorCode::QuotaExceeded {
        resource,
        limit: sums.limit.unwrap_or(MOST),
        used: sums.used,
        reserved: sums.reserved.cast_unsigned(),
        requested: u64::try_from(growth).unwrap_or(u64::MAX),
    }))
}

/// Whether so many bytes that wait to be unlinked keep a user from reserving more. Who has no limit
/// may leave any number.
pub(super) fn leftovers_are_too_many(limit_bytes: Option<u64>, leftover_bytes: i64) -> bool {
    limit_bytes.is_some_and(|limit| leftover_bytes.cast_unsigned() > LEFTOVER_BYTES.max(limit / 10))
}

/// What has to be reserved for a staged file of `size` that replaces one of `replaces` bytes, or
/// none.
///
/// # Errors
/// `Protocol` for sizes that no file has.
pub(super) fn needed(size: u64, replaces: Option<u64>) -> Result<Amount, LedgerError> {
    let size = file_size(size)?;
    Ok(match replaces {
        None => Amount { bytes: size, entries: 1 },
        Some(old) => Amount { bytes: (size - file_size(old)?).max(0), entries: 0 },
    })
}

/// A size as the kernel states it.
pub(super) fn file_size(size: u64) -> Result<i64, LedgerError> {
    i64::try_from(size).map_err(|_| LedgerError::Protocol("a size that no file has"))
}

/// What an intent's end does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settlement {
    /// The sums change by this, and so many bytes wait in staging to be unlinked, if anything
    /// stands there.
    Happened { bytes: i64, entries: i64, left: Option<i64> },
    /// They do not; a staged file of so many bytes still stands in staging.
    NotHappened { left: Option<i64> },
}

/// Checks a filer's outcome against its intent.
///
/// # Errors
/// `Protocol` for an outcome of another kind, one that grows beyond what was reserved (which would
/// overshoot the quota), and for numbers that no file has.
pub(super) fn settlement(
    kind: IntentKind,
    reserved: Amount,
    outcome: Outcome,
) -> Result<Settlement, LedgerError> {
    match (kind, outcome) {
        (IntentKind::Stage { size, .. }, Outcome::Placed { replaced }) => {
            let left = replaced.map(file_size).transpose()?;
            let bytes = file_size(size)? - left.unwrap_or(0);
            let entries = i64::from(left.is_none());
            if bytes > reserved.bytes || entries > reserved.entries {
                return Err(LedgerError::Protocol("more was placed than reserved"));
            }
            Ok(Settlement::Happened { bytes, entries, left })
        }
        (IntentKind::Take | IntentKind::Over, Outcome::Removed { bytes, entries }) => {
            let (bytes, entries) = (file_size(bytes)?, file_size(entries)?);
            if entries == 0 || (kind == IntentKind::Over && entries != 1) {
                return Err(LedgerError::Protocol("an impossible number of entries was removed"));
            }
            Ok(Settlement::Happened { bytes: -bytes, entries: -entries, left: Some(bytes) })
        }
        (IntentKind::Stage { size, .. }, Outcome::NotHappened) => {
            Ok(Settlement::NotHappened { left: Some(file_size(size)?) })
        }
        (IntentKind::Take | IntentKind::Over, Outcome::NotHappened) => {
            Ok(Settlement::NotHappened { left: None })
        }
        (IntentKind::Stage { .. }, Outcome::Removed { .. })
        | (IntentKind::Take | IntentKind::Over, Outcome::Placed { .. }) => {
            Err(LedgerError::Protocol("an outcome of another kind than its intent"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(limit: Option<u64>, used: i64, reserved: i64, growth: i128) -> bool {
        admit(Resource::Bytes, Sums { limit, used, reserved }, growth).is_ok()
    }

    #[test]
    fn admits_up_to_the_limit_and_not_a_byte_more() {
        assert!(bytes(Some(10), 4, 3, 3));
        assert!(!bytes(Some(10), 4, 3, 4));
        assert!(bytes(Some(0), 0, 0, 0));
        assert!(!bytes(Some(0), 0, 0, 1));
        assert!(bytes(Some(10), 20, 3, 0), "what does not grow is not refused");
        assert!(bytes(Some(10), 20, 3, -5));
        assert!(bytes(Some(10), -3, 3, 10));
        assert!(!bytes(Some(10), -3, 3, 11));
    }

    #[test]
    fn refuses_what_64_bits_cannot_count_and_states_the_numbers() {
        assert!(!bytes(None, 0, 0, u64::MAX.into()));
        assert!(!bytes(None, 1, 0, i64::MAX.into()));
        assert!(bytes(None, 0, 0, i64::MAX.into()));
        assert!(!bytes(None, -5, 5, i64::MAX.into()), "reserved alone would overflow");
        assert!(!bytes(Some(u64::MAX), i64::MAX, i64::MAX, 1));
        let sums = Sums { limit: Some(10), used: -1, reserved: 2 };
        let refused = admit(Resource::Entries, sums, 12).unwrap_err();
        let expected = ErrorCode::QuotaExceeded {
            resource: Resource::Entries,
            limit: 10,
            used: -1,
            reserved: 2,
            requested: 12,
        };
        assert_eq!(refused, LedgerError::Refused(expected));
    }

    #[test]
    fn what_is_left_is_what_is_admitted_and_not_a_byte_more() {
        let sums = |limit, used, reserved| Sums { limit, used, reserved };
        let table = [
            (sums(Some(10), 4, 3), 3),
            (sums(Some(10), 7, 3), 0),
            (sums(Some(10), 20, 3), 0),
            (sums(Some(10), -3, 3), 10),
            (sums(Some(0), 0, 0), 0),
            (sums(None, 0, 0), i64::MAX.cast_unsigned()),
            (sums(None, -5, 5), i64::MAX.cast_unsigned() - 5),
            (sums(Some(u64::MAX), i64::MAX, i64::MAX), 0),
        ];
        for (sums, expected) in table {
            assert_eq!(left(sums), expected, "{sums:?}");
            let admitted = |growth: u64| admit(Resource::Bytes, sums, growth.into()).is_ok();
            assert!(admitted(expected) && !admitted(expected + 1), "{sums:?}");
        }
    }

    #[test]
    fn needs_the_growth_and_never_less_than_nothing() {
        assert_eq!(needed(5, None), Ok(Amount { bytes: 5, entries: 1 }));
        assert_eq!(needed(5, Some(2)), Ok(Amount { bytes: 3, entries: 0 }));
        assert_eq!(needed(2, Some(5)), Ok(Amount { bytes: 0, entries: 0 }));
        assert!(needed(u64::MAX, None).is_err());
        assert!(needed(1, Some(u64::MAX)).is_err());
    }

    #[test]
    fn leftovers_wait_beyond_a_gibibyte_and_a_tenth_of_the_quota() {
        let gib = 1 << 30;
        assert!(!leftovers_are_too_many(Some(0), gib));
        assert!(leftovers_are_too_many(Some(0), gib + 1));
        assert!(!leftovers_are_too_many(Some(100 << 30), 10 * gib));
        assert!(leftovers_are_too_many(Some(100 << 30), 10 * gib + 1));
        assert!(!leftovers_are_too_many(None, i64::MAX));
    }

    #[test]
    fn an_outcome_must_fit_its_intent() {
        let stage = IntentKind::Stage { inode: 1, size: 5 };
        let full = Amount { bytes: 5, entries: 1 };
        let over = Amount { bytes: 3, entries: 0 };
        let placed = |replaced| Outcome::Placed { replaced };
        let removed = |bytes, entries| Outcome::Removed { bytes, entries };
        let happened = |bytes, entries, left| Ok(Settlement::Happened { bytes, entries, left });
        let not = |left| Ok(Settlement::NotHappened { left });
        let wrong = Err(());
        let table = [
            (stage, full, placed(None), happened(5, 1, None)),
            (stage, full, placed(Some(0)), happened(5, 0, Some(0))),
            (stage, over, placed(Some(2)), happened(3, 0, Some(2))),
            (stage, over, placed(Some(9)), happened(-4, 0, Some(9))),
            (stage, over, placed(Some(1)), wrong),
            (stage, over, placed(None), wrong),
            (stage, full, placed(Some(u64::MAX)), wrong),
            (stage, full, removed(1, 1), wrong),
            (stage, full, Outcome::NotHappened, not(Some(5))),
            (IntentKind::Take, Amount::default(), removed(7, 3), happened(-7, -3, Some(7))),
            (IntentKind::Take, Amount::default(), removed(0, 0), wrong),
            (IntentKind::Take, Amount::default(), removed(u64::MAX, 1), wrong),
            (IntentKind::Take, Amount::default(), placed(None), wrong),
            (IntentKind::Take, Amount::default(), Outcome::NotHappened, not(None)),
            (IntentKind::Over, Amount::default(), removed(7, 1), happened(-7, -1, Some(7))),
            (IntentKind::Over, Amount::default(), removed(7, 2), wrong),
            (IntentKind::Over, Amount::default(), placed(Some(7)), wrong),
            (IntentKind::Over, Amount::default(), Outcome::NotHappened, not(None)),
        ];
        for (kind, reserved, outcome, expected) in table {
            let settled = settlement(kind, reserved, outcome);
            assert_eq!(settled.map_err(|_| ()), expected, "{kind:?} {outcome:?}");
        }
    }
}

//! The bar of `berth df`.

use berth_common::thresholds;

/// Narrower ones say nothing.
const NARROWEST: usize = 5;

/// The widest one.
const WIDEST: usize = 20;

/// How wide a bar may be where so many columns are left for it and its brackets; `None` where it is left out.
pub(crate) fn width(left: usize) -> Option<usize> {
    Some(left.saturating_sub(2).min(WIDEST)).filter(|width| *width >= NARROWEST)
}

/// `[####+-----]`: of a limit what is used, what is reserved, and what is free.
pub(crate) fn bar(used: i64, reserved: u64, limit: u64, width: usize) -> String {
    let used = u64::try_from(used).unwrap_or(0);
    let full = cells(used, limit, width);
    let taken = cells(used.saturating_add(reserved), limit, width).max(full);
    let (more, free) = (taken - full, width - taken);
    format!("[{}{}{}]", "#".repeat(full), "+".repeat(more), "-".repeat(free))
}

/// So many of a bar's places, at least one of something.
fn cells(part: u64, limit: u64, width: usize) -> usize {
    if part == 0 {
        return 0;
    }
    let share = u128::from(part) * width as u128 / u128::from(limit.max(1));
    usize::try_from(share).unwrap_or(width).clamp(1, width)
}

/// Green, from 80 % on yellow, from 95 % on red, by the thresholds that are told of too.
pub(crate) fn coloured(text: &str, used: i64, limit: u64) -> String {
    let colour = match thresholds::reached(used, Some(limit)) {
        Some(thresholds::WARNING..) => 31,
        Some(_) => 33,
        None => 32,
    };
    format!("\x1b[{colour}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_the_quota() {
        let table = [
            (0, 0, 100, "[----------]"),
            (1, 0, 100, "[#---------]"),
            (52, 0, 100, "[#####-----]"),
            (52, 11, 100, "[#####+----]"),
            (99, 0, 100, "[#########-]"),
            (100, 0, 100, "[##########]"),
            (300, 5, 100, "[##########]"),
            (50, 500, 100, "[#####+++++]"),
            (-5, 0, 100, "[----------]"),
            (0, 0, 0, "[----------]"),
            (1, 0, 0, "[##########]"),
            (i64::MAX, u64::MAX, u64::MAX, "[####++++++]"),
        ];
        for (used, reserved, limit, expected) in table {
            assert_eq!(bar(used, reserved, limit, 10), expected, "{used} {reserved} {limit}");
        }
        let widths = [(0, None), (6, None), (7, Some(5)), (100, Some(20))];
        for (left, expected) in widths {
            assert_eq!(width(left), expected);
        }
    }

    #[test]
    fn its_colour_is_that_of_the_threshold() {
        for (used, colour) in [(0, 32), (79, 32), (80, 33), (94, 33), (95, 31), (200, 31)] {
            assert_eq!(coloured("x", used, 100), format!("\x1b[{colour}mx\x1b[0m"), "{used}");
        }
    }
}

//! Sizes, shares, durations and reasons as people write and read them; used by `berth` and
//! `berthctl`.

use std::io;

use rust_i18n::t;

use crate::language::system;

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// It is no number with a unit.
    #[error("{}", t!("%{text} is not a size: write a number and a unit, such as 500MB, 10GiB or 4096", text = format_args!("{_0:?}")))]
    NotASize(String),
    /// It is one, and no file system holds as much.
    #[error("{}", t!("%{text} is too large: a size has at most 64 bits, which is less than 16 EiB", text = format_args!("{_0:?}")))]
    TooLarge(String),
}

/// Units by their spelling in lower case. A single letter is binary, as in `dd` and `truncate`.
const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kb", 1_000),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mb", 1_000_000),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gb", 1_000_000_000),
    ("gib", 1 << 30),
    ("t", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("tib", 1 << 40),
    ("p", 1 << 50),
    ("pb", 1_000_000_000_000_000),
    ("pib", 1 << 50),
    ("e", 1 << 60),
    ("eb", 1_000_000_000_000_000_000),
    ("eib", 1 << 60),
];

/// Reads a size in bytes: `4096`, `10GiB`, `500 MB`, `1.5T`. Upper and lower case are alike. What
/// is left of a byte (`1.1k` is 1126.4) does not count.
///
/// # Errors
/// When it is no number with a known unit, or exceeds 64 bits.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let shown = || text.chars().take(80).collect();
    let refused = || SizeError::NotASize(shown());
    let trimmed = text.trim();
    let digits = trimmed.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = trimmed.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
    let bytes = scaled(number, *factor).ok_or_else(refused)?;
    u64::try_from(bytes).map_err(|_| SizeError::TooLarge(shown()))
}

/// `number` times `factor` without floating point, so that nothing but the part of a byte is lost.
fn scaled(number: &str, factor: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // 20 digits are more than 64 bits hold, and with any factor less than 128.
    if whole.len() > 20 || fraction.len() > 18 {
        return None;
    }
    let factor = u128::from(factor);
    let denominator = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let numerator = fraction.parse::<u128>().ok()?.checked_mul(factor)?;
    let whole = whole.parse::<u128>().ok()?.checked_mul(factor)?;
    whole.checked_add(numerator / denominator)
}

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", t!("%{text} is not a duration: write a number and a unit, such as 30s, 15m, 12h, 7d or 2w", text = format_args!("{_0:?}")))]
pub struct DurationError(String);

/// Reads a duration in whole seconds: `90s`, `30m`, `12h`, `7d`, `1d12h`. A day has 24 hours; months and years, which
/// have no length of their own, are none.
///
/// # Errors
/// When it is no number with a unit, or below zero.
pub fn parse_seconds(text: &str) -> Result<u64, DurationError> {
    let refused = || DurationError(text.chars().take(80).collect());
    let span: jiff::Span = text.trim().parse().map_err(|_| refused())?;
    let day = jiff::SpanRelativeTo::days_are_24_hours();
    let duration = span.to_duration(day).map_err(|_| refused())?;
    u64::try_from(duration.as_secs()).map_err(|_| refused())
}

/// A size with a binary unit and one decimal: `0 B`, `1.5 GiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const NAMES: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be shown as 1024.0.
    while value >= 1023.95 && unit + 1 < NAMES.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", NAMES[unit])
}

/// The same for a usage, which may be below zero for a moment.
#[must_use]
pub fn signed_size(bytes: i64) -> String {
    let text = size(bytes.unsigned_abs());
    if bytes < 0 { format!("-{text}") } else { text }
}

/// A number of things: `1 file`, `2 files`, by the message for one and the one for more, which say `%{number}`.
#[must_use]
pub fn count(number: usize, one: &'static str, more: &'static str) -> String {
    let message = if number == 1 { one } else { more };
    t!(message, number = number).into_owned()
}

/// Which share `part` is of `whole`, in percent rounded down; 100 of nothing.
#[must_use]
pub fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 100;
    }
    u64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(u64::MAX)
}

/// What the operating system says, without the number that only a program needs.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => t!("the disk is full").into_owned(),
        io::ErrorKind::QuotaExceeded => t!("the disk quota is exceeded").into_owned(),
        io::ErrorKind::NotFound => t!("no such file or directory").into_owned(),
        io::ErrorKind::PermissionDenied => t!("permission denied").into_owned(),
        _ => system::reason(error),
    }
}

/// A duration in its two largest units: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `6 d 3 h`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let seconds = seconds.round() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_exactly() {
        let table = [
            ("0", 0),
            ("4096", 4096),
            ("10GiB", 10 << 30),
            ("500 MB", 500_000_000),
            (" 1.5 T ", 3 << 39),
            ("1kb", 1000),
            ("1K", 1024),
            ("0.5k", 512),
            ("1.1k", 1126),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, expected) in table {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
        for text in ["16EiB", "18446744073709551616", "99999999999999999999EB"] {
            let error = parse_size(text).unwrap_err();
            assert!(matches!(error, SizeError::TooLarge(_)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in ["", "GiB", "-1", "1 X", "1..5G", "1.5.G", ".", "1e3", "ten", "1 G B", "١"] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn reads_durations_that_have_a_length() {
        let table =
            [("90s", 90), ("30m", 1800), ("1d12h", 129_600), ("2w", 1_209_600), ("1 day", 86_400)];
        for (text, seconds) in table {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
        }
        for text in ["", "7", "d", "-1s", "1 month", "1y", "7 lightyears"] {
            assert!(parse_seconds(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_number_of_an_error_is_left_to_programs() {
        let busy = io::Error::from(rustix::io::Errno::BUSY);
        assert!(!reason(&busy).contains("os error"), "{}", reason(&busy));
        assert!(!reason(&busy).is_empty());
        let full = io::Error::from(rustix::io::Errno::NOSPC);
        assert_eq!(reason(&full), "the disk is full");
        assert_eq!(reason(&io::Error::other("as it is")), "as it is");
    }

    #[test]
    fn shows_sizes_shares_and_durations() {
        let sizes = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (3 << 30, "3.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(signed_size(-1024), "-1.0 KiB");
        assert_eq!((percent(1, 3), percent(0, 0), percent(u64::MAX, u64::MAX)), (33, 100, 100));
        let durations =
            [(0.41, "0.4 s"), (59.2, "59 s"), (200.0, "3 min 20 s"), (7500.0, "2 h 5 min")];
        for (seconds, text) in durations {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(duration(529_200.0), "6 d 3 h");
    }
}

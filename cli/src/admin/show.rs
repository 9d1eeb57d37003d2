//! Printing: aligned tables and `name: value` lines for people, one JSON document for programs.

use std::borrow::Cow;
use std::io::{self, Write};

use berth_common::admin_protocol::UserSummary;
use berth_common::entry::Usage;
use rust_i18n::t;
use serde_json::{Value, json};

use crate::human;
use crate::looking::columns;
use crate::output::json_text;

/// How answers are printed.
pub(super) struct Printer {
    /// One JSON document instead of text.
    pub(super) json: bool,
}

impl Printer {
    /// Prints an answer in one of its two forms.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(super) fn print(&self, text: &str, json: &Value) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", json_text(&format!("{json:#}")))?;
        } else if !text.is_empty() {
            writeln!(out, "{}", text.trim_end_matches('\n'))?;
        }
        out.flush()
    }
}

/// Which side of a column its cells stand at.
#[derive(Clone, Copy)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Lays rows out below their headings, each column as wide as its widest cell.
pub(super) fn table<const N: usize>(
    headings: [(Cow<'_, str>, Align); N],
    rows: &[[String; N]],
) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| columns::width(&row[column]));
        cells.chain([columns::width(&headings[column].0)]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for ((cell, (_, align)), width) in cells.iter().zip(&headings).zip(widths) {
            let padding = " ".repeat(width.saturating_sub(columns::width(cell)));
            match align {
                Align::Left => line.extend([cell, padding.as_str()]),
                Align::Right => line.extend([padding.as_str(), cell]),
            }
            line.push_str("  ");
        }
        format!("{}\n", line.trim_end())
    };
    let body = rows.iter().map(|row| line(std::array::from_fn(|column| row[column].as_str())));
    let headings = std::array::from_fn(|column| &*headings[column].0);
    std::iter::once(line(headings)).chain(body).collect()
}

/// Lays out `name: value` lines, the values below each other.
pub(super) fn properties(properties: &[(Cow<'_, str>, String)]) -> String {
    let width = properties.iter().map(|(name, _)| columns::width(name)).max().unwrap_or(0) + 1;
    let line = |(name, value): &(Cow<'_, str>, String)| {
        format!("{} {value}\n", columns::left(&format!("{name}:"), width))
    };
    properties.iter().map(line).collect()
}

/// A limit in bytes.
pub(super) fn byte_limit(limit: Option<u64>) -> String {
    limit.map_or_else(|| t!("unlimited").into_owned(), human::size)
}

/// A limit in entries.
pub(super) fn entry_limit(limit: Option<u64>) -> String {
    limit.map_or_else(|| t!("unlimited").into_owned(), |limit| limit.to_string())
}

/// A number of whole seconds.
pub(super) fn duration(seconds: u64) -> String {
    if seconds < 10 { format!("{seconds} s") } else { human::duration(seconds as f64) }
}

/// A time in seconds since the epoch, to the minute.
pub(super) fn utc(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a date, by 400-year cycles that begin on 1 March 0000.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, month + if month < 10 { 3 } else { -9 });
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", second / 3600, second % 3600 / 60)
}

/// A user as a JSON object; an unlimited limit is null.
pub(super) fn user_json(summary: &UserSummary) -> Value {
    let mut object = usage_json(&summary.usage);
    object["user"] = json!(summary.user.as_str());
    object["locked"] = json!(summary.locked);
    object["sessions"] = json!(summary.sessions);
    object["uploads"] = json!(summary.uploads);
    object["created_s"] = json!(summary.created_s);
    object
}

/// Limits and usage as a JSON object.
pub(super) fn usage_json(usage: &Usage) -> Value {
    json!({
        "limit_bytes": usage.limits.bytes,
        "limit_entries": usage.limits.entries,
        "used_bytes": usage.used_bytes,
        "used_entries": usage.used_entries,
        "reserved_bytes": usage.reserved_bytes,
        "reserved_entries": usage.reserved_entries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_have_no_trailing_spaces() {
        let rows = [["alice".to_owned(), "7".to_owned()], ["é".to_owned(), "1000".to_owned()]];
        let text = table([("USER".into(), Align::Left), ("N".into(), Align::Right)], &rows);
        assert_eq!(text, "USER      N\nalice     7\né      1000\n");
        let last_left = table([("N".into(), Align::Right), ("USER".into(), Align::Left)], &[]);
        assert_eq!(last_left, "N  USER\n");
    }

    #[test]
    fn properties_are_aligned() {
        let text =
            properties(&[("a".into(), "1".to_owned()), ("long name".into(), "2".to_owned())]);
        assert_eq!(text, "a:         1\nlong name: 2\n");
    }

    #[test]
    fn times_are_dates_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_763_718_060, "2025-11-21 09:41 UTC"),
            (-1, "1969-12-31 23:59 UTC"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn no_limit_is_told_in_a_word() {
        assert_eq!(byte_limit(None), "unlimited");
        assert_eq!(entry_limit(Some(3)), "3");
    }
}

//! `berth df`: the quota, and what is used and reserved of it, with a bar on a terminal.

use std::borrow::Cow;

use berth_common::entry::Usage;
use rust_i18n::t;

use super::{Context, failed, show};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::looking::columns::left;
use crate::looking::columns::right;
use crate::looking::{bar, screen};

/// What a line has besides a bar: a name and three numbers, and a share with the blanks around it.
const BESIDE_THE_BAR: usize = 8 + 3 * 13 + 7;

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let usage = context.session.usage().await.map_err(|error| failed(&error).of("df"))?;
    let output = &context.output;
    let style = output.style();
    if style.json {
        output.json(&show::usage(&usage))?;
        return Ok(Exit::Success);
    }
    let left = if style.terminal { screen::width().saturating_sub(BESIDE_THE_BAR) } else { 0 };
    for line in table(&usage, bar::width(left), style.coloured) {
        output.line(&line)?;
    }
    if let Some(remark) = show::quota_remark(&usage) {
        output.flush()?;
        output.note(&remark);
    }
    Ok(Exit::Success)
}

/// The lines, with bars of this width or without.
fn table(usage: &Usage, width: Option<usize>, coloured: bool) -> [String; 3] {
    let line = |name: &str, [used, reserved, limit]: [String; 3], share: &str| {
        let [name, used, reserved, limit] =
            [left(name, 8), right(&used, 12), right(&reserved, 12), right(&limit, 12)];
        format!("{name} {used} {reserved} {limit} {share}")
    };
    let share = |used, reserved, limit: Option<u64>| {
        let percent = show::share(used, reserved, limit);
        let text = percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent}%"));
        let (Some(width), Some(limit)) = (width, limit) else {
            return format!("{text:>6}");
        };
        let drawn = format!("{} {text}", bar::bar(used, reserved, limit, width));
        if coloured { bar::coloured(&drawn, used, limit) } else { drawn }
    };
    let heading = if width.is_some() { left(&t!("use"), 6) } else { right(&t!("use"), 6) };
    let (limits, bytes, entries) = (usage.limits, usage.reserved_bytes, usage.reserved_entries);
    let limit = |limit: Option<String>| limit.unwrap_or_else(|| t!("unlimited").into_owned());
    [
        line("", [t!("used"), t!("reserved"), t!("limit")].map(Cow::into_owned), heading.as_str()),
        line(
            &t!("bytes"),
            [
                human::signed_size(usage.used_bytes),
                human::size(bytes),
                limit(limits.bytes.map(human::size)),
            ],
            &share(usage.used_bytes, bytes, limits.bytes),
        ),
        line(
            &t!("entries"),
            [
                usage.used_entries.to_string(),
                entries.to_string(),
                limit(limits.entries.map(|entries| entries.to_string())),
            ],
            &share(usage.used_entries, entries, limits.entries),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use berth_common::entry::Limits;

    use super::*;

    #[test]
    fn a_pipe_gets_numbers_and_a_terminal_bars() {
        let usage = Usage {
            limits: Limits { bytes: Some(10 << 30), entries: None },
            used_bytes: 9 << 30,
            used_entries: 7,
            reserved_bytes: 512 << 20,
            reserved_entries: 1,
        };
        assert_eq!(
            table(&usage, None, false),
            [
                "                 used     reserved        limit    use",
                "bytes         9.0 GiB    512.0 MiB     10.0 GiB    95%",
                "entries             7            1    unlimited      -",
            ]
        );
        let [heading, bytes, entries] = table(&usage, Some(10), true);
        assert_eq!(heading, "                 used     reserved        limit use   ");
        let drawn = "\x1b[33m[#########-] 95%\x1b[0m";
        assert_eq!(bytes, format!("bytes         9.0 GiB    512.0 MiB     10.0 GiB {drawn}"));
        assert!(entries.ends_with("unlimited      -"), "{entries}");
    }
}

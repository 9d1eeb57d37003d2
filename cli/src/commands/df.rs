//! `berth df`: the quota, and what is used and reserved of it.

use super::{Context, failed, show};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let usage = context.session.usage().await.map_err(|error| failed(&error).of("df"))?;
    let output = &context.output;
    if output.style().json {
        output.json(&show::usage(&usage))?;
        return Ok(Exit::Success);
    }
    let row = |name: &str, used: String, reserved: String, limit: Option<String>, share| {
        let limit = limit.unwrap_or_else(|| "unlimited".to_owned());
        let share = match share {
            Some(percent) => format!("{percent}%"),
            None => "-".to_owned(),
        };
        format!("{name:<8} {used:>12} {reserved:>12} {limit:>12} {share:>6}")
    };
    output.line(&format!(
        "{:<8} {:>12} {:>12} {:>12} {:>6}",
        "", "used", "reserved", "limit", "use"
    ))?;
    let (limits, bytes, entries) = (usage.limits, usage.reserved_bytes, usage.reserved_entries);
    output.line(&row(
        "bytes",
        human::signed_size(usage.used_bytes),
        human::size(bytes),
        limits.bytes.map(human::size),
        show::share(usage.used_bytes, bytes, limits.bytes),
    ))?;
    output.line(&row(
        "entries",
        usage.used_entries.to_string(),
        entries.to_string(),
        limits.entries.map(|limit| limit.to_string()),
        show::share(usage.used_entries, entries, limits.entries),
    ))?;
    if let Some(remark) = show::quota_remark(&usage) {
        output.flush()?;
        output.note(&remark);
    }
    Ok(Exit::Success)
}

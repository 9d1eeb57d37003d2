//! Log lines: text for people or one JSON object a line, both on standard error.
//!
//! What a client or a helper chose is logged by its `Debug` form (`?field`) alone, which escapes control
//! characters, so that nobody can forge a line or send escape codes to an administrator's terminal.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

use crate::config::LogFormat;

/// The variable that sets what is logged, in `tracing`'s filter syntax; `info` without it.
const FILTER_VARIABLE: &str = "BERTH_LOG";

/// Starts logging. A second call, as in tests, changes nothing.
pub(crate) fn start(format: LogFormat) {
    let filter =
        EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    // Time stamps in UTC: local time would need the time zone's files.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_timer(SystemTime);
    let started = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    drop(started);
}

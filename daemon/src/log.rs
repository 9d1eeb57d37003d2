//! Log lines: text for people or one JSON object a line, both on standard error.
//!
//! What a client or a helper chose is logged by its `Debug` form (`?field`) alone, which escapes control
//! characters, so that nobody can forge a line or send escape codes to an administrator's terminal.
//!
//! Where standard error is the journal, each line begins with its priority (`sd-daemon(3)`), which the journal
//! takes off, and has no time stamp or level of its own: the journal has both.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;

use rustix::fd::AsFd;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, Layer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// The variable that sets what is logged, in `tracing`'s filter syntax; `info` without it.
const FILTER_VARIABLE: &str = "BERTH_LOG";

/// Device and inode of the stream to the journal, where a service manager has made one.
const JOURNAL_VARIABLE: &str = "JOURNAL_STREAM";

/// `LOG_ERR` of `syslog(3)`.
const ERROR: u8 = 3;

/// Starts logging. A second call, as in tests, changes nothing.
pub(crate) fn start(format: LogFormat) {
    drop(subscriber(format, goes_to_the_journal(), std::io::stderr).try_init());
}

/// One line on standard output, for people and for programs that start a daemon. Nobody may be reading.
pub(crate) fn say(line: impl fmt::Display) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "berthd: {line}").and_then(|()| out.flush()));
}

/// Says why the program ends, where there may be no log yet.
pub(crate) fn say_why_it_ends(error: &dyn fmt::Display) {
    let text = format!("berthd: {error}");
    match goes_to_the_journal() {
        true => eprint!("{}", with_priority(ERROR, &text)),
        false => eprintln!("{text}"),
    }
}

fn subscriber<W>(format: LogFormat, journal: bool, writer: W) -> impl SubscriberInitExt
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let filter =
        EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    // Time stamps in UTC: local time would need the time zone's files.
    let stamped = Format::default().with_target(false).with_timer(SystemTime);
    let bare = || Format::default().with_target(false).without_time().with_level(false);
    let layer = Layer::default().with_writer(writer).with_ansi(false);
    let layer: Box<dyn tracing_subscriber::Layer<_> + Send + Sync> = match (format, journal) {
        (LogFormat::Text, false) => Box::new(layer.event_format(stamped)),
        (LogFormat::Json, false) => {
            Box::new(layer.json().event_format(stamped.json().flatten_event(true)))
        }
        (LogFormat::Text, true) => Box::new(layer.event_format(ForJournal(bare()))),
        (LogFormat::Json, true) => {
            Box::new(layer.json().event_format(ForJournal(bare().json().flatten_event(true))))
        }
    };
    tracing_subscriber::registry().with(layer).with(filter)
}

/// Whether standard error is the stream that the variable speaks of. It may have been handed on by a program
/// whose own standard error was another.
fn goes_to_the_journal() -> bool {
    is_stream(std::env::var_os(JOURNAL_VARIABLE).as_deref(), std::io::stderr())
}

fn is_stream(stated: Option<&OsStr>, stream: impl AsFd) -> bool {
    let (Some(stated), Ok(stat)) = (stated, rustix::fs::fstat(stream)) else {
        return false;
    };
    stated.to_str() == Some(&format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Lines of another format, with their priority.
struct ForJournal<F>(F);

impl<S, N, F> FormatEvent<S, N> for ForJournal<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        self.0.format_event(ctx, Writer::new(&mut text), event)?;
        writer.write_str(&with_priority(priority(*event.metadata().level()), &text))
    }
}

/// `syslog(3)` has no level below debug.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => ERROR,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// The journal makes an entry of each line.
fn with_priority(priority: u8, text: &str) -> String {
    text.lines().map(|line| format!("<{priority}>{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, journal: bool) -> String {
        let written = Written::default();
        let writer = written.clone();
        let guard = subscriber(format, journal, move || writer.clone()).set_default();
        tracing::info!(sessions = 2, "listening");
        tracing::warn!("a quota has reached a threshold");
        tracing::error!(error = "first\nsecond", "the ledger is lost");
        drop(guard);
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn the_journal_gets_priorities_and_no_times_levels_or_colours() {
        let text = logged(LogFormat::Text, true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "<6>listening sessions=2");
        assert_eq!(lines[1], "<4>a quota has reached a threshold");
        assert!(lines[2..].iter().all(|line| line.starts_with("<3>")), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn json_for_the_journal_is_an_object_behind_the_priority() {
        let text = logged(LogFormat::Json, true);
        let line = text.lines().next().unwrap().strip_prefix("<6>").unwrap();
        assert_eq!(line, r#"{"message":"listening","sessions":2}"#);
    }

    #[test]
    fn elsewhere_lines_have_their_time_and_level() {
        let text = logged(LogFormat::Text, false);
        assert!(text.starts_with("20"), "{text}");
        assert!(text.contains("  INFO listening sessions=2\n"), "{text}");
        let json = logged(LogFormat::Json, false);
        assert!(json.starts_with(r#"{"timestamp":"20"#), "{json}");
        assert!(json.contains(r#""level":"INFO""#), "{json}");
    }

    #[test]
    fn the_stream_is_the_journals_only_where_device_and_inode_fit() {
        let file = tempfile::tempfile().unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        let stated = format!("{}:{}", stat.st_dev, stat.st_ino);
        assert!(is_stream(Some(OsStr::new(&stated)), &file));
        assert!(!is_stream(Some(OsStr::new("1:1")), &file));
        assert!(!is_stream(Some(OsStr::new("nonsense")), &file));
        assert!(!is_stream(None, &file));
    }
}

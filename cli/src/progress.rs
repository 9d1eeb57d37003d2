//! What a person sees while files move: bars on a terminal, lines elsewhere, nothing when quiet.
//!
//! All of it is on standard error. Transfers tell events, and each has its [`FileProgress`] to hear them; the commands
//! make these and say what came of each file.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use berth::progress::{Changed, Event, Reporter};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rust_i18n::t;

use crate::human;
use crate::looking::columns::end_within;
use crate::output::{complain, escaped};

/// Files up to this size get no bar of their own: they are gone before it could be read.
const SMALLEST_BAR: u64 = 1 << 20;

/// What a bar looks like.
const BAR: &str = "{prefix} {wide_bar} {percent:>3}% {binary_bytes}/{binary_total_bytes} \
                   {binary_bytes_per_sec} ETA {eta} {msg}";

/// The same for what has no known size.
const COUNTER: &str = "{prefix} {spinner} {binary_bytes} {binary_bytes_per_sec} {msg}";

/// Between two lines about the same file.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bars that are redrawn.
    Bars,
    /// A line now and then.
    Lines,
    /// Nothing.
    Quiet,
}

/// The progress of one command.
#[derive(Clone, Debug)]
pub struct Progress {
    mode: Mode,
    bars: MultiProgress,
    total: Option<Arc<Total>>,
}

/// The line below the files' own.
#[derive(Debug)]
struct Total {
    bar: ProgressBar,
    files: AtomicUsize,
    grows: bool,
    over: AtomicUsize,
}

impl Total {
    fn show(&self) {
        let (over, files) = (self.over.load(Ordering::Relaxed), self.files.load(Ordering::Relaxed));
        self.bar.set_message(t!("%{over}/%{files} files", over = over, files = files));
    }
}

/// A command that was interrupted leaves no bar behind, since the shell goes on in that line.
impl Drop for Total {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Progress {
    /// The progress of moving so many files. `bytes` are their sizes together, if they are known;
    /// else each file adds its size when it begins.
    #[must_use]
    pub fn new(mode: Mode, files: usize, bytes: Option<u64>) -> Self {
        let total =
            (mode == Mode::Bars && files > 1).then_some((bytes.unwrap_or(0), bytes.is_none()));
        Self::with_total(mode, files, total)
    }

    /// The progress of moving trees, whose files and bytes are told as they are found.
    #[must_use]
    pub fn of_trees(mode: Mode) -> Self {
        Self::with_total(mode, 0, (mode == Mode::Bars).then_some((0, false)))
    }

    /// One more file of a tree, with its size.
    pub fn found(&self, bytes: u64) {
        if let Some(total) = &self.total {
            total.files.fetch_add(1, Ordering::Relaxed);
            total.bar.inc_length(bytes);
            total.show();
        }
    }

    fn with_total(mode: Mode, files: usize, total: Option<(u64, bool)>) -> Self {
        let target = match mode {
            Mode::Bars => ProgressDrawTarget::stderr(),
            Mode::Lines | Mode::Quiet => ProgressDrawTarget::hidden(),
        };
        let bars = MultiProgress::with_draw_target(target);
        let total = total.map(|(bytes, grows)| {
            let bar = bars.add(ProgressBar::new(bytes));
            bar.set_style(style(BAR));
            bar.set_prefix(t!("total"));
            let files = AtomicUsize::new(files);
            let total = Total { bar, files, grows, over: AtomicUsize::new(0) };
            total.show();
            Arc::new(total)
        });
        Self { mode, bars, total }
    }

    /// The progress of one of its files.
    #[must_use]
    pub fn file(&self, name: &str) -> FileProgress {
        let name = escaped(name).into_owned();
        let state = FileState { size: None, position: 0, line_at: Instant::now(), bar: None };
        let file = File { name, progress: self.clone(), state: Mutex::new(state) };
        FileProgress(Some(Arc::new(file)))
    }

    /// A small file is over, well or not.
    pub fn small(&self, bytes: u64) {
        if let Some(total) = &self.total {
            total.bar.inc(bytes);
            total.over.fetch_add(1, Ordering::Relaxed);
            total.show();
        }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        match self.mode {
            Mode::Bars => self.bars.suspend(|| complain(text)),
            Mode::Lines => complain(text),
            Mode::Quiet => {}
        }
    }

    /// Whether no lines are shown.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        matches!(self.mode, Mode::Quiet)
    }

    /// Keeps the bars away while something else is printed.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.suspend(print)
    }

    /// Takes the bars away.
    pub fn end(&self) {
        if let Some(total) = &self.total {
            total.bar.finish_and_clear();
        }
    }
}

/// A line about the command as a whole, which is redrawn in place and goes when this is dropped. Only on a terminal.
#[derive(Debug)]
pub struct Notice(Option<ProgressBar>);

impl Notice {
    /// Nothing yet.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self((mode == Mode::Bars).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style("{wide_msg}"));
            bar
        }))
    }

    /// Says this from now on.
    pub fn say(&self, text: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(text.to_owned());
            bar.tick();
        }
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// What is shown of one file.
#[derive(Clone, Debug)]
pub struct FileProgress(Option<Arc<File>>);

#[derive(Debug)]
struct File {
    name: String,
    progress: Progress,
    state: Mutex<FileState>,
}

#[derive(Debug)]
struct FileState {
    size: Option<u64>,
    position: u64,
    line_at: Instant,
    bar: Option<ProgressBar>,
}

impl FileProgress {
    /// Shows nothing.
    #[must_use]
    pub fn hidden() -> Self {
        Self(None)
    }

    /// Shows what a transfer tells.
    #[must_use]
    pub fn reporter(&self) -> Reporter {
        let own = self.clone();
        Reporter::new(move |event| own.hear(event))
    }

    fn hear(&self, event: Event) {
        match event {
            Event::Started { size, from } => self.begin(size, from),
            Event::StartedOver(Changed::Local) => {
                self.note(&t!("the file has changed since the last try: starting over"));
            }
            Event::StartedOver(Changed::Remote) => {
                self.note(&t!(
                    "the file on the server has changed since the last try: starting over"
                ));
            }
            Event::Advanced { position } | Event::SentBack { position } => self.at(position),
            Event::Storing => self.waiting(t!("storing")),
            Event::AttributesNotKept => {
                self.note(&t!("the file system does not keep its time or mode"));
            }
            Event::Stored => self.end(),
        }
    }

    fn with(&self, act: impl FnOnce(&File, &mut FileState)) {
        if let Some(file) = &self.0 {
            let mut state = file.state.lock().unwrap_or_else(PoisonError::into_inner);
            act(file, &mut state);
        }
    }

    /// The transfer begins, at `from` of `size` bytes, if it is known how many there are.
    fn begin(&self, size: Option<u64>, from: u64) {
        self.with(|file, state| {
            (state.size, state.position) = (size, from);
            if file.progress.mode == Mode::Bars && size.is_none_or(|size| size > SMALLEST_BAR) {
                let (bar, template) = match size {
                    Some(size) => (ProgressBar::new(size), BAR),
                    None => (ProgressBar::no_length(), COUNTER),
                };
                // Above the total.
                let bar = file.progress.bars.insert(0, bar);
                bar.set_style(style(template));
                bar.set_prefix(shortened(&file.name));
                bar.set_position(from);
                // What was there already came at no rate.
                bar.reset_eta();
                state.bar = Some(bar);
            }
            if let Some(total) = &file.progress.total {
                if total.grows {
                    total.bar.inc_length(size.unwrap_or(0));
                }
                total.bar.inc(from);
            }
            if let Some(size) = size.filter(|_| from > 0) {
                let percent = human::percent(from, size);
                file.progress.line(&t!(
                    "%{name}: resumed at %{percent}%",
                    name = file.name,
                    percent = percent
                ));
            }
        });
    }

    /// So many of the file's bytes are over; fewer than before when some have to go again.
    fn at(&self, position: u64) {
        self.with(|file, state| {
            if let Some(bar) = &state.bar {
                bar.set_position(position);
            }
            if let Some(total) = &file.progress.total {
                total.bar.inc(position.saturating_sub(state.position));
                total.bar.dec(state.position.saturating_sub(position));
            }
            state.position = position;
            if file.progress.mode == Mode::Lines && state.line_at.elapsed() >= LINE_EVERY {
                state.line_at = Instant::now();
                let done = human::size(position);
                let line = match state.size {
                    Some(size) => {
                        let percent = human::percent(position, size);
                        t!(
                            "%{name}: %{percent}% (%{done} of %{size})",
                            name = file.name,
                            percent = percent,
                            done = done,
                            size = human::size(size)
                        )
                    }
                    None => format!("{}: {done}", file.name).into(),
                };
                file.progress.line(&line);
            }
        });
    }

    /// All bytes are over; what is waited for now.
    fn waiting(&self, what: Cow<'static, str>) {
        self.with(|_, state| {
            if let Some(bar) = &state.bar {
                bar.set_message(what);
            }
        });
    }

    /// A remark about the file.
    fn note(&self, text: &str) {
        self.with(|file, _| file.progress.line(&format!("{}: {text}", file.name)));
    }

    /// The transfer is over, well or not: its bar goes.
    pub(crate) fn end(&self) {
        self.with(|_, state| {
            if let Some(bar) = state.bar.take() {
                bar.finish_and_clear();
            }
        });
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let Some(total) = &self.progress.total {
            total.over.fetch_add(1, Ordering::Relaxed);
            total.show();
        }
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A template that indicatif does not understand would be a plain bar.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// A name that leaves room for the bar.
fn shortened(name: &str) -> String {
    end_within(name, 28)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_shortened_within_characters() {
        assert_eq!(shortened("short.iso"), "short.iso");
        let long = "ä".repeat(40) + ".iso";
        assert_eq!(shortened(&long).chars().count(), 28);
        assert!(shortened(&long).ends_with(".iso"));
        assert_eq!(shortened(&"語".repeat(40)).chars().count(), 14, "each takes two columns");
    }

    #[test]
    fn every_mode_takes_a_whole_transfer() {
        for mode in [Mode::Bars, Mode::Lines, Mode::Quiet] {
            let progress = Progress::new(mode, 2, None);
            let file = progress.file("a\x1b");
            file.begin(Some(5 << 20), 1 << 20);
            file.at(2 << 20);
            file.waiting("storing".into());
            file.end();
            drop(file);
            let file = progress.file("standard input");
            file.begin(None, 0);
            file.at(2 << 20);
            drop(file);
            progress.end();
            let progress = Progress::of_trees(mode);
            progress.found(5 << 20);
            drop(progress.file("a"));
            progress.found(1);
            progress.small(1);
            progress.end();
        }
        assert!(ProgressStyle::with_template(BAR).is_ok());
        assert!(ProgressStyle::with_template(COUNTER).is_ok());
    }
}

//! What Berth is measured at by itself, or beside a part of another program: goals 4 to 7. Servers and clients are those
//! of the tests' harness, which panics when something fails; that is a row without a figure here.

mod busy;
mod fair;
mod far;
mod handshakes;
mod listing;
mod logins;
mod resume;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use berth_tests::{Options, Server};
use clap::ValueEnum;

use crate::args::Args;
use crate::goals::{Row, Verdict};
use crate::place::Place;
use crate::workload::{Medium, Sizes};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Trees over 100 ms of round-trip time.
    FarTree,
    /// A large file over 100 ms of round-trip time.
    FarLarge,
    /// The time from the login to the first data of a resumed transfer.
    Resume,
    /// Logins a second, beside sshd's.
    Logins,
    /// The time to the end of a handshake, beside nginx's.
    Handshakes,
    /// Memory of a session that transfers.
    BusyMemory,
    /// A hundred gets at once.
    Fairness,
    /// Memory of a session that lists a very large directory.
    Listing,
}

/// What a measurement says, a row each; or why it says nothing.
type Outcome = Result<Vec<(String, Verdict)>, String>;

/// Where and how much is measured.
pub(crate) struct Setting {
    /// An empty directory on a tmpfs, which is the ordinary user's.
    memory: PathBuf,
    short: bool,
    large: u64,
    files: u64,
}

impl Subject {
    /// All, in the order in which they are measured.
    pub(crate) const ALL: [Self; 8] = [
        Self::FarTree,
        Self::FarLarge,
        Self::Resume,
        Self::Logins,
        Self::Handshakes,
        Self::BusyMemory,
        Self::Fairness,
        Self::Listing,
    ];

    fn number(self) -> &'static str {
        match self {
            Self::FarTree | Self::FarLarge => "4",
            Self::Resume => "5",
            Self::Logins | Self::Handshakes | Self::BusyMemory => "6",
            Self::Fairness | Self::Listing => "7",
        }
    }

    /// What stands in the table where there is no figure.
    fn title(self) -> &'static str {
        match self {
            Self::FarTree => "small files over 100 ms of round-trip time",
            Self::FarLarge => "a large file over 100 ms of round-trip time",
            Self::Resume => "from the login to the first data of a transfer that is resumed at 99%",
            Self::Logins => "logins a second",
            Self::Handshakes => "from the connection to the end of the handshake",
            Self::BusyMemory => "memory of a session that transfers",
            Self::Fairness => "100 gets of different users at once",
            Self::Listing => "memory of a session that lists a very large directory",
        }
    }

    /// The row of one that was not asked for.
    pub(crate) fn left_out(self) -> Row {
        self.without("not asked for in this run".to_owned())
    }

    fn without(self, reason: String) -> Row {
        let (number, text) = (self.number(), self.title().to_owned());
        Row { number, text, verdict: Verdict::NotMeasured(reason) }
    }

    fn measure(self, setting: &Setting) -> Outcome {
        match self {
            Self::FarTree => far::trees(setting),
            Self::FarLarge => far::large(setting),
            Self::Resume => resume::measure(setting),
            Self::Logins => logins::measure(setting),
            Self::Handshakes => handshakes::measure(setting),
            Self::BusyMemory => busy::measure(setting),
            Self::Fairness => fair::measure(setting),
            Self::Listing => listing::measure(setting),
        }
    }
}

/// Measures what was asked for; everything has a row.
pub(crate) fn measure(args: &Args) -> Vec<Row> {
    let mut rows = Vec::new();
    for subject in Subject::ALL {
        if !args.asks_for(subject) {
            rows.push(subject.left_out());
            continue;
        }
        println!("{}", subject.title());
        match outcome(subject, args) {
            Ok(told) => {
                for (text, verdict) in told {
                    match &verdict {
                        Verdict::Alone { reached: said, .. } | Verdict::NotMeasured(said) => {
                            println!("  {text}: {said}");
                        }
                        Verdict::Ratio { .. } | Verdict::Beside { .. } => {}
                    }
                    rows.push(Row { number: subject.number(), text, verdict });
                }
            }
            Err(reason) => {
                println!("  not measured: {reason}");
                rows.push(subject.without(reason));
            }
        }
    }
    rows.push(many_users());
    rows
}

/// What a test holds, which no measurement could.
fn many_users() -> Row {
    let text = "statements and system calls of the ledger at 10 and at 10,000 users".to_owned();
    let reached = "equal, by `daemon/src/ledger/tests/many_users.rs`".to_owned();
    Row { number: "7", text, verdict: Verdict::Alone { reached, wanted: None, holds: None } }
}

/// Each has a directory of its own, which goes with it: what fills the memory is not to stay.
fn outcome(subject: Subject, args: &Args) -> Outcome {
    let memory = args.memory.join("alone");
    prepare(&memory).map_err(|error| error.to_string())?;
    let sizes = args.sizes();
    let setting = Setting {
        memory: memory.clone(),
        short: args.is_short(),
        large: sizes.large,
        files: sizes.files,
    };
    let caught = catch_unwind(AssertUnwindSafe(|| subject.measure(&setting)));
    let outcome = caught.unwrap_or_else(|panic| Err(said(panic.as_ref())));
    let removed = std::fs::remove_dir_all(&memory);
    removed.map_err(|error| error.to_string()).and(outcome)
}

fn prepare(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    crate::files::make_dir(directory)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))
}

/// What a panic said, in one line of a table.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    let line = text.and_then(|text| text.lines().next()).unwrap_or("the harness failed");
    line.replace('|', "/").chars().take(160).collect()
}

impl Setting {
    /// A server with its files in memory, and room for as many clients as a measurement has.
    fn server(&self) -> Server {
        // Connections that were refused would be measured as fast.
        let options = Options::new()
            .beneath(&self.memory)
            .set("max_connections = 300")
            .set("max_connections_per_address = 300")
            .set("max_sessions_per_user = 300");
        Server::start(options)
    }

    /// A place for another program.
    fn place(&self, name: &str) -> Result<Place, String> {
        let root = self.memory.join(name);
        let sizes = Sizes { large: 0, files: 0 };
        let made = prepare(&root).and_then(|()| Place::make(&root, Medium::Memory, &[], sizes));
        made.map_err(|error| error.to_string())
    }

    fn files_described(&self) -> String {
        format!("{} files of 4 KiB", self.files)
    }

    fn large_described(&self) -> String {
        format!("{} MiB", self.large >> 20)
    }
}

/// A figure that is to be reached, with its words.
fn wanted(reached: String, wanted: String, holds: bool) -> Verdict {
    Verdict::Alone { reached, wanted: Some(wanted), holds: Some(holds) }
}

/// A figure that is told.
fn told(reached: String) -> Verdict {
    Verdict::Alone { reached, wanted: None, holds: None }
}

#[expect(clippy::cast_precision_loss, reason = "sizes and counts are far below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harness_that_panics_is_a_reason_that_fits_into_a_table() {
        let panic = catch_unwind(|| panic!("berthd: a | b\nand more")).unwrap_err();
        assert_eq!(said(panic.as_ref()), "berthd: a / b");
    }

    #[test]
    fn every_goal_from_the_fourth_on_has_a_subject() {
        for number in ["4", "5", "6", "7"] {
            assert!(Subject::ALL.iter().any(|subject| subject.number() == number), "{number}");
        }
    }
}

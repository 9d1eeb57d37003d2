//! Looks into directories, here and in the home: for `globs` within a command, and for `complete` beside the prompt.
//!
//! A completion must never hold the line up: it has a deadline, a bound on what it takes, and the last
//! directory is remembered for as long as a line is typed. What cannot be seen is no name.

use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use berth::session::{RequestError, Session};
use berth_common::entry::{Entry, EntryKind};
use berth_common::error_code::ErrorCode;
use berth_common::rel_path::RelPath;
use rust_i18n::t;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::globs::{Named, Part};
use super::roles::Side;
use crate::commands::failed;
use crate::failure::Failure;

/// How long a completion may wait for the server.
const DEADLINE: Duration = Duration::from_secs(2);

/// From a larger directory nothing is completed.
const MOST_NAMES: usize = 20_000;

/// How long a directory is remembered.
const REMEMBERED: Duration = Duration::from_secs(5);

fn named(entry: Entry) -> Named {
    Named { is_directory: entry.kind == EntryKind::Directory, name: entry.name }
}

/// A local name. A link counts as what it leads to, and as a file when that is nothing.
fn named_here(directory: &Path, name: String) -> Named {
    Named { is_directory: directory.join(&name).is_dir(), name }
}

/// All local names in a directory; none when it cannot be read.
fn here(directory: &Path) -> impl Iterator<Item = OsString> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name())
}

fn here_or(directory: &str) -> &Path {
    Path::new(if directory.is_empty() { "." } else { directory })
}

/// The names in a local directory that a part of a pattern stands for.
///
/// # Errors
/// When one of them is not UTF-8: no command could be given it, and none is left out in silence.
pub(super) fn local(directory: &str, part: &Part) -> Result<Vec<Named>, Failure> {
    let directory = here_or(directory);
    if let Part::Name(name) = part {
        let stands = directory.join(name).symlink_metadata().is_ok();
        return Ok(stands.then(|| named_here(directory, name.clone())).into_iter().collect());
    }
    let mut found = Vec::new();
    for name in here(directory).filter(|name| part.takes(&name.to_string_lossy())) {
        let name = name.into_string().map_err(|name| {
            Failure::usage(t!("its name is not UTF-8, so it cannot be given to a command"))
                .of(name.display())
        })?;
        found.push(named_here(directory, name));
    }
    Ok(found)
}

/// The names in a directory of the home that a part of a pattern stands for.
///
/// # Errors
/// When the path cannot be one, or the session is over; what cannot be listed has no names.
pub(super) async fn remote(
    session: &Session,
    cwd: &RelPath,
    directory: &str,
    part: &Part,
) -> Result<Vec<Named>, Failure> {
    let resolve =
        |typed: &str| RelPath::resolve(cwd, typed).map_err(|error| Failure::usage(error).of(typed));
    let path = resolve(directory)?;
    let found = match part {
        Part::Name(name) => {
            let found = session.stat(&resolve(&format!("{directory}{name}"))?).await;
            found.map(|entry| vec![Named { name: name.clone(), ..named(entry) }])
        }
        Part::Pattern(_) => list(session, &path, |name| part.takes(name), usize::MAX).await,
    };
    match found {
        Ok(names) => Ok(names),
        Err(RequestError::Server(
            ErrorCode::NotFound | ErrorCode::NotADirectory | ErrorCode::NotServed,
        )) => Ok(Vec::new()),
        Err(error) => Err(failed(&error).of(&path).at(&path)),
    }
}

/// Whether a server's name is one: typed as part of a path, `..` or `a/b` would lead elsewhere.
pub(super) fn is_name(name: &str) -> bool {
    RelPath::root().join(name).is_ok()
}

/// The names of a directory; none when there are more than `most`.
async fn list(
    session: &Session,
    path: &RelPath,
    takes: impl Fn(&str) -> bool,
    most: usize,
) -> Result<Vec<Named>, RequestError> {
    let mut listing = session.list(path).await?;
    let mut found = Vec::new();
    while let Some(entries) = listing.next_part().await? {
        let wanted = |entry: &Entry| takes(&entry.name) && is_name(&entry.name);
        found.extend(entries.into_iter().filter(wanted).map(named));
        if found.len() > most {
            return Ok(Vec::new());
        }
    }
    Ok(found)
}

/// What a completion looks at: the shell tells it after each command.
#[derive(Debug)]
pub(super) struct View {
    pub(super) session: Session,
    pub(super) cwd: RelPath,
}

struct Remembered {
    side: Side,
    directory: String,
    names: Vec<Named>,
    since: Instant,
}

/// The names that can be completed; used on the thread that edits a line.
pub(super) struct Names {
    runtime: Handle,
    view: Arc<Mutex<View>>,
    remembered: Mutex<Option<Remembered>>,
}

impl Names {
    /// Needs the runtime that drives the session.
    pub(super) fn new(runtime: Handle, view: Arc<Mutex<View>>) -> Self {
        Self { runtime, view, remembered: Mutex::new(None) }
    }

    /// What was remembered may have changed.
    pub(super) fn forget(&self) {
        *lock(&self.remembered) = None;
    }

    /// All names in a directory, as it was typed; none when it cannot be seen in time.
    pub(super) fn of(&self, side: Side, directory: &str) -> Vec<Named> {
        let mut remembered = lock(&self.remembered);
        if let Some(known) = remembered.as_ref() {
            let same = known.side == side && known.directory == directory;
            if same && known.since.elapsed() < REMEMBERED {
                return known.names.clone();
            }
        }
        let Some(names) = self.look(side, directory) else {
            return Vec::new();
        };
        let (directory, since) = (directory.to_owned(), Instant::now());
        *remembered = Some(Remembered { side, directory, names: names.clone(), since });
        names
    }

    fn look(&self, side: Side, directory: &str) -> Option<Vec<Named>> {
        if side == Side::Local {
            let directory = match directory.strip_prefix("~/") {
                Some(rest) => format!("{}/{rest}", std::env::var("HOME").ok()?),
                None => directory.to_owned(),
            };
            let directory = here_or(&directory);
            let names = here(directory).filter_map(|name| name.into_string().ok());
            let names = names.map(|name| named_here(directory, name)).take(MOST_NAMES + 1);
            return Some(names.collect()).filter(|names: &Vec<_>| names.len() <= MOST_NAMES);
        }
        let (session, path) = {
            let view = lock(&self.view);
            (view.session.clone(), RelPath::resolve(&view.cwd, directory).ok()?)
        };
        if session.has_ended() {
            return None;
        }
        let listed = async { timeout(DEADLINE, list(&session, &path, |_| true, MOST_NAMES)).await };
        self.runtime.block_on(listed).ok()?.ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_server_cannot_list_what_leads_elsewhere() {
        assert!(is_name("a b") && is_name("...") && is_name("-rf"));
        for name in ["", ".", "..", "a/b", "../x", "/etc"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn a_local_directory_has_the_names_that_a_pattern_stands_for() {
        let dir = tempfile::tempdir().unwrap();
        let typed = format!("{}/", dir.path().display());
        for name in ["a.txt", "b.txt", ".hidden"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("d.txt")).unwrap();
        std::os::unix::fs::symlink("nothing", dir.path().join("link")).unwrap();
        let pattern = Part::Pattern(glob::Pattern::new("*.txt").unwrap());
        let mut found = local(&typed, &pattern).unwrap();
        found.sort();
        let shown = |named: &Named| (named.name.clone(), named.is_directory);
        let expected = [("a.txt", false), ("b.txt", false), ("d.txt", true)];
        assert_eq!(
            found.iter().map(shown).collect::<Vec<_>>(),
            expected.map(|(name, is_directory)| (name.to_owned(), is_directory))
        );
        let of = |directory: &str, part: &Part| local(directory, part).unwrap().len();
        assert_eq!(of(&typed, &Part::Name("link".into())), 1);
        assert_eq!(of(&typed, &Part::Name("no".into())), 0);
        assert_eq!(of(&format!("{typed}no/"), &pattern), 0);
        // It is not left out in silence.
        let odd = std::ffi::OsStr::from_bytes(b"\xff.txt");
        std::fs::write(dir.path().join(odd), "").unwrap();
        assert!(local(&typed, &pattern).unwrap_err().sentence.contains("is not UTF-8"));
    }
}

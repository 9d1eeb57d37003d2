//! A user at rest: what the ledger and the disk must have in common when no operation is under way.
//!
//! Looked at from beside the server: the ledger read-only, home and staging by walking them; and the daemon is
//! asked what it counts in its memory. Files are compared with what their numbers say, byte for byte, once for each state of each inode.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use berth_common::admin_protocol::{AdminToDaemon, DaemonToAdmin};
use berth_common::entry::Usage;
use berth_common::ids::{StagingName, UserName};
use berth_common::limits::LEAF_SIZE;
use berth_common::rel_path::RelPath;

use super::bounds::{Amounts, Bounds, Span};
use super::connection::Helpers;
use super::content::HEADER;
use super::file::{File, Reader};
use super::tree::{Node, Tree};
use crate::disk::Sums;
use crate::{Server, ledger};

/// Files that were compared already, by inode, ctime and size: what has the same of all three was not
/// written to since.
#[derive(Debug, Default)]
pub struct Compared(HashMap<(u64, i64, i64, u64), File>);

/// What the ledger has of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    used: (i64, i64),
    reserved: (i64, i64),
    reserved_by_uploads: (i64, i64),
    intents: i64,
    uploads: BTreeSet<StagingName>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Rest {
    /// The home.
    pub tree: Tree,
    /// Used and reserved together.
    pub there: Amounts,
}

/// Looks once; the home, if all is as it has to be at rest. `sessions` are those that are connected
/// and idle.
///
/// # Errors
/// What is not as it has to be. It may be on its way to it.
pub fn look(
    server: &Server,
    user: usize,
    sessions: &[Helpers],
    bounds: (&Bounds, Span),
    compared: &mut Compared,
) -> Result<Rest, String> {
    let name = super::session::user_name(user);
    let listed = server.list_sessions().map_err(|error| format!("sessions: {error}"))?;
    let of_user = |session: &&_| is_of(session, &name);
    if let Some(other) = listed.iter().filter(of_user).find(|session| {
        let is_it = |ours: &Helpers| ours.worker == session.worker_pid;
        !sessions.iter().any(is_it)
    }) {
        return Err(format!("session {} has not ended yet", other.session));
    }
    let row = read_row(server, &name).map_err(|error| format!("the ledger: {error}"))?;
    if row.intents != 0 {
        return Err(format!("{} intents are open", row.intents));
    }
    if row.reserved != row.reserved_by_uploads {
        return Err(format!("reserved is not what the open uploads have: {row:?}"));
    }
    let staged = names(&server.staging(&name))?;
    if let Some(lost) = row.uploads.iter().find(|upload| !staged.contains(&upload.file_name())) {
        return Err(format!("the upload {lost} has no file: {row:?}"));
    }
    for entry in staged {
        let known = StagingName::parse(&entry).is_some_and(|name| row.uploads.contains(&name));
        if !known {
            return Err(format!("{entry} stands in staging without a row: {row:?}"));
        }
    }
    let home = server.home(&name);
    let (mut tree, mut sums) = (Tree::default(), Sums::default());
    walk(&home, &RelPath::root(), &mut tree, &mut sums, user, compared)?;
    let walked = (signed(sums.bytes), signed(sums.entries));
    if row.used != walked {
        return Err(format!("the ledger has {row:?} and a walk of the home {walked:?}"));
    }
    let there = (walked.0 + row.reserved.0, walked.1 + row.reserved.1);
    let (bounds, now) = bounds;
    if !bounds.allow(there, now) {
        return Err(format!("{bounds:?} do not allow {walked:?} in the home with {row:?}"));
    }
    // Beside the rows the daemon counts what is reserved in its memory: at rest that is nothing.
    let told = usage(server, &name)?;
    let reserved = (signed(told.reserved_bytes), signed(told.reserved_entries));
    if reserved != row.reserved || (told.used_bytes, told.used_entries) != row.used {
        return Err(format!("the daemon tells {told:?}, and its rows are {row:?}"));
    }
    let again = read_row(server, &name).map_err(|error| format!("the ledger: {error}"))?;
    if again != row {
        return Err(format!("the ledger changes: {row:?}, then {again:?}"));
    }
    Ok(Rest { tree, there })
}

/// What the daemon itself tells of a user.
fn usage(server: &Server, user: &str) -> Result<Usage, String> {
    let user = UserName::new(user).expect("a user's name");
    let answer = server.ask_as_administrator(&AdminToDaemon::UserShow { user });
    match answer.map_err(|error| format!("the usage: {error}"))? {
        DaemonToAdmin::User(shown) => Ok(shown.usage),
        other => Err(format!("instead of the usage: {other:?}")),
    }
}

fn is_of(session: &berth_common::admin_protocol::SessionSummary, name: &str) -> bool {
    session.user.as_ref().is_some_and(|user| user.as_str() == name)
}

fn read_row(server: &Server, user: &str) -> rusqlite::Result<Row> {
    let mut db = ledger::open(&server.data());
    // One transaction, so that all of it is of one moment.
    let tx = db.transaction()?;
    let row = tx.query_row(
        "SELECT id, used_bytes, used_entries, reserved_bytes, reserved_entries,
                (SELECT count(*) FROM intents WHERE user = users.id),
                (SELECT coalesce(sum(reserved_bytes), 0) FROM uploads WHERE user = users.id),
                (SELECT coalesce(sum(reserved_entries), 0) FROM uploads WHERE user = users.id)
         FROM users WHERE name = ?1",
        [user],
        |row| {
            let row = |at| row.get::<_, i64>(at);
            let found = Row {
                used: (row(1)?, row(2)?),
                reserved: (row(3)?, row(4)?),
                intents: row(5)?,
                reserved_by_uploads: (row(6)?, row(7)?),
                uploads: BTreeSet::new(),
            };
            Ok((row(0)?, found))
        },
    );
    let (id, mut row) = row?;
    let mut uploads = tx.prepare("SELECT name FROM uploads WHERE user = ?1")?;
    let names = uploads.query_map([id], |row| row.get::<_, i64>(0))?;
    for name in names {
        row.uploads.insert(StagingName(name?.cast_unsigned()));
    }
    Ok(row)
}

/// The names in a directory.
fn names(directory: &Path) -> Result<Vec<String>, String> {
    let read = fs::read_dir(directory).map_err(|error| error.to_string())?;
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = read.flatten().map(name).collect();
    names.sort();
    Ok(names)
}

fn walk(
    home: &Path,
    at: &RelPath,
    tree: &mut Tree,
    sums: &mut Sums,
    user: usize,
    compared: &mut Compared,
) -> Result<(), String> {
    for name in names(&home.join(at.as_str()))? {
        let path = at.join(&name).map_err(|error| error.to_string())?;
        let on_disk = home.join(path.as_str());
        let stat = on_disk.symlink_metadata().map_err(|error| format!("{path}: {error}"))?;
        sums.entries += 1;
        let node = if stat.is_dir() {
            walk(home, &path, tree, sums, user, compared)?;
            Node::Directory
        } else if stat.is_file() && stat.nlink() == 1 {
            sums.bytes += stat.size();
            Node::File(compared.file_at(&on_disk, &stat, user)?)
        } else {
            return Err(format!("{path} is {:?} with {} links", stat.file_type(), stat.nlink()));
        };
        tree.0.insert(path, node);
    }
    Ok(())
}

impl Compared {
    fn file_at(&mut self, path: &Path, stat: &fs::Metadata, user: usize) -> Result<File, String> {
        let key = (stat.ino(), stat.ctime(), stat.ctime_nsec(), stat.size());
        if let Some(file) = self.0.get(&key) {
            return Ok(file.clone());
        }
        let file = compare(path, stat.size())
            .map_err(|error| format!("{}: {error}", path.display()))?
            .ok_or_else(|| format!("{} is not whole, or no file of the storm's", path.display()))?;
        for content in file.contents().iter().filter(|content| content.size >= HEADER) {
            if !super::is_number_of(content.number, user) {
                return Err(format!("{} is another user's: {content:?}", path.display()));
            }
        }
        if self.0.len() > 10_000 {
            self.0.clear();
        }
        self.0.insert(key, file.clone());
        Ok(file)
    }
}

/// What a file holds, if it is a row of whole contents.
fn compare(path: &Path, size: u64) -> std::io::Result<Option<File>> {
    let mut file = fs::File::open(path)?;
    let mut piece = vec![0; LEAF_SIZE];
    let (mut reader, mut rest) = (Reader::default(), size);
    while rest > 0 {
        let bytes = &mut piece[..rest.min(LEAF_SIZE as u64) as usize];
        file.read_exact(bytes)?;
        if !reader.take(bytes) {
            return Ok(None);
        }
        rest -= bytes.len() as u64;
    }
    Ok(reader.finish())
}

fn signed(sum: u64) -> i64 {
    i64::try_from(sum).expect("a sum that the ledger can keep")
}

/// All that can be told of a user whose storm went wrong.
#[must_use]
pub fn describe(server: &Server, user: usize) -> String {
    let name = super::session::user_name(user);
    let row = read_row(server, &name);
    let staging = names(&server.staging(&name));
    let (mut tree, mut sums) = (Tree::default(), Sums::default());
    let home = server.home(&name);
    let walked =
        walk(&home, &RelPath::root(), &mut tree, &mut sums, user, &mut Compared::default());
    format!("ledger: {row:?}\nstaging: {staging:?}\nwalk: {sums:?} {walked:?}\nhome:\n{tree}")
}

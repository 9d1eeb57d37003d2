//! The role *walk*: finds out what a home holds, for `berthctl quota verify`, while sessions change it.
//!
//! It reads only, follows nothing, and has one directory of the home open at a time. The daemon tells it
//! between its slices what sessions have reported, so it never waits for anybody; what it knows lies in
//! its own memory. What it cannot read it names, and fails: nothing is ever counted as nothing.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use berth_common::channel::ChannelError;
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, HomeReport, HomeSum};
use berth_common::limits::LINKED_NAMES;
use rustix::fs::Mode;
use rustix::io::Errno;

use crate::errors::shortened;
use crate::home::{JUST_LOOK, READ_DIRECTORY, Seen, What, open_beneath};
use crate::home_map::{Directory, HomeMap, MapError};
use crate::run::{DaemonChannel, RunError};
use crate::walk::next_names;

/// Entries in a slice: some milliseconds, after which the daemon may tell of changes.
const SLICE: usize = 4096;

/// Most bytes of a path that is opened at once, well below what the system takes.
const PATH_BYTES: usize = 2048;

/// Why a home cannot be walked. The path is that of the last moment.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot read {place:?}: {}", io::Error::from(*errno))]
    Read { place: String, errno: Errno },
    #[error(transparent)]
    Map(#[from] MapError),
}

/// Carries out the daemon's orders until it closes the channel.
pub(crate) fn walk(daemon: &DaemonChannel, home: impl AsFd) -> Result<(), RunError> {
    let root = open_beneath(home, ".", READ_DIRECTORY, Mode::empty()).map_err(io::Error::from)?;
    let mut walker = Walker { root, map: HomeMap::new(), listing: None };
    loop {
        let message = match daemon.recv() {
            Ok(received) => received.message,
            Err(ChannelError::Closed) => return Ok(()),
            Err(error) => return Err(RunError::Daemon(error.to_string())),
        };
        let (op, result) = match message {
            DaemonToFiler::Reports { op, reports } => {
                (op, walker.hear(&reports).map(|()| FilerToDaemon::Done { op }))
            }
            DaemonToFiler::List { op } => {
                (op, walker.slice().map(|done| FilerToDaemon::Listed { op, done }))
            }
            DaemonToFiler::Sum { op } => {
                (op, walker.sum().map(|sum| FilerToDaemon::Walked { op, sum }))
            }
            other => return Err(RunError::Daemon(format!("no order to walk: {other:?}"))),
        };
        let answer = result.unwrap_or_else(|failure| FilerToDaemon::Failed {
            op,
            reason: shortened(failure.to_string()),
        });
        match daemon.send(&answer, &[]) {
            Ok(()) => {}
            Err(ChannelError::Closed) => return Ok(()),
            Err(error) => return Err(RunError::Daemon(error.to_string())),
        }
    }
}

/// A walk under way.
struct Walker {
    root: OwnedFd,
    map: HomeMap,
    listing: Option<Listing>,
}

/// The directory that is being listed.
struct Listing {
    directory: OwnedFd,
    inode: u64,
    place: Directory,
    names: Vec<CString>,
}

impl Walker {
    fn hear(&mut self, reports: &[HomeReport]) -> Result<(), Failure> {
        reports.iter().try_for_each(|report| Ok(self.map.report(report)?))
    }

    /// Lists some entries further; `true` when nothing is left to list.
    fn slice(&mut self) -> Result<bool, Failure> {
        for _ in 0..SLICE {
            if !self.step()? {
                return Ok(true);
            }
        }
        Ok(self.listing.is_none() && !self.map.has_unlisted())
    }

    /// One entry, or one directory opened or left; `false` when nothing is left to do.
    fn step(&mut self) -> Result<bool, Failure> {
        let Some(listing) = &mut self.listing else {
            let Some(place) = self.map.next_directory() else {
                return Ok(false);
            };
            self.listing = open(&self.root, place)?;
            return Ok(true);
        };
        if let Some(name) = listing.names.pop() {
            return look(listing, &name, &mut self.map).map(|()| true);
        }
        match next_names(&listing.directory) {
            Ok(names) => listing.names = names.into_iter().map(|(name, _)| name).collect(),
            // Removed while it was listed: whatever was in it was reported.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(cannot_read(&listing.place, errno)),
        }
        if listing.names.is_empty() {
            self.listing = None;
        }
        Ok(true)
    }

    fn sum(&self) -> Result<HomeSum, Failure> {
        let sum = self.map.sum()?;
        let (mut linked, mut linked_names) = (0, Vec::new());
        for place in self.map.linked_files() {
            if linked_names.len() < LINKED_NAMES {
                // A rename over a file links it for a moment; what is told has several names now.
                if has_one_link(&self.root, place) {
                    continue;
                }
                linked_names.push(place.text());
            }
            linked += 1;
        }
        linked_names.sort();
        Ok(HomeSum { bytes: sum.bytes, entries: sum.entries, linked, linked_names })
    }
}

/// Opens a directory whose turn has come; `None` when none stands there any more: what moved or left was
/// reported.
fn open(root: &OwnedFd, place: Directory) -> Result<Option<Listing>, Failure> {
    let opened = open_place(root.as_fd(), &place, false)
        .and_then(|directory| Ok((Seen::of(&directory)?.inode, directory)));
    match opened {
        Ok((inode, directory)) => Ok(Some(Listing { directory, inode, place, names: Vec::new() })),
        Err(errno) if has_gone(errno) => Ok(None),
        Err(errno) => Err(cannot_read(&place, errno)),
    }
}

/// Notes what stands at a name of the directory.
fn look(listing: &Listing, name: &CStr, map: &mut HomeMap) -> Result<(), Failure> {
    let place = || listing.place.below(name.to_bytes());
    let seen = match open_beneath(&listing.directory, name, JUST_LOOK, Mode::empty()) {
        Ok(object) => Seen::of(object).map_err(|errno| cannot_read(&place(), errno))?,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(cannot_read(&place(), errno)),
    };
    match seen.what {
        What::Directory => {
            map.saw(seen.inode, 0)?;
            map.add_unlisted(place())?;
        }
        What::File | What::Symlink | What::Special if seen.links > 1 => {
            let is_file = seen.what == What::File;
            map.saw_link(seen.inode, seen.size, is_file, (listing.inode, place()))?;
        }
        What::File | What::Symlink | What::Special => map.saw(seen.inode, seen.size)?,
    }
    Ok(())
}

/// Opens what stands at a place, in parts that the system takes. Each part is resolved beneath the one
/// before; a directory that moves between two parts is listed again at its new place.
fn open_place(root: BorrowedFd<'_>, place: &Directory, just_look: bool) -> Result<OwnedFd, Errno> {
    let names = place.names();
    let mut parts: Vec<Vec<u8>> = vec![Vec::new()];
    for name in &names {
        match parts.last_mut() {
            Some(part) if part.is_empty() => part.extend(*name),
            Some(part) if part.len() + name.len() < PATH_BYTES => {
                part.push(b'/');
                part.extend(*name);
            }
            _ => parts.push(name.to_vec()),
        }
    }
    let last = parts.len() - 1;
    let mut opened: Option<OwnedFd> = None;
    for (number, part) in parts.iter().enumerate() {
        let from = opened.as_ref().map_or(root, |directory| directory.as_fd());
        let part = if part.is_empty() { b"." } else { part.as_slice() };
        let flags = if number == last && just_look { JUST_LOOK } else { READ_DIRECTORY };
        let path = std::ffi::OsStr::from_bytes(part);
        opened = Some(open_beneath(from, path, flags, Mode::empty())?);
    }
    opened.ok_or(Errno::NOENT)
}

fn has_one_link(root: &OwnedFd, place: &Directory) -> bool {
    let seen = open_place(root.as_fd(), place, true).and_then(Seen::of);
    seen.is_ok_and(|seen| seen.links == 1)
}

/// Whether the error says that no directory stands at the place.
fn has_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

fn cannot_read(place: &Directory, errno: Errno) -> Failure {
    Failure::Read { place: format!("/{}", place.text()), errno }
}

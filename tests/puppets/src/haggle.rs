//! A filer's puppet that asks the daemon for what it may have and gives it back, faster than any honest one: every
//! message is valid, each answer is awaited, and nothing is left in the end.

use std::io;
use std::os::fd::RawFd;

use berth_common::codec;
use berth_common::ids::{OpId, StagingName};
use berth_common::ledger_protocol::{
    DaemonToFiler, FilerToDaemon, IntentItem, Outcome, SettleItem,
};
use berth_common::limits::{CHANGES_PER_MESSAGE, MAX_PACKET};

use crate::orders::Haggling;
use crate::sys;

/// Reservations of a round: fewer than may be asked for at once.
pub const RESERVATIONS: usize = 16;

/// Names of a round: as many as an intent may have.
pub const NAMES: usize = CHANGES_PER_MESSAGE;

/// How long an answer may take.
const PATIENCE_MS: u32 = 60_000;

/// What a round asks for the ticket, and for what settles, by these numbers.
const TICKET: OpId = OpId(1);
const SETTLE: OpId = OpId(2);

/// Asks once, and gives it back.
pub(crate) fn round(daemon: RawFd, about: Haggling) -> io::Result<()> {
    match about {
        Haggling::Ticket => {
            tell(daemon, &FilerToDaemon::Ticket { op: TICKET })?;
            granted(daemon)?;
            tell(daemon, &FilerToDaemon::Released { op: TICKET })
        }
        Haggling::Reservations => reservations(daemon),
        Haggling::Names => names(daemon),
        Haggling::TooMuch => too_much(daemon),
    }
}

fn reservations(daemon: RawFd) -> io::Result<()> {
    let ops = || (0..RESERVATIONS as u32).map(OpId);
    for op in ops() {
        tell(daemon, &FilerToDaemon::Reserve { op, growth: 1, entries: 1, stages: None })?;
    }
    let mut names = Vec::new();
    for _ in ops() {
        match answer(daemon)? {
            DaemonToFiler::Reserved { name, .. } => names.push(name),
            other => return Err(wrong(&other)),
        }
    }
    for (op, name) in ops().zip(names) {
        tell(daemon, &FilerToDaemon::Drop { op, name })?;
    }
    for _ in ops() {
        match answer(daemon)? {
            DaemonToFiler::Done { .. } => {}
            other => return Err(wrong(&other)),
        }
    }
    Ok(())
}

fn too_much(daemon: RawFd) -> io::Result<()> {
    let ops = || (0..RESERVATIONS as u32).map(OpId);
    for op in ops() {
        tell(daemon, &FilerToDaemon::Reserve { op, growth: u64::MAX, entries: 1, stages: None })?;
    }
    for _ in ops() {
        match answer(daemon)? {
            DaemonToFiler::Refused { .. } => {}
            other => return Err(wrong(&other)),
        }
    }
    Ok(())
}

fn names(daemon: RawFd) -> io::Result<()> {
    let items = vec![IntentItem::Take; NAMES];
    tell(daemon, &FilerToDaemon::Intent { op: TICKET, items, settle: None })?;
    let names = granted(daemon)?;
    tell(daemon, &FilerToDaemon::Released { op: TICKET })?;
    let not_happened =
        |name: &StagingName| SettleItem { name: *name, outcome: Outcome::NotHappened };
    let items = names.iter().map(not_happened).collect();
    tell(daemon, &FilerToDaemon::Settle { op: SETTLE, items })?;
    match answer(daemon)? {
        DaemonToFiler::Settled { .. } => {}
        other => return Err(wrong(&other)),
    }
    for name in names {
        tell(daemon, &FilerToDaemon::Gone { names: vec![name] })?;
    }
    Ok(())
}

fn granted(daemon: RawFd) -> io::Result<Vec<StagingName>> {
    match answer(daemon)? {
        DaemonToFiler::Granted { names, .. } => Ok(names),
        other => Err(wrong(&other)),
    }
}

fn tell(daemon: RawFd, message: &FilerToDaemon) -> io::Result<()> {
    let mut packet = Vec::new();
    codec::encode_into(message, &mut packet).map_err(io::Error::other)?;
    sys::send(daemon, &packet).map(drop)
}

fn answer(daemon: RawFd) -> io::Result<DaemonToFiler> {
    let mut packet = vec![0; MAX_PACKET];
    if !sys::is_readable(daemon, PATIENCE_MS)? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let (bytes, _) = sys::receive(daemon, &mut packet)?;
    codec::decode(&packet[..bytes]).map_err(io::Error::other)
}

/// The test sees the errno that stands for it, and the daemon's log tells the rest.
fn wrong(answer: &DaemonToFiler) -> io::Error {
    io::Error::other(format!("{answer:?}"))
}

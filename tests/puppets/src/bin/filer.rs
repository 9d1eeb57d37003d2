//! In the place of `berth-filer`: demoted as it is, in any role, then what the test orders by a connection that
//! is made while that is still possible.

use std::error::Error;
use std::net::TcpStream;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use berth_common::channel::{Channel, ChannelError};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, Role};
use berth_common::points;
use berth_puppets::machine::{Machine, Next};
use berth_puppets::orders::Station;
use berth_puppets::place;
use berth_sandbox::FilerRole;

/// As many as the real one has.
const HELPERS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    match place::filers_line()? {
        Some(address) => live(&address),
        None => Err(place::become_real("berth-filer").into()),
    }
}

fn live(address: &str) -> Result<(), Box<dyn Error>> {
    points::from_argument()?;
    let channel = berth_sandbox::demote_filer()?;
    let machine = Machine::new(0)?;
    let daemon = Channel::<FilerToDaemon, DaemonToFiler>::from_descriptor(channel)?;
    let mut line = TcpStream::connect(address)?;
    let own = [daemon.as_raw_fd(), line.as_raw_fd()];
    if machine.obey(&mut line, Station::Start, &own)? == Next::End {
        return Ok(());
    }
    daemon.send(&FilerToDaemon::Ready, &[])?;
    let first = match daemon.recv() {
        Ok(first) => first,
        Err(ChannelError::Closed) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let DaemonToFiler::Join(role) = first.message else {
        return Err("no role".into());
    };
    let directories: Vec<OwnedFd> = first.descriptors;
    let mut descriptors = own.to_vec();
    descriptors.extend(directories.iter().map(|descriptor| descriptor.as_raw_fd()));
    if machine.obey(&mut line, Station::Joining, &descriptors)? == Next::End {
        return Ok(());
    }
    let directory = |index: usize| directories[index].as_fd();
    let (role, mode) = match role {
        Role::Serve { sandbox, .. } => {
            (FilerRole::Serve { home: directory(0), staging: directory(1) }, sandbox)
        }
        Role::Recover { sandbox, .. } => (FilerRole::Recover { staging: directory(0) }, sandbox),
        Role::Walk { sandbox, .. } => (FilerRole::Walk { home: directory(0) }, sandbox),
    };
    let confined = berth_sandbox::confine_filer(role, mode)?;
    let machine = Machine::new(HELPERS)?;
    confined.seal()?;
    machine.obey(&mut line, Station::Filer, &descriptors)?;
    Ok(())
}

//! In the place of `berth-worker`: demoted as it is, then what the client orders by its TCP connection.

use std::error::Error;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

use berth_common::broker_protocol::{DaemonToWorker, WorkerToDaemon};
use berth_common::channel::{Channel, ChannelError};
use berth_common::points;
use berth_puppets::line::MAGIC;
use berth_puppets::machine::Machine;
use berth_puppets::orders::{Order, Script, Station};
use berth_puppets::place;

/// As many as the real one has.
const HELPERS: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    match place::script()? {
        Some(script) => live(script),
        None => Err(place::become_real("berth-worker").into()),
    }
}

fn live(script: Script) -> Result<(), Box<dyn Error>> {
    points::from_argument()?;
    let channel = berth_sandbox::demote_worker()?;
    let daemon = Channel::<WorkerToDaemon, DaemonToWorker>::from_descriptor(channel)?;
    let DaemonToWorker::Setup(setup) = daemon.recv()?.message else {
        return Err("no set-up".into());
    };
    let confined = berth_sandbox::confine_worker(setup.sandbox)?;
    let machine = Machine::new(HELPERS)?;
    play(&machine, script.at_start);
    confined.seal()?;
    play(&machine, script.demoted);
    daemon.send(&WorkerToDaemon::Ready, &[])?;
    play(&machine, script.as_a_spare);
    let client = match daemon.recv() {
        Ok(client) => client,
        Err(ChannelError::Closed) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let Some(socket) = client.descriptors.into_iter().next() else {
        return Err("no client".into());
    };
    let mut client = TcpStream::from(socket);
    client.set_nonblocking(false)?;
    let mut magic = [0; MAGIC.len()];
    client.read_exact(&mut magic)?;
    if magic != *MAGIC {
        // An honest client has got this one by chance, and finds the connection closed.
        return Ok(());
    }
    let descriptors = [daemon.as_raw_fd(), client.as_raw_fd()];
    machine.obey(&mut client, Station::Worker, &descriptors)?;
    Ok(())
}

fn play(machine: &Machine, orders: Vec<Order>) {
    for order in orders {
        machine.carry_out(order);
    }
}

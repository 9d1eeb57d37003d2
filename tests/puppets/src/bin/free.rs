//! An ordinary process of the same user, not demoted, that takes the same orders: what it can do and a demoted
//! one cannot, the sandbox prevents.

use std::error::Error;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

use berth_puppets::machine::Machine;
use berth_puppets::orders::Station;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("an address to report to")?;
    let mut line = TcpStream::connect(address)?;
    let descriptor = line.as_raw_fd();
    Machine::new(1)?.obey(&mut line, Station::Free, &[descriptor])?;
    Ok(())
}

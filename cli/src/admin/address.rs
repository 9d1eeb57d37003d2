//! By which address others reach this server, as far as the daemon and the machine know: a plain decision.

use std::net::{IpAddr, SocketAddr};

use berth::target::ServerAddress;

/// An address for an invitation's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) server: ServerAddress,
    /// Whether the machine's own name was taken for want of a better one.
    pub(super) guessed: bool,
}

/// The best of what the daemon listens on: an address that is one, rather other machines' than this one's own; else
/// the machine's name. `None` when there is nothing to choose from.
pub(super) fn of(listening: &[String], machine: &str) -> Option<Address> {
    let addresses: Vec<SocketAddr> =
        listening.iter().filter_map(|address| address.parse().ok()).collect();
    let specific = || addresses.iter().filter(|address| !address.ip().is_unspecified());
    let reached = specific().find(|address| !address.ip().is_loopback());
    if let Some(address) = reached {
        return Some(Address { server: server(address.ip(), address.port()), guessed: false });
    }
    if let Some(any) = addresses.iter().find(|address| address.ip().is_unspecified()) {
        let server = ServerAddress { port: any.port(), ..machine.parse().ok()? };
        return Some(Address { server, guessed: true });
    }
    let loopback = specific().next()?;
    Some(Address { server: server(loopback.ip(), loopback.port()), guessed: false })
}

fn server(ip: IpAddr, port: u16) -> ServerAddress {
    ServerAddress { host: ip.to_string(), port }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(listening: &[&str]) -> Option<(String, bool)> {
        let listening: Vec<_> = listening.iter().map(|text| (*text).to_owned()).collect();
        of(&listening, "Files").map(|address| (address.server.to_string(), address.guessed))
    }

    #[test]
    fn an_address_that_others_reach_is_preferred_and_a_guess_is_told() {
        let some = |text: &str, guessed| Some((text.to_owned(), guessed));
        assert_eq!(address(&["127.0.0.1:5"]), some("127.0.0.1:5", false));
        assert_eq!(address(&["127.0.0.1:5", "10.0.0.7:6"]), some("10.0.0.7:6", false));
        assert_eq!(address(&["0.0.0.0:4022"]), some("files:4022", true));
        assert_eq!(address(&["127.0.0.1:5", "[::]:4023"]), some("files:4023", true));
        assert_eq!(address(&["[::1]:5"]), some("[::1]:5", false));
        assert_eq!(address(&["[2001:db8::1]:5", "[::]:5"]), some("[2001:db8::1]:5", false));
        assert_eq!(address(&[]), None);
        assert_eq!(address(&["unknown"]), None);
    }

    #[test]
    fn a_machine_without_a_name_gives_none() {
        assert_eq!(of(&["0.0.0.0:1".to_owned()], ""), None);
    }
}

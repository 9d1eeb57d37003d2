//! The network interfaces on which a message can go to all neighbours, and their addresses. Asked of the system each
//! time, since networks come and go.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};

/// Most interfaces that are used; a machine that carries many containers has more.
const MOST_INTERFACES: usize = 32;

/// Most addresses of one interface that are told.
const MOST_ADDRESSES: usize = 8;

/// Why there is nobody to speak to.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The system does not tell its interfaces.
    #[error("cannot list the network interfaces: {0}")]
    Unlisted(#[source] io::Error),
    /// None is up that can do multicast.
    #[error("no network interface is up that can do multicast")]
    NoInterface,
    /// None of them lets the port be used.
    #[error("cannot listen to multicast DNS (UDP port 5353) on {interface}: {source}")]
    Unusable {
        /// The first of them.
        interface: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// An interface that is up, with the addresses at which neighbours reach this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// As `ip link` calls it.
    pub name: String,
    pub(crate) index: u32,
    /// Without those of the loopback, and those of IPv6 that hold for one link alone.
    pub(crate) addresses: Vec<IpAddr>,
    /// By which the system is told the interface in IPv4.
    pub(crate) v4: Option<Ipv4Addr>,
    /// Whether it has an address of IPv6 of any kind, from which one can send.
    pub(crate) has_v6: bool,
}

/// The interfaces that can be used: those of these names, or all but the loopback where none is named.
///
/// # Errors
/// [`NetworkError::Unlisted`].
pub(crate) fn list(wanted: &[String]) -> Result<Vec<Interface>, NetworkError> {
    let told = getifaddrs().map_err(|errno| NetworkError::Unlisted(errno.into()))?;
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    for address in told {
        let flags = address.flags;
        let named = wanted.contains(&address.interface_name);
        let usable = flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_MULTICAST)
            && !flags.contains(InterfaceFlags::IFF_LOOPBACK);
        // A loopback that is named is asked for on purpose, and may not say that it can do multicast.
        if !(named || wanted.is_empty() && usable) || !flags.contains(InterfaceFlags::IFF_UP) {
            continue;
        }
        let Some(socket) = address.address else { continue };
        let ip = match (socket.as_sockaddr_in(), socket.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (None, Some(v6)) => IpAddr::V6(v6.ip()),
            (None, None) => continue,
        };
        // It may have gone since.
        let Ok(index) = if_nametoindex(address.interface_name.as_str()) else { continue };
        if found.len() >= MOST_INTERFACES && !found.contains_key(&address.interface_name) {
            continue;
        }
        let interface = found.entry(address.interface_name).or_insert_with_key(|name| Interface {
            name: name.clone(),
            index,
            addresses: Vec::new(),
            v4: None,
            has_v6: false,
        });
        match ip {
            IpAddr::V4(v4) => interface.v4 = interface.v4.or(Some(v4)),
            IpAddr::V6(_) => interface.has_v6 = true,
        }
        if can_be_told(&ip) && interface.addresses.len() < MOST_ADDRESSES {
            interface.addresses.push(ip);
        }
    }
    let mut found: Vec<_> = found.into_values().collect();
    found.iter_mut().for_each(|interface| interface.addresses.sort_unstable());
    Ok(found)
}

/// Whether a neighbour can connect to an address without knowing more than it: not to the loopback, and not to one of
/// IPv6 that needs the name of an interface beside it.
pub(crate) fn can_be_told(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_loopback() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            let nobody = v6.is_loopback() || v6.is_unspecified() || v6.is_multicast();
            !(nobody || v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_lead_elsewhere_for_each_machine_are_not_told() {
        let told = ["192.168.1.7", "169.254.3.4", "8.8.8.8", "fd00::1", "2001:db8::1"];
        let kept = ["127.0.0.1", "0.0.0.0", "224.0.0.251", "255.255.255.255", "::1", "::"];
        let kept_too = ["fe80::1", "ff02::fb", "::ffff:127.0.0.1"];
        assert!(told.iter().all(|address| can_be_told(&address.parse().unwrap())));
        assert!(kept.iter().chain(&kept_too).all(|it| !can_be_told(&it.parse().unwrap())));
    }

    #[test]
    fn the_systems_interfaces_are_listed_and_the_loopback_only_if_it_is_named() {
        let all = list(&[]).unwrap();
        assert!(all.iter().all(|interface| interface.name != "lo" && interface.index > 0));
        assert!(list(&["no such interface".to_owned()]).unwrap().is_empty());
    }
}

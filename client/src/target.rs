//! Whom to log in as and where: `USER@HOST[:PORT]`.

use std::fmt;
use std::str::FromStr;

use berth_common::client_protocol::DEFAULT_PORT;
use berth_common::ids::UserName;

/// A user on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The user.
    pub user: UserName,
    /// The server.
    pub server: ServerAddress,
}

/// A server's name or address, and its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// A host name, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a text is not `USER@HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// There is no `@`.
    #[error("{0:?} names no user: write USER@HOST or USER@HOST:PORT")]
    NoUser(String),
    /// What stands before the `@` is no user's name.
    #[error(transparent)]
    User(#[from] berth_common::ids::UserNameError),
    /// What stands after the `@` is no host.
    #[error("{0:?} is not a host: write HOST, HOST:PORT, or an IPv6 address as [ADDRESS]:PORT")]
    Host(String),
    /// The port is not a number from 1 to 65535.
    #[error("{0:?} is not a port: write a number from 1 to 65535")]
    Port(String),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (user, server) =
            text.rsplit_once('@').ok_or_else(|| TargetError::NoUser(text.to_owned()))?;
        Ok(Self { user: UserName::new(user)?, server: server.parse()? })
    }
}

impl FromStr for ServerAddress {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let bad = || TargetError::Host(text.to_owned());
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, after) = rest.split_once(']').ok_or_else(bad)?;
            // Brackets are for IPv6 addresses alone.
            host.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(bad()),
            }
        } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
            (text, None)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let printable = host.chars().all(|c| !c.is_whitespace() && !c.is_control());
        if host.is_empty() || !printable || host.contains(['/', '[', ']']) {
            return Err(bad());
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| TargetError::Port(digits.to_owned()))?,
        };
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

/// As it is kept in the file of known servers: always with the port.
impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_users_hosts_and_ports() {
        let table = [
            ("alice@example.org", "alice", "example.org:4022"),
            ("alice@Example.ORG:99", "alice", "example.org:99"),
            ("a@127.0.0.1:1", "a", "127.0.0.1:1"),
            ("a@[::1]:4023", "a", "[::1]:4023"),
            ("a@[::1]", "a", "[::1]:4022"),
            ("a@::1", "a", "[::1]:4022"),
            ("a@fe80::1:4023", "a", "[fe80::1:4023]:4022"),
        ];
        for (text, user, server) in table {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.user.as_str(), target.server.to_string().as_str()), (user, server));
            assert_eq!(server.parse::<ServerAddress>().unwrap(), target.server);
        }
    }

    #[test]
    fn refuses_others_with_what_to_write() {
        for text in [
            "",
            "host",
            "@host",
            "Alice@host",
            "a@",
            "a@:1",
            "a@host:",
            "a@host:0",
            "a@host:65536",
            "a@host:x",
            "a@[host]:1",
            "a@[::1",
            "a@[::1]1",
            "a@ho st",
            "a@host/dir",
            "a@host:1:2",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
        assert!(matches!("host".parse::<Target>(), Err(TargetError::NoUser(_))));
    }
}

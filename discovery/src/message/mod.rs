//! Messages of mDNS as far as Berth has a use for them: questions, and records of five kinds.
//!
//! [`reading`] makes one of a packet, all of it or nothing; [`writing`] makes packets. Neither keeps anything.

mod reading;
mod writing;

use std::net::IpAddr;

use domain::base::Name;
use domain::base::iana::Rtype;

pub(crate) use reading::read;
pub(crate) use writing::{query, response};

/// A domain name; two are the same whatever the case of their letters is.
pub(crate) type DomainName = Name<Vec<u8>>;

/// Most bytes of a packet (RFC 6762, section 17).
pub(crate) const MOST_BYTES: usize = 9000;

/// More questions or records than anybody has a reason for, in one packet.
pub(crate) const MOST_ITEMS: usize = 256;

/// What a packet says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Whether it answers, or asks.
    pub(crate) is_response: bool,
    pub(crate) questions: Vec<Question>,
    /// Of a response all records but those beneath, in order; of a query those that need not be told.
    pub(crate) records: Vec<Record>,
    /// Of a query: what its sender would like to have for itself.
    pub(crate) proposed: Vec<Record>,
}

/// Which records of a name are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) name: DomainName,
    pub(crate) kind: Rtype,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: DomainName,
    /// How long it holds; 0 takes it back.
    pub(crate) seconds: u32,
    pub(crate) data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// PTR: another name, as that of an instance of a service.
    Pointer(DomainName),
    /// SRV: where an instance is.
    Service { priority: u16, weight: u16, port: u16, host: DomainName },
    /// TXT: keys and values, each after its length.
    Text(Vec<u8>),
    /// A or AAAA.
    Address(IpAddr),
}

impl Data {
    pub(crate) fn kind(&self) -> Rtype {
        match self {
            Self::Pointer(_) => Rtype::PTR,
            Self::Service { .. } => Rtype::SRV,
            Self::Text(_) => Rtype::TXT,
            Self::Address(IpAddr::V4(_)) => Rtype::A,
            Self::Address(IpAddr::V6(_)) => Rtype::AAAA,
        }
    }

    /// By which two records of one name are compared when their owners dispute it (RFC 6762, section 8.2).
    pub(crate) fn rank(&self) -> (u16, Vec<u8>) {
        let bytes = match self {
            Self::Pointer(name) => name.as_slice().to_vec(),
            Self::Service { priority, weight, port, host } => {
                let numbers = [priority, weight, port].into_iter().flat_map(|n| n.to_be_bytes());
                numbers.chain(host.as_slice().iter().copied()).collect()
            }
            Self::Text(text) => text.clone(),
            Self::Address(IpAddr::V4(address)) => address.octets().to_vec(),
            Self::Address(IpAddr::V6(address)) => address.octets().to_vec(),
        };
        (self.kind().to_int(), bytes)
    }
}

//! The list that is made of what is heard. Plain data: what a packet says changes this list and nothing else, and the
//! list has bounds, whatever is sent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use domain::base::iana::Rtype;
use domain::base::name::ToLabelIter as _;

use super::Server;
use crate::interfaces::can_be_told;
use crate::message::{Data, DomainName, Message, Record};
use crate::service::service;

/// Most servers that are listed. Some 250 KiB at most are kept for them.
pub const MOST_SERVERS: usize = 256;

/// Most addresses that are kept of one host.
const MOST_ADDRESSES: usize = 8;

/// Most bytes of a TXT record that are looked at, and most characters of a value that are kept.
const MOST_TEXT: usize = 1300;
const MOST_VALUE: usize = 64;

/// How many servers are asked about at once, so that the question stays one packet.
const MOST_QUESTIONS: usize = 8;

/// What was heard so far.
#[derive(Debug)]
pub(crate) struct List {
    service: DomainName,
    instances: BTreeMap<DomainName, Instance>,
    /// Of those alone that an instance has named.
    hosts: BTreeMap<DomainName, Host>,
    overflowed: bool,
}

#[derive(Debug, Default)]
struct Instance {
    place: Option<(DomainName, u16)>,
    protocol: Option<String>,
    version: Option<String>,
}

#[derive(Debug, Default)]
struct Host {
    /// How many instances have named it; never 0.
    named_by: usize,
    addresses: Vec<IpAddr>,
}

impl List {
    pub(crate) fn new() -> Self {
        let (instances, hosts) = (BTreeMap::new(), BTreeMap::new());
        Self { service: service(), instances, hosts, overflowed: false }
    }

    /// Takes what a packet says. Questions of others say nothing.
    pub(crate) fn hear(&mut self, message: &Message) {
        if !message.is_response {
            return;
        }
        for record in &message.records {
            self.take_instance(record);
        }
        // After these, since only now the hosts are known.
        for record in &message.records {
            self.take_address(record);
        }
    }

    fn take_instance(&mut self, record: &Record) {
        let name = match &record.data {
            Data::Pointer(to) if record.name == self.service => to,
            Data::Service { .. } | Data::Text(_) => &record.name,
            Data::Pointer(_) | Data::Address(_) => return,
        };
        if !self.is_instance(name) {
            return;
        }
        if record.seconds == 0 {
            // A text that is taken back is about to be another one.
            if !matches!(record.data, Data::Text(_)) {
                let gone = self.instances.remove(name);
                if let Some((host, _)) = gone.and_then(|it| it.place) {
                    self.leave(&host);
                }
            }
            return;
        }
        if !self.instances.contains_key(name) && self.instances.len() >= MOST_SERVERS {
            self.overflowed = true;
            return;
        }
        let instance = self.instances.entry(name.clone()).or_default();
        match &record.data {
            Data::Service { host, port, .. } => {
                let before = instance.place.replace((host.clone(), *port));
                // Counted first, so that a host that stays keeps its addresses.
                self.hosts.entry(host.clone()).or_default().named_by += 1;
                if let Some((host, _)) = before {
                    self.leave(&host);
                }
            }
            Data::Text(text) => {
                instance.protocol = value(text, "proto");
                instance.version = value(text, "version");
            }
            Data::Pointer(_) | Data::Address(_) => {}
        }
    }

    fn take_address(&mut self, record: &Record) {
        let Data::Address(address) = &record.data else { return };
        let Some(host) = self.hosts.get_mut(&record.name) else { return };
        let known = &mut host.addresses;
        if record.seconds == 0 {
            known.retain(|it| it != address);
        } else if can_be_told(address) && !known.contains(address) && known.len() < MOST_ADDRESSES {
            known.push(*address);
        }
    }

    /// One label before the service's type, and no more.
    fn is_instance(&self, name: &DomainName) -> bool {
        name.label_count() == self.service.label_count() + 1 && name.ends_with(&self.service)
    }

    /// An instance names a host no more. One that nobody names is dropped, so that there are never more hosts than
    /// instances; they are counted and not searched for, since each record of each packet may come here.
    fn leave(&mut self, name: &DomainName) {
        if let Some(host) = self.hosts.get_mut(name) {
            host.named_by -= 1;
            if host.named_by == 0 {
                self.hosts.remove(name);
            }
        }
    }

    /// What is to be asked next: which servers there are, and what is missing of those that are known.
    pub(crate) fn questions(&self) -> Vec<(DomainName, Rtype)> {
        let mut questions = vec![(self.service.clone(), Rtype::PTR)];
        for (name, instance) in &self.instances {
            match &instance.place {
                None => {
                    questions.push((name.clone(), Rtype::SRV));
                    questions.push((name.clone(), Rtype::TXT));
                }
                Some((host, _))
                    if self.hosts.get(host).is_none_or(|it| it.addresses.is_empty()) =>
                {
                    questions.push((host.clone(), Rtype::A));
                    questions.push((host.clone(), Rtype::AAAA));
                }
                Some(_) => {}
            }
            if questions.len() > 2 * MOST_QUESTIONS {
                break;
            }
        }
        questions
    }

    /// Whether there were more than the list has room for.
    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// The servers whose place is known, by name.
    pub(crate) fn servers(&self) -> Vec<Server> {
        let mut servers: Vec<_> = self
            .instances
            .iter()
            .filter_map(|(name, instance)| {
                let (host, port) = instance.place.as_ref().filter(|(_, port)| *port != 0)?;
                let known = self.hosts.get(host).map(|it| it.addresses.clone());
                let mut addresses = known.unwrap_or_default();
                // IPv4 first, since it is the shorter to type.
                addresses.sort_unstable();
                Some(Server {
                    name: text_of(name.first().as_slice()),
                    host: host_text(host),
                    addresses,
                    port: *port,
                    protocol: instance.protocol.clone(),
                    version: instance.version.clone(),
                })
            })
            .collect();
        servers.sort();
        servers
    }
}

fn text_of(label: &[u8]) -> String {
    String::from_utf8_lossy(label).into_owned()
}

/// A host's name as one types it: labels and dots, and none at the end.
fn host_text(host: &DomainName) -> String {
    let labels: Vec<_> = host
        .iter_labels()
        .filter(|label| !label.is_root())
        .map(|it| text_of(it.as_slice()))
        .collect();
    labels.join(".")
}

/// The value of a key; nothing where it is no text, or too long to be one that is meant.
fn value(text: &[u8], key: &str) -> Option<String> {
    let mut rest = text.get(..text.len().min(MOST_TEXT))?;
    while let Some((length, after)) = rest.split_first() {
        let part = after.get(..usize::from(*length))?;
        rest = &after[part.len()..];
        let at = part.iter().position(|byte| *byte == b'=');
        if let Some(at) = at
            && part[..at].eq_ignore_ascii_case(key.as_bytes())
        {
            let value = std::str::from_utf8(&part[at + 1..]).ok()?;
            return (value.chars().count() <= MOST_VALUE && !value.is_empty())
                .then(|| value.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{read, response};
    use crate::service::{Announcement, InstanceName};

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    fn place(name: &DomainName, host: &str, port: u16) -> Record {
        let data = Data::Service { priority: 0, weight: 0, port, host: host.parse().unwrap() };
        Record { name: name.clone(), seconds: 120, data }
    }

    fn address(host: &str, address: &str) -> Record {
        let data = Data::Address(address.parse().unwrap());
        Record { name: name(host), seconds: 120, data }
    }

    fn pointer(to: &DomainName) -> Record {
        Record { name: service(), seconds: 4500, data: Data::Pointer(to.clone()) }
    }

    fn said(list: &mut List, records: &[Record]) {
        list.hear(&read(&response(records, None)).unwrap());
    }

    fn instance(text: &str) -> DomainName {
        let name = InstanceName::new(text).unwrap();
        let announcement = Announcement {
            name,
            machine: String::new(),
            port: 1,
            protocol: "1".to_owned(),
            version: None,
        };
        announcement.names(1).instance
    }

    #[test]
    fn a_server_is_listed_once_with_what_is_known_of_it() {
        let (mut list, files) = (List::new(), instance("Files. of us"));
        let text = b"\x09txtvers=1\x07proto=1\x0dVERSION=0.1.0\x05other".to_vec();
        let records = [
            address("NAS.local", "192.168.1.7"),
            pointer(&files),
            place(&files, "nas.local", 4022),
            Record { name: files.clone(), seconds: 4500, data: Data::Text(text) },
            address("nas.local", "fd00::7"),
            address("nas.local", "127.0.0.1"),
            address("elsewhere.local", "192.168.1.8"),
        ];
        said(&mut list, &records);
        said(&mut list, &records);
        let expected = Server {
            name: "Files. of us".to_owned(),
            host: "nas.local".to_owned(),
            addresses: vec!["192.168.1.7".parse().unwrap(), "fd00::7".parse().unwrap()],
            port: 4022,
            protocol: Some("1".to_owned()),
            version: Some("0.1.0".to_owned()),
        };
        assert_eq!(list.servers(), [expected]);
        assert_eq!(list.questions().len(), 1, "nothing is missing");
    }

    #[test]
    fn what_is_missing_is_asked_for_and_is_not_listed_before() {
        let (mut list, files) = (List::new(), instance("files"));
        said(&mut list, &[pointer(&files)]);
        assert!(list.servers().is_empty());
        let asked = |list: &List, kind| list.questions().iter().any(|(_, it)| *it == kind);
        assert!(asked(&list, Rtype::SRV) && asked(&list, Rtype::TXT) && !asked(&list, Rtype::A));
        said(&mut list, &[place(&files, "nas.local", 4022)]);
        assert!(asked(&list, Rtype::A) && asked(&list, Rtype::AAAA) && !asked(&list, Rtype::SRV));
        assert_eq!(list.servers().len(), 1, "its host's name is enough to connect to");
    }

    #[test]
    fn who_says_good_bye_is_listed_no_more() {
        let (mut list, files) = (List::new(), instance("files"));
        let records = [pointer(&files), place(&files, "nas.local", 4022)];
        said(&mut list, &records);
        list.hear(&read(&response(&records[..1], Some(0))).unwrap());
        assert!(list.servers().is_empty() && list.hosts.is_empty());
    }

    #[test]
    fn other_services_and_names_below_an_instance_are_none_of_ours() {
        let mut list = List::new();
        for other in ["x._http._tcp.local", "a.b._berth._tcp.local", "_berth._tcp.local", "local"] {
            let other = name(other);
            said(&mut list, &[pointer(&other), place(&other, "nas.local", 1)]);
        }
        assert!(list.instances.is_empty() && list.hosts.is_empty());
        said(&mut list, &[place(&name("x._BERTH._tcp.LOCAL"), "nas.local", 0)]);
        assert!(list.servers().is_empty(), "nobody listens at port 0");
    }

    #[test]
    fn a_flood_of_servers_hosts_and_addresses_meets_the_bounds() {
        let mut list = List::new();
        for number in 0..2000 {
            let it = instance(&format!("fake {number}"));
            said(&mut list, &[pointer(&it), place(&it, &format!("h{number}.local"), 1)]);
            // The same one, at ever new hosts with ever new addresses.
            let first = instance("fake 0");
            let host = format!("g{number}.local");
            let own = format!("10.{}.{}.9", number / 250, number % 250);
            said(&mut list, &[place(&first, &host, 1), address(&host, &own)]);
            said(&mut list, &[address("h1.local", &own)]);
        }
        assert!(list.overflowed());
        assert_eq!((list.instances.len(), list.servers().len()), (MOST_SERVERS, MOST_SERVERS));
        assert!(list.hosts.len() <= MOST_SERVERS, "{}", list.hosts.len());
        assert!(list.hosts.values().all(|host| host.addresses.len() <= MOST_ADDRESSES));
        assert!(list.questions().len() <= 2 * MOST_QUESTIONS + 3);
    }

    #[test]
    fn one_packet_that_moves_many_servers_leaves_their_last_hosts_alone() {
        let mut list = List::new();
        let all: Vec<_> =
            (0..MOST_SERVERS).map(|number| instance(&format!("fake {number}"))).collect();
        let moved = |round: usize| -> Vec<Record> {
            let host = |number| format!("h{round}-{number}.local");
            all.iter().enumerate().map(|(number, it)| place(it, &host(number), 1)).collect()
        };
        for round in 0..3 {
            let mut records = moved(round);
            if round > 0 {
                // Hosts that were left, in the same packet.
                records.push(address(&format!("h{}-7.local", round - 1), "10.0.0.9"));
            }
            records.push(address(&format!("h{round}-7.local"), "10.0.0.7"));
            list.hear(&Message { is_response: true, records, ..Message::default() });
            assert_eq!(list.hosts.len(), MOST_SERVERS);
        }
        let known = list.hosts.iter().filter(|(_, host)| !host.addresses.is_empty());
        let known: Vec<_> = known.map(|(name, host)| (name, host.addresses.clone())).collect();
        assert_eq!(known, [(&name("h2-7.local"), vec!["10.0.0.7".parse().unwrap()])]);
        // Servers that share a host, of which one goes.
        let (first, second) = (&all[0], &all[1]);
        said(&mut list, &[place(first, "h2-7.local", 1), place(second, "h2-7.local", 1)]);
        list.hear(&read(&response(&[place(first, "h2-7.local", 1)], Some(0))).unwrap());
        said(&mut list, &[place(second, "h2-1.local", 1)]);
        assert!(list.hosts.contains_key(&name("h2-7.local")), "a third one is there still");
        assert!(list.hosts.values().all(|host| host.named_by == 1));
        assert_eq!(list.hosts.len(), MOST_SERVERS - 1);
    }

    #[test]
    fn values_that_are_malformed_or_too_long_are_left_out() {
        let long = [vec![(MOST_VALUE + 9) as u8], b"version=".to_vec(), vec![b'x'; MOST_VALUE + 1]];
        let table: [(&[u8], Option<&str>); 6] = [
            (b"\x09version=1", Some("1")),
            (b"\x09version=\xff", None),
            (b"\x50version=1", None),
            (b"\x07version", None),
            (b"\x08version=", None),
            (&long.concat(), None),
        ];
        for (text, expected) in table {
            assert_eq!(value(text, "version").as_deref(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_packet_does_anything_but_change_the_list(
            bytes in prop::collection::vec(any::<u8>(), 0..600)
        ) {
            if let Some(message) = read(&bytes) {
                List::new().hear(&message);
            }
        }

        #[test]
        fn a_packet_that_is_damaged_anywhere_is_read_or_ignored(
            at in 0usize..400, byte in any::<u8>(), cut in 0usize..400
        ) {
            let files = instance("files");
            let records = [
                pointer(&files), place(&files, "nas.local", 4022), address("nas.local", "10.0.0.1"),
            ];
            let mut bytes = response(&records, None);
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(length - cut % length);
            if let Some(message) = read(&bytes) {
                let mut list = List::new();
                list.hear(&message);
                prop_assert!(list.servers().len() <= 3);
            }
        }
    }
}

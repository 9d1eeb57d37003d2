//! What is announced of a server, and the names that stand for it.

use std::fmt;
use std::str::FromStr;

use crate::message::DomainName;

/// Most bytes of a label of a domain name (RFC 1035).
const LABEL: usize = 63;

/// The service's type: TCP, below `_berth`.
const TYPE: [&str; 3] = ["_berth", "_tcp", "local"];

/// Where all types of services are listed (RFC 6763, section 9).
const ALL_TYPES: [&str; 4] = ["_services", "_dns-sd", "_udp", "local"];

/// What a server is called in lists: any text of at most 63 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceName(String);

/// Why a text is no server's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty, or nothing but blanks.
    #[error("a server's name is not empty")]
    Empty,
    /// It does not fit.
    #[error("a server's name has at most 63 bytes, and this one has {0}")]
    TooLong(usize),
    /// It has characters that are none to be read.
    #[error("a server's name has no control characters")]
    Control,
}

impl InstanceName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.trim().is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > LABEL {
            return Err(NameError::TooLong(name.len()));
        }
        if name.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is called instead when others have the name and those up to this number: `files (2)`.
    fn numbered(&self, number: u32) -> String {
        if number < 2 { self.0.clone() } else { shortened(&self.0, &format!(" ({number})")) }
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InstanceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

/// As much of a text as a label has room for beside an end.
fn shortened(text: &str, end: &str) -> String {
    let mut room = LABEL.saturating_sub(end.len()).min(text.len());
    while !text.is_char_boundary(room) {
        room -= 1;
    }
    format!("{}{end}", &text[..room])
}

/// All that is told of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// What it is called.
    pub name: InstanceName,
    /// The machine's name, of which the name that leads to its addresses is made.
    pub machine: String,
    /// Where it listens.
    pub port: u16,
    /// The versions of the protocol that it speaks, with commas between them.
    pub protocol: String,
    /// The version of the program, if it shall be known.
    pub version: Option<String>,
}

/// The domain names that an announcement is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// `_berth._tcp.local`, which all servers share.
    pub(crate) service: DomainName,
    /// `files._berth._tcp.local`, this one's alone.
    pub(crate) instance: DomainName,
    /// `files-berth.local`, this one's alone: the machine's own name is left to whoever announces the machine.
    pub(crate) host: DomainName,
    /// The instance's first label, for people.
    pub(crate) shown: String,
}

impl Announcement {
    /// The names by which it is announced when others have those with smaller numbers, from 1 on.
    pub(crate) fn names(&self, number: u32) -> Names {
        let shown = self.name.numbered(number);
        let end = if number < 2 { "-berth".to_owned() } else { format!("-berth-{number}") };
        let host = shortened(&host_label(&self.machine), &end);
        Names {
            service: service(),
            instance: of_labels([shown.as_str()].into_iter().chain(TYPE)),
            host: of_labels([host.as_str(), "local"]),
            shown,
        }
    }

    /// The keys of the TXT record, in their order.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = vec!["txtvers=1".to_owned(), format!("proto={}", self.protocol)];
        keys.extend(
            self.version.iter().map(|version| shortened(&format!("version={version}"), "")),
        );
        keys
    }
}

/// The name of the service's type.
pub(crate) fn service() -> DomainName {
    of_labels(TYPE)
}

/// The name that stands for all types.
pub(crate) fn all_types() -> DomainName {
    of_labels(ALL_TYPES)
}

/// The first part of a machine's name, of letters, digits and hyphens.
fn host_label(machine: &str) -> String {
    let first = machine.split('.').next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let label: String = first.chars().map(plain).collect();
    let label = label.trim_matches('-');
    if label.is_empty() { "server".to_owned() } else { label.to_owned() }
}

/// The name of these labels, each of at most 63 bytes; the root where they are too many, which no caller has.
fn of_labels<'a>(labels: impl IntoIterator<Item = &'a str>) -> DomainName {
    let mut wire = Vec::with_capacity(96);
    for label in labels {
        let label = &label.as_bytes()[..label.len().min(LABEL)];
        wire.push(u8::try_from(label.len()).unwrap_or(0));
        wire.extend_from_slice(label);
    }
    wire.push(0);
    DomainName::from_octets(wire).unwrap_or_else(|_| DomainName::root_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(name: &str, machine: &str) -> Announcement {
        Announcement {
            name: InstanceName::new(name).unwrap(),
            machine: machine.to_owned(),
            port: 4022,
            protocol: "1".to_owned(),
            version: None,
        }
    }

    #[test]
    fn names_that_cannot_be_read_or_do_not_fit_are_refused() {
        assert_eq!(InstanceName::new("Büro: files"), Ok(InstanceName("Büro: files".to_owned())));
        assert_eq!(InstanceName::new(" "), Err(NameError::Empty));
        assert_eq!(InstanceName::new("a\nb"), Err(NameError::Control));
        assert_eq!(InstanceName::new(&"a".repeat(64)), Err(NameError::TooLong(64)));
        assert!(InstanceName::new(&"a".repeat(63)).is_ok());
    }

    #[test]
    fn a_name_is_one_label_whatever_is_in_it() {
        let names = announcement("my. files", "nas.example.org").names(1);
        assert_eq!(names.instance.as_slice(), b"\x09my. files\x06_berth\x04_tcp\x05local\0");
        assert_eq!(names.host.as_slice(), b"\x09nas-berth\x05local\0");
        assert!(names.instance.ends_with(&names.service));
    }

    #[test]
    fn later_names_have_a_number_and_still_fit() {
        let names = announcement("files", "nas").names(3);
        assert_eq!(
            (names.shown.as_str(), names.host.first().as_slice()),
            ("files (3)", &b"nas-berth-3"[..])
        );
        let names = announcement(&"ä".repeat(31), &"x".repeat(100)).names(1_000_000);
        assert!(
            names.shown.len() <= LABEL && names.shown.ends_with("ä (1000000)"),
            "{}",
            names.shown
        );
        assert_eq!(names.host.first().len(), LABEL);
        assert!(names.host.label_count() == 3 && names.instance.label_count() == 5);
    }

    #[test]
    fn a_machine_without_a_usable_name_has_one_all_the_same() {
        for (machine, label) in
            [("NAS-1.lan", "nas-1"), ("büro", "b-ro"), ("", "server"), ("--", "server")]
        {
            assert_eq!(host_label(machine), label);
        }
    }

    #[test]
    fn the_programs_version_is_told_only_where_it_is_wanted() {
        let silent = announcement("files", "nas");
        assert_eq!(silent.keys(), ["txtvers=1", "proto=1"]);
        let told = Announcement { version: Some("0.1.0".to_owned()), ..silent };
        assert_eq!(told.keys(), ["txtvers=1", "proto=1", "version=0.1.0"]);
    }
}

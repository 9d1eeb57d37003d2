//! What is said of a server on one interface, and when: the rules of RFC 6762 without sockets and clocks.
//!
//! A name is asked for first ([`Phase::Probing`]), then announced, then told to those who ask. The responder keeps
//! nothing of what it hears but one time at which to answer, so no packet makes it grow; and since an answer has
//! always all records and goes to the group, at most once a second (four times where somebody wants the name), no
//! flood of questions makes it send more.
//!
//! Left out of the RFC on purpose: answers to a single asker. They would go wherever a forged sender points.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use domain::base::iana::Rtype;

use crate::chance;
use crate::message::{Data, DomainName, Message, Record, query, response};
use crate::service::{Announcement, Names, all_types};

/// How long others may keep records: those of a host and of a service (RFC 6762, section 10).
const HOST_SECONDS: u32 = 120;
const SERVICE_SECONDS: u32 = 4500;

/// Probes and the time between them (section 8.1).
const PROBES: u8 = 3;
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// Announcements and the time between them (section 8.3).
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

/// Who loses a dispute with another that probes waits so long (section 8.2).
const YIELD: Duration = Duration::from_secs(1);

/// Between two answers (section 6), and between two where one defends a name.
const ANSWER_EVERY: Duration = Duration::from_secs(1);
const DEFEND_EVERY: Duration = Duration::from_millis(250);

/// Where it stands with the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It asks whether anybody has them.
    Probing { sent: u8 },
    /// It tells that it has them.
    Announcing { sent: u8 },
    /// It answers.
    Settled,
}

/// What comes of a packet besides an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Fine,
    /// Another one has a name that is asked for: others have to be taken.
    Taken,
    /// Another one claims a name that was announced: it is asked for again.
    Disputed,
}

/// One interface's responder.
#[derive(Debug)]
pub(super) struct Responder {
    names: Names,
    /// PTR, SRV and TXT.
    service: Vec<Record>,
    /// A and AAAA of this interface.
    addresses: Vec<Record>,
    phase: Phase,
    /// When the phase goes on.
    next: Option<Instant>,
    /// When an answer is due, and whether it has the list of all types.
    answer: Option<(Instant, bool)>,
    said: Option<Instant>,
}

impl Responder {
    /// One that begins to ask for the names at a random moment within 250 ms of `start`.
    pub(super) fn new(
        announcement: &Announcement,
        names: &Names,
        addresses: &[IpAddr],
        start: Instant,
    ) -> Self {
        let record =
            |name: &DomainName, seconds, data| Record { name: name.clone(), seconds, data };
        let place = Data::Service {
            priority: 0,
            weight: 0,
            port: announcement.port,
            host: names.host.clone(),
        };
        let text = announcement.keys().into_iter().fold(Vec::new(), |mut text, key| {
            text.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
            text.extend_from_slice(key.as_bytes());
            text
        });
        let mut responder = Self {
            names: names.clone(),
            service: vec![
                record(&names.service, SERVICE_SECONDS, Data::Pointer(names.instance.clone())),
                record(&names.instance, HOST_SECONDS, place),
                record(&names.instance, SERVICE_SECONDS, Data::Text(text)),
            ],
            addresses: Vec::new(),
            phase: Phase::Probing { sent: 0 },
            next: Some(start + chance::millis(0..250)),
            answer: None,
            said: None,
        };
        responder.set_addresses(addresses);
        responder
    }

    fn set_addresses(&mut self, addresses: &[IpAddr]) {
        let record = |address: &IpAddr| Record {
            name: self.names.host.clone(),
            seconds: HOST_SECONDS,
            data: Data::Address(*address),
        };
        self.addresses = addresses.iter().map(record).collect();
    }

    /// The interface has other addresses now: they are announced, once the names are (section 8.4).
    pub(super) fn readdress(&mut self, addresses: &[IpAddr], now: Instant) {
        self.set_addresses(addresses);
        if !matches!(self.phase, Phase::Probing { .. }) {
            self.phase = Phase::Announcing { sent: 0 };
            self.next = Some(now);
        }
    }

    /// Does not go on before then: whoever claims the names does so all the time.
    pub(super) fn wait_until(&mut self, earliest: Instant) {
        self.next = self.next.map(|at| at.max(earliest));
    }

    /// Whether it was announced by these names, which a dispute does not undo.
    pub(super) fn has_announced(&self) -> bool {
        self.said.is_some()
    }

    /// When there is something to send.
    pub(super) fn due(&self) -> Option<Instant> {
        let answer = self.answer.map(|(at, _)| at);
        self.next.into_iter().chain(answer).min()
    }

    /// The packet that is due, if one is. To be called again until there is none.
    pub(super) fn act(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next.is_some_and(|at| at <= now) {
            match self.phase {
                Phase::Probing { sent } if sent < PROBES => {
                    self.phase = Phase::Probing { sent: sent + 1 };
                    self.next = Some(now + PROBE_EVERY);
                    return Some(self.probe());
                }
                Phase::Probing { .. } => return Some(self.announce(1, now)),
                Phase::Announcing { sent } => return Some(self.announce(sent + 1, now)),
                Phase::Settled => self.next = None,
            }
        }
        let (at, all_types) = self.answer?;
        if at > now {
            return None;
        }
        self.answer = None;
        Some(self.tell(all_types, now))
    }

    fn announce(&mut self, sent: u8, now: Instant) -> Vec<u8> {
        let is_last = sent >= ANNOUNCEMENTS;
        self.phase = if is_last { Phase::Settled } else { Phase::Announcing { sent } };
        self.next = (!is_last).then(|| now + ANNOUNCE_EVERY);
        self.tell(false, now)
    }

    fn tell(&mut self, with_all_types: bool, now: Instant) -> Vec<u8> {
        self.said = Some(now);
        let mut records: Vec<_> = self.service.iter().chain(&self.addresses).cloned().collect();
        if with_all_types {
            records.push(Record {
                name: all_types(),
                seconds: SERVICE_SECONDS,
                data: Data::Pointer(self.names.service.clone()),
            });
        }
        response(&records, None)
    }

    fn probe(&self) -> Vec<u8> {
        let questions =
            [(self.names.instance.clone(), Rtype::ANY), (self.names.host.clone(), Rtype::ANY)];
        let proposed: Vec<_> =
            self.service.iter().skip(1).chain(&self.addresses).cloned().collect();
        query(&questions, &proposed)
    }

    /// What takes everything back, if anything was said.
    pub(super) fn good_bye(&self) -> Option<Vec<u8>> {
        let records: Vec<_> = self.service.iter().chain(&self.addresses).cloned().collect();
        self.said.map(|_| response(&records, Some(0)))
    }

    /// Takes a packet. `ours` are the addresses of this machine on all interfaces, which dispute nothing.
    pub(super) fn hear(&mut self, message: &Message, ours: &[IpAddr], now: Instant) -> Verdict {
        if message.is_response {
            return self.hear_answer(message, ours, now);
        }
        match self.phase {
            Phase::Probing { .. } => self.hear_rival(message, now),
            Phase::Announcing { .. } | Phase::Settled => self.hear_question(message, now),
        }
        Verdict::Fine
    }

    fn hear_answer(&mut self, message: &Message, ours: &[IpAddr], now: Instant) -> Verdict {
        if !message.records.iter().any(|record| self.is_other(record, ours)) {
            return Verdict::Fine;
        }
        match self.phase {
            // It has not asked yet: whoever has the name says so when it does.
            Phase::Probing { sent: 0 } => Verdict::Fine,
            Phase::Probing { .. } => Verdict::Taken,
            Phase::Announcing { .. } | Phase::Settled => {
                self.phase = Phase::Probing { sent: 0 };
                // Not at once, or each claim would draw a packet.
                self.next = Some(self.said.map_or(now, |at| now.max(at + DEFEND_EVERY)));
                self.answer = None;
                Verdict::Disputed
            }
        }
    }

    /// Whether a record says something else of a name of ours than we do (section 9). What is taken back says nothing.
    fn is_other(&self, record: &Record, ours: &[IpAddr]) -> bool {
        if record.seconds == 0 {
            return false;
        }
        match &record.data {
            Data::Pointer(_) => false,
            Data::Address(address) => record.name == self.names.host && !ours.contains(address),
            Data::Service { .. } | Data::Text(_) => {
                let same = |own: &Record| own.name == record.name && own.data == record.data;
                record.name == self.names.instance && !self.service.iter().any(same)
            }
        }
    }

    /// Another one asks for the same names at the same time: whose records come later in order, goes on (section 8.2).
    fn hear_rival(&mut self, message: &Message, now: Instant) {
        let ranks = |records: &mut dyn Iterator<Item = &Record>, name: &DomainName| {
            let mut ranks: Vec<_> =
                records.filter(|it| it.name == *name).map(|it| it.data.rank()).collect();
            ranks.sort_unstable();
            ranks
        };
        for name in [&self.names.instance, &self.names.host] {
            let theirs = ranks(&mut message.proposed.iter(), name);
            let ours = ranks(&mut self.service.iter().skip(1).chain(&self.addresses), name);
            if !theirs.is_empty() && theirs > ours {
                self.phase = Phase::Probing { sent: 0 };
                self.next = Some(now + YIELD);
                return;
            }
        }
    }

    fn hear_question(&mut self, message: &Message, now: Instant) {
        let (mut shared, mut own, mut types) = (false, false, false);
        for question in &message.questions {
            let any = question.kind == Rtype::ANY;
            let is = |kinds: &[Rtype]| any || kinds.contains(&question.kind);
            shared |= question.name == self.names.service && is(&[Rtype::PTR]);
            own |= question.name == self.names.instance && is(&[Rtype::SRV, Rtype::TXT]);
            own |= question.name == self.names.host && is(&[Rtype::A, Rtype::AAAA]);
            types |= is(&[Rtype::PTR]) && question.name == all_types();
        }
        // Whoever says that it has the answer, and for a good while yet, needs none (section 7.1).
        let knows = |record: &Record| {
            record.name == self.names.service
                && record.seconds >= SERVICE_SECONDS / 2
                && matches!(&record.data, Data::Pointer(to) if *to == self.names.instance)
        };
        shared &= !message.records.iter().any(knows);
        if !(shared || own || types) {
            return;
        }
        let names = [&self.names.instance, &self.names.host];
        let defends = message.proposed.iter().any(|record| names.contains(&&record.name));
        // Others who share the name answer too, so it is not done all at once.
        let delay = if own { chance::millis(0..10) } else { chance::millis(20..120) };
        let pause = if defends { DEFEND_EVERY } else { ANSWER_EVERY };
        let earliest = self.said.map_or(now, |at| at + pause);
        let at = earliest.max(now + delay);
        self.answer = Some(match self.answer {
            Some((before, with_types)) => (at.min(before), types || with_types),
            None => (at, types),
        });
    }
}

#[cfg(test)]
mod tests;

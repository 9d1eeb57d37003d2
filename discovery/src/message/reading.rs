//! A packet's bytes as a [`Message`]. A packet that is wrong anywhere says nothing at all.
//!
//! Everything that is read was sent by whoever likes to. The crate `domain` checks lengths and follows pointers
//! within bounds; here the number of items is bounded, and nothing is allocated by what a packet claims.

use std::net::IpAddr;

use domain::base::Message as Packet;
use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::name::{ParsedName, ToName};
use domain::base::record::ParsedRecord;
use domain::rdata::{A, Aaaa, Ptr, Srv, Txt};

use super::{Data, DomainName, MOST_BYTES, MOST_ITEMS, Message, Question, Record};

/// The highest bit of a class is a flag: "unicast is welcome" of a question, "all that there is" of a record.
const FLAG: u16 = 0x8000;

/// What a packet says; nothing where it is no message of mDNS.
pub(crate) fn read(bytes: &[u8]) -> Option<Message> {
    if bytes.len() > MOST_BYTES {
        return None;
    }
    let packet = Packet::from_octets(bytes).ok()?;
    let header = packet.header();
    // RFC 6762, section 18.3 and 18.11: others are silently ignored.
    if header.opcode() != Opcode::QUERY || header.rcode() != Rcode::NOERROR {
        return None;
    }
    let mut message = Message { is_response: header.qr(), ..Message::default() };
    let mut items = 0;
    let mut count = || {
        items += 1;
        (items <= MOST_ITEMS).then_some(())
    };

    let mut questions = packet.question();
    for question in &mut questions {
        let question = question.ok()?;
        count()?;
        if is_internet(question.qclass()) {
            message
                .questions
                .push(Question { name: flat(question.qname())?, kind: question.qtype() });
        }
    }
    let mut answers = questions.answer().ok()?;
    for record in &mut answers {
        count()?;
        message.records.extend(known(&record.ok()?)?);
    }
    let mut authority = answers.next_section().ok()??;
    for record in &mut authority {
        count()?;
        let record = known(&record.ok()?)?;
        // A response has no use for this section.
        message.proposed.extend(record.filter(|_| !message.is_response));
    }
    for record in authority.next_section().ok()?? {
        count()?;
        let record = known(&record.ok()?)?;
        message.records.extend(record.filter(|_| message.is_response));
    }
    Some(message)
}

/// A record of a kind that is known here, `Some(None)` for another, nothing for one that is malformed.
#[expect(clippy::option_option, reason = "the two kinds of nothing have different ends")]
fn known<'a>(record: &ParsedRecord<'a, &'a [u8]>) -> Option<Option<Record>> {
    if !is_internet(record.class()) {
        return Some(None);
    }
    let data = match record.rtype() {
        Rtype::PTR => {
            let record = record.to_record::<Ptr<ParsedName<_>>>().ok()??;
            Data::Pointer(flat(record.data().ptrdname())?)
        }
        Rtype::SRV => {
            let record = record.to_record::<Srv<ParsedName<_>>>().ok()??;
            let srv = record.data();
            Data::Service {
                priority: srv.priority(),
                weight: srv.weight(),
                port: srv.port(),
                host: flat(srv.target())?,
            }
        }
        Rtype::TXT => {
            let record = record.to_record::<Txt<_>>().ok()??;
            let parts = record.data().iter_charstrs();
            Data::Text(parts.fold(Vec::new(), |mut text, part| {
                text.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
                text.extend_from_slice(part.as_slice());
                text
            }))
        }
        Rtype::A => Data::Address(IpAddr::V4(record.to_record::<A>().ok()??.data().addr())),
        Rtype::AAAA => Data::Address(IpAddr::V6(record.to_record::<Aaaa>().ok()??.data().addr())),
        _ => return Some(None),
    };
    Some(Some(Record { name: flat(&record.owner())?, seconds: record.ttl().as_secs(), data }))
}

fn is_internet(class: Class) -> bool {
    let class = Class::from_int(class.to_int() & !FLAG);
    class == Class::IN || class == Class::ANY
}

/// A name on its own, without pointers into its packet.
fn flat(name: &impl ToName) -> Option<DomainName> {
    name.try_to_name().ok()
}

#[cfg(test)]
mod tests {
    use super::super::{query, response};
    use super::*;

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    fn records() -> Vec<Record> {
        let host = name("nas.local");
        let place = Data::Service { priority: 1, weight: 2, port: 4022, host: host.clone() };
        let data = [
            Data::Pointer(name("files._berth._tcp.local")),
            place,
            Data::Text(b"\x07proto=1\x03a=b".to_vec()),
            Data::Address("10.0.0.1".parse().unwrap()),
            Data::Address("fd00::1".parse().unwrap()),
        ];
        data.map(|data| Record { name: host.clone(), seconds: 120, data }).to_vec()
    }

    #[test]
    fn what_is_written_is_read() {
        let told = read(&response(&records(), None)).unwrap();
        assert_eq!((told.is_response, &told.records), (true, &records()));
        let questions = [(name("a.local"), Rtype::ANY), (name("b.local"), Rtype::PTR)];
        let asked = read(&query(&questions, &records())).unwrap();
        let expected = questions.map(|(name, kind)| Question { name, kind });
        assert!(!asked.is_response && asked.records.is_empty());
        assert_eq!((asked.questions, asked.proposed), (expected.to_vec(), records()));
    }

    #[test]
    fn a_packet_that_is_cut_off_or_too_long_says_nothing() {
        let packet = response(&records(), None);
        for end in 0..packet.len() {
            assert_eq!(read(&packet[..end]), None, "{end}");
        }
        let mut long = packet;
        long.resize(MOST_BYTES, 0);
        assert!(read(&long).is_some(), "what follows a message is nobody's");
        long.push(0);
        assert_eq!(read(&long), None);
    }

    #[test]
    fn more_items_than_anybody_needs_are_refused_whatever_the_counts_claim() {
        let many = |count| vec![records()[3].clone(); count];
        assert_eq!(read(&response(&many(MOST_ITEMS), None)).unwrap().records.len(), MOST_ITEMS);
        assert_eq!(read(&response(&many(MOST_ITEMS + 1), None)), None);
        let mut claims = response(&records(), None);
        claims[6..12].fill(0xff);
        assert_eq!(read(&claims), None);
    }

    #[test]
    fn names_that_point_at_themselves_end() {
        let header = [0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        for loops in [&[0xc0, 12][..], &[0xc0, 14, 0xc0, 12], &[1, b'a', 0xc0, 12], &[0xff, 0xff]] {
            let rest = [0, 12, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12];
            assert_eq!(read(&[&header[..], loops, &rest].concat()), None, "{loops:?}");
        }
    }

    #[test]
    fn other_kinds_of_records_and_classes_are_passed_over() {
        let header = [0, 0, 0x84, 0, 0, 0, 0, 2, 0, 0, 0, 0];
        // HINFO of the root, and an A of the class CHAOS.
        let records = [0, 0, 13, 0, 1, 0, 0, 0, 9, 0, 2, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, 9, 0, 4];
        let told = read(&[&header[..], &records, &[10, 0, 0, 1]].concat()).unwrap();
        assert!(told.is_response && told.records.is_empty());
    }
}

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

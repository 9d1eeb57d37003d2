//! Packets of questions and of answers. Names are not compressed: what Berth sends fits without it.

use std::net::IpAddr;

use domain::base::MessageBuilder;
use domain::base::iana::{Class, Rtype};
use domain::base::message_builder::{AdditionalBuilder, PushError, RecordSectionBuilder};
use domain::rdata::{A, Aaaa, Ptr, Srv, Txt};

use super::{Data, DomainName, Record};

/// A packet that asks, and proposes records where it asks who else has them.
pub(crate) fn query(questions: &[(DomainName, Rtype)], proposed: &[Record]) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec().question();
    for (name, kind) in questions {
        // To a vector everything can be pushed; what could not would be a question less.
        let _ = builder.push((name, *kind));
    }
    let mut builder = builder.answer().authority();
    for record in proposed {
        let _ = push(&mut builder, record, Class::IN);
    }
    builder.finish()
}

/// A packet that answers, or announces. `seconds` takes the place of what the records say: 0 says good-bye.
pub(crate) fn response(records: &[Record], seconds: Option<u32>) -> Vec<u8> {
    let mut builder: AdditionalBuilder<Vec<u8>> = MessageBuilder::new_vec().additional();
    let header = builder.header_mut();
    header.set_qr(true);
    header.set_aa(true);
    let mut builder = builder.builder().answer();
    for record in records {
        let record = Record { seconds: seconds.unwrap_or(record.seconds), ..record.clone() };
        // A name that is shared has more records than these; of the others these are all that there are.
        let class = match record.data {
            Data::Pointer(_) => Class::IN,
            _ => Class::from_int(Class::IN.to_int() | 0x8000),
        };
        let _ = push(&mut builder, &record, class);
    }
    builder.finish()
}

fn push(
    builder: &mut impl RecordSectionBuilder<Vec<u8>>,
    record: &Record,
    class: Class,
) -> Result<(), PushError> {
    let (name, seconds) = (&record.name, record.seconds);
    match &record.data {
        Data::Pointer(to) => builder.push((name, class, seconds, Ptr::new(to))),
        Data::Service { priority, weight, port, host } => {
            builder.push((name, class, seconds, Srv::new(*priority, *weight, *port, host)))
        }
        Data::Text(text) => match Txt::from_octets(text.as_slice()) {
            Ok(text) => builder.push((name, class, seconds, text)),
            Err(_) => Ok(()),
        },
        Data::Address(IpAddr::V4(address)) => {
            builder.push((name, class, seconds, A::new(*address)))
        }
        Data::Address(IpAddr::V6(address)) => {
            builder.push((name, class, seconds, Aaaa::new(*address)))
        }
    }
}

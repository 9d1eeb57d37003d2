//! The announcer on interfaces that lead nowhere, by a clock of the test's own.

use super::*;
use crate::message::{Data, Record, response};
use crate::service::InstanceName;

struct Nobody;

impl Telling for Nobody {
    fn began(&self) {}
    fn announced(&self, _: &str, _: &[&str]) {}
    fn renamed(&self, name: &str) {
        panic!("the name is kept, and not changed to {name}");
    }
    fn unusable(&self, _: &str, _: &dyn std::fmt::Display) {}
}

#[test]
fn who_disputes_on_all_interfaces_is_asked_slowly() {
    let announcement = Announcement {
        name: InstanceName::new("files").unwrap(),
        machine: "nas".to_owned(),
        port: 4022,
        protocol: "1".to_owned(),
        version: None,
    };
    let (queue, _heard) = link::queue();
    let mut announcer = Announcer::new(&announcement, &Nobody, queue);
    let mut now = Instant::now();
    for index in 1..=15 {
        let address = IpAddr::from([10, 0, 0, index]);
        let interface = Interface {
            index: index.into(),
            name: format!("cable{index}"),
            v4: None,
            has_v6: false,
            addresses: vec![address],
        };
        let responder = announcer.responder(&interface.addresses, now);
        let place = Place { interface, link: Link::to_nowhere(), responder };
        announcer.places.insert(index.into(), place);
    }
    let host = "other.local".parse().unwrap();
    let data = Data::Service { priority: 0, weight: 0, port: 9, host };
    let claim = Record { name: announcer.names.instance.clone(), seconds: 120, data };
    let claim = response(&[claim], None);
    let have_announced = |announcer: &Announcer<'_, Nobody>| {
        announcer.places.values().all(|place| place.responder.has_announced())
    };
    while !have_announced(&announcer) {
        now = announcer.act(now).max(now);
    }
    let mut waits = Vec::new();
    for interface in 1..=15 {
        let from = IpAddr::from([10, 0, 0, 99]);
        announcer.hear(&Heard { interface, from, bytes: claim.clone() }, now);
        waits.push(announcer.places[&interface].responder.due().unwrap() - now);
    }
    let (last, before) = waits.split_last().unwrap();
    let second = Duration::from_secs(1);
    assert!(before.iter().all(|wait| *wait < second), "who errs now and then: {before:?}");
    assert!(*last >= 60 * second, "the fifteenth within ten seconds: {last:?}");
}

//! The responder by a clock of the test's own, spoken to in packets.

use proptest::prelude::*;

use super::*;
use crate::message::{Question, read};
use crate::service::InstanceName;

fn announcement(port: u16) -> Announcement {
    let name = InstanceName::new("files").unwrap();
    Announcement { name, machine: "nas".to_owned(), port, protocol: "1".to_owned(), version: None }
}

const OURS: [&str; 2] = ["10.0.0.1", "fd00::1"];

fn ours() -> Vec<IpAddr> {
    OURS.iter().map(|address| address.parse().unwrap()).collect()
}

/// A responder on a network, and the time there.
struct Bench {
    responder: Responder,
    now: Instant,
}

impl Bench {
    fn new(port: u16) -> Self {
        let (announcement, now) = (announcement(port), Instant::now());
        let names = announcement.names(1);
        Self { responder: Responder::new(&announcement, &names, &ours(), now), now }
    }

    /// One that has announced itself.
    fn settled() -> Self {
        let mut bench = Self::new(4022);
        while bench.responder.due().is_some() {
            bench.next();
        }
        bench.now += Duration::from_secs(60);
        bench
    }

    /// Lets the time pass until something is sent.
    fn next(&mut self) -> Vec<u8> {
        self.now = self.responder.due().expect("something is due");
        self.responder.act(self.now).expect("it is sent when it is due")
    }

    fn hear(&mut self, packet: &[u8]) -> Verdict {
        self.responder.hear(&read(packet).unwrap(), &ours(), self.now)
    }

    fn ask(&mut self, name: &DomainName, kind: Rtype) -> Option<Duration> {
        let now = self.now;
        self.hear(&query(&[(name.clone(), kind)], &[]));
        self.responder.due().map(|at| at - now)
    }

    fn names(&self) -> Names {
        self.responder.names.clone()
    }
}

fn place(name: &DomainName, port: u16, seconds: u32) -> Record {
    let host = "nas-berth.local".parse().unwrap();
    let data = Data::Service { priority: 0, weight: 0, port, host };
    Record { name: name.clone(), seconds, data }
}

#[test]
fn it_asks_three_times_and_then_announces_twice() {
    let mut bench = Bench::new(4022);
    let start = bench.now;
    for _ in 0..3 {
        assert!(!bench.responder.has_announced() && bench.responder.good_bye().is_none());
        let probe = read(&bench.next()).unwrap();
        assert!(!probe.is_response && probe.records.is_empty());
        assert_eq!(probe.questions.len(), 2);
        assert_eq!(probe.proposed.len(), 4, "SRV, TXT, A, AAAA");
    }
    let first = bench.next();
    assert!((750..1000).contains(&(bench.now - start).as_millis()), "{:?}", bench.now - start);
    let told = read(&first).unwrap();
    assert!(told.is_response && told.records.len() == 5);
    assert_eq!(bench.next(), first);
    assert_eq!(bench.responder.due(), None, "then it says nothing unless it is asked");
    let good_bye = read(&bench.responder.good_bye().unwrap()).unwrap();
    assert!(good_bye.records.len() == 5 && good_bye.records.iter().all(|it| it.seconds == 0));
}

#[test]
fn its_own_packets_that_come_back_change_nothing() {
    let mut bench = Bench::new(4022);
    for _ in 0..5 {
        let packet = bench.next();
        let due = bench.responder.due();
        assert_eq!(bench.hear(&packet), Verdict::Fine);
        assert_eq!(bench.responder.due(), due);
    }
}

#[test]
fn each_of_its_names_is_answered_with_all_that_there_is() {
    let names = Bench::settled().names();
    let questions = [
        (&names.service, Rtype::PTR, 20..120),
        (&names.instance, Rtype::SRV, 0..10),
        (&names.instance, Rtype::ANY, 0..10),
        (&names.host, Rtype::A, 0..10),
        (&all_types(), Rtype::PTR, 20..120),
    ];
    for (name, kind, delay) in questions {
        let mut bench = Bench::settled();
        let waits = bench.ask(name, kind).expect("it is answered").as_millis();
        assert!(delay.contains(&waits), "{name} {kind}: {waits}");
        let answer = read(&bench.next()).unwrap();
        assert_eq!(answer.records.len(), 5 + usize::from(*name == all_types()));
        assert_eq!(bench.responder.due(), None);
    }
    let others = [
        (&names.service, Rtype::A),
        (&names.host, Rtype::SRV),
        (&"other.local".parse().unwrap(), Rtype::ANY),
    ];
    for (name, kind) in others {
        assert_eq!(Bench::settled().ask(name, kind), None, "{name} {kind}");
    }
}

#[test]
fn a_flood_of_questions_is_answered_once_a_second() {
    let mut bench = Bench::settled();
    let (names, mut answers) = (bench.names(), 0);
    // A thousand a second for ten seconds.
    for _ in 0..10_000 {
        bench.ask(&names.service, Rtype::PTR);
        bench.ask(&names.instance, Rtype::SRV);
        bench.now += Duration::from_millis(1);
        while bench.responder.act(bench.now).is_some() {
            answers += 1;
        }
    }
    assert!((9..=11).contains(&answers), "{answers}");
}

#[test]
fn who_knows_the_answer_gets_none() {
    for (seconds, answered) in [(4500, false), (2250, false), (2249, true), (0, true)] {
        let mut bench = Bench::settled();
        let names = bench.names();
        let data = Data::Pointer(names.instance.clone());
        let known = Record { name: names.service.clone(), seconds, data };
        let question = Question { name: names.service, kind: Rtype::PTR };
        let message =
            Message { questions: vec![question], records: vec![known], ..Message::default() };
        bench.responder.hear(&message, &ours(), bench.now);
        assert_eq!(bench.responder.due().is_some(), answered, "{seconds}");
    }
}

#[test]
fn a_name_that_somebody_has_is_not_taken() {
    let names = Bench::new(1).names();
    let others_host = Record {
        name: names.host.clone(),
        seconds: 120,
        data: Data::Address("10.0.0.9".parse().unwrap()),
    };
    for taken in [place(&names.instance, 9, 120), others_host] {
        let mut bench = Bench::new(4022);
        let claim = response(std::slice::from_ref(&taken), None);
        assert_eq!(bench.hear(&claim), Verdict::Fine, "it has not asked yet");
        bench.next();
        assert_eq!(bench.hear(&claim), Verdict::Taken);
        let mut bench = Bench::new(4022);
        assert_eq!(bench.hear(&response(&[taken], Some(0))), Verdict::Fine, "it was given back");
    }
}

#[test]
fn a_name_that_is_claimed_later_is_asked_for_again_and_defended() {
    let mut bench = Bench::settled();
    let names = bench.names();
    let claim = response(&[place(&names.instance, 9, 120)], None);
    assert_eq!(bench.hear(&claim), Verdict::Disputed);
    assert!(!read(&bench.next()).unwrap().is_response, "a probe");

    let mut bench = Bench::settled();
    let probe = query(&[(names.instance.clone(), Rtype::ANY)], &[place(&names.instance, 9, 120)]);
    bench.hear(&probe);
    assert!(read(&bench.next()).unwrap().is_response, "the holder answers at once");
    bench.hear(&probe);
    let due = bench.responder.due().unwrap() - bench.now;
    assert!(due <= DEFEND_EVERY, "{due:?}");
}

#[test]
fn who_claims_a_name_each_time_it_is_announced_draws_four_packets_a_second() {
    let mut bench = Bench::settled();
    let claim = response(&[place(&bench.names().instance, 9, 120)], None);
    let (start, mut sent, mut disputes) = (bench.now, 0, 0);
    while bench.now - start < Duration::from_secs(60) {
        // Heard before a probe is out, so that the name is never given up.
        disputes += u32::from(bench.hear(&claim) == Verdict::Disputed);
        while !read(&bench.next()).unwrap().is_response {
            sent += 1;
        }
        sent += 1;
    }
    assert!(disputes > 50 && sent <= 4 * 60 + 4, "{sent} packets for {disputes} claims");
}

#[test]
fn of_two_that_ask_at_the_same_time_one_waits() {
    let (mut low, mut high) = (Bench::new(4022), Bench::new(4023));
    high.now = low.now;
    let (of_low, of_high) = (low.next(), high.next());
    low.hear(&of_high);
    assert_eq!(low.responder.due().unwrap() - low.now, YIELD);
    let due = high.responder.due();
    high.hear(&of_low);
    assert_eq!(high.responder.due(), due);
}

#[test]
fn other_addresses_are_announced() {
    let mut bench = Bench::settled();
    bench.responder.readdress(&["10.0.0.7".parse().unwrap()], bench.now);
    let told = read(&bench.next()).unwrap();
    let has = |address: &str| {
        let data = Data::Address(address.parse().unwrap());
        told.records.iter().any(|record| record.data == data)
    };
    assert!(has("10.0.0.7") && !has(OURS[0]) && !has(OURS[1]));
}

proptest! {
    #[test]
    fn whatever_it_hears_it_sends_little(
        packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..80), 0u64..50), 1..200)
    ) {
        let mut bench = Bench::new(4022);
        let (start, mut sent) = (bench.now, 0);
        let real = [
            query(&[(bench.names().service, Rtype::PTR)], &[]),
            response(&[place(&bench.names().instance, 9, 120)], None),
            query(&[], &[place(&bench.names().instance, 9, 120)]),
        ];
        for (bytes, millis) in packets {
            let packet = match bytes.first() {
                Some(first) if usize::from(*first) % 4 < 3 => &real[usize::from(*first) % 4],
                _ => &bytes,
            };
            if let Some(message) = read(packet) {
                bench.responder.hear(&message, &ours(), bench.now);
            }
            bench.now += Duration::from_millis(millis);
            while bench.responder.act(bench.now).is_some() {
                sent += 1;
            }
        }
        let seconds = (bench.now - start).as_secs() + 1;
        // A probe each 250 ms and an answer each 250 ms are the most.
        prop_assert!(sent <= 8 * seconds + 8, "{sent} in {seconds} s");
    }
}

//! Tests of who goes when too many connections have not logged in, one of them against a plain model.

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A lot by which whoever may go does, the first of them.
const FATAL: Lot = Lot(0);

/// One by which the last is drawn, who goes when it has to alone.
const KIND: Lot = Lot(u64::MAX);

/// Numbers that look random, and are the same in each run.
struct Dice(u64);

impl Dice {
    /// By Steele, Lea and Flood's SplitMix64.
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A table with time and numbers of its own.
struct Scene {
    pending: Pending,
    last: u64,
    now: Instant,
}

impl Scene {
    fn new(most: u32) -> Self {
        Self { pending: Pending::new(most), last: 0, now: Instant::now() }
    }

    /// Whoever may go for it does.
    fn come(&mut self, address: &str) -> Arrival {
        self.come_with(address, FATAL)
    }

    fn come_with(&mut self, address: &str, lot: Lot) -> Arrival {
        self.last += 1;
        self.pending.enter(SessionId(self.last), ip(address), Lack::default(), lot, self.now)
    }

    fn shake_hands(&mut self, sessions: impl IntoIterator<Item = u64>) {
        sessions.into_iter().for_each(|session| self.pending.shake_hands(SessionId(session)));
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

fn ended(arrival: Arrival) -> Option<u64> {
    match arrival {
        Arrival::Displaces(SessionId(session), _) => Some(session),
        Arrival::Fits | Arrival::Refused(_) => None,
    }
}

fn is_refused(arrival: Arrival) -> bool {
    matches!(arrival, Arrival::Refused(_))
}

#[test]
fn one_of_the_network_with_most_goes_for_a_stranger_to_it_at_once() {
    let all = ["10.0.1.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"];
    for (lot, victim) in [(FATAL, 2), (Lot(u64::from(u32::MAX) / 2), 3), (KIND, 4)] {
        for newcomer in ["10.0.2.1", "2001:db8::1"] {
            let mut scene = Scene::new(4);
            for address in all {
                assert_eq!(scene.come(address), Arrival::Fits);
            }
            assert_eq!(ended(scene.come_with(newcomer, lot)), Some(victim));
        }
    }
}

#[test]
fn of_the_network_with_most_those_go_first_who_have_not_shaken_hands() {
    let mut scene = Scene::new(3);
    for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        scene.come(address);
    }
    scene.shake_hands([1, 3]);
    assert_eq!(ended(scene.come_with("10.0.1.1", KIND)), Some(2));
    assert_eq!(ended(scene.come_with("10.0.2.1", KIND)), Some(3));
}

#[test]
fn a_flood_is_refused_itself_while_its_own_have_their_time() {
    let mut scene = Scene::new(2);
    for _ in 0..2 {
        scene.come("10.0.0.1");
    }
    assert!(is_refused(scene.come("10.0.0.1")));
    scene.wait(SPARED);
    assert!(is_refused(scene.come("10.0.0.1")), "it rises from nothing");
    scene.wait(Duration::from_millis(1));
    assert_eq!(ended(scene.come("10.0.0.1")), Some(1));
    assert!(is_refused(scene.come_with("10.0.0.1", KIND)));
    scene.wait(GRACE - SPARED);
    assert_eq!(ended(scene.come_with("10.0.0.1", Lot(u64::MAX << 32))), Some(2));
}

#[test]
fn within_a_network_the_address_with_most_goes_first() {
    let mut scene = Scene::new(3);
    for address in ["10.0.0.9", "10.0.0.1", "10.0.0.1"] {
        scene.come(address);
    }
    assert_eq!(ended(scene.come("10.0.0.7")), Some(2));
    assert!(is_refused(scene.come("10.0.0.8")), "one each, all of them young");
    assert_eq!(ended(scene.come("10.0.1.1")), Some(1));
}

#[test]
fn a_handshake_has_its_time_whatever_comes_from_networks_with_no_more() {
    let mut scene = Scene::new(2);
    scene.come("10.0.0.1");
    scene.come("10.0.1.1");
    scene.wait(SPARED - Duration::from_millis(1));
    for network in 2..200 {
        assert!(is_refused(scene.come(&format!("10.0.{network}.1"))));
    }
    scene.shake_hands([1]);
    scene.wait(Duration::from_millis(1));
    assert_eq!(ended(scene.come_with("10.0.2.1", KIND)), Some(2), "who is mute has had it");
    assert!(
        is_refused(scene.come_with("10.0.3.1", KIND)),
        "and who is not has a while for its login"
    );
}

#[test]
fn a_larger_share_is_no_reason_to_be_spared() {
    let mut scene = Scene::new(2);
    scene.come("10.0.0.1");
    scene.come("10.0.0.2");
    scene.shake_hands([1, 2]);
    assert_eq!(ended(scene.come_with("10.0.1.1", KIND)), Some(2), "the moment it has come");
}

#[test]
fn among_equals_who_have_shaken_hands_one_goes_the_likelier_the_older_it_is() {
    let part_of = |age: Duration| {
        let mut dice = Dice(7);
        let goes = |lot| {
            let mut scene = Scene::new(2);
            scene.come("10.0.0.1");
            scene.come("10.0.1.1");
            scene.shake_hands([1, 2]);
            scene.wait(age);
            ended(scene.come_with("10.0.2.1", lot))
        };
        let gone: Vec<u64> = (0..2000).filter_map(|_| goes(Lot(dice.roll()))).collect();
        let first = gone.iter().filter(|session| **session == 1).count();
        (gone.len() as f64 / 2000.0, first as f64 / gone.len().max(1) as f64)
    };
    assert_eq!(part_of(SPARED).0, 0.0);
    let (gone, first) = part_of((SPARED + GRACE) / 2);
    assert!((0.45..0.55).contains(&gone), "{gone}");
    assert!((0.45..0.55).contains(&first), "each is as likely: {first}");
    assert_eq!(part_of(GRACE).0, 1.0);
}

/// An attacker with a connection from each of so many networks, who finishes each handshake and comes again as soon
/// as he is refused or ended; and honest people, each from a network of its own, who come once and log in.
struct Siege {
    pending: Pending,
    dice: Dice,
    now: Instant,
    last: u64,
    /// The attacker's session for each network, and how long it takes until it has shaken hands or comes again.
    attackers: Vec<(Option<SessionId>, u64)>,
    honest: Vec<(SessionId, u64)>,
    came: usize,
    logged_in: usize,
    /// All who came, to all of whom the places have to do.
    all: usize,
}

impl Siege {
    /// What passes at once, in milliseconds; in what follows it is the unit.
    const TICK: u64 = 5;

    /// A round trip, for the attacker too: 50 ms.
    const ROUND_TRIP: u64 = 10;

    /// Of ten round trips, so that the line is a bad one.
    const LOGIN: u64 = 100;

    fn new(places: u32, networks: usize) -> Self {
        Self {
            pending: Pending::new(places),
            dice: Dice(1),
            now: Instant::now(),
            last: 0,
            attackers: vec![(None, 0); networks],
            honest: Vec::new(),
            came: 0,
            logged_in: 0,
            all: 0,
        }
    }

    fn enter(&mut self, address: [u8; 4]) -> Option<SessionId> {
        self.last += 1;
        self.all += 1;
        let (session, lot) = (SessionId(self.last), Lot(self.dice.roll()));
        let arrival = self.pending.enter(session, address.into(), Lack::default(), lot, self.now);
        (!is_refused(arrival)).then_some(session)
    }

    /// A short while, in which somebody honest may come.
    fn tick(&mut self, comes: bool) {
        self.now += Duration::from_millis(Self::TICK);
        for at in 0..self.attackers.len() {
            let (session, wait) = self.attackers[at];
            let is_there = session.is_some_and(|session| self.pending.has(session));
            let [.., high, low] = at.to_be_bytes();
            self.attackers[at] = match (session, wait) {
                (Some(session), 1) if is_there => {
                    self.pending.shake_hands(session);
                    (Some(session), 0)
                }
                (Some(_), wait) if is_there => (session, wait.saturating_sub(1)),
                // He is told of his end, and comes again.
                (Some(_), _) => (None, Self::ROUND_TRIP),
                (None, wait @ 2..) => (None, wait - 1),
                (None, _) => (self.enter([10, high, low, 1]), Self::ROUND_TRIP),
            };
        }
        for (session, left) in &mut self.honest {
            *left -= 1;
            if *left == Self::LOGIN - Self::ROUND_TRIP {
                self.pending.shake_hands(*session);
            }
            if *left == 0 && self.pending.has(*session) {
                self.pending.log_in(*session);
                self.logged_in += 1;
            }
        }
        self.honest.retain(|(_, left)| *left > 0);
        if comes {
            self.came += 1;
            let [.., high, low] = (self.came % 60_000).to_be_bytes();
            if let Some(session) = self.enter([11, high, low, 1]) {
                self.honest.push((session, Self::LOGIN));
            }
        }
    }

    /// How many of a hundred tries of honest people, of whom one comes in so many milliseconds, come to a login; and
    /// how many tries of all there are in a second.
    fn percent(mut self, each_ms: u64, seconds: u64) -> (f64, f64) {
        for _ in 0..10_000 / Self::TICK {
            self.tick(false);
        }
        self.all = 0;
        for _ in 0..seconds * 1000 / Self::TICK {
            let comes = self.dice.roll().is_multiple_of(each_ms / Self::TICK);
            self.tick(comes);
        }
        let percent = 100.0 * self.logged_in as f64 / self.came as f64;
        (percent, self.all as f64 / seconds as f64)
    }
}

#[test]
fn a_newcomer_has_its_chance_beside_an_attacker_with_twice_as_many_networks_as_places() {
    let places = 16;
    let (percent, a_second) = Siege::new(places, 32).percent(100, 100);
    // Or the claim were of another case.
    assert!((200.0..450.0).contains(&a_second), "{a_second}");
    let least = 100.0 * f64::from(places) / (a_second * GRACE.as_secs_f64());
    assert!(percent >= least, "{percent} % of {a_second} a second, not {least} %");
    let most = 100.0 * f64::from(places) / (a_second * SPARED.as_secs_f64());
    assert!(percent <= 1.5 * most, "as many as were counted cannot be: {percent} %, {most} %");
}

#[test]
fn a_newcomer_mostly_comes_in_beside_an_attacker_with_as_many_networks_as_places() {
    let (percent, _) = Siege::new(16, 16).percent(1000, 200);
    assert!(percent >= 50.0, "{percent} %");
}

#[test]
fn without_any_place_somebody_goes_though_few_are_pending() {
    let mut scene = Scene::new(9);
    let lack = Lack { place: true, worker: false };
    let enter = |scene: &mut Scene, session, address| {
        scene.pending.enter(SessionId(session), ip(address), lack, FATAL, scene.now)
    };
    assert_eq!(enter(&mut scene, 8, "10.0.0.1"), Arrival::Fits, "nobody is there to be ended");
    assert_eq!(scene.come("10.0.0.1"), Arrival::Fits);
    scene.wait(SPARED);
    assert_eq!(ended(enter(&mut scene, 9, "10.0.1.1")), Some(1));
}

#[test]
fn who_has_left_is_not_ended_and_leaves_room() {
    let mut scene = Scene::new(2);
    scene.come("10.0.0.1");
    scene.come("10.0.0.1");
    scene.pending.log_in(SessionId(1));
    assert!(!scene.pending.has(SessionId(1)));
    assert_eq!(scene.come("10.0.0.1"), Arrival::Fits);
    assert_eq!(ended(scene.come("10.0.1.1")), Some(2));
    scene.pending.leave(SessionId(2), scene.now);
    assert!(scene.pending.has(SessionId(4)), "a displaced one that leaves takes nobody along");
}

#[test]
fn a_lower_bound_ends_nobody_by_itself_and_one_goes_for_each_that_comes() {
    let mut scene = Scene::new(3);
    for address in ["10.0.0.1", "10.0.0.1", "10.0.0.2"] {
        scene.come(address);
    }
    scene.pending.set_most(1);
    assert_eq!(ended(scene.come("10.0.1.1")), Some(1));
    assert!(scene.pending.has(SessionId(2)));
}

#[test]
fn a_network_whose_connections_come_and_go_is_refused_while_workers_are_short() {
    let mut scene = Scene::new(9);
    let short = Lack { place: false, worker: true };
    let enter = |scene: &mut Scene, address: &str, lack| {
        scene.last += 1;
        let session = SessionId(scene.last);
        (session, scene.pending.enter(session, ip(address), lack, FATAL, scene.now))
    };
    for _ in 0..2000 {
        let (session, arrival) = enter(&mut scene, "10.0.1.1", short);
        assert_eq!(arrival, Arrival::Fits, "who logs in may come as often as it likes");
        scene.pending.log_in(session);
    }
    for host in 0..IN_VAIN.at_once {
        let address = format!("10.0.0.{}", host % 256);
        let (session, arrival) = enter(&mut scene, &address, short);
        assert_eq!(arrival, Arrival::Fits);
        scene.pending.leave(session, scene.now);
    }
    assert!(is_refused(enter(&mut scene, "10.0.0.1", short).1));
    assert_eq!(enter(&mut scene, "10.0.1.1", short).1, Arrival::Fits, "others are not");
    assert_eq!(enter(&mut scene, "10.0.0.1", Lack::default()).1, Arrival::Fits);
    scene.wait(Duration::from_secs(1));
    assert_eq!(enter(&mut scene, "10.0.0.1", short).1, Arrival::Fits);
}

#[test]
fn what_is_known_of_networks_is_bounded() {
    let mut pending = Pending::new(1);
    for network in 0..=MOST_KNOWN {
        let [.., high, low] = network.to_be_bytes();
        let address = IpAddr::from([10, high, low, 1]);
        let now = Instant::now();
        pending.enter(SessionId(1), address, Lack::default(), FATAL, now);
        pending.leave(SessionId(1), now);
        assert!(pending.in_vain.len() <= MOST_KNOWN);
    }
}

#[test]
fn each_network_is_named_once_until_it_has_been_calm() {
    let mut scene = Scene::new(1);
    let named = |arrival| match arrival {
        Arrival::Displaces(_, named) | Arrival::Refused(named) => named.map(|it| it.to_string()),
        Arrival::Fits => panic!("it is full"),
    };
    scene.come("10.0.0.1");
    assert_eq!(named(scene.come("10.0.0.2")).as_deref(), Some("10.0.0.0/24"));
    assert_eq!(named(scene.come("10.0.0.3")), None);
    scene.wait(SPARED);
    assert_eq!(named(scene.come("2001:db8:7:1::1")), None, "named is who goes");
    scene.wait(SPARED);
    assert_eq!(named(scene.come("10.0.0.2")).as_deref(), Some("2001:db8:7::/48"));
    scene.wait(CALM);
    assert_eq!(named(scene.come("10.0.0.9")).as_deref(), Some("10.0.0.0/24"));
    for network in 0..200 {
        scene.wait(GRACE);
        scene.come(&format!("10.1.{network}.1"));
    }
    assert_eq!(scene.pending.named.len(), MOST_NAMED);
}

#[derive(Clone, Copy)]
struct There {
    session: u64,
    address: IpAddr,
    since: Instant,
    has_shaken_hands: bool,
}

fn network(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets()[..3].to_vec(),
        IpAddr::V6(v6) => v6.octets()[..6].to_vec(),
    }
}

/// The same in the plainest way: who is there, oldest first.
#[derive(Default)]
struct Model {
    there: Vec<There>,
}

impl Model {
    fn share(&self, of: IpAddr, newcomer: IpAddr) -> (usize, usize) {
        let all = || self.there.iter().map(|it| it.address).chain([newcomer]);
        let address = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets()[..8].to_vec(),
        };
        (
            all().filter(|it| network(*it) == network(of)).count(),
            all().filter(|it| address(*it) == address(of)).count(),
        )
    }

    /// The number of whom the newcomer displaces, itself where it is refused.
    fn come(
        &mut self,
        session: u64,
        newcomer: IpAddr,
        most: usize,
        lot: u64,
        now: Instant,
    ) -> Option<u64> {
        let mut goes = None;
        if self.there.len() >= most && !self.there.is_empty() {
            let share = |it: &There| self.share(it.address, newcomer);
            let largest = self.there.iter().map(share).max().unwrap();
            let equal = largest == self.share(newcomer, newcomer);
            let age = |it: &There| (now - it.since).as_secs_f64();
            let with_most = self.there.iter().filter(|it| share(it) == largest);
            let (shaken, mute): (Vec<&There>, Vec<_>) =
                with_most.partition(|it| it.has_shaken_hands);
            let mute: Vec<_> = mute.into_iter().filter(|it| !equal || age(it) >= 1.0).collect();
            let drawn = if mute.is_empty() { shaken } else { mute };
            let unit = 2_f64.powi(32);
            let (whether, which) = ((lot >> 32) as f64 / unit, (lot as u32) as f64 / unit);
            let drawn = drawn.get((which * drawn.len() as f64) as usize).copied();
            let drawn = drawn.filter(|it| {
                let stranger = network(it.address) != network(newcomer);
                !equal || (!it.has_shaken_hands && stranger) || whether < (age(it) - 1.0) / 2.0
            });
            let Some(&drawn) = drawn else {
                return Some(session);
            };
            goes = Some(drawn.session);
            self.there.retain(|it| it.session != drawn.session);
        }
        let has_shaken_hands = false;
        self.there.push(There { session, address: newcomer, since: now, has_shaken_hands });
        goes
    }
}

#[derive(Clone, Debug)]
enum Act {
    Come(IpAddr, u64),
    Leave(usize),
    ShakeHands(usize),
    Wait(u64),
    Bound(u32),
}

fn act() -> impl Strategy<Value = Act> {
    let v4 = (0..4_u8, 0..3_u8).prop_map(|(net, host)| IpAddr::from([10, 0, net, host]));
    let v6 = (0..2_u16, 0..2_u16, 0..2_u16)
        .prop_map(|(site, net, host)| IpAddr::from([0x2001, 0xdb8, site, net, 0, 0, 0, host]));
    prop_oneof![
        6 => (prop_oneof![3 => v4, 1 => v6], any::<u64>())
            .prop_map(|(address, lot)| Act::Come(address, lot)),
        2 => (0..8_usize).prop_map(Act::Leave),
        2 => (0..8_usize).prop_map(Act::ShakeHands),
        2 => (0..4000_u64).prop_map(Act::Wait),
        1 => (1..8_u32).prop_map(Act::Bound),
    ]
}

proptest! {
    #[test]
    fn it_decides_as_a_plain_model_does(acts in prop::collection::vec(act(), 0..80)) {
        let (mut pending, mut model) = (Pending::new(4), Model::default());
        let (mut most, mut now) = (4, Instant::now());
        for (session, act) in (1..).zip(acts) {
            match act {
                Act::Come(address, lot) => {
                    let before = model.there.len();
                    let expected = model.come(session, address, most, lot, now);
                    let lack = Lack::default();
                    let arrival = pending.enter(SessionId(session), address, lack, Lot(lot), now);
                    let goes = match arrival {
                        Arrival::Fits => None,
                        Arrival::Displaces(SessionId(victim), _) => Some(victim),
                        Arrival::Refused(_) => Some(session),
                    };
                    prop_assert_eq!(goes, expected);
                    prop_assert!(model.there.len() <= most.max(before));
                }
                Act::Leave(at) => if at < model.there.len() {
                    pending.leave(SessionId(model.there.remove(at).session), now);
                },
                Act::ShakeHands(at) => if let Some(it) = model.there.get_mut(at) {
                    it.has_shaken_hands = true;
                    pending.shake_hands(SessionId(it.session));
                },
                Act::Wait(ms) => now += Duration::from_millis(ms),
                Act::Bound(bound) => {
                    most = bound as usize;
                    pending.set_most(bound);
                }
            }
            let there: Vec<u64> = pending.waiting.keys().map(|session| session.0).collect();
            let expected: Vec<u64> = model.there.iter().map(|it| it.session).collect();
            prop_assert_eq!(there, expected);
        }
    }
}

//! Tests of who goes when too many connections have not logged in, one of them against a plain model.

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
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

    fn come(&mut self, address: &str) -> Arrival {
        self.last += 1;
        self.pending.enter(SessionId(self.last), ip(address), Lack::default(), self.now)
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
fn the_oldest_of_the_network_with_most_goes_for_a_stranger_to_it_at_once() {
    let mut scene = Scene::new(4);
    for address in ["10.0.1.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        assert_eq!(scene.come(address), Arrival::Fits);
    }
    assert_eq!(ended(scene.come("10.0.2.1")), Some(2));
    assert_eq!(ended(scene.come("2001:db8::1")), Some(3));
}

#[test]
fn a_flood_is_refused_itself_until_its_oldest_have_had_their_time() {
    let mut scene = Scene::new(2);
    for _ in 0..2 {
        scene.come("10.0.0.1");
    }
    assert!(is_refused(scene.come("10.0.0.1")));
    scene.wait(GRACE);
    assert_eq!(ended(scene.come("10.0.0.1")), Some(1));
    assert_eq!(ended(scene.come("10.0.0.1")), Some(2));
    assert!(is_refused(scene.come("10.0.0.1")), "who came in their place has its time too");
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
fn among_equal_networks_who_has_shaken_hands_is_spared() {
    let mut scene = Scene::new(2);
    scene.come("10.0.0.1");
    scene.pending.shake_hands(SessionId(1));
    scene.come("10.0.1.1");
    assert_eq!(ended(scene.come("10.0.2.1")), Some(2), "it is younger, and mute");
    scene.pending.shake_hands(SessionId(3));
    assert!(is_refused(scene.come("10.0.3.1")));
    scene.wait(GRACE);
    assert_eq!(ended(scene.come("10.0.3.1")), Some(1));
}

#[test]
fn without_any_place_somebody_goes_though_few_are_pending() {
    let mut scene = Scene::new(9);
    let lack = Lack { place: true, worker: false };
    let enter = |scene: &mut Scene, session, address| {
        scene.pending.enter(SessionId(session), ip(address), lack, scene.now)
    };
    assert_eq!(enter(&mut scene, 8, "10.0.0.1"), Arrival::Fits, "nobody is there to be ended");
    assert_eq!(scene.come("10.0.0.1"), Arrival::Fits);
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
        (session, scene.pending.enter(session, ip(address), lack, scene.now))
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
        pending.enter(SessionId(1), address, Lack::default(), now);
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
    assert_eq!(named(scene.come("2001:db8:7:1::1")), None, "named is who goes");
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
    fn come(&mut self, session: u64, newcomer: IpAddr, most: usize, now: Instant) -> Option<u64> {
        let mut goes = None;
        if self.there.len() >= most && !self.there.is_empty() {
            let shares = self.there.iter().map(|it| self.share(it.address, newcomer));
            let largest = shares.max().unwrap();
            let mut first =
                self.there.iter().filter(|it| self.share(it.address, newcomer) == largest);
            let mute = first.clone().find(|it| !it.has_shaken_hands);
            let first = *mute.or_else(|| first.next()).unwrap();
            let spared = mute.is_none() || network(first.address) == network(newcomer);
            let equal = largest == self.share(newcomer, newcomer);
            if equal && spared && now - first.since < GRACE {
                return Some(session);
            }
            goes = Some(first.session);
            self.there.retain(|it| it.session != first.session);
        }
        let has_shaken_hands = false;
        self.there.push(There { session, address: newcomer, since: now, has_shaken_hands });
        goes
    }
}

#[derive(Clone, Debug)]
enum Act {
    Come(IpAddr),
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
        6 => prop_oneof![3 => v4, 1 => v6].prop_map(Act::Come),
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
                Act::Come(address) => {
                    let before = model.there.len();
                    let expected = model.come(session, address, most, now);
                    let goes = match pending.enter(SessionId(session), address, Lack::default(), now) {
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

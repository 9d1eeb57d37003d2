//! How the table is played: each attack in a process of its own, in each place where hostile code may run.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use berth_tests::puppets::{Fate, Free, Puppet, log_in};
use berth_tests::report;

use crate::scene::Scene;
use crate::table;

/// What an attack came to: `Ok` when all of its calls were carried out.
pub(crate) type Made = Result<(), Fate>;

/// What is attacked.
pub(crate) struct Target {
    /// A process of the same user.
    pub(crate) process: u32,
    /// The data directory.
    pub(crate) data: PathBuf,
    /// An address in that process, if it is known.
    pub(crate) address: u64,
    /// Where the server listens.
    pub(crate) port: u16,
    /// The process that attacks.
    pub(crate) own: u32,
    /// Home and staging, of a filer.
    pub(crate) directories: Option<(i32, i32)>,
}

/// What has to become of an attack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// The process is ended, and the log names this call.
    Ended(&'static str),
    /// It is refused with one of these errnos.
    Refused(&'static [i32]),
    /// It is carried out, which the threat model tells by this name.
    Remains(&'static str),
}

/// What becomes of it in an ordinary process of the same user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// It works: the sandbox is what prevents it.
    Works,
    /// The process becomes another one, or ends.
    Ends,
    /// This kernel, or this user, refuses it anyway, or it cannot be tried without harm.
    Untried,
}

pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) how: fn(&mut Puppet, &Target) -> Made,
    pub(crate) worker: Want,
    pub(crate) filer: Want,
    pub(crate) free: Without,
}

/// Where hostile code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    BeforeLogin,
    AfterLogin,
    Filer,
}

/// What a kernel says that does not have something, or keeps it from everybody.
const LACKING: &[i32] = &[libc::EPERM, libc::EACCES, libc::ENOSYS, libc::EAFNOSUPPORT];

/// Connections at once.
const LANES: usize = 4;

fn target(scene: &Scene, puppet: &Puppet) -> Target {
    let port = scene.server.address().rsplit_once(':').unwrap().1.parse().unwrap();
    Target {
        process: scene.server.pid(),
        data: scene.server.data(),
        address: 0,
        port,
        own: puppet.pid(),
        directories: None,
    }
}

/// Plays all attacks in one place, and gives what was not as it has to be.
fn play(place: Place) {
    let scene = Scene::new();
    let attacks = Mutex::new(table::all().collect::<VecDeque<_>>());
    let faults = Mutex::new(Vec::new());
    thread::scope(|scope| {
        // Filers report to one listener, so that they are had one at a time.
        for _ in 0..if place == Place::Filer { 1 } else { LANES } {
            scope.spawn(|| {
                loop {
                    let Some(attack) = attacks.lock().unwrap().pop_front() else { break };
                    if let Some(fault) = play_one(&scene, place, &attack) {
                        faults.lock().unwrap().push(format!("{}: {fault}", attack.name));
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{place:?}:\n  {}", faults.join("\n  "));
    scene.assert_exact();
}

fn play_one(scene: &Scene, place: Place, attack: &Attack) -> Option<String> {
    let (mut puppet, partner, directories) = match place {
        Place::BeforeLogin => (scene.server.puppet(), None, None),
        Place::AfterLogin => {
            let mut puppet = scene.server.puppet();
            log_in(&mut puppet, "alice", "a");
            (puppet, None, None)
        }
        Place::Filer => {
            let (filer, worker) = scene.filer();
            let directories = (filer.descriptor(2), filer.descriptor(3));
            (filer, Some(worker), Some(directories))
        }
    };
    let target = Target { directories, ..target(scene, &puppet) };
    let made = (attack.how)(&mut puppet, &target);
    let want = if place == Place::Filer { attack.filer } else { attack.worker };
    let attacker = puppet.pid();
    let worker = partner.as_ref().map_or(puppet.pid(), Puppet::pid);
    let as_wanted = match (want, made) {
        (Want::Ended(_), Err(Fate::Ended)) | (Want::Remains(_), Ok(())) => true,
        (Want::Refused(errnos), Err(Fate::Refused(errno))) => errnos.contains(&errno),
        _ => false,
    };
    drop((puppet, partner));
    if !as_wanted {
        return Some(format!("{made:?} instead of {want:?}"));
    }
    let Want::Ended(call) = want else { return None };
    let (worker_end, filer_end) = scene.ends_of(worker);
    let end = if place == Place::Filer { filer_end } else { worker_end };
    let named = call.is_empty() || scene.names_the_call(attacker, call);
    (!end.contains("sandbox") || !named).then(|| format!("{end:?}, and the log has no {call:?}"))
}

#[test]
fn a_worker_before_login_gets_nowhere() {
    play(Place::BeforeLogin);
}

#[test]
fn a_worker_after_login_gets_nowhere() {
    play(Place::AfterLogin);
}

#[test]
fn a_filer_gets_no_further_than_its_users_directories() {
    play(Place::Filer);
}

/// The same attacks by an ordinary process of the same user, against another such process: what the sandbox
/// prevents is possible without it, so the table can fail.
#[test]
fn without_the_sandbox_the_attacks_work() {
    let scene = Scene::new();
    let mut faults = Vec::new();
    let (mut tried, mut worked) = (0, 0);
    for attack in table::all() {
        if attack.free == Without::Untried {
            continue;
        }
        tried += 1;
        let mut victim = Free::start();
        let address = victim.puppet.put(&[0; 64]).unwrap();
        let mut free = Free::start();
        let process = victim.puppet.pid();
        let target = Target { process, address, ..target(&scene, &free.puppet) };
        let made = (attack.how)(&mut free.puppet, &target);
        let expected = match attack.free {
            Without::Works => made.is_ok(),
            Without::Ends => made == Err(Fate::Ended),
            Without::Untried => true,
        };
        worked += u32::from(expected);
        // Another kernel or container may have less to offer; it says so by one of these.
        let is_lacking = matches!(made, Err(Fate::Refused(errno)) if LACKING.contains(&errno));
        if !expected && is_lacking {
            report(&format!("{} is refused here without a sandbox: {made:?}", attack.name));
        } else if !expected {
            faults.push(format!("{}: {made:?} instead of {:?}", attack.name, attack.free));
        }
    }
    assert!(faults.is_empty(), "without a sandbox:\n  {}", faults.join("\n  "));
    report(&format!("{worked} of {tried} attacks work without the sandbox"));
    assert!(worked > tried / 2, "only {worked} of {tried} attacks were shown to be attacks");
    let told = format!("{tried} of them have to succeed there");
    let page = include_str!("../../../docs/TESTING.md");
    assert!(page.contains(&told), "docs/TESTING.md says something else than {told:?}");
}

#[test]
fn the_threat_model_lists_by_name_what_remains() {
    let model = include_str!("../../../docs/THREAT-MODEL.md");
    let heading = "### What remains of the attacks from inside, by name\n";
    let (_, section) = model.split_once(heading).expect("the section");
    let section = section.split("\n#").next().unwrap();
    let cell = |line: &str| line.split('|').nth(1).map(|name| name.trim().to_owned());
    let mut listed: Vec<String> = section.lines().filter_map(cell).skip(2).collect();
    let mut remaining: Vec<&str> = table::all()
        .flat_map(|attack| [attack.worker, attack.filer])
        .filter_map(|want| match want {
            Want::Remains(name) => Some(name),
            Want::Ended(_) | Want::Refused(_) => None,
        })
        .collect();
    remaining.sort_unstable();
    remaining.dedup();
    listed.sort_unstable();
    assert_eq!(listed, remaining);
}

//! Users who come and go: whoever dies on the way, they have come or gone when it is recovered.

use berth_common::points::Point::*;
use berth_tests::exact::assert_exact;

use crate::scene::{Crash, RESUMABLE, SMALL, Scene, Victim};

#[test]
fn a_user_who_comes_is_there_after_the_next_start() {
    let mut scene = Scene::new();
    for (number, point) in [UserCreating, DirectoriesMade, UserActive].into_iter().enumerate() {
        let user = format!("user{number}");
        let command = ["user", "add", &user, "--quota", "1MiB"];
        let (adding, _) = scene
            .points
            .stop_begun(point, || scene.server.begin_berthctl(&command, Some("password")));
        let crash = Crash { point, victim: Victim::Daemon };
        scene.die(crash);
        adding.wait().failed();
        scene.recover(crash);
        let client = scene.server.client(&user, "password");
        client.write("f", "content");
        client.run(&["put", "f"]).ok();
        assert_exact(&scene.server);
        assert!(scene.server.home(&user).join("f").exists());
    }
}

#[test]
fn a_user_who_goes_is_gone_after_the_next_start_and_can_come_again() {
    let daemons = [
        UserRemoving,
        SessionsEnded,
        HomeRetired,
        StagingEmptied,
        DirectoriesRemoved,
        UserRemoved,
        BetweenSweeps,
    ];
    let mut crashes = daemons.map(|point| Crash { point, victim: Victim::Daemon }).to_vec();
    // The daemon takes another filer.
    crashes.push(Crash { point: BetweenSweeps, victim: Victim::Filer });
    let mut scene = Scene::new();
    for crash in crashes {
        scene.server.add_user("bob", "b", "1GiB");
        let bob = scene.server.client("bob", "b");
        bob.write("small", vec![b'x'; SMALL as usize]);
        bob.write("large", vec![b'x'; RESUMABLE as usize]);
        bob.run(&["mkdir", "-p", "d/e"]).ok();
        bob.run(&["put", "small", "--to", "d/e/f"]).ok();
        // One session has an intent and the ticket, when all of them are ended.
        let (putting, _) = scene.points.stop(Granted, &bob, &["put", "large"]);
        let removing = ["user", "remove", "bob", "--yes"];
        let (removing, _) =
            scene.points.stop_begun(crash.point, || scene.server.begin_berthctl(&removing, None));
        scene.points.disarm(Granted);
        scene.die(crash);
        let removed = removing.wait();
        putting.wait().failed();
        match crash.victim {
            Victim::Filer => drop(removed.ok()),
            _ => drop(removed.failed()),
        }
        scene.recover(crash);
        scene.server.berthctl(&["user", "show", "bob"]).failed();
        assert!(!scene.server.data().join("users/bob").exists(), "{crash:?}");
    }
}

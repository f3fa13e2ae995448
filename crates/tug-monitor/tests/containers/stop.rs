//! Stopping, with grace where it helps.

use crate::world::{World, alive};
use std::time::{Duration, Instant};
use tug_monitor::Client;

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_handler_is_given_its_time", handler),
    ("nobody_to_take_the_signal_means_the_end_at_once", nobody),
    ("a_server_under_a_shell_gets_the_signal_the_shell_would_swallow", under_a_shell),
    ("a_stubborn_container_is_killed_when_the_time_is_over", stubborn),
    ("a_stop_goes_on_without_the_one_who_asked", asker_dies),
    ("a_signal_that_is_none_is_refused", no_signal),
];

fn stop(world: &World, signal: i32, timeout_ms: i64) -> (i32, Duration) {
    let begin = Instant::now();
    let mut client = Client::connect(world.run_dir()).unwrap();
    client.stop(signal, timeout_ms).unwrap();
    (client.wait().unwrap().exit_code, begin.elapsed())
}

fn handler() {
    let world = World::shell(
        "trap 'sleep 0.3; echo bye; exit 3' TERM; echo up; while true; do sleep 0.02; done",
    );
    drop(world.start());
    world.wait_for("up");
    let (code, took) = stop(&world, 15, 10_000);
    assert_eq!(code, 3);
    assert!(took > Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
    assert!(world.printed().0.ends_with(b"bye\n"));
}

fn nobody() {
    let world = World::new(&["/bin/sleep", "1000"]);
    drop(world.start());
    let (code, took) = stop(&world, 15, 10_000);
    assert_eq!(code, 137);
    assert!(took < Duration::from_millis(300), "{took:?}");
}

fn under_a_shell() {
    let server = "trap 'echo served; exit 0' TERM; echo up; while true; do sleep 0.02; done";
    let world = World::shell(&format!("sh -c \"{server}\"; echo after; exit 6"));
    drop(world.start());
    world.wait_for("up");
    let (code, took) = stop(&world, 15, 10_000);
    assert_eq!(code, 6);
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(world.printed().0.ends_with(b"served\nafter\n"));
}

fn stubborn() {
    let world = World::shell("trap 'echo no' TERM; echo up; while true; do sleep 0.02; done");
    drop(world.start());
    world.wait_for("up");
    let (code, took) = stop(&world, 15, 400);
    assert_eq!(code, 137);
    assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(3), "{took:?}");
    assert!(world.printed().0.ends_with(b"no\n"));
}

fn asker_dies() {
    let world =
        World::shell("trap '' HUP; trap 'echo no' TERM; echo up; while true; do sleep 0.02; done");
    let mut started = world.start();
    world.wait_for("up");
    let mut client = Client::connect(world.run_dir()).unwrap();
    client.stop(15, 300).unwrap();
    drop(client);
    assert!(alive(&started.state));
    assert_eq!(started.owner.wait().unwrap().exit_code, 137);
    started.owner.take_claim().unwrap().done();
}

fn no_signal() {
    let world = World::new(&["/bin/sleep", "1000"]);
    let mut started = world.start();
    for number in [-1, 65, i32::MAX, i32::MIN] {
        let refused = started.owner.signal(number);
        assert!(matches!(refused, Err(tug_monitor::Error::Signal { .. })), "{refused:?}");
    }
    assert!(alive(&started.state));
    started.owner.signal(9).unwrap();
    started.owner.wait().unwrap();
    assert!(matches!(started.owner.signal(9), Err(tug_monitor::Error::NotRunning)));
    started.owner.take_claim().unwrap().done();
}

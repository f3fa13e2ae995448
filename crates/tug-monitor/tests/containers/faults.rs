//! Processes killed at random moments.

use crate::world::{World, alive, eventually};
use std::time::Duration;
use tug_monitor::{Error, reconcile, take_lock};

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_killed_monitor_leaves_nothing_that_reconciling_does_not_clean", killed_monitor),
    ("reconciling_keeps_the_record_of_an_orderly_end", orderly_end),
    ("an_attached_client_hears_that_its_monitor_was_killed", client_hears),
];

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// SIGKILL `delay` after the start of a monitor, whatever it is doing then.
fn round(delay: Duration, line: &str) {
    let world = World::shell(line);
    let lock = take_lock(world.run_dir()).unwrap();
    let exe = std::path::Path::new("/proc/self/exe");
    let starting = tug_monitor::spawn(exe, &world.spec, lock).unwrap();
    let pid = starting.monitor_pid();
    let waiter = std::thread::spawn(move || starting.wait_started());
    std::thread::sleep(delay);
    kill(pid);
    let started = waiter.join().unwrap();
    if let Ok(started) = &started {
        eventually("the container's end", || !alive(&started.state));
    }
    drop(started);
    let lock = tug_monitor::wait_for_lock(world.run_dir()).unwrap();
    let first = reconcile(&world.remains()).unwrap();
    let second = reconcile(&world.remains()).unwrap();
    assert_eq!(first, second);
    assert!([0, 137].contains(&first.exit_code), "{first:?}");
    drop(lock);
    world.assert_nothing_left();
}

fn killed_monitor() {
    for step in 0..60 {
        round(Duration::from_micros(step * 150), "echo up; sleep 0.003");
    }
    for step in 0..10 {
        round(Duration::from_millis(5 + step), "while true; do echo up; done");
    }
}

fn orderly_end() {
    let world = World::shell("exit 3");
    assert_eq!(world.run(), 3);
    let lock = tug_monitor::wait_for_lock(world.run_dir()).unwrap();
    let record = reconcile(&world.remains()).unwrap();
    assert_eq!((record.exit_code, record.error), (3, None));
    drop(lock);
}

fn client_hears() {
    let world = World::shell("echo up; sleep 1000");
    let mut started = world.start();
    world.wait_for("up");
    let mut actor = crate::cast::Actor(world.attach(&["start"]).spawn().unwrap());
    let mut text = [0; 3];
    std::io::Read::read_exact(actor.0.stdout.as_mut().unwrap(), &mut text).unwrap();
    kill(started.monitor_pid);
    assert!(matches!(started.owner.wait(), Err(Error::MonitorGone)));
    assert_eq!(actor.0.wait().unwrap().code(), Some(201));
    eventually("the container's end", || !alive(&started.state));
    let lock = tug_monitor::wait_for_lock(world.run_dir()).unwrap();
    let record = reconcile(&world.remains()).unwrap();
    assert_eq!(record.exit_code, 137);
    assert_eq!(record.started_at, started.state.started_at);
    drop(lock);
}

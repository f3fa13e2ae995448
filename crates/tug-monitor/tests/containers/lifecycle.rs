//! Start, end, codes, records, locks.

use crate::attach::cpu_ticks;
use crate::world::{World, alive, eventually};
use std::time::Duration;
use tug_monitor::{Client, Error};
use tug_types::Explain;

pub(crate) const TESTS: &[crate::Test] = &[
    ("exit_codes_and_signals_are_told_as_docker_does", exit_codes),
    ("a_program_that_cannot_be_started_has_its_own_code_and_leaves_nothing", cannot_start),
    ("the_state_is_there_while_it_runs_and_the_record_after", records),
    ("the_lock_is_held_without_a_gap", lock_is_held),
    ("nobody_there_means_the_reaper_and_an_owner_means_none", reaper_or_owner),
    ("an_owner_that_does_not_react_is_not_waited_for", deaf_owner),
    ("a_container_starts_again_and_its_log_goes_on", restart),
    ("a_monitor_survives_every_signal_a_terminal_sends", survives_signals),
    ("connecting_to_a_container_at_rest_says_so", connect_at_rest),
    ("more_clients_than_are_let_in_wait_their_turn", many_clients),
];

fn exit_codes() {
    for code in [0, 1, 42, 255] {
        assert_eq!(World::shell(&format!("exit {code}")).run(), code);
    }
    let world = World::new(&["/bin/sleep", "1000"]);
    let mut started = world.start();
    started.owner.signal(9).unwrap();
    assert_eq!(started.owner.wait().unwrap().exit_code, 137);
}

fn cannot_start() {
    for (program, code) in [("/bin/nothing", 127), ("/bin/plain", 126)] {
        let world = World::new(&[program]);
        match world.try_start() {
            Err(Error::Setup { failure, exit_code }) => {
                assert_eq!(exit_code, code, "{failure}");
                assert!(failure.message.contains(program), "{failure}");
            }
            other => panic!("{other:?}"),
        }
        let record = tug_monitor::read_exit(&world.spec.container_dir).unwrap().unwrap();
        assert_eq!((record.exit_code, record.started_at), (code, 0));
        assert!(record.error.is_some());
        world.assert_nothing_left();
        assert_eq!(world.reaped(), 0, "the starter knows");
    }
}

fn records() {
    let world = World::shell("echo up; read x").with_stdin();
    let started = world.start();
    let state = tug_monitor::read_state(world.run_dir()).unwrap().unwrap();
    assert_eq!(state, started.state);
    assert!(alive(&state));
    assert_eq!(state.monitor_pid, started.monitor_pid);
    assert_eq!(tug_monitor::read_exit(&world.spec.container_dir).unwrap(), None);
    world.wait_for("up");

    let mut other = Client::connect(world.run_dir()).unwrap();
    drop(other.take_stdin().unwrap().unwrap());
    other.end_stdin().unwrap();
    let record = other.wait().unwrap();
    assert_eq!(record.exit_code, 1, "read at the end of its input");
    assert!(record.started_at >= state.started_at && record.finished_at > record.started_at);
    assert!(!alive(&state));
    assert_eq!(tug_monitor::read_exit(&world.spec.container_dir).unwrap(), Some(record));
    assert_eq!(tug_monitor::read_state(world.run_dir()).unwrap(), None);
}

fn lock_is_held() {
    let world = World::new(&["/bin/sleep", "1000"]);
    let mut started = world.start();
    assert!(tug_monitor::is_running(world.run_dir()));
    assert!(matches!(world.try_start(), Err(Error::Held { .. })));
    started.owner.signal(9).unwrap();
    started.owner.wait().unwrap();
    // The owner has the lock now, until it has cleaned up.
    assert!(tug_monitor::is_running(world.run_dir()));
    let claim = started.owner.take_claim().unwrap();
    claim.unlock();
    drop(tug_monitor::take_lock(world.run_dir()).unwrap());
    claim.done();
    world.assert_nothing_left();
    assert_eq!(world.reaped(), 0);
}

fn reaper_or_owner() {
    let world = World::new(&["/bin/true"]);
    assert_eq!(world.run(), 0);
    world.assert_nothing_left();
    assert_eq!(world.reaped(), 0, "the owner did it");

    drop(world.start());
    eventually("the reaper", || world.reaped() == 1);

    // An owner that hears of the end and dies before it is done.
    let mut started = world.start();
    started.owner.wait().unwrap();
    drop(started);
    eventually("the reaper", || world.reaped() == 2);
    // The lock is free for the reaper to take.
    eventually("the lock", || !tug_monitor::is_running(world.run_dir()));
}

fn deaf_owner() {
    let world = World::new(&["/bin/true"]);
    let mut started = world.start();
    // As if stopped by Ctrl-Z: connected, and silent.
    eventually("the reaper", || world.reaped() == 1);
    eventually("the lock", || !tug_monitor::is_running(world.run_dir()));
    let lock = tug_monitor::take_lock(world.run_dir()).unwrap();
    assert_eq!(started.owner.wait().unwrap().exit_code, 0);
    assert!(started.owner.take_claim().is_none(), "it is too late");
    drop(started);
    assert!(tug_monitor::is_running(world.run_dir()), "the lock is ours");
    drop(lock);
}

fn restart() {
    let world = World::shell("echo run; echo -n no newline");
    let first = world.start();
    assert_eq!(first.state.log_start, 0);
    drop(first);
    eventually("the reaper", || world.reaped() == 1);
    let lock = tug_monitor::wait_for_lock(world.run_dir()).unwrap();
    drop(lock);
    let mut second = world.start();
    assert!(second.state.log_start > 0);
    second.owner.wait().unwrap();
    second.owner.take_claim().unwrap().done();
    assert_eq!(world.printed().0, b"run\nno newlinerun\nno newline");
}

fn survives_signals() {
    let world = World::shell("echo up; read x; exit 5").with_stdin();
    let mut started = world.start();
    world.wait_for("up");
    let monitor = rustix::process::Pid::from_raw(started.monitor_pid).unwrap();
    for signal in [1, 2, 3, 13, 14, 15, 10, 12] {
        let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
        rustix::process::kill_process(monitor, signal).unwrap();
    }
    let stdin = started.owner.take_stdin().unwrap().unwrap();
    rustix::io::write(&stdin, b"on\n").unwrap();
    assert_eq!(started.owner.wait().unwrap().exit_code, 5);
    started.owner.take_claim().unwrap().done();
}

fn connect_at_rest() {
    let world = World::new(&["/bin/true"]);
    assert!(matches!(Client::connect(world.run_dir()), Err(Error::NotRunning)));
    world.run();
    let error = Client::connect(world.run_dir()).unwrap_err();
    assert!(matches!(error, Error::NotRunning));
    assert_eq!(error.kind(), tug_types::Kind::Conflict);
}

fn many_clients() {
    let world = World::new(&["/bin/sleep", "1000"]);
    let mut started = world.start();
    // The owner is one.
    let mut clients: Vec<Client> =
        (1..200).map(|_| Client::connect(world.run_dir()).unwrap()).collect();
    let run_dir = world.run_dir().to_owned();
    let (told, hear) = std::sync::mpsc::channel();
    let late = std::thread::spawn(move || {
        let client = Client::connect(&run_dir);
        told.send(()).unwrap();
        client.map(drop)
    });
    let before = cpu_ticks(started.monitor_pid);
    assert!(hear.recv_timeout(Duration::from_millis(300)).is_err(), "one too many");
    assert!(cpu_ticks(started.monitor_pid) - before < 10, "it waits without turning in circles");
    drop(clients.pop());
    hear.recv_timeout(Duration::from_secs(5)).unwrap();
    late.join().unwrap().unwrap();
    started.owner.signal(9).unwrap();
    for mut client in clients {
        assert_eq!(client.wait().unwrap().exit_code, 137);
    }
    started.owner.wait().unwrap();
    started.owner.take_claim().unwrap().done();
}

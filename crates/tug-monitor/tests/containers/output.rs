//! Every byte, in order, whoever reads or does not.

use crate::cast::Actor;
use crate::world::{World, alive, eventually};
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tug_monitor::log::{Begin, Item, Reader};
use tug_monitor::{Attach, AttachEnd, Client};

pub(crate) const TESTS: &[crate::Test] = &[
    ("two_hundred_quick_exits_keep_every_byte", quick_exits),
    ("both_streams_are_kept_apart", two_streams),
    ("a_follower_sees_all_output_and_then_the_end", follow),
    ("a_log_is_capped_and_its_follower_told_of_gaps", capped),
    ("a_stopped_reader_stalls_nobody_and_loses_nothing", stopped_reader),
    ("output_outlives_the_container_for_its_owner", output_outlives),
    ("a_closed_output_ends_the_attach_and_not_the_container", closed_output),
    ("what_orphans_hold_open_does_not_delay_the_end", orphans),
];

fn quick_exits() {
    for round in 0..200 {
        let line = format!("printf 'out {round}\\nlast {round}'; printf 'err {round}' >&2; exit 7");
        let world = World::shell(&line);
        assert_eq!(world.run(), 7);
        let (out, err) = world.printed();
        assert_eq!(String::from_utf8(out).unwrap(), format!("out {round}\nlast {round}"));
        assert_eq!(String::from_utf8(err).unwrap(), format!("err {round}"));
    }
}

fn two_streams() {
    let world = World::shell("for i in $(seq 500); do echo o$i; echo e$i >&2; done");
    assert_eq!(world.run(), 0);
    let (out, err) = world.printed();
    let expected = |letter| (1..=500).map(|i| format!("{letter}{i}\n")).collect::<String>();
    assert_eq!(String::from_utf8(out).unwrap(), expected("o"));
    assert_eq!(String::from_utf8(err).unwrap(), expected("e"));
}

fn follow() {
    let world = World::shell("for i in $(seq 100); do echo $i; sleep 0.002; done");
    let started = world.start();
    let mut client = Client::connect(world.run_dir()).unwrap();
    let mut reader =
        Reader::open(&world.log_dir(), Begin::Offset(started.state.log_start)).unwrap();
    let mut text = String::new();
    let mut waits = 0;
    client
        .follow(&mut reader, |item| -> Result<(), tug_monitor::Error> {
            match item {
                Some(Item::Chunk(chunk)) => {
                    text.push_str(std::str::from_utf8(chunk.bytes).unwrap())
                }
                Some(Item::Lost { bytes }) => panic!("{bytes} lost"),
                None => waits += 1,
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(text, (1..=100).map(|i| format!("{i}\n")).collect::<String>());
    assert!(waits > 20, "it waited for news {waits} times");
    assert_eq!(client.wait().unwrap().exit_code, 0);
}

/// Prints `size` bytes and their own position now and then, so that order is checked too.
fn counting(lines: usize) -> World {
    World::shell(&format!("seq {lines}"))
}

fn check_counting(bytes: &[u8], lines: usize) {
    let expected: Vec<u8> = (1..=lines).flat_map(|i| format!("{i}\n").into_bytes()).collect();
    assert!(bytes == expected, "{} of {} bytes, or in another order", bytes.len(), expected.len());
}

fn capped() {
    let mut world = counting(3_000_000);
    world.spec.log.max_size = 1_000_000;
    let started = world.start();
    let mut client = Client::connect(world.run_dir()).unwrap();
    let mut reader =
        Reader::open(&world.log_dir(), Begin::Offset(started.state.log_start)).unwrap();
    // Does not hold what it has not read: it may lose some, and then is told so.
    drop(started);
    let (mut seen, mut lost) = (0, 0);
    client
        .follow(&mut reader, |item| -> Result<(), tug_monitor::Error> {
            match item {
                Some(Item::Chunk(chunk)) => seen += chunk.bytes.len() as u64,
                Some(Item::Lost { bytes }) => lost += bytes,
                None => {}
            }
            Ok(())
        })
        .unwrap();
    let all = (1..=3_000_000u64).map(|i| i.to_string().len() as u64 + 1).sum::<u64>();
    assert!(seen + lost >= all, "{seen} seen, {lost} lost, {all} printed");
    let size: u64 = std::fs::read_dir(world.log_dir())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size <= 1_000_000, "{size}");
    eventually("the reaper", || world.reaped() == 1);
}

fn stopped_reader() {
    let mut world = counting(10_000_000);
    world.spec.log.max_size = 10_000_000;
    // Waits to be read by somebody before it prints.
    world.spec.container.process.args[2] = "read x; exec seq 10000000".into();
    let world = world.with_stdin();
    let mut started = world.start();
    let mut actor = Actor(world.attach(&["start"]).spawn().unwrap());
    let pid = rustix::process::Pid::from_child(&actor.0);
    // It has connected, and its hold is known, once a first line came through it.
    std::thread::sleep(Duration::from_millis(100));
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let mut owner_holds_not = started.owner.take_stdin().unwrap().unwrap();
    rustix::io::write(&mut owner_holds_not, b"go\n").unwrap();
    let begin = Instant::now();
    let record = started.owner.wait().unwrap();
    assert_eq!(record.exit_code, 0);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    started.owner.take_claim().unwrap().done();
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let mut bytes = Vec::new();
    actor.0.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    check_counting(&bytes, 10_000_000);
    assert_eq!(actor.0.wait().unwrap().code(), Some(0));
}

fn output_outlives() {
    let mut world = counting(2_000_000);
    world.spec.log.max_size = 2_000_000;
    let started = world.start();
    let reader = Reader::open(&world.log_dir(), Begin::Offset(started.state.log_start)).unwrap();
    let (read, write) = std::io::pipe().unwrap();
    let (cleaned, is_clean) = std::sync::mpsc::channel();
    // Reads nothing until the container is gone.
    let slow = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        is_clean.recv().unwrap();
        (&read).read_to_end(&mut bytes).unwrap();
        bytes
    });
    let mut attach = Attach {
        client: started.owner,
        reader,
        stdin: None,
        stdout: Some(std::os::fd::AsFd::as_fd(&write)),
        stderr: None,
        tty: false,
        detach_keys: Vec::new(),
        sig_proxy: false,
        redraw: false,
    };
    let container_dir = world.spec.container_dir.clone();
    let end = attach
        .run(&mut |record, claim| {
            assert_eq!(record.exit_code, 0);
            // `--rm`: the container goes while most of its output is still to be printed.
            std::fs::remove_dir_all(&container_dir).unwrap();
            claim.unwrap().done();
            cleaned.send(()).unwrap();
        })
        .unwrap();
    assert!(matches!(end, AttachEnd::Exited(_)), "{end:?}");
    drop(attach);
    drop(write);
    check_counting(&slow.join().unwrap(), 2_000_000);
    world.assert_nothing_left();
}

fn closed_output() {
    let world = World::shell("while true; do echo on; done");
    let mut started = world.start();
    let mut actor = Actor(world.attach(&["start"]).spawn().unwrap());
    let mut first = [0; 100];
    let mut stdout = actor.0.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    assert_eq!(actor.0.wait().unwrap().code(), Some(202));
    assert!(alive(&started.state));
    started.owner.signal(9).unwrap();
    started.owner.wait().unwrap();
    started.owner.take_claim().unwrap().done();
}

fn orphans() {
    // Another process keeps the container's stdout open: us, through /proc.
    let world = World::shell("echo first; read x; echo last").with_stdin();
    let mut started = world.start();
    world.wait_for("first");
    let path = format!("/proc/{}/fd/1", started.state.pid);
    let held = std::fs::File::options().write(true).open(path).unwrap();
    let stdin = started.owner.take_stdin().unwrap().unwrap();
    rustix::io::write(&stdin, b"\n").unwrap();
    let begin = Instant::now();
    assert_eq!(started.owner.wait().unwrap().exit_code, 0);
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(world.printed().0, b"first\nlast\n");
    started.owner.take_claim().unwrap().done();
    drop(held);
    let _ = Stdio::null();
}

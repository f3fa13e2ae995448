//! Attached clients: input, terminals, several at once.

use crate::cast::Actor;
use crate::world::{World, alive, eventually};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::Winsize;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use tug_monitor::Client;

pub(crate) const TESTS: &[crate::Test] = &[
    ("input_and_output_are_clean_in_all_eight_bits", eight_bits),
    ("stdin_ends_with_the_first_client_that_had_it", stdin_once),
    ("stdin_that_is_not_once_survives_its_clients", stdin_stays),
    ("a_container_without_stdin_reads_its_end", no_stdin),
    ("several_clients_see_the_same", several),
    ("signals_are_passed_on_and_the_third_interrupt_ends_the_client", signals),
    ("a_terminal_is_raw_sized_and_resized", terminal),
    ("the_detach_keys_leave_the_container_running", detach),
    ("a_terminal_whose_container_closes_it_does_not_spin", closed_terminal),
];

fn eight_bits() {
    let world = World::new(&["/bin/cat"]).with_stdin();
    let started = world.start();
    let mut command = world.attach(&["stdin", "start"]);
    let mut actor = Actor(command.stdin(Stdio::piped()).spawn().unwrap());
    let mut input = Vec::new();
    let mut seed = 1u64;
    while input.len() < 8 << 20 {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        input.extend_from_slice(&seed.to_be_bytes());
    }
    let mut stdin = actor.0.stdin.take().unwrap();
    let sent = input.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let mut output = Vec::new();
    actor.0.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    writer.join().unwrap();
    assert!(output == input, "{} of {} bytes", output.len(), input.len());
    assert_eq!(actor.0.wait().unwrap().code(), Some(0));
    drop(started);
    eventually("the reaper", || world.reaped() == 1);
}

fn stdin_once() {
    let world = World::shell("cat; exit 9").with_stdin();
    let mut started = world.start();
    let mut command = world.attach(&["stdin"]);
    let mut actor = Actor(command.stdin(Stdio::piped()).spawn().unwrap());
    actor.0.stdin.as_mut().unwrap().write_all(b"typed\n").unwrap();
    world.wait_for("typed");
    // Killed: it has no chance to say that it leaves.
    actor.0.kill().unwrap();
    assert_eq!(started.owner.wait().unwrap().exit_code, 9);
    started.owner.take_claim().unwrap().done();
}

fn stdin_stays() {
    let mut world = World::shell("cat; exit 9").with_stdin();
    world.spec.stdin_once = false;
    let mut started = world.start();
    for text in ["one\n", "two\n"] {
        let mut command = world.attach(&["stdin"]);
        let mut actor = Actor(command.stdin(Stdio::piped()).spawn().unwrap());
        let mut stdin = actor.0.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        world.wait_for(text);
    }
    assert!(alive(&started.state));
    started.owner.signal(9).unwrap();
    started.owner.wait().unwrap();
    started.owner.take_claim().unwrap().done();
}

fn no_stdin() {
    let world = World::shell("cat; echo end");
    let mut started = world.start();
    assert!(
        started.owner.take_stdin().is_ok_and(|stdin| stdin.is_none())
            || world.printed().0 == b"end\n"
    );
    assert_eq!(started.owner.wait().unwrap().exit_code, 0);
    started.owner.take_claim().unwrap().done();
    assert_eq!(world.printed().0, b"end\n");
}

fn several() {
    let world = World::shell("read x; seq 200000; echo last >&2").with_stdin();
    let mut started = world.start();
    let mut actors: Vec<Actor> =
        (0..5).map(|_| Actor(world.attach(&["start"]).spawn().unwrap())).collect();
    let stdin = started.owner.take_stdin().unwrap().unwrap();
    rustix::io::write(&stdin, b"\n").unwrap();
    let expected: String = (1..=200_000).map(|i| format!("{i}\n")).collect();
    for actor in &mut actors {
        let (mut out, mut err) = (String::new(), String::new());
        actor.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        actor.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert!(out == expected, "{} bytes", out.len());
        assert_eq!(err, "last\n");
        assert_eq!(actor.0.wait().unwrap().code(), Some(0));
    }
    assert_eq!(started.owner.wait().unwrap().exit_code, 0);
    started.owner.take_claim().unwrap().done();
}

fn signals() {
    let world = World::shell(
        "trap 'echo usr1' USR1; trap 'echo int' INT; echo up; while true; do sleep 0.02; done",
    );
    let mut started = world.start();
    world.wait_for("up");
    let mut actor = Actor(world.attach(&["proxy", "start"]).spawn().unwrap());
    let pid = rustix::process::Pid::from_child(&actor.0);
    let mut seen = [0; 3];
    actor.0.stdout.as_mut().unwrap().read_exact(&mut seen).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    world.wait_for("usr1");
    for _ in 0..3 {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(actor.0.wait().unwrap().code(), Some(205));

    let mut actor = Actor(world.attach(&["start"]).spawn().unwrap());
    actor.0.stdout.as_mut().unwrap().read_exact(&mut seen).unwrap();
    let pid = rustix::process::Pid::from_child(&actor.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(actor.0.wait().unwrap().code(), Some(218), "without proxy it is ours");
    if alive(&started.state) {
        started.owner.signal(9).unwrap();
    }
    started.owner.wait().unwrap();
    started.owner.take_claim().unwrap().done();
}

/// A terminal of the test's: what it types into and reads from, and the client's side.
struct Screen {
    master: File,
    slave: OwnedFd,
}

impl Screen {
    fn new(rows: u16, columns: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags =
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let slave = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
        let screen = Self { master: master.into(), slave };
        screen.resize(rows, columns);
        screen
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.master, size).unwrap();
    }

    fn client(&self, world: &World, words: &[&str]) -> Actor {
        let stream = || Stdio::from(self.slave.try_clone().unwrap());
        let mut command = world.attach(words);
        Actor(command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap())
    }

    fn type_in(&mut self, text: &[u8]) {
        self.master.write_all(text).unwrap();
    }

    /// Reads until this was shown.
    fn read_until(&mut self, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
            let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
            let ready = rustix::event::poll(&mut fds, Some(&patience)).unwrap();
            assert!(ready > 0, "waited in vain for {text:?} after {seen:?}");
            let mut buffer = [0; 1000];
            let count = self.master.read(&mut buffer).unwrap();
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        seen
    }

    fn is_raw(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&self.slave).unwrap().local_modes;
        !modes.contains(rustix::termios::LocalModes::ICANON)
    }
}

fn terminal() {
    // A trap may interrupt the read, which then fails.
    let line = "trap 'echo size $(stty size)' WINCH; echo up $(stty size); \
        while [ \"$x\" != quit ]; do read x && echo got $x; done";
    let world = World::shell(line).with_stdin().with_terminal();
    let mut started = world.start();
    world.wait_for("up 24 80");
    let mut screen = Screen::new(30, 100);
    let mut actor = screen.client(&world, &["tty", "stdin", "start"]);
    screen.read_until("up 24 80\r\n");
    eventually("raw mode", || screen.is_raw());
    screen.type_in(b"hello\r");
    screen.read_until("got hello\r\n");
    // Its own size was set; the program hears of the next one.
    screen.resize(40, 120);
    let winch = rustix::process::Signal::WINCH;
    let pid = rustix::process::Pid::from_child(&actor.0);
    rustix::process::kill_process(pid, winch).unwrap();
    screen.type_in(b"\r");
    eventually("the new size", || {
        String::from_utf8_lossy(&world.printed().0).contains("size 40 120")
    });
    screen.type_in(b"quit\r");
    assert_eq!(actor.0.wait().unwrap().code(), Some(0));
    assert!(!screen.is_raw(), "the terminal is as it was");
    started.owner.wait().unwrap();
    started.owner.take_claim().unwrap().done();
}

fn detach() {
    let world = World::shell("while read x; do echo got $x; done").with_stdin().with_terminal();
    let mut started = world.start();
    let mut screen = Screen::new(24, 80);
    let mut actor = screen.client(&world, &["tty", "stdin"]);
    eventually("raw mode", || screen.is_raw());
    screen.type_in(b"a\x10b\r");
    screen.read_until("got a");
    screen.type_in(b"\x10");
    screen.type_in(b"\x11");
    assert_eq!(actor.0.wait().unwrap().code(), Some(200));
    assert!(!screen.is_raw());
    assert!(alive(&started.state));
    started.owner.signal(9).unwrap();
    started.owner.wait().unwrap();
    started.owner.take_claim().unwrap().done();
}

fn closed_terminal() {
    let line = "exec 3<>/dev/null; echo up; exec 0<&3 1>&3 2>&3; sleep 0.3; exit 4";
    let world = World::shell(line).with_terminal();
    let mut started = world.start();
    world.wait_for("up");
    let before = cpu_ticks(started.monitor_pid);
    assert_eq!(started.owner.wait().unwrap().exit_code, 4);
    let _ = Client::connect(world.run_dir());
    assert!(cpu_ticks(started.monitor_pid).saturating_sub(before) < 10);
    started.owner.take_claim().unwrap().done();
}

/// User and system time of a process, in hundredths of a second.
pub(crate) fn cpu_ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

//! SIGKILL to whatever is there, at random moments, three hundred times: afterwards `ps -a` tells the
//! truth and nothing is left.
//!
//! The seed is printed; `TUG_TEST_SEED` repeats a run.

use std::collections::BTreeSet;
use std::time::Duration;
use tug_test::leaks::cgroups;
use tug_test::process::{self, Running};
use tug_test::sandbox::{Sandbox, Started, binary};
use tug_test::wait::until;

/// xorshift64*: a sequence that one number repeats.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.roll(list.len() as u64) as usize]
    }
}

/// The processes of tug in this sandbox, without `except`.
pub(crate) fn tugs(s: &Sandbox, except: u32) -> Vec<u32> {
    let exe = binary();
    let pid = |line: &String| line.strip_prefix("process ")?.split(':').next()?.parse().ok();
    let all = process::mentioning(&s.path("exec")).iter().filter_map(pid).collect::<Vec<u32>>();
    all.into_iter().filter(|pid| *pid != except && process::executes(*pid, &exe)).collect()
}

pub(crate) fn kill(pid: u32) {
    process::kill(pid, rustix::process::Signal::KILL);
}

/// What a round does to the container named `c`, and who is killed meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Victim {
    Command,
    Monitor,
    Container,
}

fn round(s: &Sandbox, dice: &mut Dice) -> String {
    let flags = dice.pick(&[
        &[][..],
        &["-p", "8080:80"],
        &["-v", "/data"],
        &["--network", "none"],
        &["-m", "64m", "--init"],
    ]);
    let quick = ["busybox", "sh", "-c", "echo x; sleep 0.01"];
    let patient = ["busybox", "sleep", "600"];
    let run = |head: &[&str], tail: &[&str]| -> Vec<String> {
        [head, flags, tail].concat().iter().map(ToString::to_string).collect()
    };
    // Some rounds begin with a container that is already there.
    let (before, command): (Option<Vec<String>>, Vec<String>) = match dice.roll(9) {
        0 => (None, run(&["create", "--name", "c1"], &patient)),
        1 => (
            Some(run(&["create", "--name", "c1"], &patient)),
            run(&["start", "c1"], &[])[..2].to_vec(),
        ),
        2 => (None, run(&["run", "-d", "--name", "c1"], &patient)),
        3 => (None, run(&["run", "--name", "c1"], &quick)),
        4 => (None, run(&["run", "--rm", "--name", "c1"], &quick)),
        5 => (None, run(&["run", "-d", "--rm", "--name", "c1"], &quick)),
        6 => (Some(run(&["run", "-d", "--name", "c1"], &patient)), words("stop -t 0 c")),
        7 => (Some(run(&["run", "-d", "--name", "c1"], &patient)), words("rm -f -v c")),
        _ => (Some(run(&["run", "-d", "--name", "c1"], &patient)), words("restart -t 0 c")),
    };
    if let Some(before) = &before {
        s.tug(&refs(before)).ok();
    }
    let victim =
        dice.pick(&[&Victim::Command, &Victim::Command, &Victim::Monitor, &Victim::Container]);
    let delay = Duration::from_micros(dice.roll(18_000));
    let started = s.start(&refs(&command));
    std::thread::sleep(delay);
    strike(s, *victim, &started);
    let Started(running) = started;
    let out = Running::wait(running);
    assert!(!out.stderr.contains("panicked"), "{out}");
    format!("{command:?} after {before:?}, {victim:?} killed after {delay:?}")
}

pub(crate) fn strike(s: &Sandbox, victim: Victim, started: &Started) {
    let command = started.0.pid();
    match victim {
        Victim::Command => kill(command),
        Victim::Monitor => tugs(s, command).into_iter().for_each(kill),
        Victim::Container => {
            for id in s.container_dirs() {
                for procs in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"] {
                    let list = std::fs::read_to_string(format!("{procs}/tug/{id}/cgroup.procs"));
                    list.unwrap_or_default()
                        .lines()
                        .filter_map(|pid| pid.parse().ok())
                        .for_each(kill);
                }
            }
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn refs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// What `ps -a` says against what the kernel says.
fn truth(s: &Sandbox, what: &str) {
    let listed = s.tug(&["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}}"]);
    let mut known = BTreeSet::new();
    for line in listed.lines() {
        let (id, state) = line.split_once(' ').unwrap_or_default();
        known.insert(id.to_owned());
        let one = BTreeSet::from([id.to_owned()]);
        match state {
            "running" => {
                // It may be ending just now: its monitor then says so, or removes it, in a moment.
                until(&format!("{id}, said to run, to run or to have ended: {what}"), || {
                    let now = s.tug(&["inspect", "-f", "{{.State.Status}} {{.State.Pid}}", id]);
                    let Some(pid) = now.stdout.trim().strip_prefix("running ") else { return true };
                    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo"));
                    mounts.is_ok_and(|mounts| mounts.contains(&*s.path("data")))
                });
            }
            "created" | "exited" => {
                until(&format!("{id}, {state}, to have no cgroup: {what}"), || {
                    // A start whose command was killed goes on: it may run by now.
                    let now = s.tug(&["inspect", "-f", "{{.State.Status}}", id]);
                    cgroups(&one).is_empty() || now.stdout.trim() == "running"
                });
            }
            // By a monitor's last act, or whoever goes on with a removal that was killed.
            "removing" => until(&format!("{id} to be removed: {what}"), || {
                !s.tug(&["ps", "-aq", "--no-trunc"]).stdout.contains(id)
            }),
            other => panic!("{id} is {other}: {what}"),
        }
    }
    until(&format!("directories of listed containers only: {what}"), || {
        s.tug(&["ps", "-aq"]);
        s.container_dirs().iter().all(|id| known.contains(id))
    });
}

pub(crate) fn nothing_left(s: &Sandbox, what: &str) {
    until(&format!("no process: {what}"), || process::mentioning(&s.path("exec")).is_empty());
    until(&format!("no directory: {what}"), || s.container_dirs().is_empty());
    let volumes = std::fs::read_dir(s.data_root().join("volumes"));
    assert_eq!(volumes.map_or(0, Iterator::count), 0, "a volume's directory: {what}");
    // The kernel takes a namespace's links away some time after its last process. tug0 is the bridge; a
    // container's end is named tug and its id.
    until(&format!("no link: {what}"), || {
        let links = process::run("ip", &["-brief", "link"]);
        !links.lines().into_iter().any(|line| line.starts_with("tug") && line.contains('@'))
    });
    let rules = process::run("nft", &["list", "ruleset"]);
    assert!(!rules.stdout.contains("172.17.0.2"), "{what}: {rules}");
    assert_eq!(s.tug(&["volume", "ls", "-q"]).ok(), "", "{what}");
}

#[test]
fn killed_at_random_moments_nothing_is_lost_or_left() {
    let seed = std::env::var("TUG_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(0x7475_6700 + u64::from(std::process::id()));
    println!("TUG_TEST_SEED={seed}");
    let mut dice = Dice(seed | 1);
    let s = Sandbox::new();
    let rounds = 300;
    for n in 0..rounds {
        let what = format!("seed {seed}, round {n}: {}", round(&s, &mut dice));
        truth(&s, &what);
        let all = s.tug(&["ps", "-aq"]).ok().to_owned();
        for id in all.lines() {
            s.tug(&["rm", "-f", "-v", id]).ok();
        }
        if n % 10 == 9 {
            nothing_left(&s, &what);
            assert_eq!(s.sh(&[], "hostname -i").ok(), "172.17.0.2", "an address leaked: {what}");
        }
    }
}

#[test]
fn a_dead_monitor_is_noticed_by_the_next_look() {
    let s = Sandbox::new();
    let id = s.detached(&["--name", "c1", "-p", "8080:80"], &["sleep", "600"]);
    let (pid, monitor) = s.pids(&id);
    kill(monitor);
    until("the monitor to be gone", || !tugs(&s, 0).contains(&monitor));
    let listed = s.tug(&["ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}"]);
    listed.shows("c1 exited Exited (137)");
    until("its process to be gone", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    tug_test::leaks::wait_for_cgroups_gone(&id);
    assert!(!s.format("c1", "{{.State.Error}}").is_empty(), "inspect says why");
    s.tug(&["start", "c1"]).ok();
    assert_eq!(s.status("c1"), "running");
}

#[test]
fn a_killed_reset_can_be_repeated() {
    let s = Sandbox::new();
    for wait in 0..10 {
        s.load("busybox");
        s.detached(&["-p", "80"], &["sleep", "600"]);
        let reset = s.start(&["system", "reset", "-f"]);
        std::thread::sleep(Duration::from_millis(wait * 2));
        kill(reset.0.pid());
        drop(reset);
        s.tug(&["system", "reset", "-f"]).ok();
        until("nothing left", || process::mentioning(&s.path("exec")).is_empty());
    }
}

/// Kills `args` after the `n`th of growing delays, up to a few milliseconds more than it takes.
fn killed(s: &Sandbox, args: &[&str], n: u64) {
    let started = s.start(args);
    std::thread::sleep(Duration::from_micros(n * 400));
    kill(started.0.pid());
    drop(started);
}

#[test]
fn a_killed_removal_spares_the_volumes_it_was_to_spare() {
    let s = Sandbox::new();
    for n in 0..25 {
        s.detached(&["--name", "c1", "-v", "/data"], &["sleep", "600"]);
        let volume = s.format("c1", "{{(index .Mounts 0).Name}}");
        killed(&s, &["rm", "-f", "c1"], n);
        // Whoever comes next goes on with it.
        s.tug(&["ps", "-a"]).ok();
        s.tug(&["rm", "-f", "c1"]);
        assert_eq!(s.tug(&["volume", "ls", "-q"]).ok(), volume, "killed in step {n}");
        s.tug(&["volume", "rm", &volume]).ok();
    }
}

#[test]
fn a_killed_filling_of_a_volume_starts_again() {
    let s = Sandbox::new();
    let whole = s.sh(&[], "ls /bin | wc -l").ok().to_owned();
    for n in 0..25 {
        killed(&s, &["create", "-v", "filled:/bin", "busybox", "true"], n);
        let run = ["run", "--rm", "-v", "filled:/bin", "busybox", "sh", "-c", "ls /bin | wc -l"];
        assert_eq!(s.tug(&run).ok(), whole, "killed in step {n}");
        s.tug(&["container", "prune", "-f"]).ok();
        s.tug(&["volume", "rm", "filled"]).ok();
    }
    let left = std::fs::read_dir(s.data_root().join("volumes")).unwrap().count();
    assert_eq!(left, 0, "directories of volumes without a volume");
}

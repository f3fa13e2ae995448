//! What a monitor costs: memory when idle, time when its container prints.

use crate::world::World;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[crate::Test] = &[
    ("an_idle_monitor_is_light_and_sleeps", idle),
    ("printing_is_nearly_as_fast_as_a_pipe_into_a_file", throughput),
];

/// A value of smaps_rollup, in KiB.
fn memory(pid: i32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn switches(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("voluntary_ctxt")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn idle() {
    let world = World::shell("seq 1000000; echo done; sleep 1000");
    let mut started = world.start();
    world.wait_for("done");
    let pid = started.monitor_pid;
    // Long enough for the read buffer to be given back.
    std::thread::sleep(Duration::from_millis(1300));
    let before = switches(pid);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(switches(pid), before, "it woke up with nothing to do");
    let (pss, own) = (memory(pid, "Pss:"), memory(pid, "Private_Dirty:"));
    crate::say(&format!("idle monitor: PSS {pss} KiB, private dirty {own} KiB (debug build)"));
    assert!(own < 1024, "{own} KiB");
    started.owner.signal(9).unwrap();
    started.owner.wait().unwrap();
    started.owner.take_claim().unwrap().done();
}

fn throughput() {
    const SIZE: usize = 500_000_000;
    let line = format!("dd if=/dev/zero bs=64k count={} 2>/dev/null", SIZE / 65_536);
    let floor = floor(&line);
    let world = World::shell(&line);
    let begin = Instant::now();
    let mut started = world.start();
    assert_eq!(started.owner.wait().unwrap().exit_code, 0);
    let took = begin.elapsed();
    let ticks = crate::attach::cpu_ticks(started.monitor_pid);
    started.owner.take_claim().unwrap().done();
    let rate = |time: Duration| SIZE as f64 / 1e6 / time.as_secs_f64();
    let ratio = floor.as_secs_f64() / took.as_secs_f64();
    crate::say(&format!(
        "500 MB: through a pipe into a file {:.0} MB/s, through a monitor {:.0} MB/s: {ratio:.2} \
         ({} ms of its time)",
        rate(floor),
        rate(took),
        ticks * 10
    ));
    // Debug build, a machine shared with others: half of what is promised.
    assert!(ratio > 0.35, "{ratio:.2}");
}

/// The same bytes through a pipe into a file.
#[expect(clippy::disallowed_methods, reason = "the floor that is measured against")]
fn floor(line: &str) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let begin = Instant::now();
    let line = format!("{line} | cat >{}", file.display());
    let status = std::process::Command::new("/bin/busybox").args(["sh", "-c", &line]).status();
    assert!(status.unwrap().success());
    begin.elapsed()
}

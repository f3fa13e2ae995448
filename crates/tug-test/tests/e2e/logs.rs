//! `tug logs`: every byte, in order, at any time.

use tug_test::sandbox::Sandbox;
use tug_test::wait::until;

#[test]
fn both_streams_are_kept_apart_and_in_order() {
    let s = Sandbox::new();
    s.tug(&[
        "run",
        "--name",
        "c1",
        "busybox",
        "sh",
        "-c",
        "echo out; sleep 0.1; echo err >&2; sleep 0.1; echo again",
    ])
    .ok();
    let logs = s.tug(&["logs", "c1"]);
    assert_eq!(logs.ok(), "out\nagain");
    assert_eq!(logs.stderr, "err\n");
    let merged = s.shell("$TUG logs c1 2>&1");
    assert_eq!(merged.ok(), "out\nerr\nagain");
}

#[test]
fn a_quick_exit_loses_nothing_a_hundred_times() {
    let s = Sandbox::new();
    for n in 0..100 {
        let id = s.detached(&[], &["echo", &format!("line {n}")]);
        s.tug(&["wait", &id]).ok();
        assert_eq!(s.tug(&["logs", &id]).ok(), format!("line {n}"), "run {n}");
        s.tug(&["rm", &id]).ok();
    }
}

#[test]
fn a_last_line_without_newline_is_kept_as_it_is() {
    let s = Sandbox::new();
    s.tug(&["run", "--name", "c1", "busybox", "printf", "a\nb"]).ok();
    assert_eq!(s.tug(&["logs", "c1"]).stdout, "a\nb");
}

#[test]
fn bytes_of_any_value_and_lines_of_any_length_are_kept() {
    let s = Sandbox::new();
    let every: Vec<u8> = (0..=255u8).cycle().take(700_000).collect();
    s.tug_with(&["run", "-i", "--name", "c1", "busybox", "cat"], &every).code(0);
    assert!(s.tug(&["logs", "c1"]).bytes == every);
}

#[test]
fn tail_counts_lines_from_the_end() {
    let s = Sandbox::new();
    s.tug(&["run", "--name", "c1", "busybox", "seq", "1", "1000"]).ok();
    let tail = |n: &str| s.tug(&["logs", "--tail", n, "c1"]).ok().to_owned();
    assert_eq!(tail("3"), "998\n999\n1000");
    assert_eq!(tail("0"), "");
    assert_eq!(tail("all").lines().count(), 1000);
    assert_eq!(tail("5000").lines().count(), 1000);
    assert_eq!(s.tug(&["logs", "-n", "1", "c1"]).ok(), "1000");
}

#[test]
fn times_select_and_show() {
    let s = Sandbox::new();
    s.tug(&["run", "--name", "c1", "busybox", "sh", "-c", "echo early; sleep 1.5; echo late"]).ok();
    let stamped = s.tug(&["logs", "-t", "c1"]);
    let lines = stamped.lines();
    let (early, late) = (lines[0].split_once(' '), lines[1].split_once(' '));
    let (Some((at, "early")), Some((later, "late"))) = (early, late) else { panic!("{stamped}") };
    assert!(at.len() == 30 && at.ends_with('Z') && at < later, "{stamped}");
    assert_eq!(s.tug(&["logs", "--since", later, "c1"]).ok(), "late");
    assert_eq!(s.tug(&["logs", "--until", at, "c1"]).ok(), "early");
    assert_eq!(s.tug(&["logs", "--since", "1h", "--until", "1h", "c1"]).ok(), "");
    assert_eq!(s.tug(&["logs", "--since", "10m", "c1"]).lines().len(), 2);
    s.tug(&["logs", "--since", "yesterday-ish", "c1"]).code(1).says("yesterday-ish");
}

#[test]
fn follow_shows_what_is_new_and_ends_with_the_container() {
    let s = Sandbox::new();
    let script = "echo first; while read line; do echo $line; done";
    let mut run = s.start(&["run", "-i", "--name", "c1", "busybox", "sh", "-c", script]);
    s.wait_for_log("c1", "first");
    let follow = s.start(&["logs", "-f", "c1"]);
    let tail = s.start(&["logs", "-f", "--tail", "0", "c1"]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    run.0.write(b"second\nthird\n");
    run.wait_in(&s).ok();
    assert_eq!(follow.wait_in(&s).ok(), "first\nsecond\nthird");
    assert_eq!(tail.wait_in(&s).ok(), "second\nthird");
}

#[test]
fn follow_sleeps_until_woken() {
    let s = Sandbox::new();
    s.detached(&["--name", "c1"], &["sleep", "60"]);
    let mut follow = s.start(&["logs", "-f", "c1"]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let switches = || {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", follow.0.pid())).unwrap_or_default();
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>()
    };
    let before = switches();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(
        switches() - before <= 1,
        "woke up {} times while nothing happened",
        switches() - before
    );
    s.tug(&["kill", "c1"]).ok();
    until("its end", || !follow.0.alive());
}

#[test]
fn an_idle_container_wakes_nobody() {
    let s = Sandbox::new();
    let id = s.detached(&[], &["sleep", "60"]);
    let monitor = s.pids(&id).1;
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{monitor}/status")).unwrap_or_default();
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>()
    };
    std::thread::sleep(std::time::Duration::from_millis(300));
    let before = switches();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(switches(), before);
}

#[test]
fn logs_are_capped_and_keep_the_newest() {
    let s = Sandbox::new();
    let script = "i=0; while [ $i -lt 60000 ]; do echo $i 0123456789012345678901234567890123456789; i=$((i+1)); done";
    s.tug(&[
        "run",
        "--name",
        "c1",
        "--log-opt",
        "max-size=256k",
        "--log-opt",
        "max-file=2",
        "busybox",
        "sh",
        "-c",
        script,
    ])
    .ok();
    let logs = s.tug(&["logs", "c1"]);
    let lines = logs.lines();
    assert!(lines[lines.len() - 1].starts_with("59999 "), "{}", lines[lines.len() - 1]);
    assert!(logs.stdout.len() <= 600 << 10, "{} bytes are kept", logs.stdout.len());
    assert!(logs.stdout.len() >= 200 << 10, "only {} bytes are kept", logs.stdout.len());
    // The oldest line may have lost its beginning with the file before.
    let whole = lines.iter().skip(1);
    let numbers: Vec<u32> = whole.filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
    let hole = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
    assert_eq!(hole, None, "a hole in what is kept: {} lines, first {}", lines.len(), lines[0]);
    let disk = tug_test::process::run("du", &["-sk", &s.path("data/containers")]);
    let kib: u64 = disk.ok().split('\t').next().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX);
    assert!(kib < 2048, "{kib} KiB on disk");
}

#[test]
fn logs_are_there_while_running_after_the_end_and_gone_with_rm() {
    let s = Sandbox::new();
    s.detached(&["--name", "c1"], &["sh", "-c", "echo one; sleep 60"]);
    s.wait_for_log("c1", "one");
    s.tug(&["kill", "c1"]).ok();
    s.wait_for_status("c1", "exited");
    assert_eq!(s.tug(&["logs", "c1"]).ok(), "one");
    s.tug(&["rm", "c1"]).ok();
    s.tug(&["logs", "c1"]).refused(1, "No such container: c1");
}

#[test]
fn a_killed_monitor_loses_no_byte_written_before() {
    let s = Sandbox::new();
    let id = s.detached(&[], &["sh", "-c", "seq 1 20000; echo done; sleep 60"]);
    s.wait_for_log(&id, "done");
    tug_test::process::kill_and_wait(s.pids(&id).1);
    let logs = s.tug(&["logs", &id]);
    assert_eq!(logs.lines().len(), 20001);
    assert_ne!(s.status(&id), "running");
    assert_eq!(s.tug(&["logs", &id]).lines().len(), 20001);
}

#[test]
fn other_log_drivers_are_refused_by_name() {
    let s = Sandbox::new();
    for driver in ["none", "syslog"] {
        s.sh(&["--log-driver", driver], "true").code(125).says(&format!("--log-driver {driver}"));
    }
    assert_eq!(s.sh(&["--log-driver", "json-file"], "echo x").ok(), "x");
    assert_eq!(s.tug(&["ps", "-aq"]).ok(), "");
}

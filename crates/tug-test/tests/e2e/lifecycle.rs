//! create, start, stop, kill, restart, wait, rm and what they leave.

use std::time::{Duration, Instant};
use tug_test::sandbox::Sandbox;
use tug_test::wait::until;

const PATIENT: &[&str] =
    &["sh", "-c", "trap 'echo got TERM; exit 5' TERM; echo up; while :; do sleep 0.05; done"];

#[test]
fn create_then_start_runs_it_detached_or_attached() {
    let s = Sandbox::new();
    let id = s.tug(&["create", "--name", "c1", "busybox", "sh", "-c", "echo one; exit 4"]);
    assert_eq!(id.ok().len(), 64);
    assert_eq!(s.status("c1"), "created");
    assert_eq!(s.tug(&["start", "c1"]).ok(), "c1", "start prints the name as given");
    s.wait_for_status("c1", "exited");
    s.tug(&["start", "-a", "c1"]).code(4);
    assert_eq!(s.tug(&["logs", "c1"]).ok(), "one\none");
}

#[test]
fn start_of_a_running_container_is_no_error() {
    let s = Sandbox::new();
    let id = s.detached(&["--name", "c1"], &["sleep", "60"]);
    let (pid, _) = s.pids(&id);
    assert_eq!(s.tug(&["start", "c1"]).ok(), "c1");
    assert_eq!(s.pids(&id).0, pid, "still the same process");
}

#[test]
fn start_interactive_passes_input() {
    let s = Sandbox::new();
    s.tug(&["create", "-i", "--name", "c1", "busybox", "cat"]).ok();
    assert_eq!(s.tug_with(&["start", "-ai", "c1"], b"typed\n").ok(), "typed");
}

#[test]
fn start_takes_several_and_reports_each_that_fails() {
    let s = Sandbox::new();
    s.tug(&["create", "--name", "a1", "busybox", "sleep", "60"]).ok();
    let run = s.tug(&["start", "a1", "nobody"]);
    assert_eq!(run.code(1).stdout, "a1\n");
    run.says("No such container: nobody");
}

#[test]
fn stop_sends_the_stop_signal_and_waits() {
    let s = Sandbox::new();
    let id = s.detached(&["--name", "c1"], PATIENT);
    s.wait_for_log(&id, "up");
    assert_eq!(s.tug(&["stop", "c1"]).ok(), "c1");
    assert_eq!(s.status("c1"), "exited");
    assert_eq!(s.format("c1", "{{.State.ExitCode}}"), "5");
    assert!(s.tug(&["logs", "c1"]).ok().contains("got TERM"));
    assert_eq!(s.tug(&["stop", "c1"]).ok(), "c1", "stopping a stopped one is no error");
}

#[test]
fn stop_kills_after_the_grace_period() {
    let s = Sandbox::new();
    let script = "trap 'echo not yet' TERM; echo up; while :; do sleep 0.05; done";
    let id = s.detached(&["--name", "c1"], &["sh", "-c", script]);
    s.wait_for_log(&id, "up");
    let before = Instant::now();
    s.tug(&["stop", "-t", "1", "c1"]).ok();
    let took = before.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(s.format("c1", "{{.State.ExitCode}}"), "137");
    s.tug(&["logs", "c1"]).shows("not yet");
}

/// PID 1 of a namespace without a handler never gets the signal: there is nothing to wait for.
#[test]
fn stop_does_not_wait_for_a_process_that_cannot_hear() {
    let s = Sandbox::new();
    s.detached(&["--name", "c1"], &["sleep", "600"]);
    let before = Instant::now();
    s.tug(&["stop", "c1"]).ok();
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    assert_eq!(s.format("c1", "{{.State.ExitCode}}"), "137");
}

#[test]
fn stop_signal_and_timeout_come_from_flags_then_container_then_image() {
    let s = Sandbox::new();
    let script = "trap 'exit 11' USR1; trap 'exit 12' USR2; trap 'exit 13' HUP; echo up; while :; do sleep 0.05; done";
    s.image(
        "signal:1",
        &serde_json::json!({"Cmd": ["sh", "-c", script], "StopSignal": "SIGUSR1"}),
        |_| Ok(()),
    );
    let exit = |run: &[&str], stop: &[&str]| {
        let id = s.tug(&[&["run", "-d"], run, &["signal:1"]].concat()).ok().to_owned();
        s.wait_for_log(&id, "up");
        s.tug(&[&["stop"], stop, &[&id]].concat()).ok();
        s.format(&id, "{{.State.ExitCode}}")
    };
    assert_eq!(exit(&[], &[]), "11");
    assert_eq!(exit(&["--stop-signal", "SIGUSR2"], &[]), "12");
    assert_eq!(exit(&["--stop-signal", "12"], &["-s", "HUP"]), "13");
    let before = Instant::now();
    let id = s.detached(&["--stop-timeout", "0"], &["sh", "-c", "trap '' TERM; sleep 60"]);
    s.tug(&["stop", &id]).ok();
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[test]
fn kill_sends_any_signal_at_once() {
    let s = Sandbox::new();
    let id = s.detached(
        &["--name", "c1"],
        &["sh", "-c", "trap 'echo one' USR1; echo up; while :; do sleep 0.05; done"],
    );
    s.wait_for_log(&id, "up");
    assert_eq!(s.tug(&["kill", "-s", "USR1", "c1"]).ok(), "c1");
    s.wait_for_log(&id, "one");
    s.tug(&["kill", "--signal", "10", "c1"]).ok();
    s.tug(&["kill", "c1"]).ok();
    s.wait_for_status("c1", "exited");
    assert_eq!(s.format("c1", "{{.State.ExitCode}}"), "137");
    s.tug(&["kill", "c1"]).code(1).says("is not running");
    let id = s.detached(&[], &["sleep", "60"]);
    s.tug(&["kill", "-s", "NOSUCH", &id]).code(1).says("NOSUCH");
}

#[test]
fn restart_stops_and_starts_anew() {
    let s = Sandbox::new();
    let id = s.detached(&["--name", "c1"], PATIENT);
    s.wait_for_log(&id, "up");
    let (before, _) = s.pids(&id);
    assert_eq!(s.tug(&["restart", "-t", "5", "c1"]).ok(), "c1");
    assert_eq!(s.status("c1"), "running");
    assert_ne!(s.pids(&id).0, before);
    until("both runs in the log", || s.tug(&["logs", "c1"]).ok().matches("up").count() == 2);
    s.tug(&["kill", "c1"]).ok();
    s.wait_for_status("c1", "exited");
    s.tug(&["restart", "c1"]).ok();
    assert_eq!(s.status("c1"), "running", "restart starts a stopped one");
}

#[test]
fn wait_blocks_and_prints_the_exit_code() {
    let s = Sandbox::new();
    s.detached(&["--name", "c1"], &["sh", "-c", "sleep 0.3; exit 6"]);
    assert_eq!(s.tug(&["wait", "c1"]).ok(), "6");
    assert_eq!(s.tug(&["wait", "c1", "c1"]).ok(), "6\n6", "also afterwards, one line each");
    let id = s.detached(&[], &["sleep", "60"]);
    let waiting = s.start(&["wait", &id]);
    s.tug(&["kill", &id]).ok();
    assert_eq!(waiting.wait_in(&s).ok(), "137");
}

#[test]
fn rm_refuses_a_running_container_unless_forced() {
    let s = Sandbox::new();
    s.detached(&["--name", "c1"], &["sleep", "60"]);
    s.tug(&["rm", "c1"])
        .refused(1, "cannot remove container \"c1\": container is running: stop the container before removing or force remove")
        .hint("tug stop c");
    assert_eq!(s.tug(&["rm", "-f", "c1"]).ok(), "c1");
    assert_eq!(s.tug(&["ps", "-aq"]).ok(), "");
    s.tug(&["rm", "c1"]).refused(1, "No such container: c1");
    assert_eq!(
        s.tug(&["rm", "-f", "c1"]).code,
        0,
        "-f of what is not there is no failure, as in Docker"
    );
}

#[test]
fn rm_removes_what_the_container_wrote() {
    let s = Sandbox::new();
    let id = s.tug(&["create", "busybox"]).ok().to_owned();
    assert!(s.container_dirs().contains(&id));
    s.tug(&["rm", &id]).ok();
    assert!(s.container_dirs().is_empty());
}

#[test]
fn the_writable_layer_lives_until_rm() {
    let s = Sandbox::new();
    s.tug(&["create", "--name", "c1", "busybox", "sh", "-c", "echo x >> /count; wc -l < /count"])
        .ok();
    assert_eq!(s.tug(&["start", "-a", "c1"]).ok(), "1");
    assert_eq!(s.tug(&["start", "-a", "c1"]).ok(), "2");
}

#[test]
fn top_shows_the_processes_in_the_hosts_numbering() {
    let s = Sandbox::new();
    let id = s.detached(&["--name", "c1"], &["sh", "-c", "sleep 61 & sleep 62 & wait"]);
    until("both children", || s.tug(&["top", "c1"]).ok().lines().count() == 4);
    let top = s.tug(&["top", "c1"]);
    let lines = top.lines();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    );
    assert_eq!(lines.len(), 4, "{top}");
    let pid = s.pids(&id).0.to_string();
    assert!(lines[1].split_whitespace().nth(1) == Some(&*pid), "{top}");
    s.tug(&["kill", "c1"]).ok();
    s.wait_for_status("c1", "exited");
    s.tug(&["top", "c1"]).code(1).says("is not running");
}

#[test]
fn times_and_states_are_told_in_inspect() {
    let s = Sandbox::new();
    s.tug(&["run", "--name", "c1", "busybox", "sh", "-c", "sleep 0.2"]).ok();
    let state = s.inspect("c1")["State"].clone();
    assert_eq!(state["Running"], false);
    assert_eq!(state["Pid"], 0);
    let (start, end) = (state["StartedAt"].to_string(), state["FinishedAt"].to_string());
    assert!(start < end && end.ends_with("Z\"") && !start.contains("0001"), "{start} {end}");
}

#[test]
fn a_container_outlives_the_command_that_started_it() {
    let s = Sandbox::new();
    let mut run = s.start(&[
        "run",
        "--name",
        "c1",
        "busybox",
        "sh",
        "-c",
        "while :; do echo tick; sleep 0.1; done",
    ]);
    until("the container", || s.tug(&["ps", "-q"]).ok().len() == 12);
    run.0.signal(rustix::process::Signal::KILL);
    until("the command's end", || !run.0.alive());
    assert_eq!(s.status("c1"), "running");
    let ticks = || s.tug(&["logs", "c1"]).ok().lines().count();
    let now = ticks();
    until("more output", || ticks() > now + 2);
}

#[test]
fn signals_to_run_go_to_the_process() {
    let s = Sandbox::new();
    let run = s.start(&[
        "run",
        "--rm",
        "--name",
        "c1",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 21' INT; trap 'exit 22' TERM; echo up; while :; do sleep 0.05; done",
    ]);
    s.wait_for_log("c1", "up");
    run.0.signal(rustix::process::Signal::TERM);
    run.wait_in(&s).code(22);
    let run = s.start(&[
        "run",
        "--rm",
        "--sig-proxy=false",
        "--name",
        "d1",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 22' TERM; echo up; while :; do sleep 0.05; done",
    ]);
    s.wait_for_log("d1", "up");
    run.0.signal(rustix::process::Signal::TERM);
    run.wait_in(&s);
    assert_eq!(s.status("d1"), "running");
}

#[test]
fn nothing_of_tug_runs_when_nothing_runs() {
    let s = Sandbox::new();
    s.sh(&[], "true").ok();
    s.tug(&["ps"]).ok();
    let left = tug_test::process::mentioning(&s.path("exec"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_running_container_costs_one_small_process() {
    let s = Sandbox::new();
    s.detached(&[], &["sleep", "60"]);
    let pid = |line: &String| line.strip_prefix("process ")?.split(':').next()?.parse().ok();
    let all = tug_test::process::mentioning(&s.path("exec"));
    let all: Vec<u32> = all.iter().filter_map(pid).collect();
    let program = tug_test::sandbox::binary();
    let tug: Vec<_> =
        all.iter().filter(|pid| tug_test::process::executes(**pid, &program)).collect();
    assert_eq!(tug.len(), 1, "{all:?}");
    let rollup =
        std::fs::read_to_string(format!("/proc/{}/smaps_rollup", tug[0])).unwrap_or_default();
    // What it shares with nobody; the program's own pages are there once for all monitors.
    let own = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap_or_default();
    let kib: u64 = own.trim().trim_end_matches(" kB").parse().unwrap_or(u64::MAX);
    assert!(kib < 1024, "{kib} KiB");
    let threads = std::fs::read_dir(format!("/proc/{}/task", tug[0])).map(Iterator::count);
    assert!(matches!(threads, Ok(1)), "{threads:?}");
}

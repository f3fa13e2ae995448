//! `tug exec`.

use tug_test::sandbox::Sandbox;
use tug_test::wait::until;

fn running() -> Sandbox {
    let s = Sandbox::new();
    s.detached(
        &["--name", "c1", "-e", "A=container", "-w", "/tmp", "-h", "box"],
        &["sleep", "600"],
    );
    s
}

#[test]
fn a_command_runs_beside_the_first_process() {
    let s = running();
    let run = s.tug(&[
        "exec",
        "c1",
        "sh",
        "-c",
        "hostname; pwd; echo $A; cat /proc/1/comm; echo err >&2",
    ]);
    assert_eq!(run.ok(), "box\n/tmp\ncontainer\nsleep");
    assert_eq!(run.stderr, "err\n");
    let pids = s.tug(&["exec", "c1", "sh", "-c", "ls -d /proc/[0-9]* | wc -l"]);
    assert!(pids.ok().trim().parse::<u32>().is_ok_and(|n| n <= 5), "only the container's: {pids}");
}

#[test]
fn the_exit_code_is_the_commands() {
    let s = running();
    for code in [0, 1, 77] {
        s.tug(&["exec", "c1", "sh", "-c", &format!("exit {code}")]).code(code);
    }
    s.tug(&["exec", "c1", "sh", "-c", "kill -9 $$"]).code(137);
    s.tug(&["exec", "c1", "no-such-command"]).code(127).says("no-such-command");
    s.tug(&["exec", "c1", "/tmp"]).code(126);
}

#[test]
fn input_environment_user_and_directory_are_its_own() {
    let s = running();
    let run = s.tug_with(
        &[
            "exec",
            "-i",
            "-e",
            "B=exec",
            "-u",
            "tester",
            "-w",
            "/home",
            "c1",
            "sh",
            "-c",
            "cat; id -un; pwd; echo $A $B $HOME",
        ],
        b"typed\n",
    );
    assert_eq!(run.ok(), "typed\ntester\n/home\ncontainer exec /home");
    let without = s.tug_with(&["exec", "c1", "cat"], b"typed\n");
    assert_eq!(without.ok(), "");
    s.tug(&["exec", "-w", "/nowhere", "c1", "true"]).code(127).says("/nowhere");
}

#[test]
fn it_is_confined_like_the_container() {
    let s = running();
    let status = "grep -E '^(CapEff|CapBnd|Seccomp):' /proc/self/status; cat /proc/self/cgroup";
    let outer = s.tug(&["exec", "c1", "sh", "-c", status]).ok().to_owned();
    let inner = s.sh(&[], status).ok().to_owned();
    assert_eq!(outer, inner);
    for ns in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let script = format!("test $(readlink /proc/1/ns/{ns}) = $(readlink /proc/self/ns/{ns})");
        s.tug(&["exec", "c1", "sh", "-c", &script]).ok();
    }
}

#[test]
fn detached_it_runs_on_and_dies_with_the_container() {
    let s = running();
    assert_eq!(s.tug(&["exec", "-d", "c1", "sh", "-c", "echo x > /tmp/made; sleep 500"]).ok(), "");
    until("its effect", || s.tug(&["exec", "c1", "cat", "/tmp/made"]).stdout == "x\n");
    s.tug(&["kill", "c1"]).ok();
    s.wait_for_status("c1", "exited");
    until("its end", || tug_test::process::mentioning(&s.path("data")).is_empty());
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    let s = running();
    let started: Vec<_> = (0..12)
        .map(|n| (n, s.start(&["exec", "c1", "sh", "-c", &format!("echo {n}; exit {n}")])))
        .collect();
    for (n, exec) in started {
        let out = exec.wait_in(&s);
        assert_eq!((out.code, out.stdout.trim()), (n, &*n.to_string()));
    }
}

#[test]
fn it_needs_a_running_container() {
    let s = Sandbox::new();
    s.tug(&["create", "--name", "c1", "busybox"]).ok();
    s.tug(&["exec", "c1", "true"]).code(1).says("is not running").hint("tug start c");
    s.tug(&["exec", "nobody", "true"]).refused(1, "No such container: nobody");
}

#[test]
fn big_output_arrives_whole() {
    let s = running();
    let run = s.tug(&["exec", "c1", "sh", "-c", "head -c 20000000 /dev/zero"]);
    assert_eq!(run.code(0).bytes.len(), 20_000_000);
}

#[test]
fn files_written_by_exec_are_the_containers() {
    let s = running();
    s.tug(&["exec", "c1", "sh", "-c", "echo kept > /kept"]).ok();
    s.tug(&["restart", "-t", "0", "c1"]).ok();
    assert_eq!(s.tug(&["exec", "c1", "cat", "/kept"]).ok(), "kept");
}

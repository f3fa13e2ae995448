//! On a terminal, as a person.

use tug_test::sandbox::Sandbox;
use tug_test::wait::until;

#[test]
fn a_shell_is_talked_to() {
    let s = Sandbox::new();
    let mut t = s.terminal(&["run", "-it", "--rm", "-e", "PS1=ready> ", "busybox", "sh"]);
    t.expect("ready> ");
    assert!(!t.is_cooked(), "the outer terminal is raw meanwhile");
    t.send("tty; echo $((6*7)) $TERM\r");
    t.expect("/dev/pts/0");
    t.expect("42 xterm");
    t.send("exit 9\r");
    assert_eq!(t.wait(), 9);
    assert!(t.is_cooked(), "the outer terminal is as before");
}

#[test]
fn the_size_follows_the_window() {
    let s = Sandbox::new();
    let mut t = s.terminal(&[
        "run",
        "-it",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "stty size; trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done",
    ]);
    t.expect("24 80");
    t.expect("up");
    t.resize(50, 132);
    t.expect("50 132");
    t.send("\x03");
    assert_eq!(t.wait(), 130);
}

#[test]
fn ctrl_c_goes_to_the_process() {
    let s = Sandbox::new();
    let mut t = s.terminal(&[
        "run",
        "-it",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "trap 'echo caught; exit 4' INT; echo up; while :; do sleep 0.05; done",
    ]);
    t.expect("up");
    t.send("\x03");
    t.expect("caught");
    assert_eq!(t.wait(), 4);
    let mut t = s.terminal(&[
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "trap 'echo caught; exit 4' INT; echo up; while :; do sleep 0.05; done",
    ]);
    t.expect("up");
    t.send("\x03");
    t.expect("caught");
    assert_eq!(t.wait(), 4, "without -t the signal is passed on");
}

#[test]
fn detach_keys_leave_it_running() {
    let s = Sandbox::new();
    let mut t = s.terminal(&["run", "-it", "--name", "c1", "-e", "PS1=ready> ", "busybox", "sh"]);
    t.expect("ready> ");
    t.send("\x10\x11");
    assert_eq!(t.wait(), 0);
    assert!(t.is_cooked());
    assert_eq!(s.status("c1"), "running");
    let mut t = s.terminal(&["attach", "--detach-keys", "ctrl-a,x", "c1"]);
    t.send("echo back $((1+1))\r");
    t.expect("back 2");
    t.send("\x01x");
    assert_eq!(t.wait(), 0);
    assert_eq!(s.status("c1"), "running");
    let mut t = s.terminal(&["attach", "c1"]);
    t.send("exit 6\r");
    assert_eq!(t.wait(), 6);
}

#[test]
fn half_of_the_detach_keys_is_typed_through() {
    let s = Sandbox::new();
    let mut t = s.terminal(&[
        "run",
        "-it",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "stty raw -echo; echo up; head -c 2 | od -An -tx1",
    ]);
    t.expect("up");
    t.send("\x10a");
    t.expect("10 61");
    assert_eq!(t.wait(), 0);
    let s2 = Sandbox::new();
    s2.sh(&["--detach-keys", "ctrl-;;"], "true").code(125).says("ctrl-;;");
}

#[test]
fn exec_has_a_terminal_of_its_own() {
    let s = Sandbox::new();
    s.detached(&["--name", "c1"], &["sleep", "60"]);
    let mut t = s.terminal(&["exec", "-it", "-e", "PS1=in> ", "c1", "sh"]);
    t.expect("in> ");
    t.send("tty; stty size\r");
    t.expect("/dev/pts/0");
    t.expect("24 80");
    t.resize(30, 90);
    // The shell sees the new size as soon as the window's change was passed on.
    until("the size", || {
        t.send("stty size\r");
        std::thread::sleep(std::time::Duration::from_millis(50));
        t.screen().contains("30 90")
    });
    t.send("exit 12\r");
    assert_eq!(t.wait(), 12);
    assert!(t.is_cooked());
}

#[test]
fn two_terminals_on_one_container() {
    let s = Sandbox::new();
    s.detached(&["-it", "--name", "c1", "-e", "PS1=> "], &["sh"]);
    let (mut one, mut two) = (s.terminal(&["attach", "c1"]), s.terminal(&["attach", "c1"]));
    until("both attached", || {
        one.send("echo hi $((40+2))\r");
        std::thread::sleep(std::time::Duration::from_millis(100));
        one.screen().contains("hi 42") && two.screen().contains("hi 42")
    });
    two.send("exit 3\r");
    assert_eq!((one.wait(), two.wait()), (3, 3));
}

#[test]
fn a_terminal_container_logs_what_was_shown() {
    let s = Sandbox::new();
    let mut t =
        s.terminal(&["run", "-t", "--name", "c1", "busybox", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(t.wait(), 0);
    assert_eq!(s.tug(&["logs", "c1"]).stdout, "out\r\nerr\r\n");
}

#[test]
fn asking_for_a_terminal_without_having_one_is_told() {
    let s = Sandbox::new();
    let run = s.tug(&["run", "--rm", "-it", "busybox", "true"]);
    run.code(1).says("the input device is not a TTY");
    assert_eq!(s.tug(&["ps", "-aq"]).ok(), "");
}

#[test]
fn a_hangup_does_not_end_the_container() {
    let s = Sandbox::new();
    let mut t = s.terminal(&["run", "-it", "--name", "c1", "-e", "PS1=> ", "busybox", "sh"]);
    t.expect("> ");
    tug_test::process::kill(t.pid(), rustix::process::Signal::KILL);
    t.wait();
    assert_eq!(s.status("c1"), "running");
}

#[test]
fn pulls_draw_progress_on_a_terminal_and_none_without_one() {
    let mut s = Sandbox::empty();
    let Some(registry) = crate::pull::registry_with_busybox() else { return };
    s.mirror(registry.address());
    let plain = s.tug(&["pull", "busybox"]);
    assert!(!plain.stdout.contains('\x1b') && !plain.stderr.contains('\x1b'), "{plain}");
    s.tug(&["rmi", "busybox"]).ok();
    let mut t = s.terminal(&["pull", "busybox"]);
    t.expect("Pull complete");
    t.expect("Status: Downloaded newer image for busybox:latest");
    assert_eq!(t.wait(), 0);
}

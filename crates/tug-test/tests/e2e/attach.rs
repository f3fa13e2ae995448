//! `tug attach` without a terminal; with one, see `terminal`.

use tug_test::sandbox::Sandbox;
use tug_test::wait::until;

#[test]
fn attached_clients_share_output_and_input() {
    let s = Sandbox::new();
    s.detached(
        &["-i", "--name", "c1"],
        &["sh", "-c", "while read line; do echo got $line; done; exit 3"],
    );
    let mut one = s.start(&["attach", "c1"]);
    let two = s.start(&["attach", "--no-stdin", "c1"]);
    // Nothing tells from outside that a client is attached; its effect does.
    until("both to be attached", || {
        one.0.write(b"ping\n");
        std::thread::sleep(std::time::Duration::from_millis(50));
        s.tug(&["logs", "c1"]).ok().lines().count() > 3
    });
    one.0.write(b"last\n");
    s.wait_for_log("c1", "got last");
    s.tug(&["kill", "-s", "KILL", "c1"]).ok();
    let (one, two) = (one.wait_in(&s), two.wait_in(&s));
    assert!(one.code(137).stdout.ends_with("got last\n"), "{one}");
    assert!(two.code(137).stdout.ends_with("got last\n"), "{two}");
}

#[test]
fn the_exit_code_reaches_the_attached() {
    let s = Sandbox::new();
    s.detached(&["-i", "--name", "c1"], &["sh", "-c", "read line; exit $line"]);
    let mut attached = s.start(&["attach", "c1"]);
    attached.0.write(b"23\n");
    attached.wait_in(&s).code(23);
}

#[test]
fn attach_needs_a_running_container() {
    let s = Sandbox::new();
    s.tug(&["create", "--name", "c1", "busybox"]).ok();
    s.tug(&["attach", "c1"])
        .refused(1, "You cannot attach to a stopped container, start it first")
        .hint("tug start c");
}

#[test]
fn a_client_that_is_killed_disturbs_nobody() {
    let s = Sandbox::new();
    let id =
        s.detached(&["--name", "c1"], &["sh", "-c", "while :; do echo tick; sleep 0.02; done"]);
    let mut attached = s.start(&["attach", "c1"]);
    s.wait_for_log(&id, "tick");
    attached.0.signal(rustix::process::Signal::KILL);
    until("its end", || !attached.0.alive());
    let ticks = || s.tug(&["logs", "c1"]).ok().lines().count();
    let now = ticks();
    until("more output", || ticks() > now + 5);
}

#[test]
fn a_client_that_hangs_never_stalls_the_container() {
    let s = Sandbox::new();
    let script = "head -c 30000000 /dev/zero | tr '\\0' x; echo end > /done; sleep 60";
    let hung = s.shell(&format!(
        "$TUG run -d --name c1 busybox sh -c 'sleep 0.5; {}' >/dev/null
         $TUG attach c1 | (sleep 3; wc -c >/dev/null) & sleep 2
         $TUG exec c1 cat /done; kill %1 2>/dev/null; wait",
        script.replace('\'', "'\\''")
    ));
    assert!(
        hung.stdout.contains("end"),
        "the container wrote on although its reader slept: {hung}"
    );
}

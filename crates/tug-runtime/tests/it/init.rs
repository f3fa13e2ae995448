//! `--init`.

use crate::tests;
use crate::world::World;
use tug_runtime::Stdio;

tests![
    it_is_process_one_under_its_own_name,
    it_keeps_nothing_open_and_cannot_be_looked_into,
    it_reaps_orphans,
    it_forwards_signals,
    the_commands_end_is_its_end,
    a_command_that_cannot_run_is_an_error,
    it_works_with_a_terminal,
    it_works_for_other_users,
];

fn with_init(script: &str) -> World {
    let mut world = World::new(script);
    world.spec.init = true;
    world
}

fn it_is_process_one_under_its_own_name() {
    let output = with_init(
        "cat /proc/1/comm; tr -d '\\0' < /proc/1/cmdline; echo; [ $$ -ne 1 ] && echo other; ps | awk '$1 == 1 {print $NF}'",
    )
    .run();
    assert_eq!(output.out, "tug-init\ntug-init\nother\ntug-init\n", "{}", output.err);
}

fn it_keeps_nothing_open_and_cannot_be_looked_into() {
    let script = "ls /proc/1/fd 2>/dev/null; readlink /proc/1/exe; cat /proc/1/maps 2>/dev/null; \
                  tr -d '\\0' < /proc/1/environ 2>/dev/null; grep CapEff /proc/1/status; read x";
    let mut world = with_init(script);
    // It may signal the command of another user, and nothing else.
    let nothing = "CapEff:\t0000000000000020\n";
    let live = world.start();
    let pid = live.running.pid;
    crate::world::eventually("init has closed everything", || {
        std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|fds| fds.count() == 0)
    });
    assert_eq!(live.end().out, nothing);
    // Even to somebody who may look into everybody it shows nothing of the host's environment.
    world.spec.process.capabilities.push("CAP_SYS_PTRACE".to_owned());
    world.script("tr -d '\\0' < /proc/1/environ; grep CapEff /proc/1/status");
    assert_eq!(world.run().out, nothing);
}

fn it_reaps_orphans() {
    let output = with_init(
        "for i in 1 2 3 4 5; do (sleep 0.01 &) ; done; sleep 0.2; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l",
    )
    .run();
    assert_eq!(output.out, "0\n");
}

fn it_forwards_signals() {
    let world =
        with_init("trap 'echo caught; exit 5' TERM; echo up; while :; do usleep 1000; done");
    let mut live = world.start();
    assert_eq!(live.line(), "up");
    let pid = rustix::process::Pid::from_raw(live.running.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = live.end();
    assert_eq!((output.code, output.out.as_str()), (5, "caught\n"));
    // Without a handler the command ends by it, as process 1 would not.
    let world = with_init("echo up; exec sleep 1000");
    let mut live = world.start();
    assert_eq!(live.line(), "up");
    let pid = rustix::process::Pid::from_raw(live.running.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(live.end().code, 143);
}

fn the_commands_end_is_its_end() {
    assert_eq!(with_init("sleep 1000 & exit 9").run().code, 9);
    assert_eq!(with_init("kill -9 $$").run().code, 137);
}

fn a_command_that_cannot_run_is_an_error() {
    let mut world = World::of(&["nosuch"]);
    world.spec.init = true;
    assert_eq!(world.refusal().kind, tug_types::Kind::CommandNotFound);
}

fn it_works_with_a_terminal() {
    let mut world = with_init("read line; echo got $line; tty");
    world.spec.process.terminal = true;
    let running = tug_runtime::spawn(&world.spec, Stdio::Terminal).unwrap().start().unwrap();
    let master = running.terminal.as_ref().unwrap();
    rustix::io::write(master, b"input\n").unwrap();
    let text = crate::terminal::read(master).replace('\r', "");
    assert_eq!(running.wait().unwrap(), 0);
    tug_runtime::cgroup::remove(&world.spec.id, crate::world::PARENT).unwrap();
    assert_eq!(text, "input\ngot input\n/dev/pts/0\n");
}

fn it_works_for_other_users() {
    let mut world = with_init("id -u; trap 'exit 6' TERM; echo up; while :; do usleep 1000; done");
    world.spec.process.user = "web".to_owned();
    let mut live = world.start();
    assert_eq!((live.line(), live.line()), ("33".to_owned(), "up".to_owned()));
    let pid = rustix::process::Pid::from_raw(live.running.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(live.end().code, 6);
}

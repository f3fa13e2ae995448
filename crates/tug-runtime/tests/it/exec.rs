//! Another process in a running container.

use crate::tests;
use crate::world::{Live, PARENT, Pipes, World, message, path};
use std::io::Read;
use tug_runtime::{Error, ExecSpec, Stdio, cgroup};
use tug_types::Kind;

tests![
    it_sees_what_the_container_sees,
    it_is_in_the_containers_groups,
    it_has_a_user_and_environment_of_its_own,
    it_is_as_confined_as_the_container,
    its_exit_code_comes_back,
    a_missing_working_directory_is_an_error,
    a_missing_program_is_an_error,
    it_can_have_a_terminal,
    an_ended_container_is_gone,
    it_ends_with_the_container,
    it_leads_nowhere_outside,
    nothing_of_tug_can_be_seen_in_the_meantime,
    the_caller_stays_where_it_was,
];

fn run(spec: &ExecSpec) -> Result<(i32, String, String), Error> {
    let pipes = Pipes::new();
    let running = tug_runtime::exec(spec, pipes.stdio)?;
    drop(pipes.input);
    let code = running.wait()?;
    let read = |fd| {
        let mut text = String::new();
        std::fs::File::from(fd).read_to_string(&mut text).unwrap();
        text
    };
    Ok((code, read(pipes.out), read(pipes.err)))
}

fn sh(world: &World, live: &Live, script: &str) -> (i32, String, String) {
    run(&world.exec_spec(live, &["/bin/sh", "-c", script]))
        .unwrap_or_else(|e| panic!("{}", message(&e)))
}

fn container() -> (World, Live) {
    let mut world = World::new("echo up; read x");
    world.tmpfs("/data", "");
    let mut live = world.start();
    assert_eq!(live.line(), "up");
    (world, live)
}

fn it_sees_what_the_container_sees() {
    let (world, live) = container();
    let script = "for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup";
    let (_, own, _) = sh(&world, &live, script);
    let (_, first, _) = sh(&world, &live, &script.replace("self", "1"));
    assert_eq!(own, first);
    let (code, out, err) =
        sh(&world, &live, "grep -c ' /data ' /proc/self/mountinfo; pwd; ls /; hostname");
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("1\n/\n"), "{out}");
    assert!(out.ends_with(&format!("{}\n", world.spec.id.short())), "{out}");
    live.end();
}

fn it_is_in_the_containers_groups() {
    let (world, live) = container();
    let pipes = Pipes::new();
    let running =
        tug_runtime::exec(&world.exec_spec(&live, &["/bin/sleep", "1000"]), pipes.stdio).unwrap();
    assert!(cgroup::pids(&world.spec.id, PARENT).unwrap().contains(&running.pid));
    let inside = format!("/{PARENT}/{}", world.spec.id);
    let mine = std::fs::read_to_string(format!("/proc/{}/cgroup", running.pid)).unwrap();
    let first = std::fs::read_to_string(format!("/proc/{}/cgroup", live.running.pid)).unwrap();
    assert_eq!(mine, first);
    assert!(mine.contains(&inside), "{mine}");
    end_first(live, &running);
}

/// The container's end is not complete before the exec'd process, killed with it, has been collected by
/// whoever started it.
fn end_first(mut live: Live, running: &tug_runtime::Running) {
    drop(live.input.take());
    assert_eq!(running.wait().unwrap(), 137);
    live.end();
}

fn it_has_a_user_and_environment_of_its_own() {
    let (world, live) = container();
    let mut spec = world.exec_spec(&live, &["/bin/sh", "-c", "id -u; id -G; echo $HOME $X; pwd"]);
    spec.process.user = "web".to_owned();
    spec.process.env.push("X=y".to_owned());
    spec.process.cwd = path("/srv");
    assert_eq!(run(&spec).unwrap().1, "33\n34 50\n/srv/web y\n/srv\n");
    live.end();
}

fn it_is_as_confined_as_the_container() {
    let (world, live) = container();
    let script = "grep -E 'Cap|Seccomp:|NoNew' /proc/self/status; cat /proc/self/oom_score_adj; ls /proc/$$/fd; umask";
    let (_, out, err) = sh(&world, &live, script);
    assert!(out.contains("CapEff:\t00000000a80425fb"), "{out}");
    assert!(out.contains("CapBnd:\t00000000a80425fb"), "{out}");
    assert!(out.contains("Seccomp:\t2"), "{out}");
    assert!(out.ends_with("0\n1\n2\n0022\n"), "{out}{err}");
    let (_, out, _) = sh(
        &world,
        &live,
        "mount -t tmpfs x /tmp; echo $?; echo 1 > /proc/sys/kernel/panic; echo $?",
    );
    assert_eq!(out, "1\n1\n");
    live.end();
}

fn its_exit_code_comes_back() {
    let (world, live) = container();
    assert_eq!(sh(&world, &live, "exit 7").0, 7);
    assert_eq!(sh(&world, &live, "kill -9 $$").0, 137);
    live.end();
}

fn a_missing_working_directory_is_an_error() {
    let (world, live) = container();
    let mut spec = world.exec_spec(&live, &["/bin/true"]);
    spec.process.cwd = path("/not/there");
    let error = run(&spec).unwrap_err();
    assert!(message(&error).contains("/not/there"), "{}", message(&error));
    let (_, out, _) = sh(&world, &live, "ls /not || echo none");
    assert_eq!(out, "none\n", "it was made");
    live.end();
}

fn a_missing_program_is_an_error() {
    use tug_types::Explain;
    let (world, live) = container();
    let error = run(&world.exec_spec(&live, &["nosuch"])).unwrap_err();
    assert_eq!(error.failure().kind, Kind::CommandNotFound);
    live.end();
}

fn it_can_have_a_terminal() {
    let (world, live) = container();
    let mut spec =
        world.exec_spec(&live, &["/bin/sh", "-c", "tty; stty size; echo > /dev/tty && echo ctty"]);
    spec.process.terminal = true;
    spec.process.terminal_size = Some((30, 100));
    let running = tug_runtime::exec(&spec, Stdio::Terminal).unwrap();
    let text = crate::terminal::read(running.terminal.as_ref().unwrap());
    assert_eq!(running.wait().unwrap(), 0);
    assert_eq!(text.replace('\r', ""), "/dev/pts/0\n30 100\n\nctty\n");
    live.end();
}

fn an_ended_container_is_gone() {
    use tug_types::Explain;
    let world = World::new("true");
    let live = world.start();
    live.running.wait().unwrap();
    let error = run(&world.exec_spec(&live, &["/bin/true"])).unwrap_err();
    assert_eq!(error.failure().kind, Kind::NotFound, "{}", message(&error));
    drop(live);
}

fn it_ends_with_the_container() {
    let (world, live) = container();
    let pipes = Pipes::new();
    let running =
        tug_runtime::exec(&world.exec_spec(&live, &["/bin/sleep", "1000"]), pipes.stdio).unwrap();
    end_first(live, &running);
}

fn it_leads_nowhere_outside() {
    use tug_types::Explain;
    let (world, live) = container();
    let outside = std::fs::File::open("/usr").unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&outside);
    let mut spec = world.exec_spec(&live, &["/bin/ls"]);
    spec.process.cwd = path(&format!("/proc/self/fd/{number}"));
    assert!(run(&spec).is_err());
    let program = format!("/proc/self/fd/{number}/bin/true");
    let error = run(&world.exec_spec(&live, &[&program])).unwrap_err();
    assert_eq!(error.failure().kind, Kind::CommandNotFound);
    // tug's own program is not to be had inside, where it could be written to once it has ended.
    let error = run(&world.exec_spec(&live, &["/proc/self/exe"])).unwrap_err();
    assert!(message(&error).contains("/proc/self/exe"), "{}", message(&error));
    live.end();
}

fn nothing_of_tug_can_be_seen_in_the_meantime() {
    // The container watches for processes whose memory, files or program it can look into while execs
    // come and go.
    let world = World::new(
        "echo up; while :; do for p in /proc/[0-9]*; do case $(readlink $p/exe) in ''|/bin/busybox) ;; *) echo seen $(readlink $p/exe);; esac
         done; [ -e /stop ] && exit; done 2>/dev/null",
    );
    let mut live = world.start();
    assert_eq!(live.line(), "up");
    for _ in 0..50 {
        assert_eq!(sh(&world, &live, "true").0, 0);
    }
    sh(&world, &live, "touch /stop");
    assert_eq!(live.end().out, "");
}

fn the_caller_stays_where_it_was() {
    let own = || {
        ["mnt", "pid", "pid_for_children", "net", "cgroup"]
            .map(|name| std::fs::read_link(format!("/proc/self/ns/{name}")).ok())
    };
    let before = own();
    let (world, live) = container();
    sh(&world, &live, "true");
    assert_eq!(own(), before);
    let behaviour = rustix::process::dumpable_behavior().unwrap();
    assert_eq!(behaviour, rustix::process::DumpableBehavior::Dumpable);
    live.end();
}

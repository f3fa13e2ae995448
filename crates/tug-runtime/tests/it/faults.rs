//! Whatever step fails, nothing is left: no process, group, mount or descriptor.

use crate::tests;
use crate::world::{Pipes, World, groups, path};
use std::path::PathBuf;
use tug_runtime::{Device, Mount, MountSource, Namespace, Rlimit, Rootfs, Stdio};

tests![
    every_step_that_fails_leaves_nothing,
    a_container_that_is_never_started_leaves_nothing,
    what_a_process_said_is_heard_at_start,
    a_process_killed_before_it_runs_is_said,
    it_dies_with_its_parent,
    the_network_can_be_joined,
    a_process_with_threads_is_told_so,
];

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn children() -> String {
    std::fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id())).unwrap()
}

type Break = (&'static str, fn(&mut World));

const BREAKS: &[Break] = &[
    ("layers", |world| {
        let Rootfs::Overlay { lowers, .. } = &mut world.spec.rootfs else { return };
        lowers[0] = PathBuf::from("/nonexistent/layer");
    }),
    ("upper", |world| {
        let Rootfs::Overlay { upper, .. } = &mut world.spec.rootfs else { return };
        *upper = PathBuf::from("/proc/self");
    }),
    ("bind", |world| {
        world.bind(&PathBuf::from("/nonexistent/source"), "/x");
    }),
    ("tmpfs", |world| world.tmpfs("/x", "size=nonsense")),
    ("device", |world| {
        world.spec.devices.push(Device {
            host: "/dev/nonesuch".into(),
            container: path("/dev/x"),
            permissions: "r".into(),
        });
    }),
    ("namespace", |world| world.spec.namespaces.net = Namespace::Path("/nonexistent".into())),
    ("sysctl", |world| {
        world.spec.sysctls.insert("net.ipv4.nonesuch".into(), "1".into());
    }),
    ("limit", |world| world.spec.resources.cpuset_cpus = Some("999".into())),
    ("rlimit", |world| {
        world.spec.process.rlimits.push(Rlimit { name: "nofile".into(), soft: 10, hard: 5 });
    }),
    ("user", |world| world.spec.process.user = "nobody".into()),
    ("profile", |world| world.spec.seccomp = tug_runtime::Seccomp::Profile("[]".into())),
    ("cwd", |world| world.spec.process.cwd = path("/etc/passwd")),
    ("program", |world| world.spec.process.args = vec!["/nonexistent".into()]),
    ("argument", |world| world.spec.process.args.push("a\0b".into())),
    ("mount in place", |world| {
        world.spec.mounts.push(Mount {
            destination: path("/etc/passwd/below"),
            source: MountSource::Tmpfs { options: String::new() },
            readonly: false,
            recursive_readonly: false,
            propagation: None,
        });
    }),
];

fn every_step_that_fails_leaves_nothing() {
    for (name, spoil) in BREAKS {
        let before = (descriptors(), children());
        let mut world = World::of(&["/bin/true", name]);
        spoil(&mut world);
        let failure = world.refusal();
        assert!(failure.message.len() > 10, "{name}: {failure:?}");
        assert!(!failure.message.contains("unknown"), "{name}: {failure:?}");
        drop(world);
        assert_eq!((descriptors(), children()), before, "{name}");
    }
}

fn a_container_that_is_never_started_leaves_nothing() {
    let before = (descriptors(), children());
    let world = World::new("true");
    let pipes = Pipes::new();
    let created = tug_runtime::spawn(&world.spec, pipes.stdio).unwrap();
    assert!(created.pid() > 0);
    assert!(!groups(&world.spec.id).is_empty());
    drop(created);
    assert!(groups(&world.spec.id).is_empty());
    drop((world, pipes.input, pipes.out, pipes.err));
    assert_eq!((descriptors(), children()), before);
}

fn what_a_process_said_is_heard_at_start() {
    let mut world = World::new("true");
    world.bind(&PathBuf::from("/nonexistent/source"), "/x");
    let pipes = Pipes::new();
    // The process fails while its parent is busy elsewhere.
    let created = tug_runtime::spawn(&world.spec, pipes.stdio);
    std::thread::sleep(std::time::Duration::from_millis(50));
    let error = match created {
        Ok(created) => created.start().map(drop).unwrap_err(),
        Err(error) => error,
    };
    assert!(crate::world::message(&error).contains("/nonexistent/source"));
}

fn a_process_killed_before_it_runs_is_said() {
    let world = World::new("true");
    let created = tug_runtime::spawn(&world.spec, Pipes::new().stdio).unwrap();
    let pid = rustix::process::Pid::from_raw(created.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let error = created.start().map(drop).unwrap_err();
    assert!(crate::world::message(&error).contains("before it could execute"), "{error:?}");
}

fn it_dies_with_its_parent() {
    for (init, user) in [(false, ""), (true, ""), (false, "web")] {
        let mut world = World::new("exec sleep 1000");
        world.spec.init = init;
        world.spec.process.user = user.to_owned();
        let (read, write) = rustix::pipe::pipe().unwrap();
        // A monitor that is killed.
        let tug_sys::process::Cloned::Parent { pid, pidfd } =
            tug_sys::process::clone(0, None).unwrap()
        else {
            let null = || {
                std::fs::File::options().read(true).write(true).open("/dev/null").unwrap().into()
            };
            let stdio = Stdio::Pipes { stdin: null(), stdout: null(), stderr: null() };
            let running =
                tug_runtime::spawn(&world.spec, stdio).and_then(tug_runtime::Created::start);
            let _ = running.map(|running| rustix::io::write(&write, &running.pid.to_ne_bytes()));
            loop {
                std::thread::park();
            }
        };
        let _ = pid;
        drop(write);
        let mut container = [0; 4];
        assert_eq!(rustix::io::read(&read, &mut container).unwrap(), 4, "it did not start");
        let container = i32::from_ne_bytes(container);
        tug_sys::signals::send(std::os::fd::AsFd::as_fd(&pidfd), libc::SIGKILL).unwrap();
        let id = rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&pidfd));
        rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED).unwrap();
        crate::world::eventually("the container is gone", || {
            let status = std::fs::read_to_string(format!("/proc/{container}/status"));
            status.is_err() || status.is_ok_and(|text| text.contains("State:\tZ"))
        });
        tug_runtime::cgroup::kill_all(&world.spec.id, crate::world::PARENT).unwrap();
        tug_runtime::cgroup::remove(&world.spec.id, crate::world::PARENT).unwrap();
    }
}

fn the_network_can_be_joined() {
    let first = World::new("echo up; read x");
    let mut live = first.start();
    assert_eq!(live.line(), "up");
    let theirs = |kind: &str| format!("/proc/{}/ns/{kind}", live.running.pid);
    let mut second = World::new(
        "for n in net ipc uts pid; do readlink /proc/self/ns/$n; done; ls -d /proc/[0-9]* | wc -l",
    );
    second.spec.namespaces.net = Namespace::Path(theirs("net").into());
    second.spec.namespaces.ipc = Namespace::Path(theirs("ipc").into());
    second.spec.namespaces.uts = Namespace::Path(theirs("uts").into());
    second.spec.namespaces.pid = Namespace::Path(theirs("pid").into());
    let output = second.run();
    let expected = ["net", "ipc", "uts", "pid"]
        .map(|kind| std::fs::read_link(theirs(kind)).unwrap().display().to_string());
    let found: Vec<&str> = output.out.lines().take(4).collect();
    assert_eq!(found, expected);
    let count: u32 = output.out.lines().last().unwrap().parse().unwrap();
    assert!(count >= 2, "the first container's process is seen: {}", output.out);
    live.end();
}

fn a_process_with_threads_is_told_so() {
    let (send, receive) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || receive.recv());
    let world = World::new("true");
    let error = tug_runtime::spawn(&world.spec, Pipes::new().stdio).map(drop).unwrap_err();
    assert!(matches!(error, tug_runtime::Error::Clone { .. }), "{error:?}");
    drop(send);
    let _ = thread.join();
    assert!(groups(&world.spec.id).is_empty());
}

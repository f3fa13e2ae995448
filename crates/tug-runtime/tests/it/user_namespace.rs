//! A container whose ids are not the host's.

use crate::tests;
use crate::world::{Pipes, World, path};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use tug_runtime::{IdMap, UserNamespace};

tests![
    root_inside_is_nobody_outside,
    the_image_is_seen_through_the_map_and_writes_are_stored_outside,
    directories_of_tug_need_not_be_open_to_it,
    its_devices_and_filesystems_are_there,
    an_exec_is_in_it_too,
    it_has_no_power_over_the_host,
];

const BASE: u32 = 200_000;

fn mapped(script: &str) -> World {
    let mut world = World::new(script);
    let map = vec![IdMap { inside: 0, outside: BASE, count: 65_536 }];
    world.spec.namespaces.user = Some(UserNamespace { uid_map: map.clone(), gid_map: map });
    world
}

fn root_inside_is_nobody_outside() {
    let world = mapped("id -u; cat /proc/self/uid_map; echo up; read x");
    let mut live = world.start();
    assert_eq!(live.line(), "0");
    assert_eq!(live.line().split_whitespace().collect::<Vec<_>>(), ["0", "200000", "65536"]);
    assert_eq!(live.line(), "up");
    let owner = std::fs::metadata(format!("/proc/{}", live.running.pid)).unwrap().uid();
    assert_eq!(owner, BASE);
    live.end();
}

fn the_image_is_seen_through_the_map_and_writes_are_stored_outside() {
    let world =
        mapped("stat -c %u /bin/busybox; echo x > /made; chown 33:34 /made; stat -c '%u %g' /made");
    let output = world.run();
    assert_eq!(output.out, "0\n33 34\n", "{}", output.err);
    let made = std::fs::metadata(world.dir.path().join("upper/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (BASE + 33, BASE + 34));
}

fn directories_of_tug_need_not_be_open_to_it() {
    let mut world = mapped("cat /data/file; ls /made");
    let host = world.directory("host");
    std::fs::write(host.join("file"), "volume\n").unwrap();
    world.bind(&host, "/data");
    world.spec.process.cwd = path("/made");
    crate::world::mode(world.dir.path(), 0o700);
    let output = world.run();
    assert_eq!(output.out, "volume\n", "{}", output.err);
}

fn its_devices_and_filesystems_are_there() {
    let output = mapped(
        "echo x > /dev/null && head -c 2 /dev/zero | wc -c; mount | awk '{print $3}' | sort | tr '\\n' ' '; echo
         touch /dev/shm/x && echo shm; cat /proc/keys | wc -c; echo 1 > /proc/sys/kernel/panic || echo ro; ls /sys/class/net",
    )
    .run();
    assert!(output.out.starts_with("2\n"), "{output:?}");
    for place in ["/dev/pts", "/dev/mqueue", "/sys", "/sys/fs/cgroup", "/proc"] {
        assert!(output.out.contains(&format!(" {place} ")), "{place}: {output:?}");
    }
    assert!(output.out.ends_with("shm\n0\nro\nlo\n"), "{output:?}");
}

fn an_exec_is_in_it_too() {
    let world = mapped("echo up; read x");
    let mut live = world.start();
    assert_eq!(live.line(), "up");
    let mut spec = world.exec_spec(
        &live,
        &["/bin/sh", "-c", "id -u; readlink /proc/self/ns/user; touch /x && echo x"],
    );
    spec.process.user = "web".to_owned();
    spec.process.args[2] = "id -u; grep CapBnd /proc/self/status".to_owned();
    let pipes = Pipes::new();
    let running = tug_runtime::exec(&spec, pipes.stdio).unwrap();
    assert_eq!(running.wait().unwrap(), 0);
    let mut out = String::new();
    std::fs::File::from(pipes.out).read_to_string(&mut out).unwrap();
    assert_eq!(out, "33\nCapBnd:\t00000000a80425fb\n");
    live.end();
}

fn it_has_no_power_over_the_host() {
    let mut world = mapped(
        "cat /data/secret; echo x > /data/new; ls -ln /data | tail -1 | awk '{print $3}'; exit 0",
    );
    let host = world.directory("host");
    std::fs::write(host.join("secret"), "host's\n").unwrap();
    crate::world::mode(&host.join("secret"), 0o600);
    crate::world::mode(&host, 0o755);
    world.bind(&host, "/data");
    let output = world.run();
    assert_eq!(output.out, "65534\n", "{output:?}");
    assert_eq!(output.err.matches("Permission denied").count(), 2, "{output:?}");
}

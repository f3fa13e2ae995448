//! Groups and limits, read on the host.

use crate::tests;
use crate::world::{PARENT, World, groups};
use std::path::PathBuf;
use tug_runtime::{Device, Resources, cgroup};

tests![
    it_is_in_a_group_of_every_hierarchy,
    inside_its_groups_are_roots,
    limits_are_written,
    a_missing_swap_controller_is_a_warning,
    impossible_limits_are_errors,
    processes_are_listed_and_ended,
    removal_is_idempotent_and_takes_inner_groups,
    the_kernels_kills_are_told,
    devices_beyond_the_list_are_refused,
    a_device_handed_in_works_with_its_permissions,
    device_rules_are_obeyed,
    a_privileged_container_has_the_hosts_devices,
    the_v2_program_is_taken_by_the_kernel,
];

fn file(world: &World, name: &str) -> Option<String> {
    let found: Option<PathBuf> =
        groups(&world.spec.id).into_iter().map(|group| group.join(name)).find(|path| path.exists());
    found.map(|path| std::fs::read_to_string(path).unwrap().trim().to_owned())
}

fn it_is_in_a_group_of_every_hierarchy() {
    let world = World::new("read x");
    let live = world.start();
    let pid = live.running.pid;
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let mounted = cgroup::Hierarchies::parse(&crate::world::host_mounts());
    assert_eq!(groups(&world.spec.id).len(), mounted.all().len());
    let inside = format!("/{PARENT}/{}", world.spec.id);
    let count = text.lines().filter(|line| line.ends_with(&inside)).count();
    assert!(count >= mounted.all().len(), "{text}");
    live.end();
}

fn inside_its_groups_are_roots() {
    let output = World::new(
        "cut -d: -f3 /proc/self/cgroup | sort -u; cat /sys/fs/cgroup/pids/cgroup.procs | head -1",
    )
    .run();
    let mut lines = output.out.lines();
    // Hierarchies that nobody mounted keep everybody in their root.
    assert_eq!(lines.next(), Some("/"), "{}", output.out);
    assert!(output.out.lines().all(|line| line == "/" || line == "1"), "{}", output.out);
    assert_eq!(lines.next(), Some("1"), "{}", output.out);
}

fn limits_are_written() {
    let mut world = World::new("read x");
    world.spec.resources = Resources {
        memory: Some(64 << 20),
        memory_reservation: Some(32 << 20),
        nano_cpus: Some(500_000_000),
        cpu_shares: Some(512),
        cpuset_cpus: Some("0".to_owned()),
        cpuset_mems: Some("0".to_owned()),
        pids_limit: Some(50),
        ..Resources::default()
    };
    let live = world.start();
    let either = |v1: &str, v2: &str| file(&world, v1).or_else(|| file(&world, v2)).unwrap();
    assert_eq!(either("memory.limit_in_bytes", "memory.max"), "67108864");
    assert_eq!(either("memory.soft_limit_in_bytes", "memory.low"), "33554432");
    assert!(["50000", "50000 100000"].contains(&either("cpu.cfs_quota_us", "cpu.max").as_str()));
    assert!(["512", "59"].contains(&either("cpu.shares", "cpu.weight").as_str()));
    assert_eq!(file(&world, "cpuset.cpus").unwrap(), "0");
    assert_eq!(file(&world, "pids.max").unwrap(), "50");
    live.end();
    world.spec.resources = Resources::default();
    world.script("read x");
    let live = world.start();
    assert_eq!(file(&world, "pids.max").unwrap(), "max");
    live.end();
}

fn a_missing_swap_controller_is_a_warning() {
    let mut world = World::new("true");
    world.spec.resources.memory = Some(64 << 20);
    world.spec.resources.memory_swap = Some(128 << 20);
    let output = world.run();
    let accounted = PathBuf::from("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists()
        || !PathBuf::from("/sys/fs/cgroup/memory").exists();
    assert_eq!(output.warnings.is_empty(), accounted, "{output:?}");
}

fn impossible_limits_are_errors() {
    let mut world = World::new("true");
    world.spec.resources.cpuset_cpus = Some("4000".to_owned());
    let failure = world.refusal();
    assert!(
        failure.message.contains("--cpuset-cpus") && failure.message.contains("4000"),
        "{failure:?}"
    );
}

fn processes_are_listed_and_ended() {
    let world = World::new("sleep 1000 & sleep 1000 & echo up; wait");
    let mut live = world.start();
    assert_eq!(live.line(), "up");
    let pids = cgroup::pids(&world.spec.id, PARENT).unwrap();
    assert_eq!(pids.len(), 3);
    assert!(pids.contains(&live.running.pid));
    cgroup::kill_all(&world.spec.id, PARENT).unwrap();
    assert_eq!(live.end().code, 137);
    let none = cgroup::pids(&world.spec.id, PARENT).unwrap();
    assert!(none.is_empty());
}

fn removal_is_idempotent_and_takes_inner_groups() {
    let world = World::new("read x");
    let live = world.start();
    for group in groups(&world.spec.id) {
        std::fs::create_dir_all(group.join("inner/most")).unwrap();
    }
    let id = world.spec.id.clone();
    live.end();
    assert_eq!(groups(&id), Vec::<PathBuf>::new());
    cgroup::remove(&id, PARENT).unwrap();
    cgroup::kill_all(&id, PARENT).unwrap();
}

fn the_kernels_kills_are_told() {
    let mut world = World::new("x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived");
    world.spec.resources.memory = Some(32 << 20);
    let mut live = world.start();
    let code = live.running.wait().unwrap();
    assert_eq!(live.line(), "", "it had the memory");
    assert_ne!(code, 0);
    assert!(cgroup::oom_killed(&world.spec.id, PARENT));
    drop(live);
    let world = World::new("true");
    let live = world.start();
    live.running.wait().unwrap();
    assert!(!cgroup::oom_killed(&world.spec.id, PARENT));
    drop(live);
}

fn devices_beyond_the_list_are_refused() {
    // Docker lets root make any node, and none of them work.
    let output = World::new(
        "mknod /kmsg c 1 11 && cat /kmsg; mknod /disk b 254 0 && head -c 1 /disk; mknod /null2 c 1 3 && echo x > /null2 && echo ok",
    )
    .run();
    assert_eq!(output.out, "ok\n");
    assert_eq!(output.err.matches("Operation not permitted").count(), 2, "{}", output.err);
}

fn a_device_handed_in_works_with_its_permissions() {
    for (permissions, expected) in
        [("rwm", "read written made "), ("r", "read made "), ("w", "written ")]
    {
        let mut world = World::new(
            "( : < /dev/mine ) 2>/dev/null && echo -n 'read '; ( : > /dev/mine ) 2>/dev/null && echo -n 'written '
             mknod /x c 10 237; ( : < /x ) 2>/dev/null && echo -n 'made '; exit 0",
        );
        world.spec.devices.push(Device {
            host: "/dev/loop-control".into(),
            container: crate::world::path("/dev/mine"),
            permissions: permissions.to_owned(),
        });
        let output = world.run();
        assert_eq!(output.out, expected, "{permissions}: {}", output.err);
    }
    let mut world = World::new("true");
    world.spec.devices.push(Device {
        host: "/dev/nonesuch".into(),
        container: crate::world::path("/dev/x"),
        permissions: "rwm".to_owned(),
    });
    assert!(world.refusal().message.contains("/dev/nonesuch"));
    let mut world = World::new("true");
    world.spec.devices.push(Device {
        host: "/etc/hostname".into(),
        container: crate::world::path("/dev/x"),
        permissions: "rwm".to_owned(),
    });
    assert!(world.refusal().message.contains("/etc/hostname"));
}

fn device_rules_are_obeyed() {
    let mut world = World::new(
        "mknod /loop c 10 237; ( : < /loop ) && echo read; ( : > /loop ) || echo refused",
    );
    world.spec.device_rules = vec!["c 10:* r".to_owned()];
    assert_eq!(world.run().out, "read\nrefused\n");
    world.spec.device_rules = vec!["c 10 r".to_owned()];
    assert!(world.refusal().message.contains("c 10 r"));
}

fn a_privileged_container_has_the_hosts_devices() {
    let mut world = World::new(
        "[ -c /dev/loop-control ] && ( : < /dev/loop-control ) && echo loop; touch /sys/fs/cgroup && echo sys",
    );
    world.spec.privileged = true;
    let output = world.run();
    assert_eq!(output.out, "loop\nsys\n", "{}", output.err);
}

/// Device programs work on any cgroup2 tree, whatever limits this host's containers.
fn the_v2_program_is_taken_by_the_kernel() {
    let hierarchies = cgroup::Hierarchies::parse(&crate::world::host_mounts());
    let Some(tree) = hierarchies.all().iter().find(|hierarchy| hierarchy.is_v2()) else {
        crate::world::skip("the_v2_program_is_taken_by_the_kernel", "no cgroup2 tree is mounted");
        return;
    };
    use tug_sys::bpf::Instruction;
    let group = tree.mount_point().join(format!("{PARENT}-program-{}", std::process::id()));
    std::fs::create_dir(&group).unwrap();
    // Allows everything but 1:11, with every kind of instruction that rules are compiled to.
    let program = [
        Instruction::load_u32(2, 1, 0),
        Instruction::mov(3, 2),
        Instruction::and(2, 0xffff),
        Instruction::shift_right(3, 16),
        Instruction::load_u32(4, 1, 4),
        Instruction::load_u32(5, 1, 8),
        Instruction::jump_if_not_equal(2, 2, 4),
        Instruction::jump_if_not_equal(4, 1, 3),
        Instruction::jump_if_not_equal(5, 11, 2),
        Instruction::set(0, 0),
        Instruction::exit(),
        Instruction::set(0, 1),
        Instruction::exit(),
    ];
    let attached = tug_sys::bpf::attach_device_program(&group, &program);
    let mut world = World::new(
        "mknod /kmsg c 1 11; ( : < /kmsg ) || echo refused; echo x > /dev/null && echo null",
    );
    world.spec.device_rules = vec!["c 1:* rwm".to_owned()];
    // On this tree the container is where it always is; it is moved for the test.
    let mut live = None;
    if attached.is_ok() {
        world.script("read x; mknod /kmsg c 1 11; ( : < /kmsg ) || echo refused; echo x > /dev/null && echo null");
        let mut started = world.start();
        std::fs::write(group.join("cgroup.procs"), started.running.pid.to_string()).unwrap();
        started.say("\n");
        live = Some(started.end());
    }
    std::fs::remove_dir(&group).unwrap();
    attached.unwrap();
    assert_eq!(live.unwrap().out, "refused\nnull\n");
}

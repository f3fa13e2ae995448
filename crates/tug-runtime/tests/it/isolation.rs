//! From inside, the host's processes, mounts, interfaces, devices and settings can neither be seen nor
//! changed. The tests try.

use crate::tests;
use crate::world::World;
use tug_runtime::Seccomp;

tests![
    processes,
    mounts,
    interfaces,
    ipc_objects,
    host_names,
    settings,
    devices,
    the_way_up,
    keys,
    other_containers,
    the_file_tug_runs_from,
    the_release_agent,
];

/// Everything a container may be allowed short of `--privileged`: what still holds then.
fn strong(script: &str) -> World {
    let mut world = World::new(script);
    world.spec.seccomp = Seccomp::Unconfined;
    for name in ["CAP_SYS_PTRACE", "CAP_NET_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"] {
        world.spec.process.capabilities.push(name.to_owned());
    }
    world
}

fn processes() {
    let host = std::process::id();
    let script = format!(
        "ls -d /proc/[0-9]* | wc -l; kill -0 {host} 2>&1; [ -e /proc/{host} ] && echo there; cat /proc/1/comm; exit 0"
    );
    for world in [World::new(&script), strong(&script)] {
        let output = world.run();
        let count: u32 = output.out.lines().next().unwrap().parse().unwrap();
        assert!(count <= 4, "{}", output.out);
        assert!(!output.out.contains("there"), "{}", output.out);
        assert!(output.out.ends_with("sh\n"), "{}", output.out);
    }
}

fn mounts() {
    let world = World::new(
        "cat /proc/self/mountinfo /proc/1/mounts; mount -t tmpfs x /tmp; umount /proc; mount -o remount,rw /sys; exit 0",
    );
    let output = world.run();
    let dir = world.dir.path().to_str().unwrap();
    let disk = |line: &&str| line.contains(" ext4 ") || line.contains(" - ext4");
    assert_eq!(output.out.lines().filter(disk).count(), 0, "{}", output.out);
    // Only the overlay names its own layers, as it does under Docker.
    for line in output.out.lines().filter(|line| line.contains(dir)) {
        assert!(line.contains("overlay"), "{line}");
    }
    assert_eq!(
        output.err.matches("denied").count() + output.err.matches("not permitted").count(),
        3,
        "{}",
        output.err
    );
}

fn interfaces() {
    for world in
        [World::new("ip -o link; ls /sys/class/net"), strong("ip -o link; ls /sys/class/net")]
    {
        let output = world.run();
        assert_eq!(
            output.out.lines().filter(|line| !line.contains("lo")).count(),
            0,
            "{}",
            output.out
        );
    }
}

fn ipc_objects() {
    let output = World::new("ls -A /dev/mqueue /dev/shm; cat /proc/sysvipc/shm | wc -l").run();
    assert_eq!(output.out, "/dev/mqueue:\n\n/dev/shm:\n1\n");
}

fn host_names() {
    let before = rustix::system::uname().nodename().to_owned();
    let mut world = strong("hostname changed; hostname");
    assert_eq!(world.run().out, "changed\n");
    assert_eq!(rustix::system::uname().nodename(), before.as_c_str());
    world = World::new("hostname changed; exit 0");
    assert!(world.run().err.contains("not permitted"));
}

fn settings() {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/{name}")).unwrap();
    let names = [
        "kernel/core_pattern",
        "vm/drop_caches",
        "kernel/hostname",
        "net/core/somaxconn",
        "kernel/modprobe",
    ];
    let before: Vec<String> =
        names.iter().filter(|n| n.contains("core")).map(|n| read(n)).collect();
    let script: String = names.iter().map(|name| format!("echo 1 > /proc/sys/{name}\n")).collect();
    let output = World::new(&format!("{script} echo b > /proc/sysrq-trigger; echo 0 > /sys/kernel/mm/transparent_hugepage/enabled; dmesg; exit 0")).run();
    assert!(
        output.err.matches("Read-only").count() + output.err.matches("can't create").count() >= 5,
        "{}",
        output.err
    );
    let after: Vec<String> = names.iter().filter(|n| n.contains("core")).map(|n| read(n)).collect();
    assert_eq!(before, after);
}

fn devices() {
    let script = "for n in 'b 254 0' 'b 8 0' 'c 1 1' 'c 1 4' 'c 10 200' 'c 10 232' 'c 5 3'; do
            mknod /node $n && (: < /node) && echo opened $n; rm -f /node; done; exit 0";
    for world in [World::new(script), strong(script)] {
        let output = world.run();
        assert_eq!(output.out, "", "{}", output.err);
        assert_eq!(output.err.matches("not permitted").count(), 7, "{}", output.err);
    }
}

fn the_way_up() {
    let output = World::new("cd ../../../../..; pwd; ls | tr '\\n' ' '; mkdir -p /jail; chroot /jail /bin/true; ls /proc/1/root | tr '\\n' ' '").run();
    assert!(output.out.starts_with("/\n"), "{}", output.out);
    assert!(!output.out.contains("boot") && !output.out.contains("home"), "{}", output.out);
    // Root may chroot; a second root does not lead out of the first.
    let output = World::new(
        "mkdir -p /a/b; cd /; chroot /a /x; cd ..; pwd; ls -d /usr /home 2>/dev/null | wc -l",
    )
    .run();
    assert!(output.out.ends_with("/\n0\n"), "{}", output.out);
}

fn keys() {
    // The session keyring is not the host's: /proc/keys is covered, so by an unconfined container.
    let mut world = strong("grep -c _ses /proc/keys; grep -c . /proc/keys");
    world.spec.masked_paths.clear();
    let output = world.run();
    let host = std::fs::read_to_string("/proc/keys").unwrap_or_default();
    let inside: usize = output.out.lines().nth(1).unwrap_or("0").parse().unwrap_or(0);
    assert!(inside <= host.lines().count() + 1, "{}", output.out);
}

fn other_containers() {
    let first = World::new("echo secret > /dev/shm/x; hostname; read x");
    let mut live = first.start();
    let name = live.line();
    let second = World::new("ls -A /dev/shm; hostname; ls -d /proc/[0-9]* | wc -l");
    let output = second.run();
    assert!(!output.out.contains('x') && !output.out.contains(&name), "{}", output.out);
    live.end();
}

fn the_file_tug_runs_from() {
    // An image whose program is /proc/self/exe would run the engine's own file inside, and with it a way
    // to write to it.
    for program in ["/proc/self/exe", "/link"] {
        let world = World::of(&[program]);
        std::os::unix::fs::symlink("/proc/self/exe", world.image().join("link")).unwrap();
        let failure = world.refusal();
        assert!(failure.message.contains(program), "{failure:?}");
    }
    let world = World::of(&["/script"]);
    std::fs::write(world.image().join("script"), "#!/proc/self/exe\n").unwrap();
    crate::world::mode(&world.image().join("script"), 0o755);
    let failure = world.refusal();
    assert!(failure.message.contains("/proc/self/exe"), "{failure:?}");
}

fn the_release_agent() {
    // Writing to a v1 hierarchy's files was a way to run programs on the host (CVE-2022-0492).
    let output = World::new(
        "for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/notify_on_release; do echo x > $f && echo wrote $f; done; exit 0",
    )
    .run();
    assert_eq!(output.out, "", "{}", output.err);
}

//! What is mounted where, and that the image never decides where on the host.

use crate::tests;
use crate::world::{World, host_mounts, path};
use std::os::unix::fs::{MetadataExt, symlink};
use tug_runtime::{Namespace, Propagation};

tests![
    standard_filesystems_are_laid_out_as_docker_does,
    nothing_of_it_is_seen_on_the_host,
    masked_paths_are_empty_and_read_only_ones_refuse,
    devices_are_the_default_ones,
    a_read_only_root_keeps_its_writable_places,
    shm_has_its_size,
    tmpfs_takes_its_options_and_the_mode_of_what_it_covers,
    binds_are_writable_unless_read_only,
    read_only_binds_may_be_so_recursively,
    files_and_missing_places_are_bound,
    a_link_in_the_image_does_not_lead_a_mount_out,
    what_a_dangling_link_leads_to_is_made_inside,
    proc_cannot_be_mounted_over,
    a_link_to_proc_cannot_be_mounted_over_either,
    a_file_does_not_go_on_a_directory,
    mounts_go_below_mounts_in_order,
    propagation_is_what_was_asked_for,
    shared_mounts_reach_the_host,
    a_directory_can_be_the_root,
    layers_are_many_and_their_names_odd,
    own_mounts_replace_the_standard_ones,
    the_upper_layer_has_what_was_written_and_no_more,
];

/// `mount point, filesystem, options` of a mountinfo text, in order.
fn mounts(text: &str) -> Vec<(String, String, String)> {
    let line = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let before: Vec<&str> = before.split(' ').collect();
        let kind = after.split(' ').next()?;
        let writable = before[5].split(',').next()?;
        Some((before[4].to_owned(), kind.to_owned(), writable.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

fn standard_filesystems_are_laid_out_as_docker_does() {
    let output = World::new("cat /proc/self/mountinfo").run();
    let found = mounts(&output.out);
    for (point, kind, writable) in [
        ("/", "overlay", "rw"),
        ("/proc", "proc", "rw"),
        ("/dev", "tmpfs", "rw"),
        ("/dev/pts", "devpts", "rw"),
        ("/dev/shm", "tmpfs", "rw"),
        ("/dev/mqueue", "mqueue", "rw"),
        ("/sys", "sysfs", "ro"),
        ("/proc/sys", "proc", "ro"),
        ("/proc/sysrq-trigger", "proc", "ro"),
        ("/sys/firmware", "tmpfs", "ro"),
    ] {
        if !std::path::Path::new(point).exists() {
            // This kernel has no such file.
            continue;
        }
        let wanted = (point.to_owned(), kind.to_owned(), writable.to_owned());
        assert!(found.contains(&wanted), "{point} {kind} {writable}: {}", output.out);
    }
    let groups: Vec<_> =
        found.iter().filter(|(point, ..)| point.starts_with("/sys/fs/cgroup")).collect();
    assert!(groups.iter().any(|(_, kind, _)| kind.starts_with("cgroup")), "{}", output.out);
    assert!(groups.iter().all(|(.., writable)| writable == "ro"), "{groups:?}");
    // Roots of the groups are the container's own, and shown as such.
    for line in output.out.lines().filter(|line| line.contains(" - cgroup")) {
        assert_eq!(line.split(' ').nth(3), Some("/"), "{line}");
    }
}

fn nothing_of_it_is_seen_on_the_host() {
    let before = host_mounts();
    let mut world = World::new("read x");
    world.tmpfs("/data", "");
    let live = world.start();
    assert_eq!(host_mounts(), before);
    live.end();
}

fn masked_paths_are_empty_and_read_only_ones_refuse() {
    let output = World::new(
        "cat /proc/keys /proc/timer_list /proc/interrupts | wc -c; ls -A /sys/firmware | wc -l
         echo 1 > /proc/sys/kernel/printk; echo $?
         echo h > /proc/sysrq-trigger; echo $?
         mkdir /sys/fs/cgroup/x 2>/dev/null; for d in /sys/fs/cgroup/*; do mkdir $d/x && echo made $d; done; exit 0",
    )
    .run();
    assert_eq!(output.out, "0\n0\n1\n1\n", "{}", output.err);
    assert!(output.err.contains("Read-only file system"), "{}", output.err);
}

fn devices_are_the_default_ones() {
    let output = World::new(
        "ls /dev | sort | tr '\\n' ' '; echo
         for d in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' /dev/$d; done
         for l in fd stdin stdout stderr ptmx core; do echo $l $(readlink /dev/$l); done
         head -c 3 /dev/zero | wc -c; echo x > /dev/null; echo x > /dev/full || echo full",
    )
    .run();
    let text = output.out;
    let first = text.lines().next().unwrap().trim();
    assert_eq!(
        first,
        "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    );
    for line in [
        "/dev/null character special file 1:3 666",
        "/dev/tty character special file 5:0 666",
        "fd /proc/self/fd",
        "ptmx pts/ptmx",
        "core /proc/kcore",
        "full",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

fn a_read_only_root_keeps_its_writable_places() {
    let mut world = World::new(
        "touch /x || echo root; touch /dev/shm/x && touch /run/x && touch /dev/x && echo places; pwd",
    );
    world.spec.readonly_rootfs = true;
    world.spec.process.cwd = path("/made/before");
    world.tmpfs("/run", "");
    let output = world.run();
    assert_eq!(output.out, "root\nplaces\n/made/before\n", "{}", output.err);
}

fn shm_has_its_size() {
    let mut world = World::new("df -k /dev/shm | tail -1 | awk '{print $2}'; stat -c %a /dev/shm");
    world.spec.shm_size = 3 << 20;
    assert_eq!(world.run().out, "3072\n1777\n");
}

fn tmpfs_takes_its_options_and_the_mode_of_what_it_covers() {
    let mut world = World::new(
        "df -k /small | tail -1 | awk '{print $2}'; stat -c %a /small /fresh /var/empty /own
         grep ' /fresh ' /proc/self/mountinfo | cut -d' ' -f6; cp /bin/busybox /exec/echo; /exec/echo ran",
    );
    std::fs::create_dir_all(world.image().join("var/empty")).unwrap();
    crate::world::mode(&world.image().join("var/empty"), 0o710);
    world.tmpfs("/small", "size=64k,mode=700");
    world.tmpfs("/fresh", "");
    world.tmpfs("/var/empty", "");
    world.tmpfs("/own", "rw,mode=0750,uid=5");
    world.tmpfs("/exec", "exec");
    let output = world.run();
    assert_eq!(
        output.out, "64\n700\n1777\n710\n750\nrw,nosuid,nodev,noexec,relatime\nran\n",
        "{}",
        output.err
    );
}

fn binds_are_writable_unless_read_only() {
    let mut world = World::new("cat /rw/file; echo in > /rw/new; echo no > /ro/new; exit 0");
    let host = world.directory("host");
    std::fs::write(host.join("file"), "out\n").unwrap();
    world.bind(&host, "/rw");
    world.bind(&host, "/ro").readonly = true;
    let output = world.run();
    assert_eq!(output.out, "out\n");
    assert!(output.err.contains("Read-only file system"), "{}", output.err);
    assert_eq!(std::fs::read_to_string(host.join("new")).unwrap(), "in\n");
}

fn read_only_binds_may_be_so_recursively() {
    let host = crate::world::World::new("true");
    let above = host.directory("above");
    std::fs::create_dir(above.join("below")).unwrap();
    let _mounted = Mounted::tmpfs(&above.join("below"));
    for (recursive, expected) in [(false, "written\n"), (true, "")] {
        let mut world = World::new("echo x > /m/below/x && echo written; exit 0");
        let mount = world.bind(&above, "/m");
        mount.readonly = true;
        mount.recursive_readonly = recursive;
        assert_eq!(world.run().out, expected, "recursive: {recursive}");
    }
}

fn files_and_missing_places_are_bound() {
    let mut world =
        World::new("cat /etc/hosts /some/new/place/file; ls /another/new; stat -c %a /another");
    let host = world.directory("host");
    std::fs::write(host.join("hosts"), "hosts\n").unwrap();
    world.bind(&host.join("hosts"), "/etc/hosts");
    world.bind(&host.join("hosts"), "/some/new/place/file");
    world.bind(&host, "/another/new");
    let output = world.run();
    assert_eq!(output.out, "hosts\nhosts\nhosts\n755\n", "{}", output.err);
}

fn a_link_in_the_image_does_not_lead_a_mount_out() {
    let mut world =
        World::new("cat /etc/secret/file /etc/planted; ls -d /up/etc 2>/dev/null; exit 0");
    let host = world.directory("host");
    std::fs::write(host.join("file"), "volume\n").unwrap();
    let escape = "../../../../../../../../etc/secret";
    symlink(escape, world.image().join("data")).unwrap();
    symlink("/etc", world.image().join("conf")).unwrap();
    world.bind(&host, "/data");
    world.bind(&host.join("file"), "/conf/planted");
    std::fs::create_dir_all(world.image().join("etc/secret")).unwrap();
    let output = world.run();
    assert_eq!(output.out, "volume\nvolume\n", "{}", output.err);
    assert!(!std::path::Path::new("/etc/planted").exists());
    assert!(!std::path::Path::new("/etc/secret").exists());
}

fn what_a_dangling_link_leads_to_is_made_inside() {
    let mut world = World::new("cat /tug-no-such-place/at/all/file");
    let host = world.directory("host");
    std::fs::write(host.join("file"), "volume\n").unwrap();
    symlink("../../../tug-no-such-place/at/all", world.image().join("data")).unwrap();
    world.bind(&host, "/data");
    assert_eq!(world.run().out, "volume\n");
    assert!(!std::path::Path::new("/tug-no-such-place").exists());
}

fn proc_cannot_be_mounted_over() {
    for place in ["/proc", "/proc/self/attr", "/proc/sys"] {
        let mut world = World::new("true");
        let host = world.directory("host");
        world.bind(&host, place);
        let failure = world.refusal();
        assert!(failure.message.contains("inside /proc"), "{place}: {failure:?}");
    }
    // What lxcfs shows is allowed, as Docker has it.
    let mut world = World::new("cat /proc/uptime");
    let host = world.directory("host");
    std::fs::write(host.join("uptime"), "1.00 1.00\n").unwrap();
    world.bind(&host.join("uptime"), "/proc/uptime");
    assert_eq!(world.run().out, "1.00 1.00\n");
}

fn a_link_to_proc_cannot_be_mounted_over_either() {
    let mut world = World::new("true");
    let host = world.directory("host");
    symlink("/proc/sys", world.image().join("data")).unwrap();
    world.bind(&host, "/data");
    let failure = world.refusal();
    assert!(failure.message.contains("inside /proc"), "{failure:?}");
}

fn a_file_does_not_go_on_a_directory() {
    let mut world = World::new("true");
    let host = world.directory("host");
    std::fs::write(host.join("file"), "").unwrap();
    world.bind(&host.join("file"), "/etc");
    let failure = world.refusal();
    assert!(failure.message.contains("/etc"), "{failure:?}");
    assert!(failure.hint.is_some(), "{failure:?}");
    let mut world = World::new("true");
    let host = world.directory("host");
    world.bind(&host, "/etc/passwd");
    let failure = world.refusal();
    assert!(failure.message.contains("/etc/passwd"), "{failure:?}");
}

fn mounts_go_below_mounts_in_order() {
    let mut world = World::new("cat /a/b/c/file; ls /a");
    let host = world.directory("host");
    std::fs::write(host.join("file"), "deep\n").unwrap();
    world.tmpfs("/a", "");
    world.tmpfs("/a/b", "");
    world.bind(&host, "/a/b/c");
    assert_eq!(world.run().out, "deep\nb\n");
}

/// A mount of a test's on the host, shared, taken away when dropped.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn tmpfs(at: &std::path::Path) -> Self {
        use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
        mount("tmpfs", at, "tmpfs", MountFlags::empty(), None).unwrap();
        mount_change(at, MountPropagationFlags::SHARED).unwrap();
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

fn propagation_is_what_was_asked_for() {
    let host = World::new("true");
    let shared = host.directory("shared");
    let _mounted = Mounted::tmpfs(&shared);
    std::fs::create_dir(shared.join("later")).unwrap();
    for (propagation, expected) in [
        (None, "empty\n"),
        (Some(Propagation::Rprivate), "empty\n"),
        (Some(Propagation::Rslave), "arrived\n"),
        (Some(Propagation::Rshared), "arrived\n"),
    ] {
        let mut world =
            World::new("echo up; read x; [ -e /m/later/arrived ] && echo arrived || echo empty");
        world.bind(&shared, "/m").propagation = propagation;
        let mut live = world.start();
        assert_eq!(live.line(), "up");
        let later = Mounted::tmpfs(&shared.join("later"));
        std::fs::write(shared.join("later/arrived"), "").unwrap();
        live.say("go\n");
        assert_eq!(live.end().out, expected, "{propagation:?}");
        drop(later);
    }
}

fn shared_mounts_reach_the_host() {
    let host = World::new("true");
    let shared = host.directory("shared");
    let _mounted = Mounted::tmpfs(&shared);
    std::fs::create_dir(shared.join("new")).unwrap();
    for (propagation, reaches) in [(Propagation::Rslave, false), (Propagation::Rshared, true)] {
        let mut world = World::new(
            "mount -t tmpfs none /m/new && touch /m/new/inside; echo $?; read x; umount /m/new",
        );
        world.spec.privileged = true;
        world.spec.seccomp = tug_runtime::Seccomp::Unconfined;
        world.spec.process.capabilities = vec!["CAP_SYS_ADMIN".into()];
        world.bind(&shared, "/m").propagation = Some(propagation);
        let mut live = world.start();
        assert_eq!(live.line(), "0");
        assert_eq!(shared.join("new/inside").exists(), reaches, "{propagation:?}");
        live.end();
    }
}

fn a_directory_can_be_the_root() {
    let mut world = World::new("ls /mine; echo x > /made");
    let tree = world.directory("tree");
    let copied = copy_tree(crate::world::rootfs(), &tree);
    assert!(copied, "copy the root filesystem");
    std::fs::write(tree.join("mine"), "").unwrap();
    world.spec.rootfs = tug_runtime::Rootfs::Directory { path: tree.clone() };
    assert_eq!(world.run().out, "/mine\n");
    assert_eq!(std::fs::read_to_string(tree.join("made")).unwrap(), "x\n");
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) -> bool {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else if kind.is_symlink() {
            symlink(std::fs::read_link(entry.path()).unwrap(), target).unwrap();
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
    true
}

fn layers_are_many_and_their_names_odd() {
    let mut world = World::new("cat /layer-0 /layer-99 /top");
    let mut layers = Vec::new();
    for number in 0..100 {
        // What an option string would have to escape: a colon, a comma, a backslash.
        let layer = world.directory(&format!("l{number}:,\\{}", "x".repeat(60)));
        std::fs::write(layer.join(format!("layer-{number}")), format!("{number}\n")).unwrap();
        std::fs::write(layer.join("top"), format!("{number} is on top\n")).unwrap();
        layers.push(layer);
    }
    let tug_runtime::Rootfs::Overlay { lowers, .. } = &mut world.spec.rootfs else {
        unreachable!()
    };
    lowers.splice(..1, layers);
    assert_eq!(world.run().out, "0\n99\n0 is on top\n");
}

fn own_mounts_replace_the_standard_ones() {
    let mut world = World::new(
        "df -k /dev/shm | tail -1 | awk '{print $2}'; ls /sys; echo x > /dev/mqueue/file && echo q",
    );
    let host = world.directory("host");
    std::fs::write(host.join("mine"), "").unwrap();
    world.tmpfs("/dev/shm", "size=128k");
    world.tmpfs("/dev/mqueue", "");
    world.spec.masked_paths.clear();
    world.spec.namespaces.cgroup = Namespace::Host;
    world.bind(&host, "/sys");
    let output = world.run();
    assert_eq!(output.out, "128\nmine\nq\n", "{}", output.err);
}

fn the_upper_layer_has_what_was_written_and_no_more() {
    let world =
        World::new("mkdir /dir; echo x > /dir/file; mv /srv /moved 2>/dev/null; chmod 700 /etc");
    let output = world.run();
    assert_eq!(output.code, 0, "{}", output.err);
    let upper = world.dir.path().join("upper");
    assert_eq!(std::fs::read_to_string(upper.join("dir/file")).unwrap(), "x\n");
    assert_eq!(std::fs::metadata(upper.join("etc")).unwrap().mode() & 0o777, 0o700);
    // Whoever makes a layer of it must find whole files, not references to the layers below.
    for name in ["etc", "moved", "dir"] {
        let mut list = [0u8; 256];
        let size = rustix::fs::listxattr(upper.join(name), &mut list).unwrap_or(0);
        let names = String::from_utf8_lossy(&list[..size]).into_owned();
        assert!(!names.contains("redirect") && !names.contains("metacopy"), "{name}: {names}");
    }
}

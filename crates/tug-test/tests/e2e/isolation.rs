//! From inside, the host's processes, mounts, interfaces, devices and kernel settings can neither be
//! seen nor changed; these tests try.

use tug_test::sandbox::Sandbox;

#[test]
fn the_hosts_processes_are_not_seen() {
    let s = Sandbox::new();
    let run = s.sh(&[], "ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm; kill -0 2>/dev/null 99999; ps -o pid,comm | tail -n +2");
    let lines = run.stdout.lines().collect::<Vec<_>>();
    assert!(lines[0].trim().parse::<u32>().is_ok_and(|n| n <= 4), "{run}");
    assert_eq!(lines[1], "sh");
    for word in ["cargo", "nextest", "tug", "systemd"] {
        assert!(!run.stdout.contains(word), "{word}: {run}");
    }
}

#[test]
fn the_hosts_processes_cannot_be_signalled_or_traced() {
    let s = Sandbox::new();
    let host = std::process::id();
    s.sh(&[], &format!("kill -0 {host}")).code(1);
    s.sh(&[], &format!("cat /proc/{host}/environ")).code(1);
    s.sh(&[], "nsenter -t 1 -m true").code(1);
}

#[test]
fn the_hosts_mounts_are_not_seen() {
    let s = Sandbox::new();
    let run = s.sh(&["--network", "none"], "cat /proc/self/mountinfo");
    let text = run.ok();
    let host = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let inside =
        std::fs::read_to_string("/proc/self/mountinfo").map(|_| text.lines().count()).unwrap_or(0);
    assert!(inside >= 7, "{run}");
    let root_device = host
        .lines()
        .find(|line| line.split(' ').nth(4) == Some("/"))
        .and_then(|line| line.split(' ').nth(2))
        .unwrap_or_default()
        .to_owned();
    for line in text.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let files = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].contains(&fields[4]);
        assert!(fields[2] != root_device || files, "a mount of the host's root: {line}");
    }
    assert!(!std::path::Path::new("/").join(s.dir()).join("data/marker").exists());
    s.sh(&[], &format!("ls {}", s.dir().display())).code(1);
}

#[test]
fn mounting_is_refused() {
    let s = Sandbox::new();
    for attempt in [
        "mount -t tmpfs none /mnt",
        "mount -t proc proc /tmp",
        "mount -o remount,rw /sys",
        "mount -o remount,rw /proc/sys",
        "mount --bind / /tmp",
        "umount /proc/kcore",
        "umount /proc",
        "pivot_root /tmp /tmp",
        "unshare -m true",
        "unshare -n true",
        "unshare -p true",
    ] {
        let run = s.sh(&[], &format!("mkdir -p /mnt; {attempt}"));
        assert!(run.code != 0, "{attempt} worked: {run}");
    }
}

#[test]
fn the_way_out_of_the_root_is_closed() {
    let s = Sandbox::new();
    let run =
        s.sh(&[], "cd /; i=0; while [ $i -lt 30 ]; do cd ..; i=$((i+1)); done; ls; chroot . ls /");
    assert!(!run.ok().contains("boot"), "{run}");
    for link in ["/proc/1/root", "/proc/self/root", "/proc/1/cwd"] {
        let run =
            s.sh(&[], &format!("ls -d {link}/bin/busybox; ls -d {link}/../../../../usr/share/doc"));
        assert!(!run.stdout.contains("doc"), "{run}");
    }
}

#[test]
fn other_interfaces_are_not_seen() {
    let s = Sandbox::new();
    assert_eq!(s.sh(&[], "ls /sys/class/net; ip -o link | wc -l").ok(), "eth0\nlo\n2");
    for attempt in [
        "ip link add x type dummy",
        "ip link set eth0 down",
        "ip address add 10.9.9.9/8 dev eth0",
        "ip route del default",
    ] {
        let run = s.sh(&[], attempt);
        assert!(run.code != 0, "{attempt}: {run}");
    }
}

#[test]
fn kernel_settings_cannot_be_changed() {
    let s = Sandbox::new();
    for file in [
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/panic",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/class/net/eth0/mtu",
        "/sys/power/state",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/cgroup.procs",
    ] {
        let run = s.sh(
            &[],
            &format!(
                "test -e {file} || exit 7; cat {file} > /tmp/x 2>/dev/null; cat /tmp/x > {file}"
            ),
        );
        assert!(run.code != 0, "{file} was written: {run}");
    }
    assert!(s.sh(&[], "hostname other").code != 0);
    s.sh(&[], "date -s @$(date +%s)").says("Operation not permitted");
    assert!(s.sh(&[], "insmod /bin/busybox").code != 0);
    assert!(s.sh(&[], "swapon /bin/busybox").code != 0);
}

#[test]
fn dockers_masked_paths_show_nothing() {
    let s = Sandbox::new();
    let script = "for f in /proc/kcore /proc/keys /proc/timer_list /proc/latency_stats /proc/sched_debug; do test -e $f && head -c 1 $f | wc -c; done; for d in /proc/acpi /proc/scsi /sys/firmware /sys/devices/virtual/powercap; do test -d $d && ls -A $d; done; true";
    let run = s.sh(&[], script);
    assert!(run.ok().lines().all(|line| line.trim() == "0"), "{run}");
    let ro = s.sh(&[], "for d in bus fs irq sys sysrq-trigger; do test -e /proc/$d && (echo > /proc/$d/x) 2>&1 | grep -v 'Read-only\\|Is a directory\\|nonexistent\\|Not a dir\\|can.t create' ; done; true");
    assert_eq!(ro.ok(), "");
}

#[test]
fn block_devices_cannot_be_opened() {
    let s = Sandbox::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let root = mounts
        .lines()
        .find(|l| l.split(' ').nth(4) == Some("/"))
        .and_then(|l| l.split(' ').nth(2))
        .unwrap_or("254:0")
        .to_owned();
    let (major, minor) = root.split_once(':').unwrap_or_default();
    let run = s.sh(&[], &format!("mknod /tmp/disk b {major} {minor} && head -c 512 /tmp/disk"));
    assert!(run.code != 0 && run.stdout.is_empty(), "the host's disk was read: {run}");
}

#[test]
fn containers_do_not_see_each_other() {
    let s = Sandbox::new();
    let other =
        s.detached(&["--name", "other"], &["sh", "-c", "echo secret > /secret; exec sleep 4242"]);
    let run = s.sh(&[], "ps; ls /; find /proc -maxdepth 2 -name environ | wc -l");
    assert!(!run.stdout.contains("4242") && !run.stdout.contains("secret"), "{run}");
    assert!(!s.sh(&[], "mount; env; cat /proc/self/cgroup").stdout.contains(&other));
}

#[test]
fn descriptors_of_tug_do_not_leak_in() {
    let s = Sandbox::new();
    let count = |output: tug_test::output::Output| output.ok().to_owned();
    // 0, 1, 2 and the directory ls itself reads.
    assert_eq!(count(s.run(&[], &["ls", "/proc/self/fd"])), "0\n1\n2\n3");
    s.detached(&["--name", "c1"], &["sleep", "60"]);
    assert_eq!(count(s.tug(&["exec", "c1", "ls", "/proc/self/fd"])), "0\n1\n2\n3");
    assert_eq!(count(s.tug(&["exec", "c1", "ls", "/proc/1/fd"])), "0\n1\n2");
}

#[test]
fn the_seccomp_filter_covers_what_docker_refuses() {
    let s = Sandbox::new();
    let tool = format!("{}:/tug-dev:ro", tug_test::sandbox::devtool().display());
    let run = s.run(&["-v", &tool], &["/tug-dev", "forbidden"]);
    for line in run.lines() {
        let (call, result) = line.split_once(' ').unwrap_or_default();
        assert!(["errno 1", "errno 13", "errno 38"].contains(&result), "{call}: {result}");
    }
    assert!(run.lines().len() >= 8, "{run}");
}

#[test]
fn another_architectures_calls_are_refused() {
    let s = Sandbox::new();
    let run = s.sh(&[], "grep -E '^Seccomp(_filters)?:' /proc/self/status");
    assert!(run.ok().contains("Seccomp:\t2"), "{run}");
}

//! What the process inside is: capabilities, limits, devices, init, privileges.

use tug_test::sandbox::Sandbox;

/// Docker's fourteen default capabilities as the kernel prints them.
const DEFAULT_CAPABILITIES: u64 = 0xa804_25fb;

fn capabilities(s: &Sandbox, flags: &[&str], set: &str) -> u64 {
    let run = s.sh(flags, &format!("grep {set} /proc/self/status"));
    let hex = run.ok().split_whitespace().nth(1).unwrap_or_default().to_owned();
    u64::from_str_radix(&hex, 16).unwrap_or_else(|e| panic!("{hex}: {e}"))
}

/// What this machine's root has; a container can get no more.
fn ours() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap_or_default();
    u64::from_str_radix(line.trim(), 16).unwrap_or_default()
}

#[test]
fn capabilities_are_dockers_defaults() {
    let s = Sandbox::new();
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(capabilities(&s, &[], set), DEFAULT_CAPABILITIES & ours(), "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(capabilities(&s, &[], set), 0, "{set}");
    }
    assert_eq!(capabilities(&s, &["-u", "1000"], "CapEff"), 0, "not for other users");
}

#[test]
fn capabilities_are_added_and_dropped() {
    let s = Sandbox::new();
    let net_admin = 1 << 12;
    let chown = 1;
    let with = capabilities(&s, &["--cap-add", "NET_ADMIN", "--cap-drop", "cap_chown"], "CapEff");
    assert_eq!(with, (DEFAULT_CAPABILITIES | net_admin) & !chown & ours());
    let bare = capabilities(&s, &["--cap-drop", "ALL", "--cap-add", "chown"], "CapBnd");
    assert_eq!(bare, chown);
    let most = capabilities(&s, &["--cap-add", "ALL", "--cap-drop", "CHOWN"], "CapBnd");
    assert_eq!(most, ours() & !chown);
}

#[test]
fn an_unknown_capability_is_refused() {
    let s = Sandbox::new();
    s.sh(&["--cap-add", "FLY"], "true").code(125).says("FLY");
    assert_eq!(s.tug(&["ps", "-aq"]).ok(), "");
}

#[test]
fn seccomp_is_on_by_default_and_can_be_left_out() {
    let s = Sandbox::new();
    let mode = |flags: &[&str]| s.sh(flags, "grep Seccomp: /proc/self/status").ok().to_owned();
    assert!(mode(&[]).ends_with('2'));
    assert!(mode(&["--security-opt", "seccomp=unconfined"]).ends_with('0'));
    assert!(mode(&["--privileged"]).ends_with('0'));
}

#[test]
fn seccomp_refuses_what_docker_refuses() {
    let s = Sandbox::new();
    // unshare(2) needs CAP_SYS_ADMIN in the profile; without the filter a user namespace is granted.
    let run = s.sh(&["-u", "1000"], "unshare -U true");
    assert!(run.code != 0, "{run}");
    run.says("Operation not permitted");
}

#[test]
fn no_new_privileges_is_a_choice() {
    let s = Sandbox::new();
    let state = |flags: &[&str]| s.sh(flags, "grep NoNewPrivs /proc/self/status").ok().to_owned();
    assert!(state(&[]).ends_with('0'));
    assert!(state(&["--security-opt", "no-new-privileges"]).ends_with('1'));
    assert!(state(&["--security-opt", "no-new-privileges=true"]).ends_with('1'));
}

#[test]
fn ulimits_reach_the_process() {
    let s = Sandbox::new();
    let run = s.sh(
        &["--ulimit", "nofile=100:200", "--ulimit", "core=0"],
        "ulimit -Sn; ulimit -Hn; ulimit -c",
    );
    assert_eq!(run.ok(), "100\n200\n0");
    s.sh(&["--ulimit", "nofile=300:200"], "true").code(125).says("nofile");
    s.sh(&["--ulimit", "cows=1"], "true").code(125).says("cows");
}

#[test]
fn sysctls_are_set_in_the_containers_namespaces() {
    let s = Sandbox::new();
    let flags =
        ["--sysctl", "net.ipv4.ip_unprivileged_port_start=42", "--sysctl", "kernel.msgmax=4096"];
    let run =
        s.sh(&flags, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax");
    assert_eq!(run.ok(), "42\n4096");
    let host = std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap_or_default();
    assert_ne!(host.trim(), "4096", "the host's own stays");
    s.sh(&["--sysctl", "kernel.panic=1"], "true").code(125).says("kernel.panic");
    s.sh(&["--sysctl", "net.ipv4.ip_forward=1", "--network", "host"], "true")
        .code(125)
        .says("net.ipv4.ip_forward");
}

#[test]
fn ports_below_1024_are_free_for_everybody() {
    let s = Sandbox::new();
    let run = s.sh(&["-u", "1000"], "cat /proc/sys/net/ipv4/ip_unprivileged_port_start");
    assert_eq!(run.ok(), "0");
}

#[test]
fn init_reaps_and_forwards() {
    let s = Sandbox::new();
    let run = s.sh(&["--init"], "cat /proc/1/comm; echo $$");
    let lines = run.lines();
    assert_ne!(lines[0], "sh");
    assert_ne!(lines[1], "1");
    // An orphan of PID 1 does not stay a zombie.
    let script = "(sleep 0.1 & exec true) ; sleep 0.4; ps -o stat,comm | grep -c '^Z' || true";
    assert_eq!(s.sh(&["--init"], script).ok(), "0");
    let id = s.detached(
        &["--init", "--name", "i1"],
        &["sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done"],
    );
    s.wait_for_log(&id, "up");
    s.tug(&["stop", "i1"]).ok();
    assert_eq!(s.format("i1", "{{.State.ExitCode}}"), "9");
}

#[test]
fn devices_are_dockers_and_no_others() {
    let s = Sandbox::new();
    let run = s.sh(&[], "cd /dev; ls; for l in fd stdin stdout stderr core ptmx; do readlink $l; done; stat -c '%n %a %t:%T' null zero full random urandom tty");
    let text = run.ok();
    let (names, rest) = text.split_once("/proc/self/fd").unwrap_or_default();
    assert_eq!(
        names.split_whitespace().collect::<Vec<_>>(),
        [
            "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr",
            "stdin", "stdout", "tty", "urandom", "zero"
        ]
    );
    for node in [
        "null 666 1:3",
        "zero 666 1:5",
        "full 666 1:7",
        "random 666 1:8",
        "urandom 666 1:9",
        "tty 666 5:0",
    ] {
        assert!(rest.contains(node), "{node}: {run}");
    }
}

#[test]
fn a_device_is_handed_in_with_its_permissions() {
    let s = Sandbox::new();
    let flags = ["--device", "/dev/loop-control:/dev/inside:r"];
    let run = s.sh(&flags, "stat -c '%t:%T' /dev/inside; exec 3</dev/inside && echo read; (exec 3>/dev/inside) 2>/dev/null || echo no write");
    assert_eq!(run.ok(), "a:ed\nread\nno write");
    s.sh(&["--device", "/dev/not-there"], "true").code(125).says("/dev/not-there");
}

#[test]
fn other_devices_cannot_be_opened_even_when_made() {
    let s = Sandbox::new();
    // mknod is a default capability; opening is what the cgroup refuses.
    let run = s.sh(&[], "mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg");
    assert!(run.code != 0, "{run}");
    run.says("Operation not permitted");
}

#[test]
fn privileged_has_what_the_host_gives() {
    let s = Sandbox::new();
    assert_eq!(capabilities(&s, &["--privileged"], "CapEff"), ours());
    let script = "test -e /dev/loop-control && mount -t tmpfs none /mnt 2>/dev/null || mkdir -p /mnt && mount -t tmpfs none /mnt && echo mounted; test -w /proc/sys/kernel/hostname && echo writable";
    s.sh(&["--privileged"], script).shows("mounted").shows("writable");
}

#[test]
fn shm_has_the_size_asked_for() {
    let s = Sandbox::new();
    let size = |flags: &[&str]| {
        s.sh(flags, "df -k /dev/shm | tail -n 1 | awk '{print $2}'").ok().to_owned()
    };
    assert_eq!(size(&[]), "65536");
    assert_eq!(size(&["--shm-size", "128m"]), "131072");
}

#[test]
fn a_user_namespace_maps_root_to_nobody_special() {
    let s = Sandbox::new();
    let run = s.sh(&["--userns", "private"], "id -u; awk '{print $2 != 0}' /proc/self/uid_map");
    assert_eq!(run.ok(), "0\n1");
}

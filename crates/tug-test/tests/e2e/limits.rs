//! cgroup limits, read back from inside and seen in effect.

use tug_test::sandbox::Sandbox;

/// Reads a limit of the calling container: v2 name, then v1 controller and name.
fn limit(v2: &str, controller: &str, v1: &str) -> String {
    format!("cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/{controller}/{v1}")
}

#[test]
fn memory_is_limited_and_its_lack_is_told() {
    let s = Sandbox::new();
    let read = limit("memory.max", "memory", "memory.limit_in_bytes");
    assert_eq!(s.sh(&["-m", "32m"], &read).ok(), "33554432");
    let grow = "x=a; while :; do x=$x$x$x$x; done";
    s.tug(&[
        "run",
        "--name",
        "big",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        "busybox",
        "sh",
        "-c",
        grow,
    ])
    .code(137);
    assert_eq!(s.format("big", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
}

#[test]
fn cpus_shares_and_sets_are_written() {
    let s = Sandbox::new();
    let quota = s.sh(
        &["--cpus", "0.5"],
        "cat /sys/fs/cgroup/cpu.max 2>/dev/null || echo $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us)",
    );
    assert_eq!(quota.ok(), "50000 100000");
    let shares = s.sh(
        &["--cpu-shares", "512"],
        "cat /sys/fs/cgroup/cpu.weight 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.shares",
    );
    assert!(["20", "512"].contains(&shares.ok()), "{shares}");
    let cpus = s.sh(&["--cpuset-cpus", "0"], "grep Cpus_allowed_list /proc/self/status");
    assert!(cpus.ok().ends_with("\t0"), "{cpus}");
    s.sh(&["--cpuset-cpus", "4095"], "true").code(125).says("4095");
}

#[test]
fn processes_are_limited() {
    let s = Sandbox::new();
    let read = limit("pids.max", "pids", "pids.max");
    assert_eq!(s.sh(&["--pids-limit", "20"], &read).ok(), "20");
    let fork = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait";
    let run = s.sh(&["--pids-limit", "4"], fork);
    run.says("can't fork");
}

#[test]
fn a_limit_below_the_least_is_refused() {
    let s = Sandbox::new();
    s.sh(&["-m", "1m"], "true").code(125).says("6MB");
    s.sh(&["-m", "64m", "--memory-swap", "32m"], "true").code(125).says("memoryswap");
    s.sh(&["--cpus", "4096"], "true").code(125).says("4096");
    s.sh(&["-m", "lots"], "true").code(125).says("lots");
}

#[test]
fn limits_show_in_inspect() {
    let s = Sandbox::new();
    let flags = [
        "-m",
        "64m",
        "--cpus",
        "1.5",
        "--pids-limit",
        "9",
        "--cpu-shares",
        "100",
        "--cpuset-cpus",
        "0",
    ];
    let id = s.tug(&[&["create"], &flags[..], &["busybox"]].concat());
    let shown = s.format(
        id.ok(),
        "{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.NanoCpus}} {{.PidsLimit}} {{.CpuShares}} {{.CpusetCpus}}{{end}}",
    );
    assert_eq!(shown, "67108864 134217728 1500000000 9 100 0");
}

#[test]
fn the_cgroup_inside_is_the_containers_own() {
    let s = Sandbox::new();
    let run = s.sh(&[], "cut -d: -f3 /proc/self/cgroup | sort -u");
    assert_eq!(run.ok(), "/");
    s.sh(&[], "mkdir /sys/fs/cgroup/x 2>&1 || mkdir /sys/fs/cgroup/memory/x 2>&1").code(1);
}

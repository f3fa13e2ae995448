//! What a command may cost, counted in what does not depend on the machine's mood: processes and
//! system calls. Times are for `./dev bench`.

use std::collections::BTreeMap;
use tug_test::sandbox::{Sandbox, binary};

/// Runs tug under strace; its trace.
fn trace(s: &Sandbox, calls: &str, arguments: &[&str]) -> String {
    let file = s.path("trace");
    let mut command = s.command("strace");
    command.args(["-f", "-qq", "-o", &file, "-e", calls]).arg(binary()).args(arguments);
    tug_test::process::Running::start(command).wait().code(0);
    std::fs::read_to_string(&file).unwrap_or_default()
}

/// Warm: bridge, table and database are there.
fn warm() -> Sandbox {
    let s = Sandbox::new();
    s.sh(&["-p", "8080:80"], "true").ok();
    s
}

#[test]
fn run_executes_nothing_but_tug_and_the_workload() {
    let s = warm();
    let text =
        trace(&s, "trace=execve,execveat", &["run", "--rm", "-p", "8080:80", "busybox", "true"]);
    let executed: Vec<_> =
        text.lines().filter(|line| line.contains("exec") && line.contains("= 0")).collect();
    let workload = executed.iter().filter(|line| line.contains("true")).count();
    let tug = executed
        .iter()
        .filter(|line| line.contains("tug") || line.contains("/proc/self/exe"))
        .count();
    assert!(workload >= 1, "{text}");
    assert!(executed.len() <= 3 && tug >= 1, "the command, the monitor, the workload: {text}");
}

#[test]
fn nothing_is_synced_for_what_dies_with_the_container() {
    let s = warm();
    let text = trace(
        &s,
        "trace=fsync,fdatasync,sync,syncfs,sync_file_range",
        &["run", "--rm", "busybox", "true"],
    );
    let syncs = text.lines().filter(|line| line.contains("sync")).count();
    assert_eq!(syncs, 0, "{text}");
}

/// Most system calls a command may make, over all its processes. Each is what was counted when it was
/// last looked at, and a tenth more: whoever raises one says why.
const CALLS: &[(&str, usize, &[&str])] = &[
    ("run --rm", 1800, &["run", "--rm", "busybox", "true"]),
    ("run --rm -p", 1850, &["run", "--rm", "-p", "8080:80", "busybox", "true"]),
    ("run --rm --network none", 1800, &["run", "--rm", "--network", "none", "busybox", "true"]),
    ("ps", 320, &["ps"]),
    ("images", 320, &["images"]),
];

#[test]
fn system_calls_stay_within_their_budget() {
    let s = warm();
    let mut over = Vec::new();
    for (name, most, arguments) in CALLS {
        let text = trace(&s, "trace=all", arguments);
        let mut counts = BTreeMap::new();
        for line in text.lines().filter(|line| line.contains('(') && !line.contains("resumed>")) {
            let call = line.split('(').next().and_then(|head| head.split_whitespace().last());
            *counts.entry(call.unwrap_or_default().to_owned()).or_insert(0) += 1;
        }
        let total: usize = counts.values().sum();
        let mut top: Vec<_> = counts.into_iter().collect();
        top.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        top.truncate(12);
        println!("{name}: {total} of {most}: {top:?}");
        if total > *most {
            over.push(format!("{name}: {total} system calls, {most} allowed: {top:?}"));
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}

#[test]
fn listing_does_not_grow_with_what_each_container_is() {
    let s = warm();
    let count = || trace(&s, "trace=all", &["ps"]).lines().count();
    let alone = count();
    for _ in 0..20 {
        s.detached(&[], &["sleep", "600"]);
    }
    let many = count();
    assert!(many <= alone + 20 * 30, "{alone} calls for none, {many} for twenty");
}

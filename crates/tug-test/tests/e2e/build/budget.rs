//! What builds keep and write stays below a budget.

use super::{Project, in_app, steps};
use std::time::Duration;
use tug_test::sandbox::Sandbox;

const MIB: u64 = 1 << 20;

fn sandbox(budget: &str) -> Sandbox {
    let mut s = Sandbox::new();
    s.set_env("TUG_BUILD_CACHE", budget);
    s
}

/// Bytes of everything in the data root, as files have them.
fn disk(s: &Sandbox) -> u64 {
    let du = s.shell(&format!("du -s --apparent-size -B1 {} | cut -f1", s.data_root().display()));
    du.stdout.trim().parse().unwrap_or(0)
}

fn written(megabytes: u64) -> String {
    format!("dd if=/dev/urandom bs=1M count={megabytes} 2>/dev/null")
}

#[test]
fn a_command_that_writes_more_than_the_budget_is_stopped() {
    let s = sandbox("24m");
    let before = disk(&s);
    // Slowly, and more than any look could miss.
    let p = Project::new(
        &s,
        &format!(
            "FROM busybox\nRUN i=0; while [ $i -lt 4000 ]; do {} > /f$i; i=$((i+1)); sleep 0.02; done\n",
            written(1)
        ),
        &[],
    );
    let started = s.start(&["build", &p.path()]);
    let mut most = 0;
    let mut started = started;
    while started.0.alive() {
        most = most.max(disk(&s).saturating_sub(before));
        std::thread::sleep(Duration::from_millis(20));
    }
    let failed = started.wait_in(&s);
    failed.code(1).says("the build cache's budget of 25165824 bytes is used up by this step");
    failed.hint("TUG_BUILD_CACHE");
    assert!(most > 12 * MIB, "{most}: it was stopped too early");
    // A slow machine looks late.
    assert!(most < 150 * MIB, "{most}: it was stopped too late");
    assert!(disk(&s).saturating_sub(before) < 2 * MIB, "what it wrote is still there");
}

#[test]
fn a_command_that_is_quicker_than_any_look_is_found_afterwards() {
    let s = sandbox("24m");
    let p = Project::new(&s, &format!("FROM busybox\nRUN {} > /f\n", written(30)), &[]);
    p.try_build(&s, &[]).code(1).says("budget of 25165824 bytes");
    let fits = Project::new(&s, &format!("FROM busybox\nRUN {} > /f\n", written(20)), &[]);
    fits.build(&s, &[]);
    assert_eq!(in_app(&s, "stat -c %s /f"), (20 * MIB).to_string());
}

#[test]
fn files_that_do_not_fit_are_not_copied() {
    let s = sandbox("24m");
    let p = Project::new(&s, "FROM busybox\nCOPY . /all/\n", &[]);
    s.shell(&format!(
        "cd {} && {} > big && tar -cf x.tar big && mkdir d && mv big d",
        p.path(),
        written(30)
    ))
    .ok();
    let before = disk(&s);
    p.try_build(&s, &[]).code(1).says("budget of 25165824 bytes");
    p.write("Dockerfile", "FROM busybox\nADD x.tar /all/\n");
    p.try_build(&s, &[]).code(1).says("budget of 25165824 bytes");
    assert!(disk(&s).saturating_sub(before) < 2 * MIB);
}

#[test]
fn cache_mounts_count_and_the_longest_unused_goes_first() {
    let s = sandbox("64m");
    let cache = |id: &str, megabytes: u64| {
        let dockerfile = format!(
            "FROM busybox\nARG N\nRUN --mount=type=cache,id={id},target=/c ls /c > /seen; {} > /c/f$N\n",
            written(megabytes)
        );
        Project::new(&s, &dockerfile, &[])
    };
    let (old, new) = (cache("old", 20), cache("new", 20));
    let n = |n: &str| ["--build-arg".to_owned(), format!("N={n}")];
    let build = |p: &Project, number: &str| {
        let arguments = n(number);
        p.build(&s, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    build(&old, "1");
    build(&new, "1");
    let du = s.tug(&["builder", "du", "--verbose"]);
    du.shows("Type:          cachemount").shows("Description:   new").shows("Description:   old");
    assert!(s.tug(&["builder", "du"]).stdout.contains("20.97MB"), "{}", s.tug(&["builder", "du"]));
    build(&new, "2");
    build(&new, "3");
    let left = s.tug(&["builder", "du", "--verbose"]);
    assert!(!left.stdout.contains("Description:   old"), "{left}");
    assert_eq!(in_app(&s, "cat /seen"), "f1\nf2", "the newer one was kept");
    // Alone it is too big: the step says so, and the cache is gone.
    let arguments = n("4");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    new.try_build(&s, &arguments).code(1).says("budget of 67108864 bytes");
    assert!(!s.tug(&["builder", "du", "--verbose"]).stdout.contains("cachemount"));
    s.tug(&["builder", "prune", "-a", "-f"]).ok();
    let left = s.tug(&["builder", "du"]);
    assert!(left.stdout.trim_end().ends_with(" 0B"), "{left}");
}

#[test]
fn a_mount_in_use_is_not_taken_away_and_a_pruned_one_is_made_anew() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM busybox\nARG N\nRUN --mount=type=cache,target=/c echo $N >> /c/f; sleep $N; cat /c/f > /seen\n",
        &[],
    );
    p.build(&s, &["--build-arg", "N=0"]);
    let running = s.start(&["build", "-t", "app", "--build-arg", "N=2", &p.path()]);
    tug_test::wait::until("the step to run", || !s.container_dirs().is_empty());
    std::thread::sleep(Duration::from_millis(300));
    s.tug(&["builder", "prune", "-a", "-f"]).ok();
    running.wait_in(&s).ok();
    assert_eq!(in_app(&s, "cat /seen"), "0\n2");
    s.tug(&["builder", "prune", "-a", "-f"]).ok();
    p.build(&s, &["--build-arg", "N=1"]);
    assert_eq!(in_app(&s, "cat /seen"), "1");
}

#[test]
fn what_was_used_longest_ago_makes_room_for_results() {
    let s = sandbox("32m");
    let build = |n: u32| {
        // Two stages: what the first one wrote is in no image.
        let dockerfile = format!(
            "FROM busybox AS work\nRUN : {n}; {} > /f\nFROM busybox\nCOPY --from=work /etc/passwd /p\n",
            written(12)
        );
        Project::new(&s, &dockerfile, &[])
    };
    let (one, two, three) = (build(1), build(2), build(3));
    one.build(&s, &[]);
    two.build(&s, &[]);
    assert_eq!(steps(&one.build(&s, &[])).1.len(), 0, "both fit, and the first was used last");
    three.build(&s, &[]);
    assert_eq!(steps(&one.build(&s, &[])).1.len(), 0);
    assert_eq!(steps(&two.build(&s, &[])).1.len(), 1, "it made room");
}

#[test]
fn what_a_killed_build_wrote_to_a_cache_mount_counts() {
    let s = sandbox("64m");
    let dockerfile = format!(
        "FROM busybox\nRUN --mount=type=cache,target=/c {} > /c/f; touch /c/done; sleep 600\n",
        written(50)
    );
    let p = Project::new(&s, &dockerfile, &[]);
    let started = s.start(&["build", &p.path()]);
    let find = format!("find {}/build/mounts -name done", s.data_root().display());
    tug_test::wait::until("the cache to be filled", || s.shell(&find).stdout.contains("done"));
    tug_test::process::kill_and_wait(started.0.pid());
    tug_test::wait::until("the step to be gone", || s.container_dirs().is_empty());
    let other = Project::new(&s, &format!("FROM busybox\nRUN {} > /f\n", written(20)), &[]);
    other.build(&s, &[]);
    let du = s.tug(&["builder", "du", "--verbose"]);
    assert!(!du.stdout.contains("cachemount"), "{du}");
}

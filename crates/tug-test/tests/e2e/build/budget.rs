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
    du.shows("Type:         exec.cachemount");
    du.shows("Description:  cached mount with id \"new\"").shows("cached mount with id \"old\"");
    assert!(s.tug(&["builder", "du"]).stdout.contains("20.97MB"), "{}", s.tug(&["builder", "du"]));
    build(&new, "2");
    build(&new, "3");
    let left = s.tug(&["builder", "du", "--verbose"]);
    assert!(!left.stdout.contains("with id \"old\""), "{left}");
    assert_eq!(in_app(&s, "cat /seen"), "f1\nf2", "the newer one was kept");
    // Alone it is too big: the step says so, and the cache is gone.
    let arguments = n("4");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    new.try_build(&s, &arguments).code(1).says("budget of 67108864 bytes");
    assert!(!s.tug(&["builder", "du", "--verbose"]).stdout.contains("cachemount"));
    s.tug(&["builder", "prune", "-a", "-f"]).ok();
    let left = s.tug(&["builder", "du"]);
    assert!(left.stdout.trim_end().ends_with("\t0B"), "{left}");
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

/// Bytes of what only builds have, as `builder du` says it: four digits of it.
fn private(s: &Sandbox) -> f64 {
    let du = s.tug(&["builder", "du"]);
    let line = du.ok().lines().find_map(|line| line.strip_prefix("Private:")).unwrap_or_default();
    bytes(line.trim())
}

fn bytes(text: &str) -> f64 {
    let digits = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let unit = match &text[digits..] {
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        _ => 1.0,
    };
    text[..digits].parse::<f64>().unwrap_or(f64::MAX) * unit
}

#[test]
fn what_is_kept_never_exceeds_the_budget_whoever_looks() {
    let s = sandbox("40m");
    let budget = (40 * MIB) as f64 * 1.0005;
    let build = |n: usize| {
        let (kept, cached) = (5 + n * 7 % 13, 2 + n * 5 % 9);
        // What a stage wrote that is in no image, what is in one, and a cache.
        let dockerfile = format!(
            "FROM busybox AS work\nRUN : {n}; {} > /f\nFROM busybox\n\
             RUN --mount=type=cache,id=c{},target=/c {} > /c/f{n}\nRUN : {n}; {} > /g\n\
             COPY --from=work /etc/passwd /p\n",
            written(kept as u64),
            n % 3,
            written(cached as u64),
            written(3),
        );
        Project::new(&s, &dockerfile, &[])
    };
    let done = std::sync::atomic::AtomicBool::new(false);
    let (looks, most) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let (mut looks, mut most) = (0, 0.0);
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let now = private(&s);
                assert!(now <= budget, "{now} bytes are kept of {budget}");
                most = now.max(most);
                looks += 1;
            }
            (looks, most)
        });
        let mut succeeded = 0;
        for round in 0..5 {
            let projects: Vec<_> = (0..3).map(|n| build(round * 3 + n)).collect();
            let tag = |n: usize| format!("app{n}");
            let started = projects.iter().enumerate();
            let mut started: Vec<_> =
                started.map(|(n, p)| s.start(&["build", "-t", &tag(n), &p.path()])).collect();
            if round % 2 == 1 {
                std::thread::sleep(Duration::from_millis(150 + 100 * round as u64));
                let killed = started.remove(0);
                tug_test::process::kill_and_wait(killed.0.pid());
            }
            for one in started {
                let out = one.wait_in(&s);
                // Three at once may want more than there is.
                assert!(out.code == 0 || out.stderr.contains("budget"), "{out}");
                succeeded += usize::from(out.code == 0);
            }
            // What an image had is the cache's alone then.
            s.tug(&["rmi", "-f", &tag(round % 3)]);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let watched = watch.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(succeeded >= 5, "only {succeeded} builds had room");
        watched
    });
    println!("{looks} looks, {most} bytes at most");
    assert!(looks >= 20 && most > 0.4 * budget, "{looks} looks, {most} bytes at most");
    let df = s.tug(&["system", "df", "--format", "{{.Type}}={{.Size}}"]);
    let df = df.ok().lines().find_map(|line| line.strip_prefix("Build Cache=")).unwrap_or_default();
    assert_eq!(bytes(df), private(&s), "df and du agree");
}

#[test]
fn what_an_image_leaves_to_the_cache_must_fit() {
    let s = sandbox("24m");
    let image = format!("FROM busybox\nRUN {} > /f\n", written(20));
    Project::new(&s, &image, &[]).build(&s, &[]);
    let dockerfile = format!(
        "FROM busybox AS work\nRUN {} > /f\nFROM busybox\nCOPY --from=work /etc/passwd /p\n",
        written(12)
    );
    let other = Project::new(&s, &dockerfile, &[]);
    other.try_build(&s, &["-t", "other"]).ok();
    let before = disk(&s);
    s.tug(&["rmi", "app"]).ok();
    assert!(private(&s) < 13.0 * 1e6, "{}", private(&s));
    assert!(disk(&s) + 19 * MIB < before, "its files are gone");
    assert_eq!(steps(&other.try_build(&s, &["-t", "other"])).1, Vec::<String>::new());
}

#[test]
fn the_budget_can_be_set_for_good_and_the_variable_comes_first() {
    let mut s = Sandbox::new();
    let file = s.path("registries.json");
    std::fs::write(&file, r#"{"build-cache": "24m"}"#).unwrap();
    s.set_env("TUG_REGISTRIES", &file);
    let p = Project::new(&s, &format!("FROM busybox\nRUN {} > /f\n", written(30)), &[]);
    p.try_build(&s, &[]).code(1).says("budget of 25165824 bytes").hint("registries.json");
    s.set_env("TUG_BUILD_CACHE", "48m");
    p.build(&s, &[]);
    std::fs::write(&file, r#"{"build-cache": "many"}"#).unwrap();
    s.set_env("TUG_BUILD_CACHE", "");
    p.try_build(&s, &[]).says("build-cache in registries.json: invalid size: 'many'");
}

#[test]
fn cache_mounts_are_counted_by_df_and_pruned_by_what_they_are() {
    let s = Sandbox::new();
    let dockerfile = format!(
        "FROM busybox\nRUN --mount=type=cache,id=big,target=/c {} > /c/f\nRUN echo 1 > /f\n",
        written(20)
    );
    Project::new(&s, &dockerfile, &[]).build(&s, &[]);
    let df = |s: &Sandbox| {
        let df = s.tug(&[
            "system",
            "df",
            "--format",
            "{{.Type}} {{.TotalCount}} {{.Size}} {{.Reclaimable}}",
        ]);
        df.ok().lines().last().unwrap_or_default().to_owned()
    };
    assert_eq!(df(&s), "Build Cache 3 20.97MB 20.97MB");
    s.tug(&["system", "df", "-v"]).shows("exec.cachemount   21MB").shows("regular");
    // The figure is what was recorded: nobody walks for it.
    let mounts = s.data_root().join("build/mounts");
    s.shell(&format!("cd {}/* && echo more > data/more && rm data/f", mounts.display())).ok();
    assert_eq!(df(&s), "Build Cache 3 20.97MB 20.97MB");
    let du = s.tug(&["builder", "du", "--filter", "type=exec.cachemount", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(du.ok()).unwrap();
    assert_eq!((&json["Mutable"], &json["Size"]), (&true.into(), &"20.97MB".into()));
    assert!(json["Description"].as_str().unwrap().contains("\"big\""), "{json}");
    for nothing in ["type=regular", "inuse=true", "until=1h", "id=zzz", "immutable=true"] {
        let pruned = s.tug(&["builder", "prune", "-f", "--filter", nothing]);
        assert_eq!(pruned.ok(), "Total:\t0B", "{nothing}");
    }
    for keep in ["--max-used-space", "--reserved-space", "--keep-storage"] {
        assert_eq!(s.tug(&["builder", "prune", "-f", keep, "1gb"]).ok(), "Total:\t0B", "{keep}");
    }
    assert_eq!(s.tug(&["builder", "prune", "-f", "--min-free-space", "1kb"]).ok(), "Total:\t0B");
    s.tug(&["builder", "prune", "-f", "--filter", "parents=x"]).says("parents is not supported");
    s.tug(&["builder", "prune", "-f", "--filter", "type=a", "--filter", "type=b"])
        .says("filters expect only one value");
    let pruned = s.tug(&["builder", "prune", "-f", "--filter", "type=exec.cachemount"]);
    let lines: Vec<&str> = pruned.ok().lines().collect();
    assert_eq!(lines[0], "ID\t\t\t\t\t\tRECLAIMABLE\tSIZE\t\tLAST ACCESSED");
    assert!(lines[1].contains("*") && lines[1].contains("\ttrue \t\t20.97MB\t\t"), "{pruned}");
    assert_eq!(lines[2..], ["Total:\t20.97MB"]);
    assert_eq!(df(&s), "Build Cache 2 0B 0B");
    assert_eq!(std::fs::read_dir(&mounts).unwrap().count(), 0, "its directory is gone");
    let asked = s.tug_with(&["builder", "prune", "-a"], b"n\n");
    asked.shows(
        "WARNING! This will remove all build cache. Are you sure you want to continue? [y/N]",
    );
}

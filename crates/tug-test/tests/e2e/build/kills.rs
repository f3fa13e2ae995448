//! Builds killed at random moments: built again they give the image they would have given, the store is
//! whole, and nothing is left.
//!
//! The seed is printed; `TUG_TEST_SEED` repeats a run, `TUG_TEST_ROUNDS` makes it longer.

use super::Project;
use crate::faults::{self, Dice, Victim, kill, tugs};
use std::time::{Duration, Instant};
use tug_test::process::Running;
use tug_test::sandbox::{Sandbox, Started};
use tug_test::wait::until;

/// Something of everything: stages side by side, files, commands, secrets, caches, binds.
const DOCKERFILE: &str = "\
FROM busybox AS one
WORKDIR /one
COPY src .
RUN i=0; while [ $i -lt 50 ]; do echo $i > file$i; i=$((i+1)); done; rm file7
RUN --mount=type=secret,id=s,required wc -c < /run/secrets/s > length
FROM busybox AS two
RUN --mount=type=cache,target=/c echo x >> /c/log; mkdir -p /two/a/b; ln -s b /two/a/l
RUN --mount=target=/ctx cp -r /ctx/src /two/src
FROM busybox
COPY --from=one /one /one
COPY --from=two --chown=5:6 /two /two
ADD archive.tar /unpacked/
RUN rm -r /two/src/sub; echo done > /done
LABEL a=b
";

/// Ends the build as a power switch would: its processes, the monitors of its steps, the commands.
fn everything(s: &Sandbox, started: &Started) {
    let command = started.0.pid();
    kill(command);
    // Those who are being started when the others are killed.
    for _ in 0..3 {
        tugs(s, command).into_iter().for_each(kill);
        faults::strike(s, Victim::Container, started);
    }
}

/// Leases, and what is on its way to deletion.
fn leftovers(s: &Sandbox) -> Vec<String> {
    let dir = std::fs::read_dir(s.data_root().join("tmp")).into_iter().flatten().flatten();
    let names = dir.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("lease-") || name.starts_with("trash-")).collect()
}

/// What a killed build may leave for the next one, and what comes after that one must not find.
fn no_leftovers(s: &Sandbox, what: &str) {
    until(&format!("no lease of a dead build: {what}"), || {
        // The build that came after it has started who looks for dead ones.
        leftovers(s).is_empty()
    });
    let builds = std::fs::read_dir(s.exec_root().join("builds")).into_iter().flatten().flatten();
    let builds: Vec<_> = builds.map(|entry| entry.path()).collect();
    assert!(builds.is_empty(), "{builds:?} are left: {what}");
}

#[test]
fn a_killed_build_is_built_again_as_if_nothing_had_been() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("TUG_TEST_SEED").unwrap_or(0x6b69_6c6c + u64::from(std::process::id()));
    let rounds = number("TUG_TEST_ROUNDS").unwrap_or(100);
    println!("TUG_TEST_SEED={seed}");
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let s = Sandbox::new();
    let p = Project::new(&s, DOCKERFILE, &[("src/f", "1"), ("src/sub/g", "2"), ("secret", "hush")]);
    s.shell(&format!("cd {0} && tar -cf archive.tar src && rm -f x", p.path())).ok();
    let secret = format!("id=s,src={}/secret", p.path());
    let path = p.path();
    let build =
        ["build", "-t", "app", "--build-arg", "SOURCE_DATE_EPOCH=7", "--secret", &secret, &path];
    let begun = Instant::now();
    s.tug(&build).ok();
    let whole = begun.elapsed();
    let expected = s.format("app", "{{.Id}}");
    for round in 0..rounds {
        s.tug(&["rmi", "-f", "app"]).ok();
        // Mostly from nothing; else with what a killed build had finished.
        if dice.roll(4) > 0 {
            s.tug(&["builder", "prune", "-a", "-f"]).ok();
        }
        let delay = whole.mul_f64(dice.roll(1000) as f64 / 900.0);
        let all = dice.roll(2) == 0;
        let what =
            format!("TUG_TEST_SEED={seed}, round {round}: killed after {delay:?}, all: {all}");
        let started = s.start(&build);
        std::thread::sleep(delay);
        match all {
            true => everything(&s, &started),
            false => kill(started.0.pid()),
        }
        let Started(running) = started;
        Running::wait(running);
        let again = s.tug(&build);
        assert_eq!(again.code, 0, "{what}: {again}");
        assert_eq!(s.format("app", "{{.Id}}"), expected, "{what}: another image");
        let checked = s.tug(&["system", "check"]);
        assert_eq!(checked.code, 0, "{what}: {checked}");
        assert_eq!(s.tug(&["ps", "-aq"]).ok(), "", "{what}");
        if round % 10 == 9 {
            faults::nothing_left(&s, &what);
            // What was made so shortly before the kill that its owner might be about to lock it waits.
            std::thread::sleep(Duration::from_millis(2100));
            s.tug(&build).ok();
            no_leftovers(&s, &what);
        }
    }
}

#[test]
fn what_a_killed_build_left_goes_with_the_next_build_even_when_that_is_all_cached() {
    let s = Sandbox::new();
    let small = Project::new(&s, "FROM busybox\nRUN echo 1 > /f\n", &[]);
    small.build(&s, &[]);
    until("all to be on the disk", || {
        let layers = std::fs::read_dir(s.data_root().join("layers")).into_iter().flatten();
        layers.flatten().all(|layer| layer.path().join("synced").exists())
            && leftovers(&s).is_empty()
    });
    let big = "FROM busybox\nRUN dd if=/dev/zero of=/f bs=1M count=5; touch /done; sleep 600\n";
    let big = Project::new(&s, big, &[]);
    let kill_one = || {
        let started = s.start(&["build", &big.path()]);
        let find = format!("find {} -name done", s.data_root().display());
        until("the step to write", || s.shell(&find).stdout.contains("done"));
        tug_test::process::kill_and_wait(started.0.pid());
        until("the step to be gone", || s.container_dirs().is_empty());
        assert!(!leftovers(&s).is_empty(), "there is nothing to be swept");
    };
    kill_one();
    small.build(&s, &[]);
    until("the next build to sweep", || leftovers(&s).is_empty());
    kill_one();
    Project::new(&s, "FROM busybox\nRUN false\n", &[]).try_build(&s, &[]).code(1);
    until("a build that fails to sweep", || leftovers(&s).is_empty());
    kill_one();
    s.tug(&["builder", "prune", "-f", "--keep-storage", "1gb"]).ok();
    assert_eq!(leftovers(&s), Vec::<String>::new(), "pruning sweeps");
}

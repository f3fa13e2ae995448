//! Several stages: only what is needed runs, and side by side.

use super::{Project, in_app, steps};
use std::time::Instant;
use tug_test::sandbox::Sandbox;

#[test]
fn unused_stages_never_run_and_a_target_ends_the_build() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        concat!(
            "FROM busybox AS base\nRUN echo base > /base\n",
            "FROM busybox AS unused\nRUN exit 1\n",
            "FROM base AS middle\nRUN echo middle > /middle\n",
            "FROM middle\nCOPY --from=base /base /copied\nRUN cat /middle /copied > /all\n",
        ),
        &[],
    );
    p.build(&s, &[]);
    assert_eq!(in_app(&s, "cat /all"), "middle\nbase");
    p.build(&s, &["--target", "middle"]);
    assert_eq!(in_app(&s, "ls /all 2>&1 | wc -l; cat /middle"), "1\nmiddle");
    p.try_build(&s, &["--target", "midle"]).code(1).says("\"midle\" could not be found");
    p.try_build(&s, &["--target", "unused"]).code(1).says("exit code: 1");
}

#[test]
fn files_come_from_stages_by_name_and_number_and_from_images() {
    let s = Sandbox::new();
    s.tug(&["tag", "busybox", "other"]).ok();
    let p = Project::new(
        &s,
        "FROM busybox\nRUN echo zero > /f\nFROM scratch\nCOPY --from=0 /f /zero\nCOPY --from=other /etc/passwd /passwd\nFROM busybox\nCOPY --from=1 / /all/\n",
        &[],
    );
    p.build(&s, &[]);
    assert_eq!(
        in_app(&s, "cat /all/zero; head -1 /all/passwd"),
        "zero\nroot:x:0:0:root:/root:/bin/sh"
    );
    let named = Project::new(&s, "FROM busybox\nCOPY --from=extra x /x\n", &[]);
    let extra = Project::new(&s, "", &[("x", "from elsewhere")]);
    named.build(&s, &["--build-context", &format!("extra={}", extra.path())]);
    assert_eq!(in_app(&s, "cat /x"), "from elsewhere");
    named.try_build(&s, &[]).code(1);
    let replaced = Project::new(&s, "FROM nonexistent\nRUN true\n", &[]);
    replaced.build(&s, &["--build-context", "nonexistent=docker-image://busybox"]);
    let files = Project::new(
        &s,
        "FROM busybox AS b\nFROM base\nCOPY --from=b /bin /bin\nRUN cat /x > /y\n",
        &[],
    );
    files.build(&s, &["--build-context", &format!("base={}", extra.path())]);
    assert_eq!(in_app(&s, "cat /y"), "from elsewhere");
}

#[test]
fn independent_stages_run_side_by_side() {
    let s = Sandbox::new();
    let mut dockerfile = String::new();
    for number in 0..8 {
        dockerfile += &format!("FROM busybox AS s{number}\nRUN sleep 1; echo {number} > /f\n");
    }
    dockerfile += "FROM scratch\n";
    for number in 0..8 {
        dockerfile += &format!("COPY --from=s{number} /f /{number}\n");
    }
    let p = Project::new(&s, &dockerfile, &[]);
    let begun = Instant::now();
    let output = p.try_build(&s, &["-t", "all"]);
    output.ok();
    let took = begun.elapsed();
    assert_eq!(steps(&output).1.len(), 16);
    assert!(took.as_secs_f64() < 6.0, "8 sleeps of a second took {took:?}");
}

#[test]
fn arguments_before_from_and_platforms() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        concat!(
            "ARG NAME=busybox\nARG TAG\n",
            "FROM ${NAME}:${TAG:-latest}\n",
            "ARG TAG=inner\nARG TARGETARCH\nARG TARGETPLATFORM\n",
            "RUN echo \"$NAME|$TAG|$TARGETARCH|$TARGETPLATFORM\" > /seen\n",
        ),
        &[],
    );
    p.build(&s, &[]);
    let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    assert_eq!(in_app(&s, "cat /seen"), format!("|inner|{arch}|linux/{arch}"));
}

#[test]
fn a_chain_of_stages_may_be_long() {
    let s = Sandbox::new();
    let mut dockerfile = "FROM busybox AS s0\nRUN echo first > /f\n".to_owned();
    for number in 1..600 {
        dockerfile += &format!("FROM s{} AS s{number}\nLABEL l={number}\n", number - 1);
    }
    let p = Project::new(&s, &dockerfile, &[]);
    p.build(&s, &[]);
    assert_eq!(super::config(&s, "app")["Labels"]["l"], "599");
    p.try_build(&s, &["--check"]).ok();
}

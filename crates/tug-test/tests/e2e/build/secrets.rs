//! Secrets are in no layer, configuration, log or record, however a build ends.

use super::{Project, config};
use std::os::unix::net::UnixListener;
use tug_test::output::Output;
use tug_test::process::kill_and_wait;
use tug_test::sandbox::Sandbox;
use tug_test::wait::{until, until_some};

const FILE: &str = "correct-horse-battery-staple";
const VARIABLE: &str = "tr0ub4dor-and-three";
const FROM_ENVIRONMENT: &str = "hunter2-of-the-environment";

/// Files below a directory that hold one of the secrets: databases, write-ahead logs, layers, all of it.
fn holders(s: &Sandbox, root: &std::path::Path) -> Vec<String> {
    let script = format!(
        "grep -rlaF -e {FILE} -e {VARIABLE} -e {FROM_ENVIRONMENT} {} 2>/dev/null; true",
        root.display()
    );
    s.shell(&script).lines().into_iter().map(str::to_owned).collect()
}

fn nowhere(s: &Sandbox, output: &Output) {
    for root in [s.data_root(), s.exec_root()] {
        assert_eq!(holders(s, &root), Vec::<String>::new(), "after {output}");
    }
    for secret in [FILE, VARIABLE, FROM_ENVIRONMENT] {
        assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret), "{output}");
    }
}

/// A sandbox that has the secrets, and the flags that give them.
fn with_secrets() -> (Sandbox, Vec<String>, UnixListener) {
    let mut s = Sandbox::new();
    s.set_env("MY_TOKEN", VARIABLE);
    s.set_env("other", FROM_ENVIRONMENT);
    std::fs::write(s.dir().join("secret"), FILE).unwrap();
    let agent = s.path("agent");
    let listener = UnixListener::bind(&agent).unwrap();
    let flags = [
        format!("--secret=id=file,src={}", s.path("secret")),
        "--secret=id=token,env=MY_TOKEN".to_owned(),
        "--secret=id=other".to_owned(),
        format!("--ssh=default={agent}"),
    ];
    (s, flags.to_vec(), listener)
}

const MOUNTS: &str = concat!(
    "RUN --mount=type=secret,id=file --mount=type=secret,id=token,env=TOKEN,target=/t ",
    "--mount=type=secret,id=other,target=/o,mode=0444 --mount=type=ssh,required ",
    "test -S $SSH_AUTH_SOCK && cat /run/secrets/file /t /o | wc -c > /length && test -n \"$TOKEN\""
);

#[test]
fn whatever_is_built_secrets_are_nowhere() {
    let (s, flags, _agent) = with_secrets();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let p = Project::new(&s, &format!("FROM busybox\n{MOUNTS}\nRUN cat /length\n"), &[]);
    nowhere(&s, &p.build(&s, &flags));
    let cached = p.build(&s, &[&flags[..], &["--progress=plain", "--explain"]].concat());
    nowhere(&s, &cached);
    for view in ["rawjson", "plain", "quiet"] {
        let flags = [&flags[..], &["--no-cache", "--progress", view]].concat();
        nowhere(&s, &p.build(&s, &flags));
    }
    let saved = s.path("saved.tar");
    s.tug(&["save", "-o", &saved, "app"]).ok();
    let plain = s.path("plain");
    s.shell(&format!("mkdir {plain} && tar -xf {saved} -C {plain} && cd {plain} && find . -type f -exec sh -c 'gzip -dc < {{}} > {{}}.raw 2>/dev/null; true' \\;"))
        .ok();
    assert_eq!(holders(&s, std::path::Path::new(&plain)), Vec::<String>::new());
    p.write("Dockerfile", &format!("FROM busybox\n{MOUNTS}; exit 3\n"));
    for more in [&[][..], &["--debug"], &["--progress=rawjson", "--explain"]] {
        let failed = p.try_build(&s, &[&flags[..], more].concat());
        failed.code(1);
        nowhere(&s, &failed);
    }
    // What is missing is named, what is there is not told.
    p.write(
        "Dockerfile",
        &format!("FROM busybox\n{MOUNTS}\nRUN --mount=type=secret,id=x,required :\n"),
    );
    let missing = p.try_build(&s, &flags);
    missing.code(1).says("secret x: not found");
    nowhere(&s, &missing);
}

#[test]
fn a_secret_is_never_on_the_stores_disk_and_goes_with_the_next_build_when_its_own_is_killed() {
    let (s, flags, _agent) = with_secrets();
    let p = Project::new(&s, &format!("FROM busybox\n{MOUNTS} && echo in && sleep 600\n"), &[]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let started = s.start(&[&["build"], &flags[..], &[&p.path()]].concat());
    until("the secrets to be there", || !holders(&s, &s.exec_root()).is_empty());
    assert_eq!(holders(&s, &s.data_root()), Vec::<String>::new(), "while the command runs");
    let in_run = holders(&s, &s.exec_root());
    assert!(in_run.iter().all(|file| file.contains("/builds/")), "{in_run:?}");
    kill_and_wait(started.0.pid());
    until_some("the step to be gone", || s.container_dirs().is_empty().then_some(()));
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let other = Project::new(&s, "FROM busybox\n", &[]);
    nowhere(&s, &other.build(&s, &[]));
}

#[test]
fn arguments_are_no_secrets_and_are_in_the_history() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM busybox\nARG V=0\nARG W\nRUN echo $V > /v\n", &[]);
    p.build(&s, &["--build-arg", "V=visible"]);
    let history = s.tug(&["history", "--no-trunc", "--format", "{{.CreatedBy}}", "app"]);
    history.shows("RUN |2 V=visible W= /bin/sh -c echo $V > /v");
    let env = config(&s, "app")["Env"].to_string();
    assert!(!env.contains("visible"), "{env}");
}

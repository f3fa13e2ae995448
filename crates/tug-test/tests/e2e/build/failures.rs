//! Builds that fail, are interrupted or are killed.

use super::{Project, in_app, steps};
use tug_test::sandbox::Sandbox;
use tug_test::wait::until_some;

#[test]
fn a_failed_step_is_shown_with_its_line_output_and_code() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM busybox\nRUN true\nRUN echo before; \\\n    exit 7\n", &[]);
    let failed = p.try_build(&s, &[]);
    failed.code(1).says(" > [3/3] RUN echo before;").says("before").says("Dockerfile:3");
    failed.says(">>> RUN echo before").says(
        "failed to solve: process \"/bin/sh -c echo before;     exit 7\" did not complete successfully: exit code: 7",
    );
    // What went before it is not lost.
    p.write("Dockerfile", "FROM busybox\nRUN true\nRUN exit 0\n");
    assert_eq!(steps(&p.build(&s, &[])).0.len(), 1);
}

#[test]
fn mistakes_in_a_dockerfile_point_at_the_place() {
    let s = Sandbox::new();
    let p = |text: &str| Project::new(&s, text, &[("file.txt", "")]);
    let comment = p("FROM ubuntu:bionic // 18.04\n").try_build(&s, &[]);
    comment.code(1).says("Dockerfile:1").says("//").hint("comment");
    p("FROM busybox\nRUM true\n").try_build(&s, &[]).code(1).says("RUM").says("RUN");
    p("").try_build(&s, &[]).code(1).says("empty");
    let missing = p("FROM busybox\nCOPY fil.txt /\n").try_build(&s, &[]);
    missing.code(1).says("\"/fil.txt\": not found").says("Dockerfile:2").hint("\"file.txt\"");
    p("FROM busybox\nRUN [\"nonesuch\"]\n")
        .try_build(&s, &[])
        .code(1)
        .says("exit code: 127")
        .says("exec: \"nonesuch\": executable file not found in $PATH");
    p("FROM scratch\nCOPY --chown=nosuch file.txt /\n").try_build(&s, &[]).code(1).says("nosuch");
    let root = p("FROM busybox\nCOPY --chown=nosuch file.txt /\n").build(&s, &[]);
    root.says("unable to find user nosuch");
    p("FROM busybox\nCOPY --from=late / /\nFROM busybox AS late\n")
        .try_build(&s, &["--target", "0"])
        .code(1)
        .says("\"late\" needs to be defined before it is used");
}

#[test]
fn a_failed_build_says_what_the_checks_found_and_where_it_was() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM busybox AS builder\nMAINTAINER me\nRUN exit 3\n", &[]);
    let failed = p.try_build(&s, &[]);
    failed.code(1).says("1 warning found").says("- MaintainerDeprecated: ").says("(line 2)");
    failed.says("------\n > [2/2] RUN exit 3:\n------");
    p.write("Dockerfile", "# check=error=true\nFROM busybox\nMAINTAINER me\n");
    p.try_build(&s, &[]).code(1).says("(line 3)").says("lint violation found for rules");
    p.write("Dockerfile", "FROM busybox AS builder\nFROM busybox\nCOPY --from=bulder /bin /x\n");
    let missing = p.try_build(&s, &[]);
    missing
        .code(1)
        .says("------\n > [internal] load metadata for docker.io/library/bulder:latest:");
    missing.hint("the stage builder").says("Dockerfile:3");
    p.write("Dockerfile", "FROM BusyBox\n");
    p.try_build(&s, &[]).code(1).says("failed to parse stage name \"BusyBox\": invalid reference");
    p.write("Dockerfile", "FROM busybox AS builder\n");
    p.try_build(&s, &["--target", "bilder"]).code(1).says("be found (did you mean builder?)");
    std::fs::remove_file(p.dir.join("Dockerfile")).unwrap();
    p.try_build(&s, &[]).code(1).says("Dockerfile: no such file or directory\n");
}

#[test]
fn flags_that_do_nothing_yet_are_refused_by_name() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM busybox\n", &[]);
    for flag in ["--squash", "--cache-to=type=gha", "--sbom=true", "--isolation=hyperv"] {
        let name = flag.split('=').next().unwrap();
        p.try_build(&s, &[flag]).code(1).says(name);
    }
    for (flag, why) in [
        ("--build-arg==x", "invalid key-value pair \"=x\": empty key"),
        ("--tag=Bad Tag", "invalid tag \"Bad Tag\": invalid reference format"),
        ("--network=nope", "network mode \"nope\" not supported"),
        ("--progress=fancy", "invalid progress mode \"fancy\""),
    ] {
        p.try_build(&s, &[flag]).code(1).says(why);
    }
    // Read with the flag itself, as Docker has it.
    p.try_build(&s, &["--ulimit=nope"]).code(125).says("invalid ulimit argument: nope");
    p.build(&s, &["--load", "--rm", "--force-rm", "--builder", "default", "--provenance=false"]);
}

#[test]
fn an_interrupted_build_ends_its_steps_and_leaves_nothing() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM busybox\nRUN echo begun; sleep 1000\n", &[]);
    for signal in ["INT", "KILL"] {
        let started = s.start(&["build", &p.path()]);
        let pid = started.0.pid();
        until_some("a step to run", || (!s.container_dirs().is_empty()).then_some(()));
        std::thread::sleep(std::time::Duration::from_millis(300));
        s.shell(&format!("kill -{signal} {pid}")).ok();
        let ended = started.wait_in(&s);
        assert_eq!(ended.code, if signal == "INT" { 130 } else { 137 }, "{ended}");
        until_some("the step to be gone", || s.container_dirs().is_empty().then_some(()));
    }
    assert_eq!(s.tug(&["ps", "-aq"]).ok(), "");
    p.write("Dockerfile", "FROM busybox\nRUN echo begun\n");
    p.build(&s, &[]);
}

#[test]
fn steps_are_no_containers_of_anybody() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM busybox\nRUN sleep 2\n", &[]);
    let started = s.start(&["build", &p.path()]);
    until_some("a step to run", || (!s.container_dirs().is_empty()).then_some(()));
    assert_eq!(s.tug(&["ps", "-aq"]).ok(), "");
    started.wait_in(&s).ok();
}

#[test]
fn a_shell_opens_where_a_step_failed() {
    let s = Sandbox::new();
    let p =
        Project::new(&s, "FROM busybox\nENV A=b\nWORKDIR /w\nRUN echo state > f; exit 1\n", &[]);
    let looked = s.tug_with(&["build", "--debug", &p.path()], b"cat f; pwd; echo $A\n");
    looked.code(1);
    assert_eq!(looked.stdout, "state\n/w\nb\n", "{looked}");
    assert_eq!(s.tug(&["ps", "-aq"]).ok(), "");
    assert_eq!(s.tug(&["images", "-q"]).lines().len(), 1, "only the base is left");
}

#[test]
fn an_image_without_a_shell_is_looked_at_with_tugs_own_tools() {
    let s = Sandbox::empty();
    let p = Project::new(
        &s,
        "FROM scratch\nENV A=b\nWORKDIR /w\nCOPY tool f /w/\nRUN [\"/w/tool\", \"nonesuch\"]\n",
        &[("f", "state\n")],
    );
    std::fs::copy(tug_test::sandbox::devtool(), p.dir.join("tool")).unwrap();
    let lines = "pwd\ncat f\necho $A\nls\nfind / f\n./tool nonesuch\nls | cat\nexit 5\n";
    let looked = s.tug_with(&["build", "--debug", &p.path()], lines.as_bytes());
    looked.code(1);
    let head = "/w\nstate\nb\nf\ntool\n/w/f\n";
    assert!(looked.stdout.starts_with(head), "{looked}");
    assert!(looked.stdout.contains("the toolbox has no pipes"), "{looked}");
    // What could not even begin for want of a shell.
    let none = Project::new(&s, "FROM scratch\nCOPY f /f\nRUN make\n", &[("f", "there\n")]);
    let looked = s.tug_with(&["build", "--debug", &none.path()], b"cat /f\nls\n");
    looked.code(1).says("exit code: 127");
    assert!(looked.stdout.starts_with("there\n") && looked.stdout.contains("\nf\n"), "{looked}");
    assert_eq!(s.tug(&["ps", "-aq"]).ok(), "");
    assert_eq!(s.tug(&["images", "-aq"]).ok(), "");
}

#[test]
fn results_are_written_where_asked() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM busybox\nRUN echo x > /f\n", &[]);
    let (id, metadata) = (s.path("id"), s.path("metadata"));
    p.build(&s, &["--iidfile", &id, "--metadata-file", &metadata, "-t", "second:1"]);
    let image = s.inspect("second:1")["Id"].as_str().unwrap().to_owned();
    assert_eq!(std::fs::read_to_string(id).unwrap(), image);
    let metadata: serde_json::Value =
        serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], image);
    assert_eq!(metadata["image.name"], "docker.io/library/app:latest,docker.io/library/second:1");
    assert_eq!(in_app(&s, "cat /f"), "x");
    let json = p.try_build(&s, &["--progress", "rawjson"]);
    json.ok();
    for line in json.stderr.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    let quiet = p.try_build(&s, &["--progress", "quiet"]);
    assert_eq!(quiet.stderr, "");
    assert_eq!(quiet.stdout, format!("{image}\n"));
}

#[test]
fn the_view_on_a_terminal_is_the_one_people_know() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM busybox\nWORKDIR /app\nRUN echo shown; sleep 1\n", &[]);
    let mut terminal = s.terminal(&["build", "-t", "app", &p.path()]);
    terminal.expect("[+] Building");
    terminal.expect("[internal] load build definition from Dockerfile");
    terminal.expect("[2/3] WORKDIR /app");
    terminal.expect("# shown");
    terminal.expect("(7/7) FINISHED");
    terminal.expect("naming to docker.io/library/app:latest");
}

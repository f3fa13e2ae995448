//! Images of another platform, their programs run by an emulator that the kernel knows (binfmt_misc).

use crate::build::Project;
use tug_test::foreign::{self, Handler};
use tug_test::layout::{Family, Layout};
use tug_test::push::push;
use tug_test::registry::Registry;
use tug_test::sandbox::{Sandbox, busybox_in};
use tug_test::skip::skip;

/// `far`, an index of busybox for both platforms, in a registry; and the emulator. `None`, said aloud.
fn both() -> Option<(Sandbox, Registry, String, Handler)> {
    let s = Sandbox::empty();
    let registry = Registry::start().unwrap_or_else(|e| panic!("registry: {e}"))?;
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let (layout, here): (Layout, _) = busybox_in(dir.path()).unwrap_or_else(|e| panic!("{e}"));
    let far = match foreign::arm64_in(&layout) {
        Ok(far) => far,
        Err(why) => {
            skip(&why);
            return None;
        }
    };
    let index = layout.index(Family::Oci, &[(&here, "linux/amd64"), (&far, "linux/arm64")]);
    let index = index.unwrap_or_else(|e| panic!("{e}"));
    let pushed = push(registry.address(), &layout, &index, "both", "latest");
    assert!(pushed.is_ok(), "{pushed:?}");
    let name = format!("{}/both", registry.address());
    match Handler::register() {
        Ok(handler) => Some((s, registry, name, handler)),
        Err(why) => {
            skip(&why);
            None
        }
    }
}

#[test]
fn a_container_of_another_platform_runs() {
    let Some((s, _registry, name, _handler)) = both() else { return };
    let far = ["run", "--rm", "--platform", "linux/arm64"];
    let run = |flags: &[&str], script: &str| {
        s.tug(&[&far[..], flags, &[&name, "sh", "-c", script]].concat())
    };
    assert_eq!(run(&[], "uname -m").ok(), "aarch64");
    // The whole life of a container: limits, another user, a read-only root, an exit code, exec.
    assert_eq!(run(&["-u", "1000:5", "--read-only"], "id -u; id -g").ok(), "1000\n5");
    assert_eq!(run(&["-m", "256m", "--network", "none"], "echo $((6*7))").ok(), "42");
    run(&[], "exit 7").code(7);
    let platform = ["run", "-d", "--name", "far", "--platform", "linux/arm64"];
    s.tug(&[&platform[..], &[&name, "sleep", "600"]].concat()).ok();
    assert_eq!(s.tug(&["exec", "far", "uname", "-m"]).ok(), "aarch64");
    s.tug(&["stop", "-t", "0", "far"]).ok();
    s.tug(&["start", "far"]).ok();
    assert_eq!(s.tug(&["exec", "far", "uname", "-m"]).ok(), "aarch64");
    s.tug(&["rm", "-f", "far"]).ok();
    // The machine's own is beside it under the same name.
    assert_eq!(
        s.tug(&["run", "--rm", "--platform", "linux/amd64", &name, "uname", "-m"]).ok(),
        "x86_64"
    );
}

#[test]
fn commands_of_another_platform_run_in_builds() {
    let Some((s, _registry, name, _handler)) = both() else { return };
    let dockerfile = format!(
        "FROM {name} AS work\nARG TARGETARCH\n\
         RUN uname -m > /machine && echo $TARGETARCH > /wanted\n\
         RUN --mount=type=cache,target=/c echo x >> /c/log; wc -l < /c/log > /lines\n\
         RUN <<END\nid -u > /who\nEND\n\
         FROM {name}\nCOPY --from=work /machine /wanted /lines /who /\n\
         RUN [\"/bin/touch\", \"/exec\"]\nCMD cat /machine /wanted /lines /who; ls /exec\n"
    );
    let p = Project::new(&s, &dockerfile, &[]);
    p.build(&s, &["--platform", "linux/arm64"]);
    assert_eq!(s.inspect("app")["Architecture"], "arm64");
    assert_eq!(s.tug(&["run", "--rm", "app"]).ok(), "aarch64\narm64\n1\n0\n/exec");
    let again = p.build(&s, &["--platform", "linux/arm64"]);
    assert_eq!(crate::build::steps(&again).1, Vec::<String>::new(), "all cached: {again}");
    p.write("Dockerfile", &format!("FROM {name}\nRUN exit 3\n"));
    p.try_build(&s, &["--platform", "linux/arm64"]).code(1).says("exit code: 3");
}

#[test]
fn one_build_runs_commands_for_two_platforms() {
    let Some((s, registry, name, _handler)) = both() else { return };
    let dockerfile = format!(
        "FROM {name}\nARG TARGETPLATFORM\nRUN uname -m > /machine; echo $TARGETPLATFORM > /wanted\n\
         RUN sleep 0.1; cat /machine > /copy\nCMD cat /machine /wanted /copy\n"
    );
    let p = Project::new(&s, &dockerfile, &[]);
    let result = format!("{}/made:1", registry.address());
    let platforms = ["--platform", "linux/amd64,linux/arm64", "-t", &result, "--push"];
    p.try_build(&s, &platforms).ok();
    let seen = |s: &Sandbox, platform: &str| {
        s.tug(&["run", "--rm", "--platform", platform, &result]).ok().to_owned()
    };
    assert_eq!(seen(&s, "linux/amd64"), "x86_64\nlinux/amd64\nx86_64");
    assert_eq!(seen(&s, "linux/arm64"), "aarch64\nlinux/arm64\naarch64");
    // What was pushed is the same for somebody who has nothing.
    s.tug(&["system", "prune", "-a", "-f"]).ok();
    assert_eq!(s.tug(&["images", "-aq"]).ok(), "");
    assert_eq!(seen(&s, "linux/arm64"), "aarch64\nlinux/arm64\naarch64");
    assert_eq!(seen(&s, "linux/amd64"), "x86_64\nlinux/amd64\nx86_64");
}

#[test]
fn without_an_emulator_it_is_said_what_to_install() {
    let s = Sandbox::empty();
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let layout = Layout::create(dir.path()).unwrap_or_else(|e| panic!("{e}"));
    if s.shell("cat /proc/sys/fs/binfmt_misc/*s390x* | grep -q enabled").code == 0 {
        return skip("an emulator of s390x is registered");
    }
    // The head of a program is all the kernel asks for.
    let mut program = vec![0x7f, b'E', b'L', b'F', 2, 2, 1, 0];
    program.resize(16, 0);
    program.extend([0, 2, 0, 22]);
    program.resize(256, 0);
    let file = dir.path().join("program");
    std::fs::write(&file, program).unwrap_or_else(|e| panic!("{e}"));
    let image = foreign::image(&layout, "s390x", &file).unwrap_or_else(|e| panic!("{e}"));
    let archive = s.path("far.tar");
    let out = std::fs::File::create(&archive).unwrap_or_else(|e| panic!("{e}"));
    layout.oci_archive(out, &[(&image, "far:latest")]).unwrap_or_else(|e| panic!("{e}"));
    s.tug(&["load", "-q", "-i", &archive]).ok();
    s.tug(&["run", "--rm", "--platform", "linux/s390x", "far", "true"])
        .code(126)
        .says("exec format error: it is built for s390x")
        .hint("apt-get install qemu-user-static");
    let p = Project::new(&s, "FROM far\nRUN true\n", &[]);
    p.try_build(&s, &["--platform", "linux/s390x"])
        .code(1)
        .says("cannot run commands of linux/s390x: no emulator for it is registered")
        .says("Dockerfile:2")
        .hint("apt-get install qemu-user-static");
}

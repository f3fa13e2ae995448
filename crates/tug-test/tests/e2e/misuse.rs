//! Wrong uses: Docker's exit code, one line saying what and why, one hint where there is a next step.

use serde_json::json;
use tug_test::layer::Meta;
use tug_test::sandbox::Sandbox;

#[test]
fn a_missing_command_is_127() {
    let s = Sandbox::new();
    s.run(&[], &["nonesuch", "arg"])
        .code(127)
        .says("\"nonesuch\"")
        .says("executable file not found in $PATH");
    s.run(&[], &["/bin/nonesuch"])
        .code(127)
        .says("/bin/nonesuch")
        .says("no such file or directory");
    s.run(&["--entrypoint", "nonesuch"], &[]).code(127).says("nonesuch");
}

#[test]
fn a_file_that_is_no_program_is_126() {
    let s = Sandbox::new();
    s.run(&[], &["/etc/passwd"]).code(126).says("/etc/passwd").says("permission denied");
    s.run(&[], &["/tmp"]).code(126).says("/tmp").says("is a directory");
}

fn programs() -> Sandbox {
    let s = Sandbox::new();
    let exe = Meta::mode(0o755);
    s.image("wrong:1", &json!({"Cmd": ["sh"], "Env": ["PATH=/bin"]}), |tar| {
        tar.file("text", exe, b"just text\n")?;
        tar.file("foreign", exe, b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0\x01\0\0\0")?;
        tar.file("script", exe, b"#!/usr/bin/python9\nprint()\n")?;
        tar.file("crlf", exe, b"#!/bin/sh\r\necho hi\r\n")?;
        tar.file("dynamic", exe, &dynamic())
    });
    s
}

/// The smallest ELF file that asks for a dynamic loader which is not there.
fn dynamic() -> Vec<u8> {
    let loader = b"/lib64/ld-nowhere.so.2\0";
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |elf: &mut Vec<u8>, value: u16| elf.extend(value.to_le_bytes());
    let word = |elf: &mut Vec<u8>, value: u64| elf.extend(value.to_le_bytes());
    half(&mut elf, 2);
    half(&mut elf, 62);
    elf.extend(1u32.to_le_bytes());
    for value in [0x40_0000, 64, 0] {
        word(&mut elf, value);
    }
    elf.extend(0u32.to_le_bytes());
    for value in [64, 56, 1, 64, 0, 0] {
        half(&mut elf, value);
    }
    elf.extend(3u32.to_le_bytes());
    elf.extend(4u32.to_le_bytes());
    for value in [120, 0x40_0078, 0x40_0078, loader.len() as u64, loader.len() as u64, 1] {
        word(&mut elf, value);
    }
    elf.extend(loader);
    elf
}

#[test]
fn every_reason_why_a_program_does_not_start_has_its_own_words() {
    let s = programs();
    let run = |path: &str| s.tug(&["run", "--rm", "wrong:1", path]);
    run("/text").code(126).says("/text").says("exec format error").hint("#!");
    run("/foreign").code(126).says("exec format error").says("riscv64");
    run("/script").code(127).says("/script").says("/usr/bin/python9");
    run("/crlf").code(127).says("/crlf").says("CRLF");
    run("/dynamic").code(127).says("/dynamic").says("/lib64/ld-nowhere.so.2");
    s.tug(&["run", "-d", "--name", "c1", "wrong:1", "/text"]).code(126);
    assert_eq!(s.status("c1"), "created");
    assert_eq!(s.tug(&["ps", "-aq"]).lines().len(), 1, "--rm left none of the others");
}

#[test]
fn a_user_or_group_that_is_not_there_is_named() {
    let s = Sandbox::new();
    s.run(&["-u", "nobody-here"], &["true"])
        .code(125)
        .says("unable to find user nobody-here")
        .says("/etc/passwd");
    s.run(&["-u", "root:nogroup-here"], &["true"])
        .code(125)
        .says("unable to find group nogroup-here");
    s.run(&["-u", "99999999999"], &["true"]).code(125).says("99999999999");
}

#[test]
fn no_such_image_says_what_was_looked_for_and_where() {
    let mut s = Sandbox::empty();
    let Some(registry) = crate::pull::registry_with_busybox() else { return };
    s.mirror(registry.address());
    let run = s.tug(&["run", "--rm", "bussybox"]);
    run.code(125)
        .says("Unable to find image 'bussybox:latest' locally")
        .says("bussybox")
        .says(registry.address());
    let pull = s.tug(&["pull", "busybox:nonesuch"]);
    pull.code(1).says("busybox:nonesuch").says(registry.address());
    s.tug(&["create", "--pull", "never", "busybox"])
        .refused(1, "No such image: busybox:latest")
        .hint("tug pull busybox:latest");
}

#[test]
fn a_bad_reference_is_told() {
    let s = Sandbox::new();
    for bad in ["", ":tag", "a b", "UPPER", "name:ta/g", "name@sha256:123"] {
        let run = s.tug(&["run", "--rm", bad]);
        run.code(125);
        assert!(run.stderr.contains("invalid reference format"), "{run}");
    }
}

#[test]
fn unknown_commands_and_flags_suggest_the_near_ones() {
    let s = Sandbox::new();
    let run = s.tug(&["rnu", "busybox"]);
    run.code(1).says("rnu");
    run.says("run");
    let flag = s.tug(&["run", "--nmae", "x", "busybox"]);
    flag.code(125).says("--nmae").says("--name");
    s.tug(&["ps", "--nope"]).code(125).says("--nope");
    s.tug(&["run"]).code(1).says("requires at least 1 argument");
    s.tug(&["stop"]).code(1).says("requires at least 1 argument");
    let start = s.tug(&["start", "-p", "80:80", "x"]);
    start.code(125).says("-p");
    start.hint("run");
}

#[test]
fn flags_that_exclude_each_other_say_so() {
    let s = Sandbox::new();
    s.sh(&["-d"], "true").code(0);
    s.sh(&["--network", "host", "-p", "80:80"], "true");
    s.sh(&["-e", "=x"], "true").code(125).says("=x");
    s.sh(&["--env-file", "/no/such/file"], "true").code(125).says("/no/such/file");
    s.sh(&["--pull", "sometimes"], "true").code(125).says("sometimes");
    s.tug(&["create", "--restart", "daily", "busybox"]).code(125).says("daily");
    s.sh(&["--stop-signal", "SIGNOPE"], "true").code(125).says("SIGNOPE");
    s.sh(&["--network", "host", "--hostname"], "true");
}

#[test]
fn what_is_not_there_is_named_everywhere() {
    let s = Sandbox::new();
    for command in [
        &["start", "nobody"][..],
        &["stop", "nobody"],
        &["kill", "nobody"],
        &["restart", "nobody"],
        &["logs", "nobody"],
        &["attach", "nobody"],
        &["exec", "nobody", "true"],
        &["wait", "nobody"],
        &["top", "nobody"],
        &["port", "nobody"],
        &["rename", "nobody", "new"],
        &["container", "inspect", "nobody"],
    ] {
        let run = s.tug(command);
        run.code(1).says("No such container: nobody");
        assert!(run.stderr.lines().count() <= 2, "{run}");
    }
}

#[test]
fn a_missing_kernel_or_machine_part_is_named() {
    let s = Sandbox::new();
    // Without the cgroup file systems in view.
    let run = s.shell(
        "unshare --mount bash -c 'umount -R /sys/fs/cgroup && exec $TUG run --rm busybox true'",
    );
    run.code(125).says("cgroup");
    // Without root.
    let run = s.shell("chmod 755 .; setpriv --reuid 65534 --regid 65534 --clear-groups $TUG run --rm busybox true");
    run.code(125).says("ermission denied");
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let s = Sandbox::empty();
    let archive = tug_test::sandbox::cache().join("images/debian.tar");
    let script = format!(
        "mkdir small && mount -t tmpfs -o size=8m none small && TUG_DATA_ROOT=$PWD/small $TUG load -i {}; code=$?; find small -type f -path '*layers*' | wc -l; TUG_DATA_ROOT=$PWD/small $TUG system reset -f; umount small; exit $code",
        archive.display()
    );
    let run = s.shell(&script);
    run.code(1).says("no space left on device");
    assert!(run.stdout.ends_with("0\n"), "{run}");
}

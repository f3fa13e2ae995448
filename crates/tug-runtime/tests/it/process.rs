//! The process: who it is, what it may do, where it starts, what it is given.

use crate::tests;
use crate::world::{World, path};
use tug_runtime::{Rlimit, Seccomp};
use tug_types::Kind;

tests![
    root_is_the_default_user_with_its_groups_and_home,
    users_are_the_images,
    unknown_users_are_dockers_error,
    home_is_kept_when_given,
    capabilities_are_as_asked,
    other_users_have_none_but_may_gain_them,
    the_bounding_set_has_nothing_beyond,
    a_capability_the_host_lacks_is_said,
    no_new_privileges_is_set_when_asked,
    the_filter_is_loaded_for_every_user,
    a_profile_of_the_users_is_obeyed,
    missing_working_directories_are_made,
    a_file_is_no_working_directory,
    a_working_directory_leads_nowhere_outside,
    limits_are_set,
    umask_signals_and_session_are_fresh,
    streams_can_be_opened_again_by_the_user,
    no_descriptor_leaks_in,
    sysctls_are_the_containers_own,
    foreign_sysctls_are_refused,
    host_names_are_set,
    programs_are_found_or_the_reason_is_said,
    exit_codes_are_the_shells,
    the_oom_score_is_set_or_warned_about,
];

fn root_is_the_default_user_with_its_groups_and_home() {
    let output = World::new("id -u; id -g; id -G; echo $HOME").run();
    assert_eq!(output.out, "0\n0\n0\n/root\n");
}

fn users_are_the_images() {
    for (user, extra, expected) in [
        ("web", &[][..], "33 34 34 50 /srv/web\n"),
        ("33", &[], "33 34 34 50 /srv/web\n"),
        ("web:log", &[], "33 50 50 /srv/web\n"),
        ("1234:4321", &[], "1234 4321 4321 /\n"),
        ("1234", &["log", "99"], "1234 0 0 50 99 /\n"),
    ] {
        let mut world = World::new("echo $(id -u) $(id -g) $(id -G) $HOME");
        world.spec.process.user = user.to_owned();
        world.spec.process.additional_groups = extra.iter().map(|g| (*g).to_owned()).collect();
        assert_eq!(world.run().out, expected, "{user} {extra:?}");
    }
}

fn unknown_users_are_dockers_error() {
    let mut world = World::new("true");
    world.spec.process.user = "nobody".to_owned();
    let failure = world.refusal();
    assert_eq!(failure.message, "unable to find user nobody: no matching entries in passwd file");
    world.spec.process.user = "web:nobody".to_owned();
    let failure = world.refusal();
    assert_eq!(failure.message, "unable to find group nobody: no matching entries in group file");
}

fn home_is_kept_when_given() {
    let mut world = World::new("echo $HOME");
    world.spec.process.env.push("HOME=/elsewhere".to_owned());
    assert_eq!(world.run().out, "/elsewhere\n");
}

fn status(world: &World) -> impl Fn(&str) -> String {
    let output = world.run();
    move |name: &str| {
        let line = output.out.lines().find(|line| line.starts_with(name));
        line.unwrap_or_default().split_whitespace().nth(1).unwrap_or_default().to_owned()
    }
}

fn capabilities_are_as_asked() {
    let world = World::of(&["/bin/cat", "/proc/self/status"]);
    let value = status(&world);
    // Docker's fourteen.
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(value(set), "00000000a80425fb", "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    let mut world = World::of(&["/bin/cat", "/proc/self/status"]);
    world.spec.process.capabilities = vec!["CAP_NET_ADMIN".to_owned()];
    assert_eq!(status(&world)("CapEff"), "0000000000001000");
    world.spec.process.capabilities = Vec::new();
    assert_eq!(status(&world)("CapBnd"), "0000000000000000");
}

fn other_users_have_none_but_may_gain_them() {
    let mut world = World::of(&["/bin/cat", "/proc/self/status"]);
    world.spec.process.user = "web".to_owned();
    let value = status(&world);
    assert_eq!(value("CapEff"), "0000000000000000");
    assert_eq!(value("CapPrm"), "0000000000000000");
    assert_eq!(value("CapBnd"), "00000000a80425fb");
}

fn the_bounding_set_has_nothing_beyond() {
    // Also where the host's bounding set is wider than what tug itself has permitted.
    let before = rustix::thread::capabilities(None).unwrap();
    let mut narrow = before;
    narrow.permitted.remove(rustix::thread::CapabilitySet::SYS_TIME);
    narrow.effective.remove(rustix::thread::CapabilitySet::SYS_TIME);
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable).unwrap();
    let world = World::of(&["/bin/cat", "/proc/self/status"]);
    // Not undone: one cannot raise what was dropped. Tests after this one do without.
    rustix::thread::set_capabilities(None, narrow).unwrap();
    assert_eq!(status(&world)("CapBnd"), "00000000a80425fb");
}

fn a_capability_the_host_lacks_is_said() {
    let had = rustix::thread::capabilities(None).unwrap().permitted;
    if had.contains(rustix::thread::CapabilitySet::SYS_RESOURCE) {
        crate::world::skip("a_capability_the_host_lacks_is_said", "this host lacks none");
        return;
    }
    let mut world = World::new("true");
    world.spec.process.capabilities = vec!["CAP_SYS_RESOURCE".to_owned()];
    let output = world.run();
    assert_eq!(output.code, 0);
    assert!(output.warnings.iter().any(|text| text.contains("SYS_RESOURCE")), "{output:?}");
}

fn no_new_privileges_is_set_when_asked() {
    let mut world = World::of(&["/bin/cat", "/proc/self/status"]);
    assert_eq!(status(&world)("NoNewPrivs"), "0");
    world.spec.process.no_new_privileges = true;
    assert_eq!(status(&world)("NoNewPrivs"), "1");
}

fn the_filter_is_loaded_for_every_user() {
    for (user, nnp) in [("", false), ("", true), ("web", false), ("web", true)] {
        let mut world = World::of(&["/bin/cat", "/proc/self/status"]);
        world.spec.process.user = user.to_owned();
        world.spec.process.no_new_privileges = nnp;
        assert_eq!(status(&world)("Seccomp:"), "2", "{user:?} {nnp}");
    }
    let mut world = World::new("unshare -m true; echo $?; unshare -U true; echo $?");
    assert_eq!(world.run().out, "1\n1\n");
    world.spec.seccomp = Seccomp::Unconfined;
    world.script("grep Seccomp: /proc/self/status; unshare -U true; echo $?");
    assert_eq!(world.run().out, "Seccomp:\t0\n0\n");
}

fn a_profile_of_the_users_is_obeyed() {
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],
        "action":"SCMP_ACT_ERRNO","errnoRet":22}]}"#;
    let mut world = World::new("mkdir /x; touch /y && echo y");
    world.spec.seccomp = Seccomp::Profile(profile.to_owned());
    let output = world.run();
    assert!(output.err.contains("Invalid argument"), "{output:?}");
    assert_eq!(output.out, "y\n");
    world.spec.seccomp = Seccomp::Profile("{".to_owned());
    assert_eq!(world.refusal().kind, Kind::Invalid);
}

fn missing_working_directories_are_made() {
    let mut world = World::new("pwd; stat -c '%u %a' .");
    world.spec.process.cwd = path("/not/there/yet");
    world.spec.process.user = "web".to_owned();
    assert_eq!(world.run().out, "/not/there/yet\n0 755\n");
}

fn a_file_is_no_working_directory() {
    let mut world = World::new("true");
    world.spec.process.cwd = path("/etc/passwd");
    let failure = world.refusal();
    assert!(failure.message.contains("/etc/passwd"), "{failure:?}");
    assert!(failure.message.to_lowercase().contains("not a directory"), "{failure:?}");
    assert!(failure.hint.is_some());
}

fn a_working_directory_leads_nowhere_outside() {
    // A descriptor of the host's in the process that starts the container must be no way in.
    let outside = std::fs::File::open("/usr").unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&outside);
    for cwd in [format!("/proc/self/fd/{number}"), format!("/proc/1/fd/{number}")] {
        let mut world = World::new("ls");
        world.spec.process.cwd = path(&cwd);
        let failure = world.refusal();
        assert!(failure.message.contains(&cwd), "{failure:?}");
    }
    let program = format!("/proc/self/fd/{number}/bin/true");
    let failure = World::of(&[&program]).refusal();
    assert_eq!(failure.kind, Kind::CommandNotFound, "{failure:?}");
    drop(outside);
}

fn limits_are_set() {
    let mut world = World::new("ulimit -n; ulimit -Hn; ulimit -c; ulimit -f");
    let limit = |name: &str, soft, hard| Rlimit { name: name.to_owned(), soft, hard };
    world.spec.process.rlimits =
        vec![limit("nofile", 100, 200), limit("core", 0, 0), limit("fsize", 1 << 20, 1 << 20)];
    assert_eq!(world.run().out, "100\n200\n0\n2048\n");
    // Fewer than setting up takes.
    world.spec.process.rlimits = vec![limit("nofile", 4, 4)];
    world.script("ulimit -n");
    assert_eq!(world.run().out, "4\n");
    world.spec.process.rlimits = vec![limit("nonsense", 1, 1)];
    let failure = world.refusal();
    assert!(failure.message.contains("nonsense"), "{failure:?}");
}

fn umask_signals_and_session_are_fresh() {
    tug_sys::signals::ignore(&[libc::SIGTERM, libc::SIGPIPE, libc::SIGUSR1]).unwrap();
    let blocked = tug_sys::signals::SignalFd::new(&[libc::SIGUSR2]).unwrap();
    let output =
        World::new("umask; grep -E 'Sig(Blk|Ign)' /proc/self/status; cat /proc/self/stat").run();
    drop(blocked);
    tug_sys::signals::restore_default(&[libc::SIGTERM, libc::SIGPIPE, libc::SIGUSR1]).unwrap();
    let mut lines = output.out.lines();
    assert_eq!(lines.next(), Some("0022"));
    assert_eq!(lines.next(), Some("SigBlk:\t0000000000000000"));
    assert_eq!(lines.next(), Some("SigIgn:\t0000000000000000"));
    let stat: Vec<&str> = lines.next().unwrap().split(' ').collect();
    // Session 1: process 1 leads it.
    assert_eq!(stat[5], "1", "{stat:?}");
}

fn streams_can_be_opened_again_by_the_user() {
    let mut world = World::new("echo out > /dev/stdout; echo err > /dev/stderr");
    world.spec.process.user = "1234".to_owned();
    let output = world.run();
    assert_eq!((output.out.as_str(), output.err.as_str()), ("out\n", "err\n"));
}

fn no_descriptor_leaks_in() {
    let file = std::fs::File::open("/etc/hostname").unwrap();
    // Even one that was not marked close-on-exec.
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let output = World::new("ls /proc/$$/fd; true").run();
    assert_eq!(output.out, "0\n1\n2\n");
}

fn sysctls_are_the_containers_own() {
    let host = || std::fs::read_to_string("/proc/sys/kernel/shmmni").unwrap();
    let before = host();
    let mut world = World::new("cat /proc/sys/kernel/shmmni /proc/sys/net/ipv4/conf/lo/forwarding");
    world.spec.sysctls.insert("kernel.shmmni".into(), "77".into());
    world.spec.sysctls.insert("net.ipv4.conf.lo.forwarding".into(), "1".into());
    assert_eq!(world.run().out, "77\n1\n");
    assert_eq!(host(), before);
}

fn foreign_sysctls_are_refused() {
    for name in ["kernel.panic", "vm.swappiness", "fs.file-max", "net/ipv4/../../kernel/panic"] {
        let mut world = World::new("true");
        world.spec.sysctls.insert(name.into(), "1".into());
        let failure = world.refusal();
        assert!(failure.message.contains(name), "{failure:?}");
    }
    let mut world = World::new("true");
    world.spec.namespaces.net = tug_runtime::Namespace::Host;
    world.spec.sysctls.insert("net.ipv4.ip_forward".into(), "1".into());
    assert!(world.refusal().message.contains("net.ipv4.ip_forward"));
}

fn host_names_are_set() {
    let mut world = World::new("hostname; cat /proc/sys/kernel/domainname");
    world.spec.hostname = "box".to_owned();
    world.spec.domainname = Some("example.test".to_owned());
    assert_eq!(world.run().out, "box\nexample.test\n");
}

fn programs_are_found_or_the_reason_is_said() {
    let world = World::new("true");
    let image = world.image();
    std::fs::create_dir_all(image.join("opt")).unwrap();
    for (name, content, mode) in [
        ("crlf", "#!/bin/sh\r\necho\r\n", 0o755),
        ("interpreter", "#!/opt/python9\n", 0o755),
        ("plain", "echo hello\n", 0o755),
        ("locked", "#!/bin/sh\n", 0o644),
    ] {
        std::fs::write(image.join("opt").join(name), content).unwrap();
        crate::world::mode(&image.join("opt").join(name), mode);
    }
    for (program, words, kind, hinted) in [
        (
            "nosuch",
            "exec: \"nosuch\": executable file not found in $PATH",
            Kind::CommandNotFound,
            true,
        ),
        ("/opt/nosuch", "no such file or directory", Kind::CommandNotFound, true),
        ("/opt", "is a directory", Kind::NotExecutable, false),
        ("/opt/locked", "permission denied", Kind::NotExecutable, true),
        ("/opt/interpreter", "\"/opt/python9\" does not exist", Kind::CommandNotFound, true),
        ("/opt/crlf", "CRLF", Kind::CommandNotFound, true),
        ("/opt/plain", "exec format error", Kind::NotExecutable, true),
        ("/opt/plain/x", "not a directory", Kind::NotExecutable, false),
        ("", "", Kind::CommandNotFound, true),
    ] {
        let mut world = World::of(&[program]);
        let tug_runtime::Rootfs::Overlay { lowers, .. } = &mut world.spec.rootfs else {
            unreachable!()
        };
        lowers[0].clone_from(&image);
        let failure = world.refusal();
        assert!(failure.message.contains(words), "{program}: {failure:?}");
        assert_eq!(failure.kind, kind, "{program}: {failure:?}");
        assert_eq!(failure.hint.is_some(), hinted, "{program}: {failure:?}");
    }
    let mut world = World::of(&["/data/run"]);
    let host = world.directory("host");
    std::fs::write(host.join("run"), "#!/bin/sh\n").unwrap();
    crate::world::mode(&host.join("run"), 0o755);
    world.tmpfs("/data", "");
    world.script("cp /bin/busybox /data/sleep; /data/sleep 0");
    assert_eq!(world.run().code, 126, "noexec by default");
}

fn exit_codes_are_the_shells() {
    assert_eq!(World::new("exit 42").run().code, 42);
    assert_eq!(World::new("exit 256").run().code, 0);
    // Process 1 itself cannot be killed from inside; the host can.
    assert_eq!(World::new("read x").start().kill().code, 137);
}

fn the_oom_score_is_set_or_warned_about() {
    let mut world = World::new("cat /proc/self/oom_score_adj");
    world.spec.process.oom_score_adj = Some(321);
    assert_eq!(world.run().out, "321\n");
    world.spec.process.oom_score_adj = Some(-999);
    let output = world.run();
    let set = output.out == "-999\n";
    assert!(set || output.warnings.iter().any(|text| text.contains("oom_score_adj")), "{output:?}");
}

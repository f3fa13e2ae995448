//! commit: what a container changed becomes a layer.

use tug_test::sandbox::Sandbox;

#[test]
fn changes_deletions_and_configuration_become_an_image() {
    let s = Sandbox::new();
    let change = "echo new > /etc/new; rm /etc/shadow; rm -r /home; mkdir /home; echo x > /home/x; \
                  ln /etc/new /etc/newer; chmod 4755 /etc/new";
    s.tug(&["run", "--name", "cc", "-e", "A=1", "-w", "/etc", "busybox", "sh", "-c", change]).ok();
    let id = s.tug(&[
        "commit",
        "-a",
        "Me <me@example.com>",
        "-m",
        "why",
        "-c",
        "ENV B=$A-2",
        "-c",
        r#"CMD ["cat", "new"]"#,
        "cc",
        "made:1",
    ]);
    assert_eq!(s.tug(&["images", "-q", "--no-trunc", "made"]).ok(), id.ok());
    assert_eq!(s.tug(&["run", "--rm", "made:1"]).ok(), "new");
    let look = "ls /etc/shadow 2>&1; ls /home; stat -c '%a %h' /etc/newer; echo $A $B; pwd";
    let seen = s.tug(&["run", "--rm", "made:1", "sh", "-c", look]);
    assert_eq!(
        seen.lines(),
        ["ls: /etc/shadow: No such file or directory", "x", "4755 2", "1 1-2", "/etc"]
    );
    let field = |format: &str| s.tug(&["image", "inspect", "-f", format, "made:1"]).ok().to_owned();
    assert_eq!(field("{{.Author}} {{.Comment}}"), "Me <me@example.com> why");
    let layers: usize = field("{{len .RootFS.Layers}}").parse().unwrap();
    let below = s.tug(&["image", "inspect", "-f", "{{len .RootFS.Layers}}", "busybox"]);
    assert_eq!(layers, below.ok().parse::<usize>().unwrap() + 1);
    // The container is as it was.
    s.tug(&["start", "-a", "cc"]).code(0).says("/etc/newer: File exists");
    s.tug(&["rm", "cc"]).ok();
    s.tug(&["rmi", "made:1"]).ok();
}

#[test]
fn a_running_container_goes_on_after_it() {
    let s = Sandbox::new();
    let script = "i=0; while :; do i=$((i+1)); echo $i > /tmp/m; mv /tmp/m /tmp/n; done";
    let id = s.detached(&["--name", "busy"], &["sh", "-c", script]);
    s.shell("sleep 0.1").ok();
    for pause in ["--pause", "--pause=false"] {
        s.tug(&["commit", pause, "busy", "snap"]).ok();
        let n = s.tug(&["run", "--rm", "snap", "cat", "/tmp/n"]);
        assert!(pause == "--pause=false" || n.ok().parse::<u64>().is_ok(), "{}", n.ok());
    }
    let count = || s.tug(&["exec", "busy", "cat", "/tmp/n"]).stdout;
    let before = count();
    s.shell("sleep 0.05").ok();
    assert_ne!(before, count(), "it stands still");
    assert_eq!(s.status(&id), "running");
    s.tug(&["rm", "-f", "busy"]).ok();
}

#[test]
fn nothing_changed_is_an_empty_layer() {
    let s = Sandbox::new();
    s.tug(&["create", "--name", "cc", "busybox", "true"]).ok();
    let (a, b) = (s.tug(&["commit", "cc"]), s.tug(&["commit", "cc"]));
    assert!(a.ok().starts_with("sha256:") && b.ok().starts_with("sha256:"));
    s.tug(&["run", "--rm", a.ok(), "true"]).ok();
    s.tug(&["run", "--name", "ran", "busybox", "true"]).ok();
    s.tug(&["commit", "ran", "ran"]).ok();
    let top = |name: &str| {
        let all = s.tug(&["image", "inspect", "-f", "{{json .RootFS.Layers}}", name]);
        all.ok().rsplit('"').nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(top(a.ok()), top("ran"), "mount points that a start made are no change");
    s.tug(&["rm", "cc", "ran"]).ok();
}

#[test]
fn ids_of_a_user_namespace_are_the_images_again() {
    let s = Sandbox::new();
    let change = "mkdir /own; echo a > /own/root; echo b > /own/user; chown 1000:1001 /own/user; \
                  chmod 4755 /own/user; rm /etc/shadow; chown 33:33 /var/www; \
                  stat -c '%n %u:%g %a' /own /own/* /bin/busybox /var/www";
    let seen =
        s.tug(&["run", "--name", "ended", "--userns", "private", "busybox", "sh", "-c", change]);
    let expected = [
        "/own 0:0 755",
        "/own/root 0:0 644",
        "/own/user 1000:1001 4755",
        "/bin/busybox 0:0 755",
        "/var/www 33:33 755",
    ];
    assert_eq!(seen.lines(), expected);
    s.detached(
        &["--name", "live", "--userns", "private"],
        &["sh", "-c", &format!("{change}; echo done; sleep 1000")],
    );
    s.wait_for_log("live", "done");
    let look =
        "stat -c '%n %u:%g %a' /own /own/* /bin/busybox /var/www; ls /etc/shadow 2>&1 | wc -l";
    for name in ["ended", "live"] {
        s.tug(&["commit", name, &format!("{name}:1")]).ok();
        let (out, flat) = (s.path(&format!("{name}.tar")), format!("{name}:flat"));
        s.tug(&["export", "-o", &out, name]).ok();
        s.tug(&["import", "-c", "ENV PATH=/bin", &out, &flat]).ok();
        for image in [format!("{name}:1"), flat] {
            let seen = s.tug(&["run", "--rm", &image, "sh", "-c", look]);
            assert_eq!(seen.lines()[..5], expected, "{image}");
        }
    }
    let left = s.shell("ls data/tmp");
    assert_eq!(left.ok(), "", "a copy stays");
}

#[test]
fn what_cannot_be_committed_says_why() {
    let s = Sandbox::new();
    s.tug(&["commit", "nobody"]).refused(1, "No such container: nobody");
    s.tug(&["create", "--name", "cc", "busybox", "true"]).ok();
    s.tug(&["commit", "-c", "RUN make", "cc"]).code(1).says("RUN is not a valid change command");
    assert_eq!(s.tug(&["images", "-q"]).lines().len(), 1);
    s.tug(&["rm", "cc"]).ok();
}

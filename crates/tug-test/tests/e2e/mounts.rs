//! Bind mounts, tmpfs and a read-only root.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use tug_test::sandbox::Sandbox;

fn shared(s: &Sandbox) -> String {
    let dir = s.path("shared");
    assert!(
        std::fs::create_dir(&dir).and_then(|()| std::fs::write(format!("{dir}/f"), "host")).is_ok()
    );
    dir
}

#[test]
fn a_directory_of_the_host_is_shared_both_ways() {
    let s = Sandbox::new();
    let dir = shared(&s);
    let run = s.sh(&["-v", &format!("{dir}:/data")], "cat /data/f; echo inside > /data/g");
    assert_eq!(run.ok(), "host");
    assert_eq!(std::fs::read_to_string(format!("{dir}/g")).unwrap_or_default(), "inside\n");
}

#[test]
fn ro_means_read_only() {
    let s = Sandbox::new();
    let dir = shared(&s);
    for flags in [
        ["-v", &*format!("{dir}:/data:ro")],
        ["--mount", &*format!("type=bind,source={dir},target=/data,readonly")],
    ] {
        let run = s.sh(&flags, "cat /data/f; touch /data/g");
        run.code(1).says("Read-only file system");
        assert_eq!(run.stdout, "host");
    }
}

#[test]
fn mounts_propagate_as_asked_and_only_where_the_host_lets_them() {
    use rustix::mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
    };
    let s = Sandbox::new();
    let dir = shared(&s);
    mount("tmpfs", &dir, "tmpfs", MountFlags::empty(), None).unwrap();
    mount_change(&dir, MountPropagationFlags::PRIVATE).unwrap();
    let refused = s.sh(&["-v", &format!("{dir}:/data:rshared")], "true");
    refused.code(125).says(&format!("is mounted on {dir} but it is not a shared mount"));
    refused.says("mount --make-rshared");
    mount_change(&dir, MountPropagationFlags::SHARED).unwrap();
    let inside = "mkdir -p /data/sub && mount -t tmpfs inside /data/sub && touch /data/sub/made";
    s.sh(&["--privileged", "-v", &format!("{dir}:/data:rslave")], inside).ok();
    let made = std::path::PathBuf::from(format!("{dir}/sub/made"));
    assert!(!made.exists(), "a slave's mounts stay inside");
    s.sh(&["--privileged", "-v", &format!("{dir}:/data:rshared")], inside).ok();
    let propagated = made.exists();
    if propagated {
        unmount(format!("{dir}/sub"), UnmountFlags::DETACH).unwrap();
    }
    unmount(&dir, UnmountFlags::DETACH).unwrap();
    assert!(propagated, "the host saw nothing of a mount made under a shared bind");
}

#[test]
fn a_single_file_can_be_mounted() {
    let s = Sandbox::new();
    let dir = shared(&s);
    let run = s.sh(&["-v", &format!("{dir}/f:/etc/new/place")], "cat /etc/new/place");
    assert_eq!(run.ok(), "host");
}

#[test]
fn a_missing_source_is_made_by_v_and_refused_by_mount() {
    let s = Sandbox::new();
    let missing = s.path("missing");
    s.sh(&["-v", &format!("{missing}:/data")], "test -d /data").ok();
    assert!(std::fs::metadata(&missing).is_ok_and(|m| m.is_dir() && m.uid() == 0));
    let other = s.path("other");
    s.sh(&["--mount", &format!("type=bind,src={other},dst=/data")], "true")
        .refused(
            125,
            &format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {other}"
            ),
        )
        .hint("mkdir -p");
}

#[test]
fn relative_sources_and_targets_are_told_apart() {
    let s = Sandbox::new();
    let dir = shared(&s);
    s.sh(&["-v", "./shared:/data"], "cat /data/f").shows("host");
    s.sh(&["-v", &format!("{dir}:data")], "true").code(125).says("data");
    s.sh(&["-v", &format!("{dir}:/")], "true").code(125).says("/");
}

#[test]
fn a_symlink_in_the_image_does_not_lead_a_mount_out() {
    let s = Sandbox::new();
    let dir = shared(&s);
    let outside = s.path("outside");
    s.image("link:1", &serde_json::json!({"Cmd": ["sh"]}), |tar| tar.symlink("escape", &outside));
    let run = s.tug(&[
        "run",
        "--rm",
        "-v",
        &format!("{dir}:/escape/in"),
        "link:1",
        "cat",
        "/escape/in/f",
    ]);
    assert_eq!(run.ok(), "host");
    assert!(!std::path::Path::new(&outside).exists(), "the mount point was made on the host");
}

#[test]
fn tmpfs_is_empty_limited_and_careful() {
    let s = Sandbox::new();
    let run = s.sh(&["--tmpfs", "/t"], "grep ' /t ' /proc/mounts | cut -d' ' -f3,4; ls -A /t");
    let text = run.ok();
    assert!(text.starts_with("tmpfs rw,"), "{run}");
    for option in ["nosuid", "nodev", "noexec"] {
        assert!(text.contains(option), "{option}: {run}");
    }
    let sized = s.sh(
        &["--tmpfs", "/t:size=1m,mode=1777,exec"],
        "df -k /t | tail -n 1 | awk '{print $2}'; stat -c %a /t",
    );
    assert_eq!(sized.ok(), "1024\n1777");
}

#[test]
fn a_read_only_root_still_has_its_moving_parts() {
    let s = Sandbox::new();
    let run = s.sh(
        &["--read-only", "--tmpfs", "/run"],
        "touch /run/x /dev/shm/x && echo ok; touch /tmp/x",
    );
    run.code(1).says("Read-only file system");
    assert_eq!(run.stdout, "ok\n");
}

#[test]
fn modes_and_owners_of_shared_files_are_the_hosts() {
    let s = Sandbox::new();
    let dir = shared(&s);
    s.sh(&["-u", "1000:1001", "-v", &format!("{dir}:/data")], "touch /data/x")
        .code(1)
        .says("Permission denied");
    assert!(std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).is_ok());
    s.sh(&["-u", "1000:1001", "-v", &format!("{dir}:/data")], "umask 027; touch /data/x").ok();
    let made = std::fs::metadata(format!("{dir}/x"));
    assert!(made.is_ok_and(|m| (m.uid(), m.gid(), m.mode() & 0o777) == (1000, 1001, 0o640)));
}

#[test]
fn the_same_place_twice_is_refused() {
    let s = Sandbox::new();
    let dir = shared(&s);
    s.sh(&["-v", &format!("{dir}:/data"), "--tmpfs", "/data"], "true")
        .refused(125, "Duplicate mount point: /data");
}

//! From a registry into the store.

use tug_test::layer::Meta;
use tug_test::layout::{Compression, Family, Layout, Manifest};
use tug_test::output::normal;
use tug_test::push::push;
use tug_test::registry::{LOGIN, Registry};
use tug_test::sandbox::{Sandbox, busybox_in};

/// A registry with `library/busybox:latest` on the calling thread's loopback; `None`, said aloud, where
/// there is no registry program.
pub(crate) fn registry_with_busybox() -> Option<Registry> {
    let registry = Registry::start().unwrap_or_else(|e| panic!("registry: {e}"))?;
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let (layout, image) = busybox_in(dir.path()).unwrap_or_else(|e| panic!("{e}"));
    store(&registry, &layout, &image, "library/busybox", "latest");
    Some(registry)
}

fn store(registry: &Registry, layout: &Layout, image: &Manifest, name: &str, tag: &str) {
    let pushed = push(registry.address(), layout, image, name, tag);
    assert!(pushed.is_ok(), "push {name}:{tag}: {pushed:?}");
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |group: u32, shift: u32| char::from(DIGITS[(group >> shift & 63) as usize]);
    let mut text = String::new();
    for piece in bytes.chunks(3) {
        let group =
            piece.iter().fold(0, |all, b| all << 8 | u32::from(*b)) << (8 * (3 - piece.len()));
        text.extend((0..=piece.len()).map(|n| digit(group, 18 - 6 * n as u32)));
        text.extend(std::iter::repeat_n('=', 3 - piece.len()));
    }
    text
}

#[test]
fn a_short_name_comes_from_the_mirror_and_says_so_as_docker_does() {
    let mut s = Sandbox::empty();
    let Some(registry) = registry_with_busybox() else { return };
    s.mirror(registry.address());
    let pull = s.tug(&["pull", "busybox"]);
    let said = normal(&pull.ok().replace('\r', ""));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..2], ["Using default tag: latest", "latest: Pulling from library/busybox"]);
    assert_eq!(
        lines[lines.len() - 3..],
        [
            "Digest: sha256:<DIGEST>",
            "Status: Downloaded newer image for busybox:latest",
            "docker.io/library/busybox:latest"
        ]
    );
    assert!(lines.iter().any(|line| line.ends_with(": Pull complete")), "{pull}");
    let again = s.tug(&["pull", "busybox"]);
    again.shows("Status: Image is up to date for busybox:latest");
    assert_eq!(s.sh(&[], "echo runs").ok(), "runs");
    let quiet = s.tug(&["pull", "-q", "busybox"]);
    assert_eq!(quiet.ok(), "docker.io/library/busybox:latest");
}

#[test]
fn run_pulls_what_is_missing_and_says_so() {
    let mut s = Sandbox::empty();
    let Some(registry) = registry_with_busybox() else { return };
    s.mirror(registry.address());
    s.run(&["--pull", "never"], &["true"]).code(125).says("No such image: busybox:latest");
    let run = s.run(&[], &["echo", "here"]);
    assert_eq!(run.ok(), "here", "the pull is told on standard error");
    assert!(run.stderr.starts_with("Unable to find image 'busybox:latest' locally\n"), "{run}");
    run.says("Status: Downloaded newer image for busybox:latest");
    assert_eq!(s.run(&[], &["true"]).stderr, "");
    s.run(&["--pull", "always"], &["true"]).says("Status: Image is up to date");
    assert_eq!(s.run(&["--pull", "always", "-q"], &["true"]).stderr, "");
}

#[test]
fn a_registry_is_named_by_host_and_port_and_an_image_by_digest() {
    let s = Sandbox::empty();
    let Some(registry) = registry_with_busybox() else { return };
    let name = format!("{}/library/busybox", registry.address());
    let pull = s.tug(&["pull", &name]);
    let digest = pull
        .lines()
        .into_iter()
        .find_map(|line| line.strip_prefix("Digest: "))
        .unwrap_or_default()
        .to_owned();
    s.tug(&["run", "--rm", &name, "true"]).ok();
    let by_digest = format!("{name}@{digest}");
    s.tug(&["rmi", &name]).ok();
    s.tug(&["pull", &by_digest]).shows(&format!("Digest: {digest}"));
    s.tug(&["run", "--rm", "--pull", "never", &by_digest, "true"]).ok();
    let listed =
        s.tug(&["images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"]);
    assert_eq!(listed.ok(), format!("{name} <none> {digest}"));
}

#[test]
fn every_family_and_packing_of_image_runs() {
    let s = Sandbox::empty();
    let Some(registry) = registry_with_busybox() else { return };
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let (layout, base) = busybox_in(dir.path()).unwrap_or_else(|e| panic!("{e}"));
    let base = layout.layers_of(&base).unwrap_or_else(|e| panic!("{e}"));
    let config = serde_json::json!({"Cmd": ["cat", "/which"], "Env": ["PATH=/bin"]});
    for (family, packing) in [
        (Family::Oci, Compression::Gzip),
        (Family::Oci, Compression::Zstd),
        (Family::Oci, Compression::None),
        (Family::Docker, Compression::Gzip),
        (Family::Docker, Compression::None),
    ] {
        let which = format!("{family:?}-{packing:?}").to_lowercase();
        let made =
            layout.layer(packing, |tar| tar.file("which", Meta::mode(0o644), which.as_bytes()));
        let layers = [base.clone(), made.into_iter().collect()].concat();
        assert_eq!(layers.len(), 2);
        let image = layout.image(family, &config, &layers).unwrap_or_else(|e| panic!("{e}"));
        let foreign = layout
            .image(family, &serde_json::json!({"Cmd": ["wrong"]}), &base)
            .unwrap_or_else(|e| panic!("{e}"));
        let index = layout.index(
            family,
            &[(&foreign, "linux/s390x"), (&image, "linux/amd64"), (&foreign, "windows/amd64")],
        );
        let index = index.unwrap_or_else(|e| panic!("{e}"));
        store(&registry, &layout, &image, "kinds", &which);
        store(&registry, &layout, &index, "kinds", &format!("{which}-index"));
        for tag in [which.clone(), format!("{which}-index")] {
            let name = format!("{}/kinds:{tag}", registry.address());
            assert_eq!(s.tug(&["run", "--rm", "-q", &name]).ok(), which, "{tag}");
        }
    }
}

#[test]
fn a_login_in_dockers_own_file_is_used() {
    let mut s = Sandbox::empty();
    let Some(mut registry) = registry_with_busybox() else { return };
    registry.require_login().unwrap_or_else(|e| panic!("{e}"));
    let name = format!("{}/library/busybox", registry.address());
    let denied = s.tug(&["pull", &name]);
    denied.code(1).says(registry.address());
    denied.hint("login");
    let auth = base64(format!("{}:{}", LOGIN.0, LOGIN.1).as_bytes());
    let config = serde_json::json!({"auths": {registry.address(): {"auth": auth}}});
    let dir = s.path("docker");
    let written = std::fs::create_dir(&dir)
        .and_then(|()| std::fs::write(format!("{dir}/config.json"), config.to_string()));
    assert!(written.is_ok());
    s.set_env("DOCKER_CONFIG", &dir);
    s.tug(&["pull", &name]).ok();
    let home = s.path("home/.docker");
    assert!(std::fs::rename(&dir, &home).is_ok());
    s.set_env("DOCKER_CONFIG", "");
    s.tug(&["rmi", &name]).ok();
    s.tug(&["pull", &name]).ok();
}

#[test]
fn an_image_for_another_machine_is_refused_by_name() {
    let s = Sandbox::empty();
    let Some(registry) = registry_with_busybox() else { return };
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let layout = Layout::create(dir.path()).unwrap_or_else(|e| panic!("{e}"));
    let config = serde_json::json!({"architecture": "s390x", "os": "linux", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": []}});
    let image = layout.image_of(Family::Oci, config.to_string().as_bytes(), &[]);
    let image = image.unwrap_or_else(|e| panic!("{e}"));
    let index =
        layout.index(Family::Oci, &[(&image, "linux/s390x")]).unwrap_or_else(|e| panic!("{e}"));
    store(&registry, &layout, &index, "foreign", "latest");
    let name = format!("{}/foreign", registry.address());
    s.tug(&["pull", &name]).code(1).says("linux/amd64");
    s.tug(&["pull", "--platform", "linux/s390x", &name]).ok();
}

#[test]
fn pulls_at_once_share_their_layers() {
    let s = Sandbox::empty();
    let Some(registry) = registry_with_busybox() else { return };
    let name = format!("{}/library/busybox", registry.address());
    let pulls: Vec<_> = (0..5).map(|_| s.start(&["pull", "-q", &name])).collect();
    for pull in pulls {
        pull.wait_in(&s).ok();
    }
    s.tug(&["run", "--rm", &name, "true"]).ok();
    let layers = std::fs::read_dir(s.data_root().join("layers")).map(Iterator::count);
    assert!(matches!(layers, Ok(1)), "{layers:?}");
    let leftovers = std::fs::read_dir(s.data_root().join("tmp"));
    let leftovers = leftovers.map_or(0, |dir| {
        dir.flatten().filter(|e| !e.file_name().as_encoded_bytes().starts_with(b".")).count()
    });
    assert_eq!(leftovers, 0);
}

#[test]
fn a_killed_pull_leaves_no_half_image_and_the_next_one_works() {
    let s = Sandbox::empty();
    let Some(registry) = registry_with_busybox() else { return };
    let name = format!("{}/library/busybox", registry.address());
    let rounds = std::env::var("TUG_TEST_ROUNDS").ok().and_then(|n| n.parse().ok());
    for round in 0..rounds.unwrap_or(12u64) {
        // Evenly over a pull and a little more, and never twice the same.
        let wait = (round % 12) * 4000 + (round / 12) * 97;
        let pull = s.start(&["pull", &name]);
        std::thread::sleep(std::time::Duration::from_micros(wait));
        pull.0.signal(rustix::process::Signal::KILL);
        drop(pull);
        let listed = s.tug(&["images", "-q"]).ok().to_owned();
        if !listed.is_empty() {
            s.tug(&["run", "--rm", "--pull", "never", &name, "true"]).ok();
            s.tug(&["rmi", &name]).ok();
        }
    }
    s.tug(&["pull", &name]).ok();
    s.tug(&["run", "--rm", &name, "true"]).ok();
    let leftovers = std::fs::read_dir(s.data_root().join("tmp"));
    let leftovers = leftovers.map_or(0, |dir| {
        dir.flatten().filter(|e| !e.file_name().as_encoded_bytes().starts_with(b".")).count()
    });
    assert_eq!(leftovers, 0);
}

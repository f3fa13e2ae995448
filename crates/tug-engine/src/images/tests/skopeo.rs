//! Another program's archives: skopeo reads a layout and writes what `load` reads.

use super::*;
use crate::images::LoadOptions;

/// `None`, said on stderr, where skopeo is not installed.
fn skopeo(arguments: &[&str]) -> Option<()> {
    #[expect(clippy::disallowed_methods, reason = "a test's counterparty")]
    let output = std::process::Command::new("skopeo").args(arguments).output();
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tug_test::skip::skip("skopeo is missing (apt-get install skopeo)");
            return None;
        }
        other => other.unwrap(),
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "skopeo {arguments:?}: {text}");
    Some(())
}

/// Without zstd, which neither Docker's archives nor schema 2 know.
fn plain_fixture() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.layers.remove(1);
    fixture.image = fixture.layout.image(Family::Oci, &json!({}), &fixture.layers).unwrap();
    fixture.layout.name(&fixture.image, "app:1").unwrap();
    fixture
}

fn assert_files(sandbox: &Sandbox, fixture: &Fixture) {
    for (layer, n) in fixture.layers.iter().zip([0, 2]) {
        let file = sandbox.file(layer, &format!("file{n}"));
        assert!(std::fs::read(file).unwrap() == noise(n), "layer {n}");
    }
}

#[test]
fn what_skopeo_writes_is_loaded() {
    let fixture = plain_fixture();
    let from = format!("oci:{}:1", fixture.dir.path().display());
    let out = tempfile::tempdir().unwrap();
    for format in ["docker-archive", "oci-archive"] {
        let path = out.path().join(format);
        let to = format!("{format}:{}:app:1", path.display());
        if skopeo(&["copy", "--insecure-policy", &from, &to]).is_none() {
            return;
        }
        let sandbox = Sandbox::new();
        let archive = std::fs::File::open(&path).unwrap();
        let progress = Arc::new(Lines::default());
        let loaded = sandbox.engine.load(archive, LoadOptions::default(), progress).unwrap();
        assert_eq!(loaded.len(), 1, "{format}");
        assert_eq!(loaded[0].reference, Some(reference("app:1")), "{format}");
        assert_files(&sandbox, &fixture);
    }
}

#[test]
fn what_skopeo_pushes_is_pulled() {
    let Some(registry) = tug_test::registry::Registry::start().unwrap() else { return };
    let fixture = plain_fixture();
    let from = format!("oci:{}:1", fixture.dir.path().display());
    for format in ["oci", "v2s2"] {
        let to = format!("docker://{}/app:{format}", registry.address());
        let tls = "--dest-tls-verify=false";
        if skopeo(&["copy", "--insecure-policy", tls, "--format", format, &from, &to]).is_none() {
            return;
        }
        let sandbox = Sandbox::new();
        let name = reference(&format!("{}/app:{format}", registry.address()));
        sandbox.pull(&name).unwrap();
        assert_files(&sandbox, &fixture);
    }
}

#[test]
fn what_is_pushed_skopeo_reads() {
    let Some(registry) = tug_test::registry::Registry::start().unwrap() else { return };
    let fixture = plain_fixture();
    let archive = tempfile::tempdir().unwrap();
    let path = archive.path().join("archive");
    let from = format!("oci:{}:1", fixture.dir.path().display());
    let to = format!("docker-archive:{}:app:1", path.display());
    if skopeo(&["copy", "--insecure-policy", &from, &to]).is_none() {
        return;
    }
    // Loaded without any compressed blob, so that all of it is made here.
    let sandbox = Sandbox::new();
    let name = reference(&format!("{}/app:1", registry.address()));
    let progress = Arc::new(Lines::default());
    let file = std::fs::File::open(&path).unwrap();
    let loaded = sandbox.engine.load(file, LoadOptions::default(), progress).unwrap();
    sandbox.engine.store().tag_image(&loaded[0].id, &name).unwrap();
    sandbox.push(&name).unwrap();
    let out = archive.path().join("copy");
    let source = format!("docker://{name}");
    let target = format!("oci:{}:1", out.display());
    skopeo(&["copy", "--insecure-policy", "--src-tls-verify=false", &source, &target]);
    let again = format!("oci-archive:{}:app:1", archive.path().join("again").display());
    skopeo(&["copy", "--insecure-policy", &target, &again]);
    let other = Sandbox::new();
    let file = std::fs::File::open(archive.path().join("again")).unwrap();
    let progress = Arc::new(Lines::default());
    other.engine.load(file, LoadOptions::default(), progress).unwrap();
    assert_files(&other, &fixture);
}

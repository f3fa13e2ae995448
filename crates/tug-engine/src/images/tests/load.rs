//! `load`: archives as Docker, BuildKit and skopeo write them, and archives nobody should.

use super::*;
use crate::images::{LoadOptions, Loaded};
use tar::EntryType;
use tug_test::layer::LayerTar;

fn load(sandbox: &Sandbox, archive: &[u8]) -> Result<Vec<Loaded>, Error> {
    let progress = Arc::new(Lines::default());
    sandbox.engine.load(archive, LoadOptions::default(), progress)
}

fn refused(archive: &[u8]) -> Failure {
    let sandbox = Sandbox::new();
    let error = load(&sandbox, archive).expect_err("the archive was loaded");
    assert_eq!(sandbox.leftovers(), [""; 0], "after {error}");
    error.failure()
}

fn shown(loaded: &[Loaded]) -> Vec<String> {
    let line = |one: &Loaded| match &one.reference {
        Some(reference) => reference.familiar(),
        None => one.id.to_string(),
    };
    loaded.iter().map(line).collect()
}

/// A tar of the given members.
fn archive(fill: impl FnOnce(&mut LayerTar<Vec<u8>>)) -> Vec<u8> {
    let mut tar = LayerTar::new(Vec::new());
    fill(&mut tar);
    tar.finish().unwrap()
}

fn member(tar: &mut LayerTar<Vec<u8>>, name: &str, content: impl AsRef<[u8]>) {
    tar.file(name, Meta::mode(0o644), content.as_ref()).unwrap();
}

/// The whole layout as one tar.
fn layout_tar(fixture: &Fixture) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_dir_all(".", fixture.dir.path()).unwrap();
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blob");
    std::fs::write(&path, bytes).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test's own counterparty")]
    let output = std::process::Command::new("gzip").arg("-c").arg(&path).output().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn a_docker_archive_gives_its_images_their_names() {
    let fixture = Fixture::new();
    let mut tar = Vec::new();
    fixture
        .layout
        .docker_archive(&mut tar, &fixture.image, &["app:1", "localhost:5000/app:2"])
        .unwrap();
    for bytes in [tar.clone(), gzip(&tar)] {
        let sandbox = Sandbox::new();
        let loaded = load(&sandbox, &bytes).unwrap();
        assert_eq!(shown(&loaded), ["app:1", "localhost:5000/app:2"]);
        assert!(loaded.iter().all(|one| one.id.to_string() == fixture.image.config));
        for (n, layer) in fixture.layers.iter().enumerate() {
            let file = sandbox.file(layer, &format!("file{n}"));
            assert!(std::fs::read(file).unwrap() == noise(n as u64), "layer {n}");
        }
        let left = sandbox.leftovers();
        assert!(!left.iter().any(|entry| entry.starts_with("tmp/")), "{left:?}");
    }
}

#[test]
fn an_oci_layout_gives_its_images_their_names() {
    let fixture = Fixture::new();
    fixture.layout.name(&fixture.image, "docker.io/library/app:1").unwrap();
    let docker_layers = [fixture.layers[0].clone()];
    let other = fixture.layout.image(Family::Docker, &json!({}), &docker_layers).unwrap();
    let index = fixture.layout.index(Family::Oci, &[(&other, "linux/amd64")]).unwrap();
    fixture.layout.name(&index, "example.org/other:2").unwrap();
    let tar = layout_tar(&fixture);
    let sandbox = Sandbox::new();
    let loaded = load(&sandbox, &tar).unwrap();
    assert_eq!(shown(&loaded), ["app:1", "example.org/other:2"]);
    assert_eq!(loaded[0].id.to_string(), fixture.image.config);
    assert_eq!(loaded[1].id.to_string(), other.config);
    let row = sandbox.engine.store().image_by_reference(&reference("app:1")).unwrap().unwrap();
    assert_eq!(row.manifest_digest.unwrap().to_string(), fixture.image.digest);

    // Loading it again changes nothing; another image of the same name takes the name.
    assert!(load(&sandbox, &tar).unwrap().iter().all(|one| one.replaced.is_none()));
    fixture.layout.name(&other, "docker.io/library/app:1").unwrap();
    let tar = layout_tar(&fixture);
    let loaded = load(&sandbox, &tar).unwrap();
    let moved = loaded.iter().find(|one| one.reference == Some(reference("app:1"))).unwrap();
    assert_eq!(moved.replaced.unwrap().to_string(), fixture.image.config);
}

#[test]
fn an_image_without_a_name_is_known_by_its_id() {
    let fixture = Fixture::new();
    let mut tar = Vec::new();
    fixture.layout.docker_archive(&mut tar, &fixture.image, &[]).unwrap();
    let sandbox = Sandbox::new();
    assert_eq!(shown(&load(&sandbox, &tar).unwrap()), [fixture.image.config.as_str()]);
}

#[test]
fn a_layer_of_no_image_is_not_kept() {
    let fixture = Fixture::new();
    let stray = fixture.blob(&fixture.layers[2].digest);
    let one = fixture.layout.image(Family::Oci, &json!({}), &fixture.layers[..1]).unwrap();
    let mut tar = Vec::new();
    fixture.layout.docker_archive(&mut tar, &one, &["one"]).unwrap();
    // Before the end-of-archive blocks.
    let body = tar.len() - 1024;
    let more = archive(|tar| member(tar, "stray/layer.tar", &stray));
    tar.truncate(body);
    tar.extend(more);
    let sandbox = Sandbox::new();
    load(&sandbox, &tar).unwrap();
    assert_eq!(sandbox.engine.store().layers().list().unwrap().len(), 1);
}

#[test]
fn the_oldest_format_is_put_together_from_its_parts() {
    let fixture = Fixture::new();
    let (base, top) = ("b".repeat(64), "t".repeat(64));
    let tar = archive(|tar| {
        for (id, parent, layer) in [(&base, "", 0), (&top, base.as_str(), 2)] {
            let description = json!({
                "id": id, "parent": parent, "created": "2015-01-01T00:00:00Z", "os": "linux",
                "architecture": "amd64", "config": {"Cmd": [id]},
                "container_config": {"Cmd": ["/bin/sh", "-c", "make"]},
            });
            member(tar, &format!("{id}/VERSION"), "1.0");
            member(tar, &format!("{id}/json"), description.to_string());
            let blob = fixture.blob(&fixture.layers[layer].digest);
            member(tar, &format!("{id}/layer.tar"), blob);
        }
        let table = json!({"old": {"1": top, "latest": top}});
        member(tar, "repositories", table.to_string());
    });
    let sandbox = Sandbox::new();
    let loaded = load(&sandbox, &tar).unwrap();
    assert_eq!(shown(&loaded), ["old:1", "old:latest"]);
    let row = sandbox.engine.store().image_by_reference(&reference("old:1")).unwrap().unwrap();
    let config: serde_json::Value = serde_json::from_slice(&row.config).unwrap();
    assert_eq!(config["config"]["Cmd"][0], json!(top));
    assert_eq!(
        config["rootfs"]["diff_ids"],
        json!([fixture.layers[0].diff_id, fixture.layers[2].diff_id])
    );
    assert_eq!(config["history"][1]["created_by"], "/bin/sh -c make");
}

#[test]
fn links_between_members_are_followed_within_the_archive() {
    let fixture = Fixture::new();
    let image = fixture
        .layout
        .image(Family::Oci, &json!({}), &[fixture.layers[2].clone(), fixture.layers[2].clone()])
        .unwrap();
    let config = fixture.blob(&image.config);
    let tar = archive(|tar| {
        member(tar, "a/layer.tar", fixture.blob(&fixture.layers[2].digest));
        tar.symlink("b/layer.tar", "../a/layer.tar").unwrap();
        member(tar, "config.json", &config);
        let table = json!([{"Config": "config.json", "RepoTags": ["twice:1"],
                            "Layers": ["a/layer.tar", "b/layer.tar"]}]);
        member(tar, "manifest.json", table.to_string());
    });
    let sandbox = Sandbox::new();
    assert_eq!(shown(&load(&sandbox, &tar).unwrap()), ["twice:1"]);
}

#[test]
fn hostile_members_are_refused_by_name() {
    for (fill, words) in [
        (
            Box::new(|tar: &mut LayerTar<Vec<u8>>| member(tar, "../../tmp/tug-escaped", "x"))
                as Box<dyn FnOnce(&mut LayerTar<Vec<u8>>)>,
            "archive member \"../../tmp/tug-escaped\" would be outside the archive",
        ),
        (
            Box::new(|tar| member(tar, "/etc/tug-escaped", "x")),
            "archive member \"/etc/tug-escaped\" would be outside the archive",
        ),
        (
            Box::new(|tar| tar.symlink("manifest.json", "/etc/passwd").unwrap()),
            "archive member \"manifest.json\" is a link to \"/etc/passwd\", which would be outside \
             the archive",
        ),
        (
            Box::new(|tar| tar.hardlink("a/b", "../x").unwrap()),
            "archive member \"a/b\" is a link to \"../x\", which would be outside the archive",
        ),
        (
            Box::new(|tar| tar.device("disk", EntryType::Block, (8, 0)).unwrap()),
            "archive member \"disk\" is a device; image archives hold files and directories only",
        ),
        (
            Box::new(|tar| member(tar, "manifest.json", "{}")),
            "archive member \"manifest.json\" cannot be read as JSON: invalid type: map, expected a \
             sequence at line 1 column 0",
        ),
        (
            Box::new(|tar| tar.symlink("manifest.json", "manifest.json").unwrap()),
            "the archive holds no image: it has neither manifest.json nor index.json nor \
             repositories",
        ),
        (
            Box::new(|tar| {
                let table = json!([{"Config": "c.json", "Layers": []}]);
                member(tar, "manifest.json", table.to_string());
            }),
            "manifest.json names \"c.json\", which the archive does not hold",
        ),
        (
            Box::new(|tar| {
                member(tar, "c.json", r#"{"rootfs":{"type":"layers","diff_ids":[]}}"#);
                let table = json!([{"Config": "c.json", "Layers": ["c.json"]}]);
                member(tar, "manifest.json", table.to_string());
            }),
            "manifest.json names \"c.json\" as a layer, but that is no layer",
        ),
        (
            Box::new(|tar| {
                member(tar, "c.json", r#"{"rootfs":{"type":"layers","diff_ids":[]}}"#);
                let table = json!([{"Config": "c.json", "RepoTags": ["x/UPPER"], "Layers": []}]);
                member(tar, "manifest.json", table.to_string());
            }),
            "manifest.json holds an invalid image name: invalid reference format: repository name (x/UPPER) must be lowercase",
        ),
    ] {
        let failure = refused(&archive(fill));
        assert!(failure.message.starts_with(words), "{}", failure.message);
    }
    assert!(!std::path::Path::new("/tmp/tug-escaped").exists());
}

#[test]
fn a_header_of_any_size_does_not_fill_memory() {
    let tar = archive(|tar| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        tar.raw(header, "././@LongLink", "", &vec![b'x'; 3 << 20]).unwrap();
        member(tar, "short", "");
    });
    let message = refused(&tar).message;
    assert_eq!(message, "read the archive: a header of 3145728 bytes; the limit is 1048576");
}

#[test]
fn a_member_larger_than_any_disk_is_refused_by_name_before_it_is_read() {
    // What gzip makes of a gigabyte of zeros is a megabyte; nobody shall wait for a petabyte.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_path("bomb").unwrap();
    header.set_size(1 << 50);
    header.set_cksum();
    let mut tar = header.as_bytes().to_vec();
    tar.resize(1 << 20, 0);
    for archive in [gzip(&tar), tar] {
        let message = refused(&archive).message;
        assert_eq!(
            message,
            "archive member \"bomb\" has 1125899906842624 bytes, which makes the archive larger than \
             the disk"
        );
    }
}

#[test]
fn damaged_archives_are_said_to_be() {
    let fixture = Fixture::new();
    let mut tar = Vec::new();
    fixture.layout.docker_archive(&mut tar, &fixture.image, &["app"]).unwrap();
    for at in [tar.len() / 3, tar.len() / 2, 700] {
        let message = refused(&tar[..at]).message;
        assert!(message.starts_with("read the archive: "), "cut at {at}: {message}");
    }
    assert!(refused(b"").message.starts_with("the archive holds no image"));
    let message = refused(&[b'x'; 4096]).message;
    assert_eq!(message, "read the archive: it is not a tar archive, or damaged");
    let mut gz = gzip(&tar);
    gz.truncate(gz.len() / 2);
    assert!(refused(&gz).message.starts_with("read the archive: "));
}

#[test]
fn contents_are_checked_against_their_digests() {
    let fixture = Fixture::new();
    fixture.layout.name(&fixture.image, "docker.io/library/app:1").unwrap();
    for (digest, words) in [
        (&fixture.image.config, "does not match its digest: it has sha256:"),
        (&fixture.image.digest, "does not match its digest: it has sha256:"),
        (&fixture.layers[0].digest, "archive member "),
        (&fixture.layers[2].digest, "does not match its digest: it has sha256:"),
    ] {
        let path = fixture.layout.blob(digest);
        let right = std::fs::read(&path).unwrap();
        let mut wrong = right.clone();
        let at = wrong.len() - wrong.len() / 3;
        wrong[at] ^= 1;
        std::fs::write(&path, wrong).unwrap();
        let tar = layout_tar(&fixture);
        std::fs::write(&path, right).unwrap();
        let message = refused(&tar).message;
        assert!(message.contains(words), "{message}");
        assert!(message.contains(&digest[7..]), "{message}");
    }
}

#[test]
fn a_layer_an_archive_has_under_another_images_name_is_refused() {
    let fixture = Fixture::new();
    let config = fixture.blob(&fixture.image.config);
    let tar = archive(|tar| {
        for (n, layer) in [0, 0, 2].into_iter().enumerate() {
            let blob = fixture.blob(&fixture.layers[layer].digest);
            member(tar, &format!("{n}/layer.tar"), blob);
        }
        member(tar, "c.json", &config);
        let layers = ["0/layer.tar", "1/layer.tar", "2/layer.tar"];
        let table = json!([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": layers}]);
        member(tar, "manifest.json", table.to_string());
    });
    let message = refused(&tar).message;
    assert_eq!(
        message,
        format!(
            "image {}: layer \"1/layer.tar\" should have the digest {} but has {}",
            fixture.image.config, fixture.layers[1].diff_id, fixture.layers[0].diff_id
        )
    );
}

#[test]
fn one_bad_image_keeps_all_out() {
    let fixture = Fixture::new();
    let config = fixture.blob(&fixture.image.config);
    let tar = archive(|tar| {
        for (n, layer) in fixture.layers.iter().enumerate() {
            member(tar, &format!("{n}/layer.tar"), fixture.blob(&layer.digest));
        }
        member(tar, "c.json", &config);
        let layers = ["0/layer.tar", "1/layer.tar", "2/layer.tar"];
        let table = json!([
            {"Config": "c.json", "RepoTags": ["good:1"], "Layers": layers},
            {"Config": "c.json", "RepoTags": ["bad:1"], "Layers": []},
        ]);
        member(tar, "manifest.json", table.to_string());
    });
    let message = refused(&tar).message;
    assert!(message.ends_with("it has 0 layers, its configuration 3"), "{message}");
}

#[test]
fn a_layer_that_would_leave_its_root_is_refused_by_both_names() {
    let fixture = Fixture::new();
    let bad = fixture
        .layout
        .layer(Compression::None, |tar| tar.file("../tug-escaped", Meta::mode(0o644), b"x"))
        .unwrap();
    let image = fixture.layout.image(Family::Oci, &json!({}), &[bad]).unwrap();
    let mut tar = Vec::new();
    fixture.layout.docker_archive(&mut tar, &image, &["app"]).unwrap();
    let message = refused(&tar).message;
    assert!(message.starts_with("archive member \"0/layer.tar\": unpack the layer: "), "{message}");
    assert!(message.contains("../tug-escaped"), "{message}");
}

#[test]
fn the_wanted_platform_is_taken_or_missed() {
    let fixture = Fixture::new();
    fixture.layout.name(&fixture.image, "docker.io/library/app:1").unwrap();
    let tar = layout_tar(&fixture);
    let sandbox = Sandbox::new();
    let load_for = |platform: &str| {
        let options = LoadOptions { platform: Some(platform.to_owned()) };
        sandbox.engine.load(tar.as_slice(), options, Arc::new(Lines::default()))
    };
    let message = load_for("linux/s390x").unwrap_err().failure().message;
    assert!(message.ends_with("wanted linux/s390x, actual: linux/amd64"), "{message}");
    assert_eq!(sandbox.leftovers(), [""; 0]);
    load_for("linux/amd64").unwrap();
}

#[test]
fn a_reader_that_fails_says_why() {
    struct Failing;
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("cable pulled"))
        }
    }
    let sandbox = Sandbox::new();
    let error = sandbox.engine.load(Failing, LoadOptions::default(), Arc::new(Lines::default()));
    let message = error.unwrap_err().failure().message;
    assert!(message.ends_with("cable pulled"), "{message}");
}

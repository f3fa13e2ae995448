//! Pulls that succeed: what arrives, what is told, what is not fetched twice.

use super::*;
use tug_test::push::push;
use tug_test::registry::Registry;
use tug_types::Kind;

#[test]
fn an_image_arrives_whole_and_is_told_in_dockers_order() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |_| None);
    let sandbox = Sandbox::new();
    let (pulled, lines) = sandbox.pull(&app(&server)).unwrap();
    assert_eq!(pulled.id.to_string(), fixture.image.config);
    assert_eq!(pulled.digest.to_string(), fixture.image.digest);
    assert!(pulled.newer);
    for (n, layer) in fixture.layers.iter().enumerate() {
        let file = sandbox.file(layer, &format!("file{n}"));
        assert!(std::fs::read(file).unwrap() == noise(n as u64), "layer {n}");
        let short = &layer.digest[7..19];
        let states: Vec<_> = lines.iter().filter(|line| line.starts_with(short)).collect();
        assert_eq!(
            states,
            [
                &format!("{short}: Waiting"),
                &format!("{short}: Downloaded"),
                &format!("{short}: Complete")
            ]
        );
    }
    assert_eq!(lines[0], format!("resolving {}", app(&server).familiar()));
    assert!(lines[1..4].iter().all(|line| line.ends_with("Waiting")), "{lines:?}");
    assert_eq!(lines.last().unwrap(), &format!("done {} newer true", fixture.image.digest));

    let row = sandbox.engine.store().image_by_reference(&app(&server)).unwrap().unwrap();
    assert_eq!(row.config, fixture.blob(&fixture.image.config));
    assert_eq!(row.size, 3 * 160_000);
    assert_eq!(row.created, 1_704_067_200);
    let manifest = row.manifest_digest.unwrap();
    let stored = sandbox.engine.store().blobs().read(&manifest).unwrap();
    assert_eq!(stored, fixture.blob(&fixture.image.digest));
    assert_eq!(row.digests, [app(&server).with_digest(pulled.digest)]);
    let layers = sandbox.engine.store().image_layers(&pulled.id).unwrap();
    let blobs: Vec<_> = layers.iter().map(|l| l.blob.unwrap().to_string()).collect();
    assert_eq!(blobs, fixture.layers.iter().map(|l| l.digest.clone()).collect::<Vec<_>>());
    let tmp: Vec<_> = sandbox.leftovers().into_iter().filter(|l| l.starts_with("tmp")).collect();
    assert!(tmp.is_empty(), "{tmp:?}");
}

#[test]
fn what_is_here_is_not_fetched_again() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |_| None);
    let sandbox = Sandbox::new();
    sandbox.pull(&app(&server)).unwrap();
    let before = server.asked().len();
    let (pulled, lines) = sandbox.pull(&app(&server)).unwrap();
    assert!(!pulled.newer);
    assert_eq!(lines.len(), 2, "{lines:?}");
    let asked: Vec<_> = server.asked().split_off(before).into_iter().map(|a| a.method).collect();
    assert_eq!(asked, ["HEAD"], "an image that is up to date costs one request");

    // A second tag of the same image: no layer moves.
    let other = reference(&format!("{}/app@{}", server.address(), fixture.image.digest));
    let (pulled, _) = sandbox.pull(&other).unwrap();
    assert!(!pulled.newer, "named by digest already");
    let layers = fixture.layers.clone();
    let elsewhere = reference(&format!("{}/again", server.address()));
    let (pulled, lines) = sandbox.pull(&elsewhere).unwrap();
    assert!(pulled.newer);
    for layer in &layers {
        assert_eq!(server.count(&layer.digest), 1, "fetched twice");
        assert!(lines.contains(&format!("{}: AlreadyExists", &layer.digest[7..19])), "{lines:?}");
    }
}

#[test]
fn a_moved_tag_brings_only_what_changed() {
    let fixture = Fixture::new();
    let mut layers = fixture.layers.clone();
    layers[2] = file_layer(&fixture.layout, Compression::Gzip, "new", b"new");
    let newer = fixture.layout.image(Family::Oci, &json!({}), &layers).unwrap();
    let sandbox = Sandbox::new();
    let (old_shelf, new_shelf) = (fixture.shelf(), fixture.shelf().tag("latest", &newer));
    let moved = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = moved.clone();
    let server = Server::start(move |asked| {
        let new = flag.load(std::sync::atomic::Ordering::SeqCst);
        if new { new_shelf.answer(asked) } else { old_shelf.answer(asked) }
    })
    .unwrap();
    let (first, _) = sandbox.pull(&app(&server)).unwrap();
    moved.store(true, std::sync::atomic::Ordering::SeqCst);
    let (second, lines) = sandbox.pull(&app(&server)).unwrap();
    assert!(second.newer && second.id != first.id);
    assert_eq!(lines.iter().filter(|line| line.ends_with("AlreadyExists")).count(), 2);
    let rows = sandbox.engine.store().images().unwrap();
    assert_eq!(rows.len(), 2);
    let old = rows.iter().find(|row| row.id == first.id).unwrap();
    assert!(old.tags.is_empty(), "the tag moved");
}

#[test]
fn a_layer_an_image_has_twice_is_fetched_once() {
    let fixture = Fixture::new();
    let layer = fixture.layers[0].clone();
    let twice = [layer.clone(), fixture.layers[2].clone(), layer.clone()];
    let image = fixture.layout.image(Family::Oci, &json!({}), &twice).unwrap();
    let server = serve(fixture.shelf().tag("latest", &image), |_| None);
    let sandbox = Sandbox::new();
    let (pulled, _) = sandbox.pull(&app(&server)).unwrap();
    assert_eq!(server.count(&layer.digest), 1);
    assert_eq!(sandbox.engine.store().image_layers(&pulled.id).unwrap().len(), 3);
}

#[test]
fn an_image_without_layers_is_an_image() {
    let fixture = Fixture::new();
    let image = fixture.layout.image(Family::Docker, &json!({}), &[]).unwrap();
    let server = serve(fixture.shelf().tag("latest", &image), |_| None);
    let sandbox = Sandbox::new();
    assert!(sandbox.pull(&app(&server)).unwrap().0.newer);
}

#[test]
fn a_layer_lost_from_the_store_is_made_again_of_its_blob_or_fetched() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |_| None);
    let sandbox = Sandbox::new();
    sandbox.pull(&app(&server)).unwrap();
    let lost = DiffId(Digest::parse(&fixture.layers[1].diff_id).unwrap());
    assert!(sandbox.engine.store().layers().remove(&lost).unwrap());
    sandbox.pull(&app(&server)).unwrap();
    assert!(sandbox.engine.store().layers().contains(&lost));
    assert_eq!(server.count(&fixture.layers[0].digest), 1);
    assert_eq!(server.count(&fixture.layers[1].digest), 1, "its blob was kept");
    // A damaged blob is noticed (here when its rest has come) and fetched anew, a lost one too.
    let blobs = sandbox.engine.store().blobs();
    let blob = Digest::parse(&fixture.layers[1].digest).unwrap();
    let file = sandbox.file(&fixture.layers[1], "file1");
    for (round, damage) in [(3, true), (4, false)] {
        match damage {
            true => std::fs::write(blobs.path(&blob), vec![0; 5000]).unwrap(),
            false => blobs.remove(&blob).unwrap(),
        }
        assert!(sandbox.engine.store().layers().remove(&lost).unwrap());
        sandbox.pull(&app(&server)).unwrap();
        assert_eq!(server.count(&fixture.layers[1].digest), round);
        assert!(std::fs::read(&file).unwrap() == noise(1));
        assert!(blobs.contains(&blob));
    }
}

#[test]
fn a_real_registry_serves_both_families_by_index_and_with_a_login() {
    let Some(mut registry) = Registry::start().unwrap() else { return };
    let fixture = Fixture::new();
    let address = registry.address().to_owned();
    let docker_layers = [fixture.layers[0].clone(), fixture.layers[2].clone()];
    let docker = fixture.layout.image(Family::Docker, &json!({}), &docker_layers).unwrap();
    let index = fixture
        .layout
        .index(Family::Oci, &[(&docker, "linux/arm64"), (&fixture.image, "linux/amd64")])
        .unwrap();
    push(&address, &fixture.layout, &docker, "team/docker", "1").unwrap();
    push(&address, &fixture.layout, &index, "team/index", "2").unwrap();
    let mut sandbox = Sandbox::new();
    let docker_name = reference(&format!("{address}/team/docker:1"));
    let (pulled, _) = sandbox.pull(&docker_name).unwrap();
    assert_eq!(pulled.id.to_string(), docker.config);
    let index_name = reference(&format!("{address}/team/index:2"));
    let (pulled, lines) = sandbox.pull(&index_name).unwrap();
    assert_eq!(pulled.id.to_string(), fixture.image.config);
    assert_eq!(pulled.digest.to_string(), index.digest);
    assert_eq!(lines.iter().filter(|line| line.ends_with("AlreadyExists")).count(), 2);
    let error = sandbox.pull_for(&index_name, Some("linux/riscv64")).unwrap_err();
    assert_eq!(
        error.to_string().replace(&address, "HOST"),
        "no matching manifest for linux/riscv64 in the manifest list entries of HOST/team/index:2: \
         it has linux/arm64, linux/amd64"
    );

    registry.require_login().unwrap();
    let sandbox_2 = Sandbox::new();
    let error = sandbox_2.pull(&docker_name).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert_eq!(sandbox_2.leftovers(), [""; 0]);
    let config = format!(r#"{{"auths":{{"{address}":{{"auth":"dHVnOnNlY3JldA=="}}}}}}"#);
    std::fs::write(sandbox.dir.path().join("config.json"), config).unwrap();
    sandbox.engine.settings.docker_config_dir = Some(sandbox.dir.path().to_owned());
    assert!(!sandbox.pull(&docker_name).unwrap().0.newer);
}

#[test]
fn a_mirror_of_docker_hub_serves_short_names() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |_| None);
    let mut sandbox = Sandbox::new();
    sandbox.engine.settings.mirrors = vec![format!("http://{}", server.address())];
    let (pulled, _) = sandbox.pull(&reference("node")).unwrap();
    assert!(server.count("/v2/library/node/manifests/latest") > 0);
    let row = sandbox.engine.store().image_by_reference(&reference("node")).unwrap().unwrap();
    assert_eq!(row.id, pulled.id);
    assert_eq!(row.tags, [reference("node:latest")]);
    assert_eq!(row.digests[0].name(), "docker.io/library/node");
}

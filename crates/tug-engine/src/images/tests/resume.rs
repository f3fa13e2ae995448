//! Pulls that go on where an earlier one stopped.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes of a blob the server was asked for, all requests together.
fn asked_for(server: &Server, digest: &str, size: usize) -> usize {
    let asked = server.asked().into_iter().filter(|asked| asked.target.ends_with(digest));
    asked.map(|asked| size - asked.range_start().unwrap_or(0)).sum()
}

fn partial_of(sandbox: &Sandbox, layer: &Layer) -> u64 {
    let digest = Digest::parse(&layer.digest).unwrap();
    sandbox.engine.store().partials().length(&digest)
}

/// A server that sends the first `percent` of each layer, then hangs up, every time.
fn cutting(fixture: &Fixture, percent: usize) -> Server {
    let shelf = fixture.shelf();
    let layers: Vec<String> = fixture.layers.iter().map(|layer| layer.digest.clone()).collect();
    serve(fixture.shelf(), move |asked| {
        if !layers.iter().any(|digest| asked.target.ends_with(digest)) {
            return None;
        }
        let mut reply = shelf.answer(asked);
        let begun = asked.range_start().unwrap_or(0);
        let whole = reply.body.len() + begun;
        reply.cut_after = Some((whole * percent / 100).saturating_sub(begun));
        Some(reply)
    })
}

#[test]
fn a_line_cut_at_nine_tenths_costs_one_tenth_at_the_next_try_and_from_another_mirror() {
    let fixture = Fixture::new();
    let bad = cutting(&fixture, 90);
    let good = serve(fixture.shelf(), |_| None);
    let mut sandbox = Sandbox::new();
    let mirror = |server: &Server| vec![format!("http://{}", server.address())];
    sandbox.engine.settings.mirrors = mirror(&bad);
    let name = reference("node");
    sandbox.pull(&name).expect_err("the pull succeeded");
    assert!(sandbox.leftovers().is_empty(), "{:?}", sandbox.leftovers());
    for layer in &fixture.layers {
        assert_eq!(partial_of(&sandbox, layer), layer.size * 9 / 10, "{}", layer.digest);
    }
    // Another command, another server.
    sandbox.engine = Engine::new(sandbox.engine.settings().clone());
    sandbox.engine.settings.mirrors = mirror(&good);
    sandbox.pull(&name).unwrap();
    for layer in &fixture.layers {
        let size = usize::try_from(layer.size).unwrap();
        let moved = asked_for(&good, &layer.digest, size);
        assert!(moved <= size / 10 + 1, "{moved} of {size}");
        assert_eq!(partial_of(&sandbox, layer), 0, "it is a blob now");
    }
    let row = sandbox.engine.store().image_by_reference(&name).unwrap().unwrap();
    assert_eq!(row.id.to_string(), fixture.image.config);
}

#[test]
fn what_was_left_damaged_is_fetched_anew() {
    let fixture = Fixture::new();
    let bad = cutting(&fixture, 50);
    let sandbox = Sandbox::new();
    sandbox.pull(&app(&bad)).expect_err("the pull succeeded");
    // A power cut: the length is there, the bytes are not.
    let dir = sandbox.engine.store().root().join("partial");
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let length = std::fs::metadata(&path).unwrap().len();
        assert!(length > 0);
        std::fs::write(&path, vec![0; usize::try_from(length).unwrap()]).unwrap();
    }
    let good = serve(fixture.shelf(), |_| None);
    sandbox.pull(&app(&good)).unwrap();
    for (n, layer) in fixture.layers.iter().enumerate() {
        let file = sandbox.file(layer, &format!("file{n}"));
        assert!(std::fs::read(file).unwrap() == noise(n as u64), "layer {n}");
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn compressed_layers_are_kept_unless_the_settings_say_otherwise() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |_| None);
    for keep in [true, false] {
        let mut sandbox = Sandbox::new();
        let path = sandbox.dir.path().join("registries.json");
        std::fs::write(&path, format!(r#"{{"keep-blobs":{keep}}}"#)).unwrap();
        sandbox.engine.settings.registries.settings = vec![path];
        sandbox.pull(&app(&server)).unwrap();
        for layer in &fixture.layers {
            let digest = Digest::parse(&layer.digest).unwrap();
            assert_eq!(sandbox.engine.store().blobs().contains(&digest), keep);
            assert_eq!(partial_of(&sandbox, layer), 0);
        }
    }
}

#[test]
fn a_layer_refused_leaves_nothing_of_the_image() {
    let fixture = Fixture::new();
    let bad = fixture
        .layout
        .layer(Compression::Gzip, |tar| tar.file("../../../out", Meta::mode(0o644), b"x"))
        .unwrap();
    let layers = [fixture.layers[0].clone(), bad];
    let image = fixture.layout.image(Family::Oci, &json!({}), &layers).unwrap();
    let server = serve(fixture.shelf().tag("latest", &image), |_| None);
    let sandbox = Sandbox::new();
    sandbox.pull(&app(&server)).expect_err("the pull succeeded");
    let left = std::fs::read_dir(sandbox.engine.store().root().join("partial")).unwrap().count();
    assert_eq!(left, 0, "to try again would change nothing");
}

#[test]
fn two_commands_that_want_the_same_layer_fetch_it_once() {
    let fixture = Fixture::new();
    let shelf = fixture.shelf();
    let server = serve(fixture.shelf(), move |asked| {
        std::thread::sleep(Duration::from_millis(30));
        Some(shelf.answer(asked))
    });
    let sandbox = Sandbox::new();
    let pulled = AtomicU64::new(0);
    let settings = sandbox.settings();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut other = Sandbox::new();
                other.engine = Engine::new(settings.clone());
                other.pull(&app(&server)).unwrap();
                pulled.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    assert_eq!(pulled.into_inner(), 4);
    for layer in &fixture.layers {
        assert_eq!(server.count(&layer.digest), 1, "{}", layer.digest);
    }
}

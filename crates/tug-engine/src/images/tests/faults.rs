//! Pulls that fail: the words, and that nothing stays.

use super::*;
use tug_test::layer::LayerTar;
use tug_types::Kind;

/// Pulls from a registry that spoils one layer (the second) and asserts that nothing stays.
fn failing(spoil: impl Fn(&Asked, Vec<u8>) -> Reply + Send + Sync + 'static) -> Failure {
    let fixture = Fixture::new();
    let victim = fixture.layers[1].digest.clone();
    let bytes = fixture.blob(&victim);
    let (target, served) = (victim.clone(), bytes.clone());
    let server = serve(fixture.shelf(), move |asked| {
        if !asked.target.ends_with(&target) {
            return None;
        }
        // The other layers get into the store first, and must leave it again.
        std::thread::sleep(Duration::from_millis(100));
        Some(spoil(asked, served.clone()))
    });
    let sandbox = Sandbox::new();
    let error = sandbox.pull(&app(&server)).expect_err("the pull succeeded");
    assert_eq!(sandbox.leftovers(), [""; 0], "after {error}");
    let mut failure = named(&error, &server);
    failure.message = failure.message.replace(&victim, "LAYER");
    failure
}

/// The same for the first answer of all, without a layer in the way.
fn refused(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Failure {
    let server = Server::start(reply).unwrap();
    let sandbox = Sandbox::new();
    let error = sandbox.pull(&app(&server)).expect_err("the pull succeeded");
    assert_eq!(sandbox.leftovers(), [""; 0], "after {error}");
    named(&error, &server)
}

#[test]
fn refusals_of_the_registry() {
    for (status, code, kind, message) in [
        (
            404,
            "MANIFEST_UNKNOWN",
            Kind::NotFound,
            "manifest for HOST/app:latest not found: manifest unknown: words",
        ),
        (
            403,
            "DENIED",
            Kind::Denied,
            "pull access denied for HOST/app, repository does not exist or may require \
             authorization: denied: words",
        ),
        (
            429,
            "TOOMANYREQUESTS",
            Kind::Unavailable,
            "get manifest latest of app from HOST: too many requests (HTTP 429): toomanyrequests: words",
        ),
        (
            500,
            "UNKNOWN",
            Kind::Unavailable,
            "get manifest latest of app from HOST: HTTP 500 Internal Server Error: unknown: words",
        ),
    ] {
        let failure = refused(move |_| Reply::refusal(status, code, "words"));
        assert_eq!((failure.kind, failure.message.as_str()), (kind, message));
        assert!(failure.hint.is_some());
    }
    let failure = refused(|asked| {
        let realm = format!("http://{}/token", asked.header("host").unwrap());
        match asked.target.starts_with("/token") {
            true => Reply::new(200, r#"{"token":"useless"}"#),
            false => {
                Reply::new(401, "").with("WWW-Authenticate", &format!(r#"Bearer realm="{realm}""#))
            }
        }
    });
    assert_eq!(
        failure.message,
        "pull access denied for HOST/app, repository does not exist or may require authorization"
    );
}

#[test]
fn refusals_of_a_layer() {
    let failure = failing(|_, _| Reply::refusal(404, "BLOB_UNKNOWN", "blob unknown to registry"));
    assert_eq!(
        failure.message,
        "get blob LAYER of app from HOST: not found: blob unknown: blob unknown to registry"
    );
    let failure = failing(|_, _| Reply::new(500, ""));
    assert_eq!(failure.message, "get blob LAYER of app from HOST: HTTP 500 Internal Server Error");
    let failure = failing(|_, _| Reply::new(429, "").with("Retry-After", "77"));
    assert_eq!(failure.message, "get blob LAYER of app from HOST: too many requests (HTTP 429)");
    let hint = failure.hint.unwrap();
    assert!(hint.starts_with("retry after 77 s, at ") && hint.ends_with(" UTC"), "{hint}");
}

#[test]
fn a_line_cut_for_good() {
    let failure = failing(|_, bytes| {
        let mut reply = Reply::new(200, bytes);
        reply.cut_after = Some(3000);
        reply
    });
    assert!(
        failure.message.starts_with(
            "get blob LAYER of app from HOST: connection lost 3 times, last after 3000 bytes: "
        ),
        "{}",
        failure.message
    );
    assert_eq!(failure.kind, Kind::Unavailable);
}

#[test]
fn a_line_cut_once_is_nothing_anybody_notices() {
    let fixture = Fixture::new();
    let shelf = fixture.shelf();
    let server = serve(fixture.shelf(), move |asked| {
        let mut reply = shelf.answer(asked);
        let first = asked.earlier == 0 && asked.target.contains("/blobs/");
        reply.cut_after = first.then_some(reply.body.len() / 2);
        Some(reply)
    });
    let sandbox = Sandbox::new();
    let (_, lines) = sandbox.pull(&app(&server)).unwrap();
    assert_eq!(lines.iter().filter(|line| line.contains("Retrying(2")).count(), 3, "{lines:?}");
    let resumed = server.asked().iter().filter(|asked| asked.range_start().is_some()).count();
    assert_eq!(resumed, 4, "three layers and the config");
}

#[test]
fn flipped_bits_and_wrong_content() {
    let failure = failing(|_, mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        Reply::new(200, bytes)
    });
    let head = "get blob LAYER of app from HOST: content does not match its digest: expected LAYER, \
                got sha256:";
    assert!(failure.message.starts_with(head), "{}", failure.message);
    assert!(failure.hint.is_some());
    let failure = failing(|_, bytes| Reply::new(200, vec![b'x'; bytes.len()]));
    assert!(failure.message.starts_with(head), "{}", failure.message);
}

#[test]
fn wrong_lengths() {
    let failure = failing(|_, bytes| Reply::new(200, &bytes[..bytes.len() - 1]));
    assert!(failure.message.contains("content has the wrong size"), "{}", failure.message);
    let failure = failing(|_, mut bytes| {
        bytes.push(0);
        let mut reply = Reply::new(200, bytes);
        reply.chunked = true;
        reply
    });
    assert!(failure.message.contains("content has the wrong size"), "{}", failure.message);
}

/// Serves an image whose one layer is the given bytes.
fn failing_layer(
    fill: impl FnOnce(&mut LayerTar<&mut dyn std::io::Write>) -> std::io::Result<()>,
) -> Failure {
    let fixture = Fixture::new();
    let bad = fixture.layout.layer(Compression::Gzip, fill).unwrap();
    let layers = [fixture.layers[0].clone(), bad.clone(), fixture.layers[2].clone()];
    let image = fixture.layout.image(Family::Oci, &json!({}), &layers).unwrap();
    let server = serve(fixture.shelf().tag("latest", &image), |_| None);
    let sandbox = Sandbox::new();
    let error = sandbox.pull(&app(&server)).expect_err("the pull succeeded");
    assert_eq!(sandbox.leftovers(), [""; 0], "after {error}");
    assert!(!std::path::Path::new("/tmp/tug-escaped").exists());
    let mut failure = named(&error, &server);
    failure.message = failure.message.replace(&bad.digest, "LAYER");
    failure
}

#[test]
fn layers_that_would_leave_their_root_are_refused_by_name() {
    let failure =
        failing_layer(|tar| tar.file("../../../../tmp/tug-escaped", Meta::mode(0o644), b"out"));
    let head = "HOST/app:latest: layer LAYER: unpack the layer: ";
    assert!(failure.message.starts_with(head), "{}", failure.message);
    assert!(failure.message.contains("../../../../tmp/tug-escaped"), "{}", failure.message);
    assert_eq!(failure.kind, Kind::Invalid);
    let failure = failing_layer(|tar| tar.hardlink("passwd", "../../../../../../etc/passwd"));
    assert!(failure.message.contains("etc/passwd"), "{}", failure.message);
}

#[test]
fn a_layer_other_than_its_diff_id_is_refused() {
    let fixture = Fixture::new();
    let mut layers = fixture.layers.clone();
    layers[1].diff_id = tug_test::layout::digest_of(b"something else");
    let image = fixture.layout.image(Family::Oci, &json!({}), &layers).unwrap();
    let server = serve(fixture.shelf().tag("latest", &image), |_| None);
    let sandbox = Sandbox::new();
    let error = sandbox.pull(&app(&server)).expect_err("the pull succeeded");
    let message = named(&error, &server).message;
    assert!(
        message.contains(&format!(
            "layer {}: the uncompressed layer should have the digest",
            layers[1].digest
        )),
        "{message}"
    );
    assert_eq!(sandbox.leftovers(), [""; 0]);
}

#[test]
fn a_truncated_layer_with_the_right_digest_is_refused() {
    let fixture = Fixture::new();
    let mut whole = fixture.blob(&fixture.layers[2].digest);
    whole.truncate(100_000);
    let digest = fixture.layout.put(&whole).unwrap();
    let cut = Layer {
        digest: digest.clone(),
        size: 100_000,
        diff_id: digest.clone(),
        compression: Compression::None,
    };
    let image = fixture.layout.image(Family::Oci, &json!({}), &[cut]).unwrap();
    let server = serve(fixture.shelf().tag("latest", &image), |_| None);
    let sandbox = Sandbox::new();
    let error = sandbox.pull(&app(&server)).expect_err("the pull succeeded");
    let message = named(&error, &server).message;
    assert!(message.contains("the archive ends in the middle of \"file2\""), "{message}");
    assert_eq!(sandbox.leftovers(), [""; 0]);
}

#[test]
fn wrong_content_from_one_mirror_is_taken_from_the_next() {
    let fixture = Fixture::new();
    let victim = fixture.layers[0].digest.clone();
    let mut bytes = fixture.blob(&victim);
    bytes[5000] ^= 1;
    let lying = serve(fixture.shelf(), move |asked| {
        asked.target.ends_with(&victim).then(|| Reply::new(200, bytes.clone()))
    });
    let honest = serve(fixture.shelf(), |_| None);
    let mut sandbox = Sandbox::new();
    sandbox.engine.settings.mirrors =
        [&lying, &honest].iter().map(|server| format!("http://{}", server.address())).collect();
    sandbox.pull(&reference("node")).unwrap();
    assert_eq!(honest.asked().len(), 1, "only the spoilt layer");
    let file = sandbox.file(&fixture.layers[0], "file0");
    assert!(std::fs::read(file).unwrap() == noise(0));
}

#[test]
fn a_failed_pull_leaves_what_other_images_have() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |_| None);
    let sandbox = Sandbox::new();
    sandbox.pull(&app(&server)).unwrap();
    let before = sandbox.leftovers();
    let missing =
        Layer { digest: fixture.layers[0].digest.replace('a', "b"), ..fixture.layers[0].clone() };
    let mut layers = fixture.layers.clone();
    layers.push(Layer { diff_id: missing.digest.clone(), ..missing });
    let image = fixture.layout.image(Family::Oci, &json!({}), &layers).unwrap();
    let other = serve(fixture.shelf().tag("latest", &image), |_| None);
    sandbox.pull(&app(&other)).expect_err("the pull succeeded");
    assert_eq!(sandbox.leftovers(), before);
}

#[test]
fn an_unknown_platform_is_no_network_matter() {
    let sandbox = Sandbox::new();
    let error = sandbox.pull_for(&reference("app"), Some("nonsense")).unwrap_err();
    assert_eq!(
        error.failure().message,
        "--platform: \"nonsense\" is not a platform: expected os[/arch[/variant]], such as \
         linux/arm64"
    );
}

/// A data root on a disk with room for the database and two of the fixture's three layers.
fn on_a_small_disk(try_it: impl FnOnce(&Sandbox) -> Result<(), Error>) {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let sandbox = Sandbox::new();
    let root = sandbox.engine.store().root().to_owned();
    std::fs::create_dir(&root).unwrap();
    mount("tmpfs", &root, "tmpfs", MountFlags::empty(), Some(c"size=600k")).unwrap();
    let result = try_it(&sandbox);
    let mut left = sandbox.leftovers();
    // Nor does what had come of the layers stay to fill the disk.
    let partials = std::fs::read_dir(root.join("partial")).into_iter().flatten();
    left.extend(partials.map(|entry| format!("{:?}", entry.unwrap().file_name())));
    drop(sandbox.engine);
    unmount(&root, UnmountFlags::empty()).unwrap();
    let failure = result.expect_err("it went well").failure();
    assert_eq!(left, [""; 0], "after {}", failure.message);
    assert_eq!(failure.kind, Kind::Unavailable, "{}", failure.message);
    // The disk fills under a layer or under the database's log: the kernel's words or SQLite's.
    let said = ["no space left on device", "database or disk is full"];
    assert!(said.iter().any(|words| failure.message.contains(words)), "{}", failure.message);
    assert!(failure.hint.unwrap().contains("make room"));
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |_| None);
    on_a_small_disk(|sandbox| sandbox.pull(&app(&server)).map(drop));
    let mut archive = Vec::new();
    fixture.layout.oci_archive(&mut archive, &[(&fixture.image, "app:1")]).unwrap();
    on_a_small_disk(|sandbox| {
        let progress = Arc::new(Lines::default());
        sandbox.engine.load(archive.as_slice(), Default::default(), progress).map(drop)
    });
    let mut tar = LayerTar::new(Vec::new());
    (0..5).for_each(|n| tar.file(&n.to_string(), Meta::mode(0o644), &noise(n)).unwrap());
    let tar = tar.finish().unwrap();
    on_a_small_disk(|sandbox| sandbox.engine.import(tar.as_slice(), Default::default()).map(drop));
}

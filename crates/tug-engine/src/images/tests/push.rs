//! Pushes, to Debian's registry: what arrives, what does not move, and under which digest.

use super::*;
use crate::images::push::{PushEvent, PushOptions, PushProgress, PushState, Pushed};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use tug_test::push::{push, request};
use tug_test::registry::Registry;
use tug_types::Kind;

/// Events as lines, without bytes.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl PushProgress for Told {
    fn event(&self, event: PushEvent) {
        let line = match event {
            PushEvent::Repository { name } => format!("to {name}"),
            PushEvent::Layer { state: PushState::Pushing(..), .. } => return,
            PushEvent::Layer { layer, state } => format!("{layer}: {state:?}"),
            PushEvent::Done(pushed) => format!("done {}", pushed.reference.familiar()),
        };
        self.0.lock().unwrap().push(line);
    }
}

impl Sandbox {
    pub(super) fn push(&self, name: &ImageReference) -> Result<(Pushed, Vec<String>), Error> {
        let mut settings = self.engine.registry_settings()?;
        settings.retry.tries = 3;
        settings.retry.first_wait = Duration::from_millis(2);
        let told = Told::default();
        let name = std::slice::from_ref(name);
        let mut pushed = self.engine.push_with(name, &PushOptions::default(), &told, settings)?;
        Ok((pushed.remove(0), told.0.into_inner().unwrap()))
    }

    /// Pulls one name and gives the image another.
    fn pull_as(&self, from: &ImageReference, name: &ImageReference) {
        let (pulled, _) = self.pull(from).unwrap();
        self.engine.store().tag_image(&pulled.id, name).unwrap();
    }
}

fn ended(lines: &[String], state: &str) -> usize {
    lines.iter().filter(|line| line.ends_with(state)).count()
}

fn at(registry: &Registry, name: &str) -> ImageReference {
    reference(&format!("{}/{name}", registry.address()))
}

fn manifest_at(registry: &Registry, name: &str, tag: &str) -> serde_json::Value {
    let path = format!("/v2/{name}/manifests/{tag}");
    let accept = [(
        "Accept",
        "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json",
    )];
    let answer = request(registry.address(), "GET", &path, &accept, std::io::empty(), 0).unwrap();
    assert_eq!(answer.status, 200, "{path}");
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn a_pulled_image_pushed_elsewhere_keeps_its_digest_and_loses_it_only_with_its_origin() {
    let (Some(origin), Some(target)) = (Registry::start().unwrap(), Registry::start().unwrap())
    else {
        return;
    };
    let fixture = Fixture::new();
    push(origin.address(), &fixture.layout, &fixture.image, "team/app", "1").unwrap();
    let sandbox = Sandbox::new();
    let (from, copy) = (at(&origin, "team/app:1"), at(&target, "copy:2"));
    sandbox.pull_as(&from, &copy);
    let (pushed, lines) = sandbox.push(&copy).unwrap();
    assert_eq!(pushed.digest.to_string(), fixture.image.digest);
    assert_eq!(pushed.instead_of, None);
    assert_eq!(lines[0], format!("to {}", copy.name()));
    assert_eq!(ended(&lines, "Preparing"), 3);
    assert_eq!(ended(&lines, "Pushed"), 3, "{lines:?}");
    let row = sandbox.engine.store().image_by_reference(&copy).unwrap().unwrap();
    assert!(row.digests.contains(&copy.with_digest(pushed.digest)));

    // Again: nothing moves. Beside it: the registry takes it over by itself.
    let (_, lines) = sandbox.push(&copy).unwrap();
    assert_eq!(ended(&lines, "Exists"), 3, "{lines:?}");
    let beside = at(&target, "beside:1");
    sandbox.engine.store().tag_image(&row.id, &beside).unwrap();
    let (pushed, lines) = sandbox.push(&beside).unwrap();
    assert_eq!(pushed.digest.to_string(), fixture.image.digest);
    assert_eq!(ended(&lines, "Mounted(\"copy\")"), 3, "{lines:?}");

    // What was pushed is what others see.
    let other = Sandbox::new();
    let (pulled, _) = other.pull(&beside).unwrap();
    assert_eq!(pulled.id.to_string(), fixture.image.config);

    // Nobody has the blobs any more: said, and still the same image.
    drop((origin, target));
    let Some(target) = Registry::start().unwrap() else { return };
    let last = at(&target, "last:1");
    for blob in sandbox.engine.store().image_layers(&row.id).unwrap() {
        sandbox.engine.store().blobs().remove(&blob.blob.unwrap()).unwrap();
    }
    sandbox.engine.store().tag_image(&row.id, &last).unwrap();
    let (pushed, _) = sandbox.push(&last).unwrap();
    assert_ne!(pushed.digest.to_string(), fixture.image.digest);
    assert_eq!(pushed.instead_of.unwrap().to_string(), fixture.image.digest);
    let value = manifest_at(&target, "last", "1");
    assert_eq!(value["config"]["digest"], fixture.image.config);
    // The plain layer is the tar itself, which can be made again.
    assert_eq!(value["layers"][2]["digest"], fixture.layers[2].digest);
    assert_eq!(value["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    let fresh = Sandbox::new();
    let (pulled, _) = fresh.pull(&last).unwrap();
    assert_eq!(pulled.id.to_string(), fixture.image.config);
    for (n, layer) in fixture.layers.iter().enumerate() {
        assert!(std::fs::read(fresh.file(layer, &format!("file{n}"))).unwrap() == noise(n as u64));
    }
    // Once compressed, known from then on.
    let again = at(&target, "again:1");
    sandbox.engine.store().tag_image(&row.id, &again).unwrap();
    let (second, lines) = sandbox.push(&again).unwrap();
    assert_eq!(second.digest, pushed.digest);
    assert_eq!(ended(&lines, "Mounted(\"last\")"), 3, "{lines:?}");
}

#[test]
fn an_image_made_here_gets_a_manifest_of_dockers_family() {
    let Some(registry) = Registry::start().unwrap() else { return };
    let sandbox = Sandbox::new();
    let name = at(&registry, "made:1");
    let mut tar = Vec::new();
    tug_test::layer::LayerTar::new(&mut tar as &mut dyn std::io::Write)
        .file("hello", Meta::mode(0o644), b"hello")
        .unwrap();
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    let options = crate::ImportOptions { reference: Some(name.clone()), ..Default::default() };
    let id = sandbox.engine.import(tar.as_slice(), options).unwrap();
    let (pushed, _) = sandbox.push(&name).unwrap();
    assert_eq!(pushed.instead_of, None);
    let value = manifest_at(&registry, "made", "1");
    assert_eq!(value["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(value["config"]["digest"], id.to_string());
    let other = Sandbox::new();
    assert_eq!(other.pull(&name).unwrap().0.id, id);
}

#[test]
fn a_registry_with_a_login_is_pushed_to_by_those_who_have_it() {
    let (Some(origin), Some(mut target)) = (Registry::start().unwrap(), Registry::start().unwrap())
    else {
        return;
    };
    let fixture = Fixture::new();
    push(origin.address(), &fixture.layout, &fixture.image, "app", "latest").unwrap();
    target.require_login().unwrap();
    let mut sandbox = Sandbox::new();
    let copy = at(&target, "copy");
    sandbox.pull_as(&at(&origin, "app"), &copy);
    let error = sandbox.push(&copy).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    let message = error.failure().message;
    assert!(message.starts_with("push access denied for"), "{message}");
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"dHVnOnNlY3JldA=="}}}}}}"#, target.address());
    std::fs::write(sandbox.dir.path().join("config.json"), config).unwrap();
    sandbox.engine.settings.docker_config_dir = Some(sandbox.dir.path().to_owned());
    let (pushed, _) = sandbox.push(&copy).unwrap();
    assert_eq!(pushed.digest.to_string(), fixture.image.digest);
}

#[test]
fn what_is_not_here_is_not_pushed() {
    let sandbox = Sandbox::new();
    let error = sandbox.push(&reference("nowhere.invalid/app:1")).unwrap_err();
    assert_eq!(
        error.failure().message,
        "An image does not exist locally with the tag: nowhere.invalid/app"
    );
    assert_eq!(error.kind(), Kind::NotFound);
}

#[test]
fn a_damaged_layer_is_never_pushed() {
    let (Some(origin), Some(target)) = (Registry::start().unwrap(), Registry::start().unwrap())
    else {
        return;
    };
    let fixture = Fixture::new();
    push(origin.address(), &fixture.layout, &fixture.image, "app", "latest").unwrap();
    let sandbox = Sandbox::new();
    let copy = at(&target, "copy");
    sandbox.pull_as(&at(&origin, "app"), &copy);
    let row = sandbox.engine.store().image_by_reference(&copy).unwrap().unwrap();
    for blob in sandbox.engine.store().image_layers(&row.id).unwrap() {
        sandbox.engine.store().blobs().remove(&blob.blob.unwrap()).unwrap();
    }
    drop(origin);
    let file = sandbox.file(&fixture.layers[0], "file0");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = sandbox.push(&copy).unwrap_err();
    assert!(error.failure().message.contains("is damaged"), "{error}");
    let path = "/v2/copy/manifests/latest";
    let answer = request(target.address(), "GET", path, &[], std::io::empty(), 0).unwrap();
    assert_eq!(answer.status, 404, "no manifest without its layers");
}

#[test]
fn an_index_is_pushed_whole_when_all_of_it_is_here() {
    let (Some(origin), Some(target)) = (Registry::start().unwrap(), Registry::start().unwrap())
    else {
        return;
    };
    let fixture = Fixture::new();
    let config = |architecture: &str| {
        let diff_ids = [fixture.layers[0].diff_id.clone()];
        json!({"architecture": architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}})
        .to_string()
    };
    let image = |architecture: &str| {
        let layers = std::slice::from_ref(&fixture.layers[0]);
        fixture.layout.image_of(Family::Oci, config(architecture).as_bytes(), layers).unwrap()
    };
    let (amd64, arm64) = (image("amd64"), image("arm64"));
    let index = fixture
        .layout
        .index(Family::Oci, &[(&amd64, "linux/amd64"), (&arm64, "linux/arm64")])
        .unwrap();
    push(origin.address(), &fixture.layout, &index, "app", "1").unwrap();
    let sandbox = Sandbox::new();
    let (from, copy) = (at(&origin, "app:1"), at(&target, "copy:1"));
    sandbox.pull_as(&from, &copy);
    let (pushed, _) = sandbox.push(&copy).unwrap();
    assert_eq!(pushed.digest.to_string(), amd64.digest, "the other platform is not here");
    sandbox.pull_for(&from, Some("linux/arm64")).unwrap();
    let (pulled, _) = sandbox.pull_for(&from, Some("linux/amd64")).unwrap();
    sandbox.engine.store().tag_image(&pulled.id, &copy).unwrap();
    let (pushed, _) = sandbox.push(&copy).unwrap();
    assert_eq!(pushed.digest.to_string(), index.digest);
    let other = Sandbox::new();
    let (pulled, _) = other.pull_for(&copy, Some("linux/arm64")).unwrap();
    assert_eq!(pulled.id.to_string(), arm64.config);
}

/// A line to a registry, cut whenever `cuts` says so of what was read from the client, which the registry
/// does not see then. Returns its address.
fn breaking_line(registry: &str, cuts: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (registry, cuts) = (registry.to_owned(), Arc::new(cuts));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (registry, cuts) = (registry.clone(), Arc::clone(&cuts));
            // A line that breaks is what this is for.
            std::thread::spawn(move || drop(carry(client, &registry, &*cuts)));
        }
    });
    address
}

fn carry(
    mut client: TcpStream,
    registry: &str,
    cuts: &impl Fn(&[u8]) -> bool,
) -> std::io::Result<()> {
    let mut first = [0];
    if client.peek(&mut first)? == 0 || first[0] == 0x16 {
        return Ok(());
    }
    let mut server = TcpStream::connect(registry)?;
    let (mut answers, mut back) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || drop(std::io::copy(&mut answers, &mut back)));
    let mut bytes = vec![0; 16 << 10];
    loop {
        let length = client.read(&mut bytes)?;
        if length == 0 {
            return Ok(());
        }
        if cuts(&bytes[..length]) {
            client.shutdown(std::net::Shutdown::Both)?;
            return server.shutdown(std::net::Shutdown::Both);
        }
        server.write_all(&bytes[..length])?;
    }
}

/// A line that breaks twice, each time that so many bytes have gone over it; how many did.
fn line_for(registry: &str, every: u64) -> (String, Arc<AtomicU64>) {
    let carried = Arc::new(AtomicU64::new(0));
    let count = carried.clone();
    let address = breaking_line(registry, move |read| {
        let length = read.len() as u64;
        let before = count.fetch_add(length, Ordering::SeqCst);
        let (was, is) = (before / every, (before + length) / every);
        was != is && is <= 2
    });
    (address, carried)
}

/// A line that breaks between pieces: the second and the third piece of an upload are cut off before the
/// registry sees anything of them, at the first try. Tells what went over it and how many uploads were
/// begun.
struct Gaps {
    address: String,
    carried: Arc<AtomicU64>,
    begun: Arc<AtomicU64>,
    pieces: Arc<AtomicU64>,
}

impl Gaps {
    fn before(registry: &str) -> Self {
        let counts = [(); 3].map(|()| Arc::new(AtomicU64::new(0)));
        let [carried, begun, pieces] = counts.clone();
        let address = breaking_line(registry, move |read| {
            // A request begins with what is read: the one before has been answered.
            if read.starts_with(b"POST ") {
                begun.fetch_add(1, Ordering::SeqCst);
            }
            let cut = read.starts_with(b"PATCH ")
                && [1, 3].contains(&pieces.fetch_add(1, Ordering::SeqCst));
            if !cut {
                carried.fetch_add(read.len() as u64, Ordering::SeqCst);
            }
            cut
        });
        let [carried, begun, pieces] = counts;
        Self { address, carried, begun, pieces }
    }
}

#[test]
fn a_push_cut_between_pieces_goes_on_where_it_was() {
    let (Some(origin), Some(target)) = (Registry::start().unwrap(), Registry::start().unwrap())
    else {
        return;
    };
    let fixture = Fixture::new();
    let content: Vec<u8> = (0..40).flat_map(noise).collect();
    let layer = file_layer(&fixture.layout, Compression::None, "big", &content);
    let image = fixture.layout.image(Family::Oci, &json!({}), &[layer]).unwrap();
    push(origin.address(), &fixture.layout, &image, "app", "1").unwrap();
    let line = Gaps::before(target.address());
    let sandbox = Sandbox::new();
    let copy = reference(&format!("{}/copy:1", line.address));
    sandbox.pull_as(&at(&origin, "app:1"), &copy);
    let (pushed, lines) = sandbox.push(&copy).unwrap();
    assert_eq!(pushed.digest.to_string(), image.digest);
    assert_eq!(lines.iter().filter(|line| line.contains("Retrying")).count(), 2, "{lines:?}");
    assert!(line.pieces.load(Ordering::SeqCst) > 4, "both cuts were made");
    // One upload for the layer, one for the configuration.
    assert_eq!(line.begun.load(Ordering::SeqCst), 2, "nothing started over");
    let (carried, size) = (line.carried.load(Ordering::SeqCst), content.len() as u64);
    assert!(carried < size + (32 << 10), "{carried} bytes for {size}");
    Sandbox::new().pull(&at(&target, "copy:1")).unwrap();
}

#[test]
fn a_push_over_a_line_that_breaks_arrives() {
    let (Some(origin), Some(target)) = (Registry::start().unwrap(), Registry::start().unwrap())
    else {
        return;
    };
    let fixture = Fixture::new();
    let content: Vec<u8> = (0..40).flat_map(noise).collect();
    let layer = file_layer(&fixture.layout, Compression::None, "big", &content);
    let image = fixture.layout.image(Family::Oci, &json!({}), &[layer]).unwrap();
    push(origin.address(), &fixture.layout, &image, "app", "1").unwrap();
    let (address, carried) = line_for(target.address(), 2_500_000);
    let sandbox = Sandbox::new();
    let copy = reference(&format!("{address}/copy:1"));
    sandbox.pull_as(&at(&origin, "app:1"), &copy);
    let (pushed, lines) = sandbox.push(&copy).unwrap();
    assert_eq!(pushed.digest.to_string(), image.digest);
    assert!(lines.iter().any(|line| line.contains("Retrying")), "{lines:?}");
    let (carried, size) = (carried.load(Ordering::SeqCst), content.len() as u64);
    // This registry (2.8) keeps what it got of a broken piece and then takes no piece any more, so
    // each time the layer starts over. Those that can go on are tried in tug-registry's own tests.
    assert!(carried < 2 * 2_500_000 + size + (1 << 20), "{carried} bytes for {size}");
    let fresh = Sandbox::new();
    fresh.pull(&at(&target, "copy:1")).unwrap();
}

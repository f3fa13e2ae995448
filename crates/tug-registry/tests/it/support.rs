//! What these tests share: a small image on a shelf, an impatient client, failures as text.

use serde_json::json;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tug_registry::{BlobEvent, Client, Error, Resolved, Retry, Settings};
use tug_test::layer::Meta;
use tug_test::layout::{Compression, Family, Layout, Manifest};
use tug_test::scripted::{Asked, Reply, Server};
use tug_test::shelf::Shelf;
use tug_types::{Explain, Failure, ImageReference};

/// Three tries a few milliseconds apart.
pub(crate) fn settings() -> Settings {
    let retry = Retry {
        tries: 3,
        first_wait: Duration::from_millis(2),
        longest_wait: Duration::from_secs(2),
    };
    Settings { retry, read_timeout: Duration::from_secs(2), ..Settings::default() }
}

/// A layout with one image of one layer of a few hundred KiB that does not compress.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) layout: Layout,
    pub(crate) image: Manifest,
    /// Digest of the layer's blob.
    pub(crate) layer: String,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        let mut noise = Vec::new();
        let mut state = 1u64;
        for _ in 0..40_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.extend_from_slice(&state.to_be_bytes());
        }
        let layer = layout
            .layer(Compression::Gzip, |tar| tar.file("noise", Meta::mode(0o644), &noise))
            .unwrap();
        let image = layout
            .image(Family::Oci, &json!({"Cmd": ["sh"]}), std::slice::from_ref(&layer))
            .unwrap();
        Self { dir, layout, image, layer: layer.digest }
    }

    pub(crate) fn shelf(&self) -> Shelf {
        Shelf::new(self.dir.path()).tag("latest", &self.image)
    }

    pub(crate) fn layer_bytes(&self) -> Vec<u8> {
        std::fs::read(self.layout.blob(&self.layer)).unwrap()
    }
}

/// A server that answers from the shelf what `spoil` leaves alone.
pub(crate) fn serve(
    shelf: Shelf,
    spoil: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static,
) -> Server {
    Server::start(move |asked| spoil(asked).unwrap_or_else(|| shelf.answer(asked))).unwrap()
}

pub(crate) fn reference(address: &str, rest: &str) -> ImageReference {
    ImageReference::parse(&format!("{address}/{rest}")).unwrap()
}

pub(crate) fn resolve(
    settings: Settings,
    reference: &ImageReference,
) -> Result<(Client, Resolved), Error> {
    let client = Client::new(settings)?;
    let resolved = client.resolve(reference, None, &|_, _| {})?;
    Ok((client, resolved))
}

/// Resolves `app` at the server; the failure, with the server's address as `HOST`.
pub(crate) fn refused(server: &Server, settings: Settings) -> Failure {
    let reference = reference(&server.address(), "app");
    let error = resolve(settings, &reference).map(|_| ()).expect_err("resolving succeeded");
    named(&error, server)
}

/// The failure as shown, with the server's address as `HOST`.
pub(crate) fn named(error: &Error, server: &Server) -> Failure {
    let failure = error.failure();
    let name = |text: &str| text.replace(&server.address(), "HOST");
    Failure {
        kind: failure.kind,
        message: name(&failure.message),
        hint: failure.hint.as_deref().map(name),
        ..failure
    }
}

/// Resolves `app` and reads its one layer to the end.
pub(crate) fn download(
    server: &Server,
    settings: Settings,
) -> Result<(Vec<u8>, Vec<BlobEvent>), Error> {
    let (client, resolved) = resolve(settings, &reference(&server.address(), "app"))?;
    read_layer(&client, &resolved)
}

pub(crate) fn read_layer(
    client: &Client,
    resolved: &Resolved,
) -> Result<(Vec<u8>, Vec<BlobEvent>), Error> {
    let events = Arc::new(Mutex::new(Vec::new()));
    let log = events.clone();
    let observer = move |event| log.lock().unwrap().push(event);
    let layer = &resolved.manifest.layers[0];
    let mut reader = client.open(&resolved.source, layer, Arc::new(observer))?;
    let mut bytes = Vec::new();
    if let Err(shown) = reader.read_to_end(&mut bytes) {
        let error = reader.take_failure().expect("a failure without its cause");
        assert_eq!(shown.to_string(), error.to_string());
        return Err(error);
    }
    reader.finish()?;
    let events = events.lock().unwrap().clone();
    Ok((bytes, events))
}

/// A directory with a `config.json` that knows `tug:secret` for the address.
pub(crate) fn docker_config(address: &str) -> TempDir {
    config_json(&format!(r#"{{"auths":{{"{address}":{{"auth":"dHVnOnNlY3JldA=="}}}}}}"#))
}

pub(crate) fn config_json(text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), text).unwrap();
    dir
}

pub(crate) fn with_config(dir: &Path) -> Settings {
    Settings { docker_config_dir: Some(dir.to_owned()), ..settings() }
}

//! Images coming in, on a real store, from real registries and archives and from hostile ones.

mod faults;
mod import;
mod killed;
mod load;
mod policy;
mod pull;
mod push;
mod resume;
mod skopeo;

use super::{PullOptions, Pulled};
use crate::view::{LayerState, Progress, PullEvent};
use crate::{Engine, Error, Settings};
use serde_json::json;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tug_test::layer::Meta;
use tug_test::layout::{Compression, Family, Layer, Layout, Manifest};
use tug_test::scripted::{Asked, Reply, Server};
use tug_test::shelf::Shelf;
use tug_types::{DiffId, Digest, Explain, Failure, ImageReference};

/// An engine over a data root of its own.
struct Sandbox {
    engine: Engine,
    dir: TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::new(Settings {
            data_root: dir.path().join("data"),
            exec_root: dir.path().join("run"),
            exe: PathBuf::from("/proc/self/exe"),
            docker_config_dir: None,
            mirrors: Vec::new(),
            registries: crate::RegistryFiles::default(),
            default_platform: Some("linux/amd64".to_owned()),
        });
        Self { engine, dir }
    }

    fn settings(&self) -> Settings {
        self.engine.settings().clone()
    }

    /// Pulls with three quick tries.
    fn pull(&self, reference: &ImageReference) -> Result<(Pulled, Vec<String>), Error> {
        self.pull_for(reference, None)
    }

    fn pull_for(
        &self,
        reference: &ImageReference,
        platform: Option<&str>,
    ) -> Result<(Pulled, Vec<String>), Error> {
        let mut settings = self.engine.registry_settings()?;
        settings.retry.tries = 3;
        settings.retry.first_wait = Duration::from_millis(2);
        settings.retry.longest_wait = Duration::from_secs(2);
        settings.read_timeout = Duration::from_secs(2);
        let lines = Arc::new(Lines::default());
        let options = PullOptions { platform: platform.map(str::to_owned) };
        let pulled = self.engine.pull_with(reference, &options, lines.clone(), settings)?;
        let lines = lines.0.lock().unwrap().clone();
        Ok((pulled, lines))
    }

    /// Everything in the store that a failed intake might have left.
    fn leftovers(&self) -> Vec<String> {
        let store = self.engine.store();
        let mut found: Vec<String> =
            store.images().unwrap().iter().map(|image| format!("image {}", image.id)).collect();
        found.extend(store.layers().list().unwrap().iter().map(|layer| format!("layer {layer}")));
        found.extend(store.blobs().list().unwrap().iter().map(|blob| format!("blob {blob}")));
        if let Ok(entries) = std::fs::read_dir(store.root().join("tmp")) {
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            found.extend(names.filter(|name| !name.starts_with('.')).map(|n| format!("tmp/{n}")));
        }
        found
    }

    fn file(&self, layer: &Layer, name: &str) -> PathBuf {
        let diff_id = DiffId(Digest::parse(&layer.diff_id).unwrap());
        self.engine.store().layers().tree(&diff_id).join(name)
    }
}

/// Progress as the lines of a terminal that is none, without bytes.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Progress for Lines {
    fn event(&self, event: PullEvent) {
        let line = match event {
            PullEvent::Resolving { reference } => format!("resolving {}", reference.familiar()),
            PullEvent::Layer { state: LayerState::Downloading(..), .. } => return,
            PullEvent::Layer { layer, state } => format!("{layer}: {state:?}"),
            PullEvent::TagDone { digest } => format!("tag {digest}"),
            PullEvent::AllDone { newer, .. } => format!("all newer {newer}"),
            PullEvent::Done { digest, newer, .. } => format!("done {digest} newer {newer}"),
        };
        self.0.lock().unwrap().push(line);
    }
}

/// A layout with an image of three layers, one of each compression.
struct Fixture {
    dir: TempDir,
    layout: Layout,
    layers: Vec<Layer>,
    image: Manifest,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        let layers: Vec<Layer> = [Compression::Gzip, Compression::Zstd, Compression::None]
            .into_iter()
            .enumerate()
            .map(|(n, kind)| file_layer(&layout, kind, &format!("file{n}"), &noise(n as u64)))
            .collect();
        let config = json!({"Cmd": ["sh"], "Labels": {"a": "b"}});
        let image = layout.image(Family::Oci, &config, &layers).unwrap();
        Self { dir, layout, layers, image }
    }

    fn shelf(&self) -> Shelf {
        Shelf::new(self.dir.path()).tag("latest", &self.image)
    }

    fn blob(&self, digest: &str) -> Vec<u8> {
        std::fs::read(self.layout.blob(digest)).unwrap()
    }
}

fn file_layer(layout: &Layout, kind: Compression, name: &str, content: &[u8]) -> Layer {
    layout.layer(kind, |tar| tar.file(name, Meta::mode(0o640), content)).unwrap()
}

/// Some hundred KiB that do not compress, different for each seed.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed + 1;
    let step = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 24).to_be_bytes()
    };
    (0..20_000).flat_map(step).collect()
}

fn reference(text: &str) -> ImageReference {
    ImageReference::parse(text).unwrap()
}

fn app(server: &Server) -> ImageReference {
    reference(&format!("{}/app", server.address()))
}

fn serve(shelf: Shelf, spoil: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> Server {
    Server::start(move |asked| spoil(asked).unwrap_or_else(|| shelf.answer(asked))).unwrap()
}

fn named(error: &Error, server: &Server) -> Failure {
    let failure = error.failure();
    let name = |text: &str| text.replace(&server.address(), "HOST");
    Failure { message: name(&failure.message), hint: failure.hint.as_deref().map(name), ..failure }
}

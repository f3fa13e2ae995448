//! `push`: the layers side by side, then the config, then the manifest: a registry never sees a
//! manifest whose parts it does not have.
//!
//! What is pushed is, wherever that can be had, the very manifest the image came with, so that it
//! has the same digest everywhere. Only when a layer's compressed blob is neither kept here, nor at
//! the destination, nor to be had from where it came, is the layer compressed anew; the manifest
//! then is a new one, and it is said.

mod layer;
mod lineage;
mod manifest;
mod subject;

use super::cache::CacheBlob;
use super::compress::{Compression, Method};
use super::error::ImageError;
use super::pull::failed;
use crate::{Engine, Error};
use layer::{Job, Layers};
use manifest::Plan;
use subject::{Image, Index, Subject};
use tug_registry::{Client, Destination, Platform, UploadEvent};
use tug_store::ImageRow;
use tug_types::{DiffId, Digest, ImageReference};

/// How to push.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// `--platform`: what the image must be for.
    pub platform: Option<String>,
    /// How layers that have to be compressed are.
    pub compression: Compression,
    /// Media types of an image that was made here: OCI's, or Docker's. None is what it was made with, or Docker's.
    pub oci: Option<bool>,
}

/// What the registry has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Under this name.
    pub reference: ImageReference,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Bytes of the manifest.
    pub size: u64,
    /// Digest of the manifest the image came with, when this is another one.
    pub instead_of: Option<Digest>,
}

/// What is told while an image goes out. Calls may come from several threads.
pub trait PushProgress: Send + Sync {
    /// Something happened.
    fn event(&self, event: PushEvent);
}

/// Steps of a push, in the order of Docker's own lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushEvent {
    /// `The push refers to repository [docker.io/library/busybox]`
    Repository {
        /// In full.
        name: String,
    },
    /// A layer's state changed.
    Layer {
        /// The first twelve digits of its diff id, as Docker prints it.
        layer: String,
        /// New state.
        state: PushState,
    },
    /// `latest: digest: sha256:… size: 527`
    Done(Pushed),
}

/// A layer's way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushState {
    /// `Preparing`
    Preparing,
    /// Bytes so far, of how many if known.
    Pushing(u64, Option<u64>),
    /// `Pushed`
    Pushed,
    /// `Layer already exists`
    Exists,
    /// `Mounted from library/busybox`
    Mounted(String),
    /// Attempt number and seconds until the next try.
    Retrying(u32, u64),
}

/// What all images of one push share.
pub(super) struct Push<'a> {
    pub(super) client: &'a Client,
    pub(super) destination: &'a Destination,
    pub(super) progress: &'a dyn PushProgress,
    pub(super) compression: Compression,
    /// As [`PushOptions::oci`].
    pub(super) oci: Option<bool>,
}

impl Engine {
    /// Brings images, each by a tag of one and the same repository, to their registry.
    ///
    /// # Errors
    /// [`Error::NotToPush`] when one is not here; what the registry answered; or why a layer cannot
    /// be read. What had arrived before stays at the registry.
    pub fn push(
        &self,
        references: &[ImageReference],
        options: &PushOptions,
        progress: &dyn PushProgress,
    ) -> Result<Vec<Pushed>, Error> {
        self.push_with(references, options, progress, self.registry_settings()?)
    }

    /// The same with a patience of the caller's choice.
    pub(super) fn push_with(
        &self,
        references: &[ImageReference],
        options: &PushOptions,
        progress: &dyn PushProgress,
        settings: tug_registry::Settings,
    ) -> Result<Vec<Pushed>, Error> {
        let Some(first) = references.first() else { return Ok(Vec::new()) };
        let platform = options.platform.as_deref();
        let platform = platform.filter(|text| !text.is_empty()).map(Platform::parse).transpose();
        let platform = platform.map_err(|source| ImageError::Platform { source })?;
        let subjects = references.iter().map(|name| self.subject(name, platform.as_ref()));
        let subjects = subjects.collect::<Result<Vec<_>, _>>()?;
        progress.event(PushEvent::Repository { name: first.name() });
        let client = Client::new(settings).map_err(failed)?;
        let destination = client.destination(first).map_err(failed)?;
        let PushOptions { compression, oci, .. } = *options;
        let (client, destination) = (&client, &destination);
        let push = Push { client, destination, progress, compression, oci };
        let mut done = Vec::new();
        for (reference, subject) in references.iter().zip(subjects) {
            let pushed = match subject {
                Subject::Image(image) => self.push_image(&push, reference, &image, true)?,
                Subject::Index(index) => self.push_index(&push, reference, &index)?,
            };
            progress.event(PushEvent::Done(pushed.clone()));
            done.push(pushed);
        }
        Ok(done)
    }

    /// The tags here of the repository that a name stands for, in order.
    ///
    /// # Errors
    /// When the store fails.
    pub fn tags_of(&self, reference: &ImageReference) -> Result<Vec<ImageReference>, Error> {
        let mut tags: Vec<ImageReference> =
            self.store.images()?.into_iter().flat_map(|image| image.tags).collect();
        tags.retain(|tag| tag.name() == reference.name());
        tags.sort();
        Ok(tags)
    }

    /// All platforms, then the index over them.
    fn push_index(
        &self,
        push: &Push<'_>,
        reference: &ImageReference,
        index: &Index,
    ) -> Result<Pushed, Error> {
        let mut replaced = Vec::new();
        let mut said = false;
        for image in &index.images {
            let pushed = self.push_image(push, reference, image, false)?;
            said |= pushed.instead_of.is_some();
            if let Some(old) = image.manifest.filter(|old| *old != pushed.digest) {
                replaced.push((old, pushed.digest, pushed.size));
            }
        }
        let bytes = manifest::replace_in_index(&index.bytes, &replaced, push.oci)?;
        let instead_of = said.then_some(index.digest);
        let tag = reference.tag().unwrap_or("latest");
        let media_type = match push.oci {
            Some(oci) => manifest::index_type(oci),
            None => &index.media_type,
        };
        let digest = push.publish(tag, media_type, &bytes)?;
        for image in &index.images {
            self.store.digest_image(&image.row.id, &reference.with_digest(digest))?;
        }
        let (reference, size) = (reference.clone(), bytes.len() as u64);
        Ok(Pushed { reference, digest, size, instead_of })
    }

    /// One platform. Under the reference's tag, or only under its own digest as a part of an index.
    fn push_image(
        &self,
        push: &Push<'_>,
        reference: &ImageReference,
        image: &Image,
        tagged: bool,
    ) -> Result<Pushed, Error> {
        let row = &image.row;
        let entries = self.store.image_layers(&row.id)?;
        let plan = Plan::of(&self.store.blobs(), row, image.manifest, &entries, push.oci);
        let diff_ids: Vec<DiffId> = entries.iter().map(|entry| entry.diff_id).collect();
        let relatives = self.relatives(reference, row, &diff_ids)?;
        let recipe = push.compression.recipe();
        let known = |diff_id: DiffId| {
            // What it was compressed to is only good to know: it can be found out again.
            let records = self.store.layer_blobs(&diff_id).unwrap_or_default();
            let made = records.into_iter().find(|record| record.recipe == recipe);
            (relatives.of(diff_id), made)
        };
        let lineage = match plan.knows_its_blobs() {
            true => std::collections::HashMap::new(),
            false => self.lineage(&diff_ids)?,
        };
        let jobs = plan.jobs(&diff_ids, known, &row.digests, lineage, push.compression.method);
        let layers = Layers { push, store: self.store.layers(), blobs: self.store.blobs() };
        let arrived = layers.push(&jobs)?;
        for (diff_id, layer) in &arrived {
            if let Some(made) = &layer.made {
                self.store.remember_blob(diff_id, made)?;
            }
        }
        layers.config(row)?;
        let manifest = plan.manifest(row, &diff_ids, &arrived)?;
        let own = super::intake::digest_of(&manifest.bytes).to_string();
        let name = if tagged { reference.tag().unwrap_or("latest") } else { &own };
        let digest = push.publish(name, &manifest.media_type, &manifest.bytes)?;
        if tagged {
            self.store.digest_image(&row.id, &reference.with_digest(digest))?;
        }
        Ok(Pushed {
            reference: reference.clone(),
            digest,
            size: manifest.bytes.len() as u64,
            instead_of: manifest.instead_of,
        })
    }

    /// The repositories of the same registry that are known to have some of the layers.
    fn relatives(
        &self,
        reference: &ImageReference,
        row: &ImageRow,
        diff_ids: &[DiffId],
    ) -> Result<Relatives, Error> {
        let mut known = Vec::new();
        let mut images = self.store.images()?;
        // Its own other names first: those certainly have all of it.
        images.sort_by_key(|image| image.id != row.id);
        for image in images {
            let repositories = repositories_of(&image.digests, reference);
            if repositories.is_empty() {
                continue;
            }
            let layers = self.store.image_layers(&image.id)?;
            let layers: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id).collect();
            if layers.iter().any(|layer| diff_ids.contains(layer)) {
                known.push((layers, repositories));
            }
        }
        Ok(Relatives(known))
    }
}

/// Says nothing.
pub(super) struct Silent;

impl PushProgress for Silent {
    fn event(&self, _: PushEvent) {}
}

/// The same push, of layers that are no image.
pub(super) type CacheLayers<'a> = Push<'a>;

impl Engine {
    /// Brings layers over, each once: what they became.
    pub(super) fn push_cache_layers(
        &self,
        push: &Push<'_>,
        reference: &ImageReference,
        diff_ids: &[DiffId],
    ) -> Result<Vec<(DiffId, CacheBlob)>, Error> {
        let recipe = push.compression.recipe();
        let docker = !push.oci.unwrap_or(true);
        let mut lineage = self.lineage(diff_ids)?;
        let job = |diff_id: &DiffId| {
            let records = self.store.layer_blobs(diff_id).unwrap_or_default();
            let (mut wanted, mut origins) = (None, Vec::new());
            if let Some(ancestor) = lineage.remove(diff_id) {
                let mut blob = ancestor.blob;
                blob.media_type = Method::of(&blob.media_type).media_type(docker).to_owned();
                (wanted, origins) = (Some(blob), ancestor.origins);
            }
            Job {
                diff_id: *diff_id,
                relatives: repositories_of(&origins, reference),
                wanted,
                origins,
                known: records.into_iter().find(|record| record.recipe == recipe),
                media_type: push.compression.method.media_type(docker),
            }
        };
        let jobs: Vec<Job> = diff_ids.iter().map(job).collect();
        let layers = Layers { push, store: self.store.layers(), blobs: self.store.blobs() };
        let arrived = layers.push(&jobs)?;
        let mut blobs = Vec::new();
        for diff_id in diff_ids {
            let Some(layer) = arrived.get(diff_id) else { continue };
            if let Some(made) = &layer.made {
                self.store.remember_blob(diff_id, made)?;
            }
            let blob = CacheBlob {
                digest: layer.descriptor.digest,
                size: layer.descriptor.size,
                media_type: layer.descriptor.media_type.clone(),
            };
            blobs.push((*diff_id, blob));
        }
        Ok(blobs)
    }
}

impl Push<'_> {
    /// Brings a small blob over.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<(), Error> {
        let digest = super::intake::digest_of(bytes);
        if self.client.probe(self.destination, digest).map_err(failed)?.is_some() {
            return Ok(());
        }
        let bytes: std::sync::Arc<[u8]> = std::sync::Arc::from(bytes);
        let mut open =
            || Ok(Box::new(std::io::Cursor::new(bytes.clone())) as Box<dyn std::io::Read>);
        let never = std::sync::atomic::AtomicBool::new(false);
        let sent = self.client.upload(self.destination, digest, &mut open, &|_| {}, &never);
        sent.map_err(failed).map(drop)
    }

    fn publish(&self, name: &str, media_type: &str, bytes: &[u8]) -> Result<Digest, Error> {
        let on_retry = |attempt, wait: std::time::Duration| {
            let state = PushState::Retrying(attempt, wait.as_secs());
            self.progress.event(PushEvent::Layer { layer: name.to_owned(), state });
        };
        let published = self.client.publish(self.destination, name, media_type, bytes, &on_retry);
        published.map_err(failed)
    }
}

/// The repositories of the reference's registry, other than its own, that images came from.
fn repositories_of(origins: &[ImageReference], reference: &ImageReference) -> Vec<String> {
    let mut names: Vec<String> = origins
        .iter()
        .filter(|name| name.registry() == reference.registry())
        .map(|name| name.repository().to_owned())
        .filter(|repository| repository != reference.repository())
        .collect();
    names.dedup();
    names
}

/// Layers, and the repositories that have them.
struct Relatives(Vec<(Vec<DiffId>, Vec<String>)>);

impl Relatives {
    fn of(&self, diff_id: DiffId) -> Vec<String> {
        /// Each costs a request.
        const MOST: usize = 3;
        let mut found: Vec<String> = Vec::new();
        for (layers, repositories) in &self.0 {
            for repository in repositories {
                if layers.contains(&diff_id) && !found.contains(repository) {
                    found.push(repository.clone());
                }
            }
        }
        found.truncate(MOST);
        found
    }
}

/// Turns an upload's events into progress.
fn observer<'a>(
    progress: &'a dyn PushProgress,
    job: &'a Job,
    total: Option<u64>,
) -> impl Fn(UploadEvent) + Sync + 'a {
    move |event| {
        let state = match event {
            UploadEvent::Sent(bytes) => PushState::Pushing(bytes, total),
            UploadEvent::Retrying(attempt, wait) => PushState::Retrying(attempt, wait.as_secs()),
        };
        progress.event(PushEvent::Layer { layer: job.shown(), state });
    }
}

//! `push`: the layers side by side, then the config, then the manifest: a registry never sees a
//! manifest whose parts it does not have.
//!
//! What is pushed is, wherever that can be had, the very manifest the image came with, so that it
//! has the same digest everywhere. Only when a layer's compressed blob is neither kept here, nor at
//! the destination, nor to be had from where it came, is the layer compressed anew; the manifest
//! then is a new one, and it is said.

mod compress;
mod layer;
mod manifest;

use super::error::ImageError;
use super::pull::failed;
use crate::{Engine, Error};
use layer::{Job, Layers};
use manifest::Plan;
use tug_registry::{Client, Destination, Platform, UploadEvent};
use tug_store::ImageRow;
use tug_types::{DiffId, Digest, ImageReference};

/// How to push.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// `--platform`: what the image must be for.
    pub platform: Option<String>,
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
        let mut images = Vec::new();
        for reference in references {
            let row = self.store.image_by_reference(reference)?;
            let missing = || Error::NotToPush { name: reference.familiar_name() };
            images.push((reference, row.ok_or_else(missing)?));
        }
        let platform = options.platform.as_deref();
        let platform = platform.filter(|text| !text.is_empty()).map(Platform::parse).transpose();
        let platform = platform.map_err(|source| ImageError::Platform { source })?;
        for (_, row) in &images {
            check_platform(row, platform.as_ref())?;
        }
        progress.event(PushEvent::Repository { name: first.name() });
        let client = Client::new(settings).map_err(failed)?;
        let destination = client.destination(first).map_err(failed)?;
        let push = Push { client: &client, destination: &destination, progress };
        let mut done = Vec::new();
        for (reference, row) in images {
            let pushed = self.push_one(&push, reference, &row)?;
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

    fn push_one(
        &self,
        push: &Push<'_>,
        reference: &ImageReference,
        row: &ImageRow,
    ) -> Result<Pushed, Error> {
        let entries = self.store.image_layers(&row.id)?;
        let plan = Plan::of(&self.store.blobs(), row, &entries)?;
        let diff_ids: Vec<DiffId> = entries.iter().map(|entry| entry.diff_id).collect();
        let relatives = self.relatives(reference, row, &diff_ids)?;
        let jobs = plan.jobs(&diff_ids, |diff_id| relatives.of(diff_id), &row.digests);
        let layers = Layers {
            push,
            store: self.store.layers(),
            blobs: self.store.blobs(),
            root: self.store.root(),
        };
        let descriptors = layers.push(&jobs)?;
        layers.config(row)?;
        let manifest = plan.manifest(row, &diff_ids, &descriptors)?;
        let tag = reference.tag().unwrap_or("latest");
        let published = push.client.publish(
            push.destination,
            tag,
            &manifest.media_type,
            &manifest.bytes,
            &|attempt, wait| {
                let state = PushState::Retrying(attempt, wait.as_secs());
                push.progress.event(PushEvent::Layer { layer: tag.to_owned(), state });
            },
        );
        let digest = published.map_err(failed)?;
        self.store.digest_image(&row.id, &reference.with_digest(digest))?;
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
            let mut repositories: Vec<String> = image
                .digests
                .iter()
                .filter(|name| name.registry() == reference.registry())
                .map(|name| name.repository().to_owned())
                .filter(|repository| repository != reference.repository())
                .collect();
            repositories.dedup();
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

fn check_platform(row: &ImageRow, wanted: Option<&Platform>) -> Result<(), Error> {
    let Some(wanted) = wanted else { return Ok(()) };
    let head: tug_registry::ConfigHead = serde_json::from_slice(&row.config).unwrap_or_default();
    let actual = head.platform();
    match wanted.rank(&actual) {
        Some(_) => Ok(()),
        None => Err(ImageError::WrongPlatform {
            id: row.id,
            wanted: wanted.to_string(),
            actual: actual.to_string(),
        }
        .into()),
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

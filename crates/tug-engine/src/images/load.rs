//! `load`: every image of an archive, or none. The archive may be compressed as a whole, and is read
//! once, from front to back.

use super::archive::Archive;
use super::error::ImageError;
use super::intake::{Intake, Whole};
use super::{docker_archive, legacy_archive, oci_layout};
use crate::image_config::ImageConfig;
use crate::view::{LayerState, Progress, PullEvent};
use crate::{Engine, Error};
use std::io::Read;
use std::sync::Arc;
use tug_registry::{ConfigHead, Platform};
use tug_store::LayerEntry;
use tug_types::{Digest, ImageReference};

/// How to load.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// `--platform`: which image of a multi-platform archive; anything else is refused then.
    pub platform: Option<String>,
}

/// One name that was loaded, or one image without a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// `Loaded image: busybox:latest`; `None` is `Loaded image ID: sha256:…`.
    pub reference: Option<ImageReference>,
    /// The image.
    pub id: Digest,
    /// The image that had the name until now, if it was another.
    pub replaced: Option<Digest>,
}

/// An image as an archive describes it, its layers in the store.
pub(super) struct Found {
    pub(super) config: Vec<u8>,
    pub(super) manifest: Option<Vec<u8>>,
    /// The index that names the manifest, where the archive names that.
    pub(super) index: Option<Vec<u8>>,
    pub(super) layers: Vec<LayerEntry>,
    pub(super) tags: Vec<ImageReference>,
}

impl Engine {
    /// Takes in all images of a `docker save` archive or an OCI layout's tar.
    ///
    /// # Errors
    /// When the archive or anything an image of it names is damaged or refused, or cannot be
    /// stored. Nothing stays then.
    pub fn load(
        &self,
        input: impl Read + Send,
        options: LoadOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Vec<Loaded>, Error> {
        let platform = options.platform.as_deref().map(|text| self.platform(Some(text)));
        let platform = platform.transpose()?.flatten();
        let mut intake = Intake::begin(self)?;
        let archive = Archive::take(input, intake.claim()?, self.store.layers())?;
        let images = find(&archive, platform.as_ref())?;
        for layer in images.iter().flat_map(|image| &image.layers) {
            let layer = layer.blob.unwrap_or(layer.diff_id.0).short();
            progress.event(PullEvent::Layer { layer, state: LayerState::Complete });
        }
        let loaded = self.keep_all(&mut intake, &images)?;
        intake.finish()?;
        Ok(loaded)
    }

    /// Records every image, after all of them were found good.
    fn keep_all(&self, intake: &mut Intake<'_>, images: &[Found]) -> Result<Vec<Loaded>, Error> {
        let mut configs = Vec::new();
        for image in images {
            let config: ImageConfig = serde_json::from_slice(&image.config).map_err(|source| {
                ImageError::Json { name: "image configuration".to_owned(), source }
            })?;
            configs.push(config);
        }
        let wholes: Vec<Whole<'_>> = images
            .iter()
            .zip(&configs)
            .map(|(image, config)| Whole {
                config: &image.config,
                manifest: image.manifest.as_deref(),
                index: image.index.as_deref(),
                created: config.created.as_deref(),
                tagged: false,
                layers: &image.layers,
                tags: &image.tags,
                digests: &[],
            })
            .collect();
        let ids: Vec<Digest> =
            wholes.iter().map(|whole| intake.put_blobs(whole)).collect::<Result<_, _>>()?;
        let mut loaded = Vec::new();
        for (id, whole) in ids.into_iter().zip(&wholes) {
            for tag in whole.tags {
                let before = self.store.image_by_reference(tag)?.map(|row| row.id);
                let replaced = before.filter(|before| *before != id);
                loaded.push(Loaded { reference: Some(tag.clone()), id, replaced });
            }
            if whole.tags.is_empty() {
                loaded.push(Loaded { reference: None, id, replaced: None });
            }
            intake.record(id, whole)?;
        }
        Ok(loaded)
    }
}

/// The images of an archive, by whichever of its tables of contents there is. Docker writes up to
/// three into one archive, for readers of different ages; they name the same images.
fn find(archive: &Archive, platform: Option<&Platform>) -> Result<Vec<Found>, Error> {
    let images = if archive.has("manifest.json") {
        docker_archive::images(archive)?
    } else if archive.has("index.json") {
        oci_layout::images(archive, platform)?
    } else if archive.has("repositories") {
        legacy_archive::images(archive)?
    } else {
        return Err(ImageError::NoImage.into());
    };
    for image in &images {
        check_platform(image, platform)?;
    }
    Ok(images)
}

fn check_platform(image: &Found, wanted: Option<&Platform>) -> Result<(), Error> {
    let Some(wanted) = wanted else { return Ok(()) };
    let head: ConfigHead = serde_json::from_slice(&image.config).unwrap_or_default();
    let actual = head.platform();
    if wanted.rank(&actual).is_some() {
        return Ok(());
    }
    let id = super::intake::digest_of(&image.config);
    let (wanted, actual) = (wanted.to_string(), actual.to_string());
    Err(ImageError::WrongPlatform { id, wanted, actual }.into())
}

/// The layers a configuration asks for, found as the archive names them, in order.
pub(super) fn match_layers(
    config: &[u8],
    layers: &[(String, super::archive::LayerMember)],
) -> Result<ConfigHead, Error> {
    let id = super::intake::digest_of(config);
    let head: ConfigHead = serde_json::from_slice(config)
        .map_err(|source| ImageError::Json { name: format!("configuration {id}"), source })?;
    let diff_ids = &head.rootfs.diff_ids;
    if layers.len() != diff_ids.len() {
        let (layers, diff_ids) = (layers.len(), diff_ids.len());
        return Err(ImageError::LayerCount { id, layers, diff_ids }.into());
    }
    for ((name, layer), expected) in layers.iter().zip(diff_ids) {
        if layer.diff_id != *expected {
            let (name, expected, actual) = (name.clone(), expected.0, layer.diff_id.0);
            return Err(ImageError::WrongLayer { id, name, expected, actual }.into());
        }
    }
    Ok(head)
}

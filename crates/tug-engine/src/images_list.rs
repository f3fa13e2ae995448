//! `images`, `tag`: the images that are here, by their names.

use crate::image_config::labels_of;
use crate::view::ImageSummary;
use crate::{Engine, Error};
use std::collections::{BTreeMap, BTreeSet};
use tug_store::ListedImage;
use tug_types::{Digest, ImageReference};

impl Engine {
    /// One row per repository and tag, newest first; images without a name once. Labels are read
    /// only `with_labels`: they are in the configurations.
    ///
    /// # Errors
    /// When the store fails or an image's configuration cannot be read.
    pub fn images(&self, with_labels: bool) -> Result<Vec<ImageSummary>, Error> {
        let mut rows = Vec::new();
        for image in self.store.list_images()? {
            let labels = match with_labels {
                true => self.image_labels(&image.id)?,
                false => BTreeMap::new(),
            };
            let row = |repository: Option<String>, tag: Option<String>, digest| ImageSummary {
                id: image.id,
                repository,
                tag,
                digest,
                created: image.created,
                size: image.size,
                labels: labels.clone(),
                containers: image.containers,
            };
            for tag in &image.tags {
                let digest = digest_of(&image, tag);
                rows.push(row(Some(tag.familiar_name()), tag.tag().map(str::to_owned), digest));
            }
            let tagged: BTreeSet<String> = image.tags.iter().map(ImageReference::name).collect();
            for name in image.digests.iter().filter(|name| !tagged.contains(&name.name())) {
                rows.push(row(Some(name.familiar_name()), None, name.digest().copied()));
            }
            if image.tags.is_empty() && image.digests.is_empty() {
                rows.push(row(None, None, None));
            }
        }
        Ok(rows)
    }

    /// How many images there are.
    ///
    /// # Errors
    /// When the store fails.
    pub fn image_count(&self) -> Result<usize, Error> {
        Ok(self.store.list_images()?.len())
    }

    pub(crate) fn image_labels(&self, id: &Digest) -> Result<BTreeMap<String, String>, Error> {
        let config = self.store.image_config(id)?;
        // One that is gone by now has none.
        let Some(config) = config else { return Ok(BTreeMap::new()) };
        labels_of(&config).map_err(|error| Error::DamagedImage {
            image: id.short(),
            what: format!("its configuration cannot be read: {error}"),
        })
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// When the source is not here, or the target names a digest.
    pub fn tag(&self, source: &str, target: &ImageReference) -> Result<(), Error> {
        if target.digest().is_some() {
            return Err(Error::BadValue {
                what: "tag",
                value: target.familiar(),
                why: "refusing to create a tag with a digest reference".to_owned(),
            });
        }
        let image = self.image(source)?;
        Ok(self.store.tag_image(&image.id, target)?)
    }
}

/// The digest an image has in the repository of one of its tags.
fn digest_of(image: &ListedImage, tag: &ImageReference) -> Option<Digest> {
    image
        .digests
        .iter()
        .find(|name| name.name() == tag.name())
        .and_then(|name| name.digest().copied())
}

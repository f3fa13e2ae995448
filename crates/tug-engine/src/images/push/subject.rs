//! What a name stands for when it is pushed: an index all of which is here, or one image.

use crate::images::error::ImageError;
use crate::images::variants::{best, platform_of};
use crate::{Engine, Error};
use tug_registry::{Parsed, Platform};
use tug_store::ImageRow;
use tug_types::{Digest, ImageReference};

/// What is pushed under one name.
pub(super) enum Subject {
    Image(Image),
    Index(Index),
}

/// One platform's image, with the manifest it came with under this name.
pub(super) struct Image {
    pub(super) row: ImageRow,
    pub(super) manifest: Option<Digest>,
}

/// A list of images, all of which are here.
pub(super) struct Index {
    pub(super) digest: Digest,
    pub(super) bytes: Vec<u8>,
    pub(super) media_type: String,
    pub(super) images: Vec<Image>,
}

impl Engine {
    /// The whole index when all of it is here and no platform is asked for, else one image.
    pub(super) fn subject(
        &self,
        reference: &ImageReference,
        wanted: Option<&Platform>,
    ) -> Result<Subject, Error> {
        let row = self.store.image_by_reference(reference)?;
        let row = row.ok_or_else(|| Error::NotToPush { name: reference.familiar_name() })?;
        let target = self.store.target(reference)?;
        let Some((mut index, entries)) = target.and_then(|digest| self.read_index(digest)) else {
            check_platform(&row, wanted)?;
            return Ok(Subject::Image(Image { manifest: row.manifest_digest, row }));
        };
        let mut here = Vec::new();
        for variant in self.store.variants(&index.digest)? {
            if let Some(row) = self.store.images_by_prefix(&variant.image.hex())?.pop() {
                here.push(Image { row, manifest: Some(variant.manifest) });
            }
        }
        if let Some(wanted) = wanted {
            if let Ok(image) = best(here, |image| &image.row, wanted) {
                return Ok(Subject::Image(image));
            }
            check_platform(&row, Some(wanted))?;
            return Ok(Subject::Image(Image { manifest: row.manifest_digest, row }));
        }
        for entry in &entries {
            match here.iter().position(|image| image.manifest == Some(*entry)) {
                Some(position) => index.images.push(here.swap_remove(position)),
                // Parts that are not here cannot be pushed: the one in use is.
                None => {
                    let mut all = here.iter().chain(&index.images);
                    let own = all.find(|image| image.row.id == row.id);
                    let manifest = own.and_then(|image| image.manifest).or(row.manifest_digest);
                    return Ok(Subject::Image(Image { row, manifest }));
                }
            }
        }
        Ok(Subject::Index(index))
    }

    /// An index without its images, and what it lists.
    fn read_index(&self, digest: Digest) -> Option<(Index, Vec<Digest>)> {
        let bytes = self.store.blobs().read(&digest).ok()?;
        let (Parsed::Index(list), media_type) = tug_registry::parse(&bytes, "").ok()? else {
            return None;
        };
        let entries = list.manifests.iter().map(|entry| entry.digest).collect();
        Some((Index { digest, bytes, media_type, images: Vec::new() }, entries))
    }
}

fn check_platform(row: &ImageRow, wanted: Option<&Platform>) -> Result<(), Error> {
    let Some(wanted) = wanted else { return Ok(()) };
    let actual = platform_of(row);
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

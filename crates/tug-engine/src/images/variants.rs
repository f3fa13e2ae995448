//! Which image a name means where a platform is asked for: the one the name points at, or another
//! one of the same index that is here.

use super::error::ImageError;
use crate::{Engine, Error};
use tug_registry::{ConfigHead, Platform};
use tug_store::ImageRow;
use tug_types::{Digest, ImageReference};

/// An image, and the manifest it has under the name it was asked by.
pub(crate) struct Chosen {
    pub(crate) row: ImageRow,
    pub(crate) manifest: Option<Digest>,
    /// The index the name stands for, when it stands for one that has this image.
    pub(crate) index: Option<Digest>,
}

/// What an image's configuration says it is for.
pub(crate) fn platform_of(row: &ImageRow) -> Platform {
    let head: ConfigHead = serde_json::from_slice(&row.config).unwrap_or_default();
    head.platform()
}

/// The first of those that fit a platform best; where none does, what they are for.
pub(crate) fn best<T>(
    all: Vec<T>,
    row: impl Fn(&T) -> &ImageRow,
    wanted: &Platform,
) -> Result<T, Vec<String>> {
    let offered: Vec<Platform> = all.iter().map(|one| platform_of(row(one))).collect();
    let ranked = all.into_iter().zip(&offered);
    ranked
        .filter_map(|(one, offered)| wanted.rank(offered).map(|rank| (rank, one)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, one)| one)
        .ok_or_else(|| offered.iter().map(Platform::to_string).collect())
}

impl Engine {
    /// The image a name, id or prefix means for a platform.
    ///
    /// # Errors
    /// When there is no such image, or none of it that runs there; said with what there is.
    pub(crate) fn chosen_image(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Chosen, Error> {
        let row = self.image(name)?;
        let all = self.images_of(name, row)?;
        let Some(wanted) = platform else {
            return all.into_iter().next().ok_or_else(|| Error::NoImage { name: name.to_owned() });
        };
        best(all, |chosen| &chosen.row, wanted).map_err(|here| {
            let shown = ImageReference::parse(name).map(|name| name.familiar());
            let (name, wanted) = (shown.unwrap_or_else(|_| name.to_owned()), wanted.to_string());
            ImageError::OtherPlatform { name, wanted, actual: here.join(", ") }.into()
        })
    }

    /// The same for commands that look at an image that is here, with their words.
    ///
    /// # Errors
    /// As [`chosen_image`](Self::chosen_image), and when the platform is none.
    pub(crate) fn image_on(&self, name: &str, platform: Option<&str>) -> Result<ImageRow, Error> {
        let row = self.image(name)?;
        let Some(platform) = platform.filter(|platform| !platform.is_empty()) else {
            return Ok(row);
        };
        let wanted = Platform::parse(platform).map_err(|error| Error::BadValue {
            what: "platform",
            value: platform.to_owned(),
            why: error.to_string(),
        })?;
        let all = self.images_of(name, row)?;
        let chosen = best(all, |chosen| &chosen.row, &wanted).map_err(|here| {
            Error::NoPlatform { name: name.to_owned(), platform: wanted.to_string(), here }
        })?;
        Ok(chosen.row)
    }

    /// All images of the index a name stands for that are here, the one it points at first.
    pub(crate) fn images_of(&self, name: &str, row: ImageRow) -> Result<Vec<Chosen>, Error> {
        let reference = ImageReference::parse(name).ok().filter(|reference| {
            let named = row.tags.iter().chain(&row.digests).any(|known| known == reference);
            named || reference.digest().is_some()
        });
        let target = match &reference {
            Some(reference) => self.store.target(reference)?,
            None => None,
        };
        let variants = match &target {
            Some(target) => self.store.variants(target)?,
            None => Vec::new(),
        };
        let own = variants.iter().find(|variant| variant.image == row.id);
        // `name@digest` of a manifest names just that one.
        let manifest = own.map(|own| own.manifest).or(row.manifest_digest);
        let index = own.and(target);
        let first = row.id;
        let mut all = vec![Chosen { row, manifest, index }];
        for variant in variants.iter().filter(|variant| variant.image != first) {
            if let Some(row) = self.store.images_by_prefix(&variant.image.hex())?.pop() {
                all.push(Chosen { row, manifest: Some(variant.manifest), index: target });
            }
        }
        Ok(all)
    }
}

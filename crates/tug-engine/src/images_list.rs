//! `images`, `image inspect`, `tag`, `rmi`: what is done to images that are here.

use crate::create::parse_image_config;
use crate::time::{rfc3339, seconds_of};
use crate::view::{GraphDriver, ImageInspect, ImageMetadata, ImageRemoval, ImageSummary, RootFs};
use crate::{Engine, Error};
use std::collections::BTreeSet;
use tug_store::{ContainerState, ImageRow};
use tug_types::{Digest, ImageReference};

impl Engine {
    /// One row per repository and tag, newest first; images without a name once.
    ///
    /// # Errors
    /// When the store fails or an image's configuration cannot be read.
    pub fn images(&self) -> Result<Vec<ImageSummary>, Error> {
        let mut rows = Vec::new();
        for image in self.store.images()? {
            let config = parse_image_config(&image)?;
            let containers = self.store.image_users(&image.id)?.len();
            let row = |repository: Option<String>, tag: Option<String>, digest| ImageSummary {
                id: image.id,
                repository,
                tag,
                digest,
                created: config.created.as_deref().map_or(0, seconds_of),
                size: image.size,
                labels: config.config.clone().and_then(|config| config.labels).unwrap_or_default(),
                containers,
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

    /// One image in full.
    ///
    /// # Errors
    /// When there is none, or its configuration cannot be read.
    pub fn image_inspect(&self, name: &str) -> Result<ImageInspect, Error> {
        let image = self.image(name)?;
        let config = parse_image_config(&image)?;
        let raw: serde_json::Value = serde_json::from_slice(&image.config).unwrap_or_default();
        let layers = self.store.layers();
        let mut trees: Vec<String> = config
            .rootfs
            .diff_ids
            .iter()
            .rev()
            .map(|layer| layers.tree(layer).display().to_string())
            .collect();
        let upper = if trees.is_empty() { String::new() } else { trees.remove(0) };
        let mut data = vec![("UpperDir".to_owned(), upper)];
        if !trees.is_empty() {
            data.push(("LowerDir".to_owned(), trees.join(":")));
        }
        Ok(ImageInspect {
            id: image.id,
            repo_tags: image.tags.iter().map(ImageReference::familiar).collect(),
            repo_digests: image.digests.iter().map(ImageReference::familiar).collect(),
            parent: String::new(),
            comment: config.comment,
            created: config.created,
            docker_version: config.docker_version,
            author: config.author,
            config: raw.get("config").cloned().unwrap_or_default(),
            architecture: config.architecture,
            variant: config.variant,
            os: config.os,
            size: image.size,
            graph_driver: GraphDriver { data: data.into_iter().collect(), name: "overlay2" },
            root_fs: RootFs {
                kind: "layers",
                layers: config.rootfs.diff_ids.iter().map(|layer| layer.0).collect(),
            },
            metadata: ImageMetadata { last_tag_time: rfc3339(image.tagged) },
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

    /// Takes a name away, and the image with its last name. By id, all its names go, when they are of
    /// one repository or `force` is set.
    ///
    /// # Errors
    /// When there is none, or a container uses it.
    pub fn remove_image(
        &self,
        name: &str,
        force: bool,
        _no_prune: bool,
    ) -> Result<Vec<ImageRemoval>, Error> {
        let image = self.image(name)?;
        let named = named_by(&image, name);
        let mut done = Vec::new();
        if let Some(reference) = &named {
            let names = image.tags.len() + if reference.digest().is_some() { 1 } else { 0 };
            let others = image.tags.iter().any(|tag| tag != reference);
            if names > 1 && others || reference.digest().is_some() && !image.tags.is_empty() {
                self.untag(reference, &mut done)?;
                return Ok(done);
            }
        }
        let repositories: BTreeSet<String> = image.tags.iter().map(ImageReference::name).collect();
        if named.is_none() && repositories.len() > 1 && !force {
            return Err(Error::ImageShared { image: image.id.short() });
        }
        self.refuse_if_used(&image, named.as_ref(), force)?;
        for reference in image.tags.iter().chain(&image.digests) {
            self.untag(reference, &mut done)?;
        }
        self.delete_image(&image, &mut done)?;
        Ok(done)
    }

    fn untag(&self, reference: &ImageReference, done: &mut Vec<ImageRemoval>) -> Result<(), Error> {
        match reference.digest() {
            Some(_) => self.store.forget_repo_digest(reference)?,
            None => self.store.untag_image(reference)?,
        };
        done.push(ImageRemoval::Untagged(reference.familiar()));
        Ok(())
    }

    fn refuse_if_used(
        &self,
        image: &ImageRow,
        named: Option<&ImageReference>,
        force: bool,
    ) -> Result<(), Error> {
        for row in self.reconciled()?.into_iter().filter(|row| row.image == image.id) {
            let (image, container) = (image.id.short(), row.id.short().to_owned());
            match (row.state == ContainerState::Running, named) {
                (true, None) => return Err(Error::ImageRunning { image, container }),
                _ if force => {}
                (_, Some(reference)) => {
                    let reference = reference.familiar();
                    return Err(Error::ImageInUse { reference, container, image });
                }
                (false, None) => return Err(Error::ImageUsed { image, container }),
            }
        }
        Ok(())
    }

    /// The image's row, then the files nobody refers to any more.
    fn delete_image(&self, image: &ImageRow, done: &mut Vec<ImageRemoval>) -> Result<(), Error> {
        let protected =
            tug_store::live_protected(self.store.root()).map_err(tug_store::Error::from)?;
        let left = self.store.forget_image(&image.id, &protected.into_iter().collect())?;
        done.push(ImageRemoval::Deleted(image.id));
        let gone = self.store.discard(&left.layers, &left.blobs)?;
        done.extend(gone.layers.iter().map(|layer| ImageRemoval::Deleted(layer.0)));
        self.delete_later(gone)
    }
}

/// The image's name that the user wrote, unless an id was written.
fn named_by(image: &ImageRow, name: &str) -> Option<ImageReference> {
    let reference = ImageReference::parse(name).ok()?;
    let bare = match (reference.tag(), reference.digest()) {
        (Some(_), Some(digest)) => reference.with_digest(*digest),
        _ => reference,
    };
    image.tags.iter().chain(&image.digests).find(|known| **known == bare).cloned()
}

/// The digest an image has in the repository of one of its tags.
fn digest_of(image: &ImageRow, tag: &ImageReference) -> Option<Digest> {
    image
        .digests
        .iter()
        .find(|name| name.name() == tag.name())
        .and_then(|name| name.digest().copied())
}

//! `rmi`: names go first, the image with its last one.
//!
//! What is refused is what Docker refuses. By name: taking the last name of an image that a container
//! uses, unless forced; forced, an image in use by a running container keeps existing without a name.
//! By id: an image a running container uses, always; one with names in several repositories, or used
//! by a stopped container, unless forced.

use crate::view::ImageRemoval;
use crate::{Engine, Error};
use std::collections::BTreeSet;
use tug_store::{ContainerState, ImageRow};
use tug_types::{Digest, ImageReference};

/// A container that uses the image.
struct User {
    container: String,
    running: bool,
}

impl Engine {
    /// Takes a name away, and the image with its last name. With a platform only that image of the
    /// name's index.
    ///
    /// # Errors
    /// When there is none, or a container uses it.
    pub fn remove_image(
        &self,
        name: &str,
        force: bool,
        platform: Option<&str>,
    ) -> Result<Vec<ImageRemoval>, Error> {
        if let Some(platform) = platform {
            return self.remove_variant(name, force, platform);
        }
        let image = self.image(name)?;
        let users = self.image_users(&image.id)?;
        match named_by(&image, name) {
            Some(reference) => self.remove_by_name(&image, name, &reference, &users, force),
            None => self.remove_by_id(&image, &users, force),
        }
    }

    fn remove_by_name(
        &self,
        image: &ImageRow,
        written: &str,
        reference: &ImageReference,
        users: &[User],
        force: bool,
    ) -> Result<Vec<ImageRemoval>, Error> {
        let mut names: Vec<&ImageReference> = image.tags.iter().chain(&image.digests).collect();
        if let Some(user) = users.first().filter(|_| !force && is_single(&names)) {
            return Err(Error::ImageInUse {
                reference: written.to_owned(),
                container: user.container.clone(),
                image: image.id.short(),
            });
        }
        let mut done = Vec::new();
        self.untag(reference, &mut done)?;
        names.retain(|name| *name != reference);
        let same = |name: &&&ImageReference| name.name() == reference.name();
        if reference.digest().is_none()
            && !names.iter().filter(same).any(|name| name.digest().is_none())
        {
            // With the last tag in a repository its names by digest go too.
            for name in names.iter().filter(same) {
                self.untag(name, &mut done)?;
            }
            names.retain(|name| name.name() != reference.name());
        }
        let kept = users.iter().any(|user| user.running || !force);
        if names.is_empty() && !kept {
            self.delete_image(&image.id, &mut done)?;
        }
        Ok(done)
    }

    fn remove_by_id(
        &self,
        image: &ImageRow,
        users: &[User],
        force: bool,
    ) -> Result<Vec<ImageRemoval>, Error> {
        let names: Vec<&ImageReference> = image.tags.iter().chain(&image.digests).collect();
        let shared = !names.is_empty() && !is_single(&names);
        self.refuse_if_used(&image.id, users, shared, force)?;
        let mut done = Vec::new();
        for name in names {
            self.untag(name, &mut done)?;
        }
        self.delete_image(&image.id, &mut done)?;
        Ok(done)
    }

    /// One platform of several. Names that stood for it stand for another one then.
    fn remove_variant(
        &self,
        name: &str,
        force: bool,
        platform: &str,
    ) -> Result<Vec<ImageRemoval>, Error> {
        let named = self.image(name)?;
        let image = self.image_on(name, Some(platform))?;
        let others = self.images_of(name, named)?;
        let Some(other) = others.iter().map(|one| &one.row).find(|row| row.id != image.id) else {
            return self.remove_image(name, force, None);
        };
        let users = self.image_users(&image.id)?;
        self.refuse_if_used(&image.id, &users, false, force)?;
        for tag in &image.tags {
            self.store.tag_image(&other.id, tag)?;
        }
        let mut done = Vec::new();
        self.delete_image(&image.id, &mut done)?;
        Ok(done)
    }

    /// An image nobody uses, with all its names.
    pub(crate) fn remove_unused(
        &self,
        id: &Digest,
        names: impl Iterator<Item = ImageReference>,
    ) -> Result<Vec<ImageRemoval>, Error> {
        let mut done = Vec::new();
        for name in names {
            self.untag(&name, &mut done)?;
        }
        self.delete_image(id, &mut done)?;
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

    fn image_users(&self, image: &Digest) -> Result<Vec<User>, Error> {
        if self.store.image_users(image)?.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.reconciled()?.into_iter().filter(|row| row.image == *image);
        let user = |row: tug_store::ContainerRow| User {
            container: row.id.short().to_owned(),
            running: row.state == ContainerState::Running,
        };
        Ok(rows.map(user).collect())
    }

    fn refuse_if_used(
        &self,
        image: &Digest,
        users: &[User],
        shared: bool,
        force: bool,
    ) -> Result<(), Error> {
        let image = image.short();
        if let Some(user) = users.iter().find(|user| user.running) {
            return Err(Error::ImageRunning { image, container: user.container.clone() });
        }
        if shared && !force {
            return Err(Error::ImageShared { image });
        }
        match users.first().filter(|_| !force) {
            Some(user) => Err(Error::ImageUsed { image, container: user.container.clone() }),
            None => Ok(()),
        }
    }

    /// The image's row, then the files nobody refers to any more.
    fn delete_image(&self, image: &Digest, done: &mut Vec<ImageRemoval>) -> Result<(), Error> {
        let protected =
            tug_store::live_protected(self.store.root()).map_err(tug_store::Error::from)?;
        let left = self.store.forget_image(image, &protected.into_iter().collect())?;
        done.push(ImageRemoval::Deleted(*image));
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

/// Whether the names are one tag at most, and names by digest in its repository alone.
fn is_single(names: &[&ImageReference]) -> bool {
    let tags = names.iter().filter(|name| name.digest().is_none()).count();
    let repositories: BTreeSet<String> = names.iter().map(|name| name.name()).collect();
    tags <= 1 && repositories.len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_is_one_tag_and_one_repository() {
        let digest = format!("@sha256:{}", "a".repeat(64));
        for (texts, single) in [
            (vec!["a".to_owned()], true),
            (vec!["a:1".to_owned(), "a:2".to_owned()], false),
            (vec!["a:1".to_owned(), format!("a{digest}")], true),
            (vec!["a:1".to_owned(), format!("b{digest}")], false),
            (vec![format!("a{digest}")], true),
            (vec![format!("a{digest}"), format!("b{digest}")], false),
            (vec![], false),
        ] {
            let names: Vec<ImageReference> =
                texts.iter().map(|text| ImageReference::parse(text).unwrap()).collect();
            assert_eq!(is_single(&names.iter().collect::<Vec<_>>()), single, "{texts:?}");
        }
    }
}

//! `system check`: every layer is proven against its digest, every image against its parts;
//! `--repair` fetches again just what is broken.
//!
//! A layer's tar is made again from its skeleton and its files, and hashed: names, contents and
//! order are proven by that; owners, modes and times come from the skeleton.

use super::pull::PullOptions;
use crate::view::Progress;
use crate::{Engine, Error};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tug_store::{ImageRow, Layers};
use tug_types::{DiffId, Digest, Explain, ImageReference};

/// Something that is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What is broken.
    pub what: Broken,
    /// Images that have it, by a name people know.
    pub images: Vec<String>,
    /// In words.
    pub why: String,
    /// It was fetched again, and is whole now.
    pub repaired: bool,
}

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    /// A layer's files.
    Layer(DiffId),
    /// An image's manifest.
    Manifest(Digest),
    /// An image's configuration.
    Config(Digest),
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Layers that were looked at.
    pub layers: usize,
    /// Images that were looked at.
    pub images: usize,
    /// What is wrong.
    pub damages: Vec<Damage>,
}

impl Engine {
    /// Looks at everything images consist of.
    ///
    /// # Errors
    /// When the store itself cannot be read. Damage is no error.
    pub fn check(&self) -> Result<Checked, Error> {
        let images = self.store.images()?;
        let mut users: BTreeMap<DiffId, Vec<String>> = BTreeMap::new();
        for layer in self.store.layers().list().map_err(tug_store::Error::from)? {
            users.entry(layer).or_default();
        }
        let mut damages = Vec::new();
        for image in &images {
            for layer in self.store.image_layers(&image.id)? {
                let shown = users.entry(layer.diff_id).or_default();
                shown.push(shown_name(image));
                shown.dedup();
            }
            damages.extend(self.damage_of(image));
        }
        let wanted: Vec<DiffId> = users.keys().copied().collect();
        for (layer, why) in prove(&self.store.layers(), &wanted) {
            let images = users.remove(&layer).unwrap_or_default();
            damages.push(Damage { what: Broken::Layer(layer), images, why, repaired: false });
        }
        damages.sort_by_key(|damage| damage.what);
        Ok(Checked { layers: wanted.len(), images: images.len(), damages })
    }

    fn damage_of(&self, image: &ImageRow) -> Vec<Damage> {
        let mut damages = Vec::new();
        let mut note = |what, why| {
            damages.push(Damage { what, images: vec![shown_name(image)], why, repaired: false });
        };
        let actual = super::intake::digest_of(&image.config);
        if actual != image.id {
            note(Broken::Config(image.id), format!("its configuration has the digest {actual}"));
        }
        if let Some(manifest) = image.manifest_digest
            && let Err(error) = self.store.blobs().read(&manifest)
        {
            note(Broken::Manifest(manifest), error.failure().message);
        }
        damages
    }

    /// Fetches again what a check found broken, from where the images came.
    ///
    /// # Errors
    /// When the store fails. What cannot be fetched stays as it is and says why.
    pub fn repair(&self, checked: &mut Checked, progress: &Arc<dyn Progress>) -> Result<(), Error> {
        for damage in &mut checked.damages {
            let repaired = match damage.what {
                Broken::Layer(layer) if damage.images.is_empty() => {
                    // Nobody's: a command was killed before its image was recorded.
                    self.store.discard(&[layer], &[])?.delete().map(drop).map_err(Error::from)
                }
                Broken::Layer(layer) => self.fetch_layer_again(&layer, progress),
                Broken::Manifest(digest) | Broken::Config(digest) => {
                    self.fetch_image_again(&digest, progress)
                }
            };
            match repaired {
                Ok(()) => damage.repaired = true,
                Err(error) => {
                    damage.why =
                        format!("{}; not repaired: {}", damage.why, error.failure().message);
                }
            }
        }
        Ok(())
    }

    /// Out of its place, so that a pull misses it; back again when the pull fails.
    fn fetch_layer_again(&self, layer: &DiffId, progress: &Arc<dyn Progress>) -> Result<(), Error> {
        let mut source = None;
        for image in self.store.images()? {
            let layers = self.store.image_layers(&image.id)?;
            if source.is_none() && layers.iter().any(|known| known.diff_id == *layer) {
                source = image.digests.first().cloned();
            }
        }
        let source = source.ok_or_else(|| not_from_a_registry("layer", &layer.0))?;
        let aside = self.store.layers().set_aside(layer).map_err(tug_store::Error::from)?;
        match self.pull(&source, PullOptions::default(), progress.clone()) {
            Ok(_) => {
                if let Some(aside) = aside {
                    aside.delete().map_err(tug_store::Error::from)?;
                }
                self.store.layers().verify(layer).map_err(tug_store::Error::from)?;
                Ok(())
            }
            Err(error) => {
                if let Some(aside) = aside {
                    aside.put_back().map_err(tug_store::Error::from)?;
                }
                Err(error)
            }
        }
    }

    fn fetch_image_again(
        &self,
        digest: &Digest,
        progress: &Arc<dyn Progress>,
    ) -> Result<(), Error> {
        let mut images = self.store.images()?.into_iter();
        let image =
            images.find(|image| image.id == *digest || image.manifest_digest == Some(*digest));
        let source: Option<ImageReference> = image.and_then(|image| image.digests.first().cloned());
        let source = source.ok_or_else(|| not_from_a_registry("manifest", digest))?;
        // What is at hand counts as whole otherwise.
        self.store.blobs().remove(digest).map_err(tug_store::Error::from)?;
        self.store.forget_repo_digest(&source)?;
        self.pull(&source, PullOptions::default(), progress.clone()).map(drop)
    }
}

fn not_from_a_registry(what: &'static str, digest: &Digest) -> Error {
    super::error::ImageError::NoSource { what, digest: *digest }.into()
}

fn shown_name(image: &ImageRow) -> String {
    image.tags.first().map_or_else(|| image.id.short(), ImageReference::familiar)
}

/// Layers that are not what they should be, and why. As many at once as there are cores.
fn prove(layers: &Layers, wanted: &[DiffId]) -> Vec<(DiffId, String)> {
    let (next, broken) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(layer) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            let proven = if layers.contains(layer) {
                layers.verify(layer).map_err(|error| error.failure().message)
            } else {
                Err("it is not there, or was lost in a crash".to_owned())
            };
            if let Err(why) = proven {
                broken.lock().unwrap_or_else(PoisonError::into_inner).push((*layer, why));
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 1..cores {
            scope.spawn(work);
        }
        work();
    });
    broken.into_inner().unwrap_or_else(PoisonError::into_inner)
}

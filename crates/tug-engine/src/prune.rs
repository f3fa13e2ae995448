//! `prune`: what nobody uses goes, and it is counted what that frees.

use crate::counting::tree_size;
use crate::record::Record;
use crate::view::ImageRemoval;
use crate::{Engine, Error, RemoveOptions};
use std::collections::{BTreeMap, HashMap};
use tug_store::ContainerState;
use tug_types::{ContainerId, Digest, Explain, Kind};

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned<T> {
    /// Each of it.
    pub removed: Vec<T>,
    /// Bytes that are free now.
    pub reclaimed: u64,
}

/// Which things may go: by the second they were made in and their labels.
type Takes<'a> = &'a dyn Fn(i64, &BTreeMap<String, String>) -> bool;

impl Engine {
    /// Removes images that no container is made of: those without a tag, or with `all` every one.
    ///
    /// # Errors
    /// When the store fails.
    pub fn prune_images(&self, all: bool, takes: Takes<'_>) -> Result<Pruned<ImageRemoval>, Error> {
        let mut pruned = Pruned { removed: Vec::new(), reclaimed: 0 };
        for image in self.store.list_images()? {
            let unused = image.containers == 0 && (all || image.tags.is_empty());
            if !unused || !takes(image.created, &self.image_labels(&image.id)?) {
                continue;
            }
            let sizes: HashMap<Digest, u64> = self
                .store
                .image_layers(&image.id)?
                .into_iter()
                .map(|layer| (layer.diff_id.0, layer.size))
                .collect();
            let names = image.tags.into_iter().chain(image.digests);
            let removed = self.remove_unused(&image.id, names)?;
            pruned.reclaimed += removed
                .iter()
                .map(|removal| match removal {
                    ImageRemoval::Deleted(digest) => sizes.get(digest).copied().unwrap_or(0),
                    ImageRemoval::Untagged(_) => 0,
                })
                .sum::<u64>();
            pruned.removed.extend(removed);
        }
        Ok(pruned)
    }

    /// Removes containers that do not run. Their volumes stay.
    ///
    /// # Errors
    /// When the store fails, or one cannot be removed for another reason than that somebody was
    /// quicker.
    pub fn prune_containers(&self, takes: Takes<'_>) -> Result<Pruned<ContainerId>, Error> {
        let mut pruned = Pruned { removed: Vec::new(), reclaimed: 0 };
        for row in self.reconciled()? {
            if !matches!(row.state, ContainerState::Created | ContainerState::Exited) {
                continue;
            }
            let record = Record::read(&row)?;
            if !takes(row.created.div_euclid(1_000_000_000), &record.config.labels) {
                continue;
            }
            let size = tree_size(&self.container_dir(&row.id).join("upper"));
            match self.remove(row.id.as_str(), RemoveOptions::default()) {
                Ok(()) => {
                    pruned.reclaimed += size;
                    pruned.removed.push(row.id);
                }
                // Started or removed meanwhile.
                Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(pruned)
    }

    /// Removes volumes that no container uses: those made without a name, or with `all` every one.
    ///
    /// # Errors
    /// As for containers.
    pub fn prune_volumes(&self, all: bool, takes: Takes<'_>) -> Result<Pruned<String>, Error> {
        let mut pruned = Pruned { removed: Vec::new(), reclaimed: 0 };
        for row in self.store.volumes()? {
            let created = row.created.div_euclid(1_000_000_000);
            if !(all || row.anonymous)
                || !takes(created, &row.labels)
                || !self.store.volume_users(&row.name)?.is_empty()
            {
                continue;
            }
            let size = tree_size(&self.store.volume_data(&row.name));
            match self.volume_remove(&row.name, false) {
                Ok(()) => {
                    pruned.reclaimed += size;
                    pruned.removed.push(row.name);
                }
                Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(pruned)
    }
}

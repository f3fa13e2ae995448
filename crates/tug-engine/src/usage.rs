//! `system df`: what takes up room. Images, layers and remembered builds by the sizes in the database;
//! containers and volumes are what their processes write, so their files are counted, once (`counting`).

use crate::counting::{Counted, Counting};
use crate::view::{ContainerSummary, ImageSummary, Volume};
use crate::{Engine, Error};
use std::collections::HashMap;
use tug_store::{ContainerState, ImageUsage};
use tug_types::ContainerId;

/// Everything.
#[derive(Clone, Debug, Default)]
pub struct DiskUsage {
    /// Images by id.
    pub images: Vec<ImageUsage>,
    /// Bytes of all layers of images, each counted once.
    pub layers: u64,
    /// Bytes of those that no image with a container has.
    pub reclaimable_layers: u64,
    /// Containers.
    pub containers: Vec<ContainerUsage>,
    /// Volumes, by name.
    pub volumes: Vec<VolumeUsage>,
    /// What builds remember.
    pub cache: Vec<BuildCacheUsage>,
    /// Bytes of the layers only builds have, and of cache mounts.
    pub cache_size: u64,
    /// Something that runs could not be counted as quickly as an answer is wanted: its figure is from
    /// then, in seconds since the epoch, the oldest of them. It is being counted anew.
    pub since: Option<i64>,
}

/// A container's own files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Which.
    pub id: ContainerId,
    /// Bytes it has written over its image.
    pub size: u64,
    /// It runs.
    pub running: bool,
}

/// A volume's files.
#[derive(Clone, Debug)]
pub struct VolumeUsage {
    /// The volume.
    pub volume: Volume,
    /// Containers that use it.
    pub links: usize,
    /// Bytes.
    pub size: u64,
}

/// A result that builds remember, or a cache mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildCacheUsage {
    /// Its key, or its directory.
    pub id: String,
    /// What it is, in Docker's words.
    pub kind: &'static str,
    /// The step, as people know it.
    pub description: String,
    /// Bytes of its own layer, or of its files when it was used last.
    pub size: u64,
    /// Seconds since the epoch.
    pub created: i64,
    /// Seconds since the epoch.
    pub used: i64,
    /// How often.
    pub uses: u64,
    /// An image or a container has its layer too.
    pub shared: bool,
}

impl Engine {
    /// What everything takes up.
    ///
    /// # Errors
    /// When the store fails.
    pub fn disk_usage(&self) -> Result<DiskUsage, Error> {
        let usage = self.store.usage()?;
        let rows = self.reconciled()?;
        let mut counting = Counting::begin();
        let mut since = None;
        let mut size = |counted: Counted| {
            since = [since, counted.when].into_iter().flatten().min();
            counted.size
        };
        let known = self.store.container_figures()?;
        let containers: Vec<ContainerUsage> = rows
            .into_iter()
            .map(|row| {
                let upper = self.container_dir(&row.id).join("upper");
                let last = known.get(row.id.as_str()).copied();
                ContainerUsage {
                    size: size(counting.container(&row, &upper, last)),
                    running: row.state == ContainerState::Running,
                    id: row.id,
                }
            })
            .collect();
        let mut known = self.store.volume_figures()?;
        let volumes = self.volumes()?.into_iter().map(|volume| {
            let figure = known.remove(&volume.name).unwrap_or_default();
            VolumeUsage {
                links: figure.links,
                size: size(counting.volume(&volume.name, &volume.mountpoint, &figure)),
                volume,
            }
        });
        let volumes = volumes.collect();
        self.keep_counted(&counting);
        let seconds = |nanoseconds: i64| nanoseconds.div_euclid(1_000_000_000);
        let (rows, mounts) = self.store.cache_listing()?;
        let results = rows.into_iter().map(|row| BuildCacheUsage {
            size: row.size,
            created: seconds(row.created),
            used: seconds(row.used),
            uses: row.uses,
            shared: row.shared,
            id: row.key,
            kind: "regular",
            description: row.description,
        });
        let mounts = mounts.into_iter().map(|mount| BuildCacheUsage {
            size: mount.size,
            created: seconds(mount.created),
            used: seconds(mount.used),
            uses: mount.uses,
            shared: false,
            id: mount.name,
            kind: "exec.cachemount",
            description: format!("cached mount with id {:?}", mount.id),
        });
        Ok(DiskUsage {
            images: usage.images,
            layers: usage.layers,
            reclaimable_layers: usage.reclaimable,
            containers,
            volumes,
            cache: results.chain(mounts).collect(),
            cache_size: self.store.cache_size()?,
            since,
        })
    }

    /// The rows of images and containers that the long form of `df` shows beside the figures.
    ///
    /// # Errors
    /// When the store fails.
    pub fn disk_usage_rows(
        &self,
        usage: &DiskUsage,
    ) -> Result<(Vec<ImageSummary>, Vec<ContainerSummary>), Error> {
        let sizes: HashMap<_, _> = usage.containers.iter().map(|one| (&one.id, one.size)).collect();
        let mut containers = self.containers(false)?;
        for container in &mut containers {
            // The image's own bytes are counted with the image.
            container.size = Some((sizes.get(&container.id).copied().unwrap_or(0), 0));
        }
        Ok((self.images(false)?, containers))
    }
}

//! `system df`: what takes up room. Images, layers and remembered builds by the sizes in the database;
//! containers and volumes are what their processes write, so their files are counted.

use crate::list::tree_size;
use crate::view::{ContainerSummary, ImageSummary, Volume};
use crate::{Engine, Error};
use tug_store::{ContainerState, ImageUsage};

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
    /// Bytes of the layers only builds have.
    pub cache_size: u64,
}

/// A container's own files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerUsage {
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

/// A result that builds remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildCacheUsage {
    /// Its key.
    pub id: String,
    /// What it is.
    pub kind: String,
    /// The step, as people know it.
    pub description: String,
    /// Bytes of its own layer.
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
        let containers = self.reconciled()?.into_iter().map(|row| ContainerUsage {
            size: tree_size(&self.container_dir(&row.id).join("upper")),
            running: row.state == ContainerState::Running,
        });
        let seconds = |nanoseconds: i64| nanoseconds.div_euclid(1_000_000_000);
        let cache = self.store.cache_rows()?.into_iter().map(|row| BuildCacheUsage {
            size: row.layers.last().map_or(0, |(_, size)| *size),
            created: seconds(row.created),
            used: seconds(row.used),
            uses: row.uses,
            shared: row.shared,
            id: row.key,
            kind: row.kind,
            description: row.description,
        });
        Ok(DiskUsage {
            images: usage.images,
            layers: usage.layers,
            reclaimable_layers: usage.reclaimable,
            containers: containers.collect(),
            volumes: self.volume_usage()?,
            cache: cache.collect(),
            cache_size: self.store.cache_size()?,
        })
    }

    fn volume_usage(&self) -> Result<Vec<VolumeUsage>, Error> {
        let measured = |volume: Volume| -> Result<VolumeUsage, Error> {
            Ok(VolumeUsage {
                links: self.store.volume_users(&volume.name)?.len(),
                size: tree_size(&volume.mountpoint),
                volume,
            })
        };
        self.volumes()?.into_iter().map(measured).collect()
    }

    /// The rows of images and containers that the long form of `df` shows beside the figures.
    ///
    /// # Errors
    /// When the store fails.
    pub fn disk_usage_rows(&self) -> Result<(Vec<ImageSummary>, Vec<ContainerSummary>), Error> {
        Ok((self.images(false)?, self.containers(true)?))
    }
}

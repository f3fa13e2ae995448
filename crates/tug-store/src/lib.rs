//! Everything tug keeps on disk.
//!
//! ```text
//! <data-root>/
//!   state.db            SQLite in WAL mode: images, names, containers, addresses, volumes, build cache
//!   blobs/sha256/<hex>  manifests and configs
//!   layers/<diff id>/   fs/ (read-only tree), skeleton, layer.json
//!   containers/<id>/    upper/, work/, log/, files mounted into the container, exit.json
//!   volumes/<name>/     _data
//!   build/              cache mounts of builds, and what is known of the files of their contexts
//!   partial/<hex>       half-fetched blobs, kept for the next command
//!   tmp/                half-done work, each under a lease; swept when the lease's lock is free
//! ```
//!
//! Owns the database's schema and every rule about what may be deleted. Order of every addition:
//! write under a lease in `tmp/`, make it durable, rename into place, then one transaction. Order of
//! every removal: one transaction that forgets, then rename into `tmp/`, then delete.
//!
//! It refuses to know what a container does or what an image means: those columns are JSON of the
//! engine's own types.

mod blobs;
mod cache;
mod collect;
mod containers;
mod db;
mod error;
mod figures;
mod images;
mod layers;
mod lease;
mod listing;
mod networks;
mod partials;
mod room;
mod settle;
#[cfg(test)]
mod tests;
mod usage;
mod variants;
mod volumes;

pub use blobs::*;
pub use cache::{CacheRow, NewCacheRow};
pub use collect::{Collected, Discarded};
pub use containers::{ContainerRow, ContainerState, NewContainer, NextAddress, Outcome};
pub use error::Error;
pub use figures::{Figure, VolumeFigure};
pub use images::{ImageRow, LayerEntry, NewImage, Untagged};
pub use layers::*;
pub use lease::*;
pub use listing::ListedImage;
pub use partials::{Partial, Partials};
pub use room::{CacheMount, Chosen, Evicted, STEP_IMAGE, Spared};
pub use usage::{ImageUsage, Usage};
pub use variants::{BlobRecord, Variant};
pub use volumes::{NewVolume, VolumeRow};

use rusqlite::Connection;
use std::cell::{OnceCell, RefCell};
use std::path::{Path, PathBuf};

/// Result of every store operation.
pub type Result<T> = std::result::Result<T, Error>;

/// One data root. Cheap to make: the database is opened by the first operation that needs it.
pub struct Store {
    root: PathBuf,
    connection: OnceCell<RefCell<Connection>>,
}

impl Store {
    /// A store below `root`, which is created by the first write.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), connection: OnceCell::new() }
    }

    /// The data root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The layers.
    pub fn layers(&self) -> Layers {
        Layers::new(&self.root)
    }

    /// The blobs.
    pub fn blobs(&self) -> Blobs {
        Blobs::new(&self.root)
    }

    /// The half-fetched blobs.
    pub fn partials(&self) -> Partials {
        Partials::new(&self.root)
    }

    /// Where a container keeps its files.
    pub fn container_dir(&self, id: &tug_types::ContainerId) -> PathBuf {
        self.root.join("containers").join(id.as_str())
    }

    /// Where a volume keeps its files.
    pub fn volume_data(&self, name: &str) -> PathBuf {
        self.root.join("volumes").join(name).join("_data")
    }

    /// Closes the database, so that nothing of it survives in a child or is held while waiting.
    pub fn close(&mut self) {
        self.connection.take();
    }

    fn connection(&self) -> Result<std::cell::RefMut<'_, Connection>> {
        if self.connection.get().is_none() {
            let opened = db::open(&self.root)?;
            // Another value cannot appear in between: `Store` is not shared between threads.
            let _ = self.connection.set(RefCell::new(opened));
            self.recover()?;
        }
        match self.connection.get() {
            Some(cell) => Ok(cell.borrow_mut()),
            None => Err(Error::NotOpen),
        }
    }

    /// One write transaction: taken at once, so that it waits in line instead of failing half way.
    fn write<T>(&self, body: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.connection()?;
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let value = body(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }
}

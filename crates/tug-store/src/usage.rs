//! What images cost on the disk, from the sizes recorded with their layers: no file is looked at.

use crate::{Error, Result, Store};
use std::collections::HashMap;
use tug_types::Digest;

/// What one image costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageUsage {
    /// The image.
    pub id: Digest,
    /// Bytes of the files of all its layers.
    pub size: u64,
    /// Bytes of those layers that other images have too.
    pub shared: u64,
    /// Containers made of it, running or not.
    pub containers: u64,
}

impl ImageUsage {
    /// Bytes that would be free without it.
    pub fn unique(&self) -> u64 {
        self.size.saturating_sub(self.shared)
    }
}

/// What all images cost together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Each image, by id.
    pub images: Vec<ImageUsage>,
    /// Bytes of all layers, each counted once.
    pub layers: u64,
    /// Of those, bytes of layers that no image with a container has: what `image prune -a` frees.
    pub reclaimable: u64,
}

struct LayerUse {
    size: u64,
    /// Index into the images of the last one seen, so that a layer twice in one image is one use.
    last: usize,
    images: u32,
    in_use: bool,
}

impl Store {
    /// Sizes of all images, shared bytes told apart.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub fn usage(&self) -> Result<Usage> {
        let connection = self.connection()?;
        let mut containers: HashMap<String, u64> = HashMap::new();
        let mut statement =
            connection.prepare_cached("SELECT image, count(*) FROM containers GROUP BY image")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let count: i64 = row.get(1)?;
            containers.insert(row.get(0)?, u64::try_from(count).unwrap_or(0));
        }
        let mut usage = Usage::default();
        // Also images without layers.
        let mut statement = connection.prepare_cached(
            "SELECT images.id, diff_id, image_layers.size FROM images
             LEFT JOIN image_layers ON image = images.id ORDER BY images.id",
        )?;
        let mut layers: HashMap<[u8; 32], LayerUse> = HashMap::new();
        let mut uses: Vec<(usize, [u8; 32])> = Vec::new();
        let (mut rows, mut current) = (statement.query([])?, String::new());
        while let Some(row) = rows.next()? {
            let id = text(row.get_ref(0)?)?;
            if id != current {
                current = id.to_owned();
                let containers = containers.get(&current).copied().unwrap_or(0);
                let id = digest(id)?;
                usage.images.push(ImageUsage { id, size: 0, shared: 0, containers });
            }
            let number = usage.images.len();
            let Some(image) = usage.images.last_mut() else { continue };
            let rusqlite::types::ValueRef::Text(_) = row.get_ref(1)? else { continue };
            let layer = *digest(text(row.get_ref(1)?)?)?.as_bytes();
            let size = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
            image.size = image.size.saturating_add(size);
            let entry =
                layers.entry(layer).or_insert(LayerUse { size, last: 0, images: 0, in_use: false });
            if entry.last != number {
                (entry.last, entry.images) = (number, entry.images + 1);
            }
            entry.in_use |= image.containers > 0;
            uses.push((number - 1, layer));
        }
        for (image, layer) in uses {
            if let Some(layer) = layers.get(&layer).filter(|layer| layer.images > 1) {
                usage.images[image].shared += layer.size;
            }
        }
        usage.layers = layers.values().map(|layer| layer.size).sum();
        usage.reclaimable = layers.values().filter(|l| !l.in_use).map(|l| l.size).sum();
        Ok(usage)
    }
}

fn text(value: rusqlite::types::ValueRef<'_>) -> Result<&str> {
    Ok(value.as_str().map_err(rusqlite::Error::from)?)
}

fn digest(text: &str) -> Result<Digest> {
    Digest::parse(text).map_err(|_| Error::Identifier { what: format!("layer {text:?}") })
}

//! A layer made of a tree that is already here: the upper directory of a container, or files a build put
//! together. The tree becomes the layer by being renamed; its tar is only streamed through SHA-256.

use super::draft::Draft;
use super::hashing::Hashing;
use super::{LayerError, LayerInfo, Layers, boot_id};
use crate::lease::Lease;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use tug_archive::{Compression, PackOptions, Recorder};
use tug_types::DiffId;

impl Layers {
    /// Makes a layer of `tree`, an overlay's upper directory on the data root's file system that nobody
    /// writes to any more. Afterwards the tree is gone from its place, also when an identical layer was
    /// there before.
    ///
    /// # Errors
    /// [`LayerError::Pack`] naming the file that cannot be part of a layer; or on renaming or writing. The
    /// tree is lost then.
    pub fn adopt(&self, lease: &Lease, tree: &Path) -> Result<LayerInfo, LayerError> {
        let draft = Draft::create(lease)?;
        let place = draft.dir.join("fs");
        let failed = |source| LayerError::Adopt { path: tree.to_owned(), source };
        // An empty directory is replaced by a rename.
        fs::rename(tree, &place).map_err(failed)?;
        let path = draft.dir.join("skeleton.zst");
        let skeleton = File::create(&path).map_err(|source| LayerError::Write { path, source })?;
        let options = PackOptions { layer: true, ..PackOptions::default() };
        let mut hash = Hashing::new();
        let packed = Recorder::new(BufWriter::new(skeleton), &draft.dir.join("displaced"))
            .and_then(|recorder| tug_archive::pack(&place, &mut hash, &options, Some(recorder)))
            .map_err(|source| LayerError::Pack { source })?;
        let diff_id = DiffId(hash.finish());
        lease.protect(&diff_id)?;
        let info = LayerInfo {
            diff_id,
            size: packed.size,
            tar_size: packed.tar_size,
            entries: packed.entries,
            compression: Compression::None,
            boot: boot_id(),
        };
        self.commit(&draft, &info)?;
        Ok(info)
    }
}

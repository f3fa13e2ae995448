//! Layers: unpacked trees kept under their diff ids.
//!
//! ```text
//! <data-root>/layers/<hex of the diff id>/
//!   fs/            the tree, an overlay's lower directory; never written again
//!   skeleton.zst   the tar's own headers and order (tug-archive, `skeleton`)
//!   displaced/     files that later entries of the same tar replaced; usually absent
//!   layer.json     LayerInfo
//!   synced         present once all of the above is known to be on the disk
//! ```
//!
//! - **Complete or not there.** A layer is unpacked inside a lease, its `layer.json` written last,
//!   then renamed into place. Losing the race to an identical layer is success.
//! - **After a crash.** Nothing waits for the disk: a layer may be recorded before its files have
//!   reached it. One without `synced` counts only during the boot that unpacked it;
//!   [`Layers::sync`] syncs the file system once and marks every layer so far (`settle`).
//! - **Removal** renames the layer into `tmp/`, looks whether a lease protects it (and puts it back),
//!   then deletes. The collector decides what is referenced; leases decide what is in use.
//! - **In flight once.** Two processes that unpack the same layer wait for each other through
//!   `tmp/unpack-<hex>.lock`; the second finds the layer there.

mod adopt;
mod draft;
mod error;
mod hashing;
mod pipeline;

pub use error::LayerError;

use crate::lease::{self, Lease, entries, remove_tree, store_dir};
use draft::{Draft, UnpackTurn};
use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use tug_archive::{Assembler, Compression, UnpackOptions};
use tug_types::{DiffId, Digest};

/// What is known about a layer without looking at its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    /// The digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// The sum of the sizes of its regular files, in bytes: what `image ls` adds up.
    pub size: u64,
    /// Bytes of the uncompressed tar.
    pub tar_size: u64,
    /// Entries of the tar.
    pub entries: u64,
    /// How the stream it came from was compressed.
    pub compression: Compression,
    /// Which boot of the machine wrote it; see the module's crash story.
    boot: String,
}

/// Whether a tree's root is opaque.
fn hides_all_below(tree: &Path) -> bool {
    let mut value = [0; 1];
    let read = rustix::fs::lgetxattr(tree, c"trusted.overlay.opaque", &mut value);
    read == Ok(1) && value == *b"y"
}

/// The layers of one data root.
#[derive(Clone, Debug)]
pub struct Layers {
    root: PathBuf,
}

/// A layer out of its place, on its way to deletion. Dropped undeleted, it is swept later.
#[derive(Debug)]
pub struct Trash {
    path: PathBuf,
}

impl Trash {
    /// Deletes it; the slow part of a removal, needing no lock.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn delete(self) -> Result<(), LayerError> {
        Ok(remove_tree(&self.path)?)
    }
}

/// A layer out of its place that may come back.
#[derive(Debug)]
pub struct Aside {
    path: PathBuf,
    place: PathBuf,
    layer: DiffId,
}

impl Aside {
    /// Deletes it.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn delete(self) -> Result<(), LayerError> {
        Ok(remove_tree(&self.path)?)
    }

    /// Puts it where it was, unless another one is there now.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn put_back(self) -> Result<(), LayerError> {
        match rename_new(&self.path, &self.place) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST | Errno::NOTEMPTY) => self.delete(),
            Err(error) => Err(LayerError::Commit { layer: self.layer, source: error.into() }),
        }
    }
}

impl Layers {
    /// The layers below the data root `root`. Nothing is made before the first write.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether the layer is there, whole, and survived the last crash.
    pub fn contains(&self, layer: &DiffId) -> bool {
        let dir = self.dir(layer);
        dir.join("synced").exists()
            || self.info(layer).is_ok_and(|info| !info.boot.is_empty() && info.boot == boot_id())
    }

    /// Whether the layer's files are known to be on the disk.
    pub(crate) fn is_settled(&self, layer: &DiffId) -> bool {
        self.dir(layer).join("synced").exists()
    }

    /// Takes a layer that a crash left unmarked at its word, after [`verify`](Self::verify).
    pub(crate) fn mark(&self, layer: &DiffId) -> Result<(), LayerError> {
        let dir = self.dir(layer);
        mark_synced(&dir).map_err(|source| LayerError::Sync { path: dir, source })
    }

    /// The layer's tree, for a mount.
    pub fn tree(&self, layer: &DiffId) -> PathBuf {
        self.dir(layer).join("fs")
    }

    /// The trees that make up what these layers, base first, look like together: uppermost first, as an
    /// overlay takes them. A layer that says in its root that nothing below counts (`.wh..wh..opq`) is
    /// the last one: overlayfs itself heeds that mark everywhere but there.
    pub fn trees<'a>(&self, layers: impl DoubleEndedIterator<Item = &'a DiffId>) -> Vec<PathBuf> {
        let mut trees = Vec::new();
        for layer in layers.rev() {
            let tree = self.tree(layer);
            let last = hides_all_below(&tree);
            trees.push(tree);
            if last {
                break;
            }
        }
        trees
    }

    /// The layer's record.
    ///
    /// # Errors
    /// When there is no such layer or its record cannot be read.
    pub fn info(&self, layer: &DiffId) -> Result<LayerInfo, LayerError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => LayerError::NotFound { layer: *layer },
            _ => LayerError::Info { layer: *layer, source },
        };
        let bytes = fs::read(self.dir(layer).join("layer.json")).map_err(failed)?;
        serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))
    }

    /// The diff ids of all layers, also of those a crash left without their files.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<DiffId>, LayerError> {
        let paths = entries(&self.root.join("layers"))?;
        let name = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).and_then(Digest::from_hex).map(DiffId)
        };
        Ok(paths.iter().filter_map(name).collect())
    }

    /// Unpacks a layer, compressed or not, and keeps it. When the `expected` layer is already
    /// there, or gets there while this waits for another process, `source` is not read.
    ///
    /// # Errors
    /// [`LayerError::Read`] when `source` fails, with its own error; [`LayerError::Unpack`] naming
    /// the entry that is damaged or refused; [`LayerError::WrongDigest`]; or on writing. Nothing of
    /// the layer stays.
    pub fn unpack(
        &self,
        lease: &Lease,
        source: impl Read + Send,
        expected: Option<DiffId>,
    ) -> Result<LayerInfo, LayerError> {
        self.unpack_with(lease, source, expected, &self.limits())
    }

    /// What a stranger's archive may cost: no more bytes than the disk has in all, however well they
    /// compress. Zeros take no space, but time.
    pub fn limits(&self) -> UnpackOptions {
        const LEAST: u64 = 16 << 30;
        let mut options = UnpackOptions::default();
        if let Ok(disk) = rustix::fs::statvfs(&self.root) {
            let size = disk.f_blocks.saturating_mul(disk.f_frsize).max(LEAST);
            options.limits.bytes = options.limits.bytes.min(size);
        }
        options
    }

    /// The same with limits of the caller's choice.
    ///
    /// # Errors
    /// As [`unpack`](Self::unpack).
    pub fn unpack_with(
        &self,
        lease: &Lease,
        source: impl Read + Send,
        expected: Option<DiffId>,
        options: &UnpackOptions,
    ) -> Result<LayerInfo, LayerError> {
        let _turn = match &expected {
            Some(layer) => {
                lease.protect(layer)?;
                let turn = UnpackTurn::take(&self.root, layer)?;
                if self.contains(layer) {
                    return self.info(layer);
                }
                Some(turn)
            }
            None => None,
        };
        let draft = Draft::create(lease)?;
        let done = pipeline::unpack(source, &draft.dir, options)?;
        if let Some(expected) = expected.filter(|expected| *expected != done.diff_id) {
            return Err(LayerError::WrongDigest { expected, actual: done.diff_id });
        }
        lease.protect(&done.diff_id)?;
        let info = LayerInfo {
            diff_id: done.diff_id,
            size: done.unpacked.size,
            tar_size: done.unpacked.tar_size,
            entries: done.unpacked.entries,
            compression: done.compression,
            boot: boot_id(),
        };
        self.commit(&draft, &info)?;
        Ok(info)
    }

    /// Renames a finished draft into place.
    fn commit(&self, draft: &Draft, info: &LayerInfo) -> Result<(), LayerError> {
        let record = draft.dir.join("layer.json");
        serde_json::to_vec(info)
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&record, bytes))
            .map_err(|source| LayerError::Write { path: record, source })?;
        store_dir(&self.root, "layers")?;
        let layer = info.diff_id;
        let place = self.dir(&layer);
        loop {
            match rename_new(&draft.dir, &place) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST | Errno::NOTEMPTY) if self.contains(&layer) => return Ok(()),
                // What a crash left behind makes way.
                Err(Errno::EXIST | Errno::NOTEMPTY) => {
                    if let Some(trash) = self.detach_unchecked(&layer)? {
                        trash.delete()?;
                    }
                }
                Err(error) => return Err(LayerError::Commit { layer, source: error.into() }),
            }
        }
    }

    /// Removes a layer unless a live lease protects it. Says whether it is gone.
    ///
    /// # Errors
    /// When it cannot be moved or deleted.
    pub fn remove(&self, layer: &DiffId) -> Result<bool, LayerError> {
        match self.detach(layer)? {
            Some(trash) => trash.delete().map(|()| true),
            None => Ok(!self.dir(layer).exists()),
        }
    }

    /// The quick half of [`remove`](Self::remove): the layer is out of its place, but its space not
    /// yet free. `None` when it was not there, or is protected and stays.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn detach(&self, layer: &DiffId) -> Result<Option<Trash>, LayerError> {
        let Some(trash) = self.detach_unchecked(layer)? else {
            return Ok(None);
        };
        // Only now look for leases: whoever protects the layer from here on finds it gone.
        if !lease::live_protected(&self.root)?.contains(layer) {
            return Ok(Some(trash));
        }
        match rename_new(&trash.path, &self.dir(layer)) {
            Ok(()) => Ok(None),
            // Unpacked anew in the meantime.
            Err(Errno::EXIST | Errno::NOTEMPTY) => trash.delete().map(|()| None),
            Err(error) => Err(LayerError::Detach { layer: *layer, source: error.into() }),
        }
    }

    /// Moves a layer out of its place, whoever may use it: for the collector, which has looked.
    pub(crate) fn take_away(&self, layer: &DiffId) -> Result<Option<PathBuf>, LayerError> {
        Ok(self.detach_unchecked(layer)?.map(|trash| trash.path))
    }

    /// The file that was written last, and is not written again.
    pub(crate) fn record_path(&self, layer: &DiffId) -> PathBuf {
        self.dir(layer).join("layer.json")
    }

    fn detach_unchecked(&self, layer: &DiffId) -> Result<Option<Trash>, LayerError> {
        if !self.dir(layer).exists() {
            return Ok(None);
        }
        let path = lease::trash_path(&self.root)?;
        match fs::rename(self.dir(layer), &path) {
            Ok(()) => Ok(Some(Trash { path })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LayerError::Detach { layer: *layer, source }),
        }
    }

    /// Moves a layer out of its place to see whether a better one takes it.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn set_aside(&self, layer: &DiffId) -> Result<Option<Aside>, LayerError> {
        let trash = self.detach_unchecked(layer)?;
        Ok(trash.map(|trash| Aside { path: trash.path, place: self.dir(layer), layer: *layer }))
    }

    /// The exact tar of a layer, made from its skeleton and its files.
    ///
    /// # Errors
    /// When there is no such layer or its skeleton is damaged.
    pub fn tar(&self, layer: &DiffId) -> Result<Assembler, LayerError> {
        let dir = self.dir(layer);
        if !dir.exists() {
            return Err(LayerError::NotFound { layer: *layer });
        }
        Assembler::open(&dir.join("skeleton.zst"), &dir.join("fs"), &dir.join("displaced"))
            .map_err(|source| LayerError::Assemble { layer: *layer, source })
    }

    /// Proves a layer: makes its tar again and compares the digest. Owners, modes, times and
    /// attributes come from the skeleton, so this proves contents and names.
    ///
    /// # Errors
    /// [`LayerError::Damaged`], or when a file is missing or cannot be read.
    pub fn verify(&self, layer: &DiffId) -> Result<(), LayerError> {
        let mut tar = self.tar(layer)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match tar.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => hash.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(LayerError::Verify { layer: *layer, source }),
            }
        }
        let actual = DiffId(Digest::from_sha256(hash.finalize().into()));
        if actual == *layer { Ok(()) } else { Err(LayerError::Damaged { layer: *layer, actual }) }
    }

    /// Makes everything written so far durable, and marks the layers that now are: one `syncfs(2)`
    /// for all of them; blobs profit too.
    ///
    /// # Errors
    /// When the file system cannot be synced.
    pub fn sync(&self) -> Result<(), LayerError> {
        // Looked up before the sync: what is committed after it stays unmarked.
        let boot = boot_id();
        let is_fresh = |layer: &DiffId| {
            !self.dir(layer).join("synced").exists()
                && self.info(layer).is_ok_and(|info| info.boot == boot)
        };
        let fresh: Vec<DiffId> = self.list()?.into_iter().filter(is_fresh).collect();
        let failed =
            |path: &Path, source: io::Error| LayerError::Sync { path: path.to_owned(), source };
        let root = open_dir(&self.root).map_err(|source| failed(&self.root, source))?;
        rustix::fs::syncfs(&root).map_err(|error| failed(&self.root, error.into()))?;
        for layer in &fresh {
            match mark_synced(&self.dir(layer)) {
                // Collected in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(|source| failed(&self.dir(layer), source))?,
            }
        }
        Ok(())
    }

    fn dir(&self, layer: &DiffId) -> PathBuf {
        self.root.join("layers").join(layer.0.hex())
    }
}

/// The mark must be as durable as what it vouches for, or a recorded image would lose its layer.
fn mark_synced(dir: &Path) -> io::Result<()> {
    let mut mark = File::create(dir.join("synced"))?;
    mark.flush()?;
    mark.sync_all()?;
    rustix::fs::fsync(open_dir(dir)?)?;
    Ok(())
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn rename_new(from: &Path, to: &Path) -> Result<(), Errno> {
    let here = rustix::fs::CWD;
    match rustix::fs::renameat_with(here, from, here, to, RenameFlags::NOREPLACE) {
        // Not every file system knows the flag; a directory that is not empty is never replaced.
        Err(Errno::INVAL) => rustix::fs::rename(from, to),
        other => other,
    }
}

/// Names this boot of the machine; empty where the kernel does not tell, which trusts nothing.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;

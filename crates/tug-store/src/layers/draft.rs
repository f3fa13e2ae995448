//! A layer on its way: its half-done directory, and whose turn it is to make it.

use super::LayerError;
use crate::lease::{self, Lease, lock, private_dir, remove_tree};
use rustix::fs::FlockOperation;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use tug_types::DiffId;

/// A layer being unpacked inside a lease. Dropped after a failure, it is deleted at once, not only
/// with the lease.
pub(super) struct Draft {
    pub(super) dir: PathBuf,
}

impl Draft {
    pub(super) fn create(lease: &Lease) -> Result<Self, LayerError> {
        let dir = lease.fresh_path("layer");
        private_dir(&dir)?;
        let fs = dir.join("fs");
        fs::create_dir(&fs).map_err(|source| LayerError::Write { path: fs, source })?;
        Ok(Self { dir })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Renamed into place after success; otherwise the lease deletes what this cannot.
        let _ = remove_tree(&self.dir);
    }
}

/// The turn to unpack one layer, among all processes.
pub(super) struct UnpackTurn {
    path: PathBuf,
    _lock: OwnedFd,
}

impl UnpackTurn {
    pub(super) fn take(root: &Path, layer: &DiffId) -> Result<Self, LayerError> {
        let path = lease::tmp_dir(root)?.join(format!("unpack-{}.lock", layer.0.hex()));
        loop {
            let held = lock(&path, FlockOperation::LockExclusive)?;
            // Whoever had it before deletes the file; a lock on a deleted file excludes nobody.
            let here = rustix::fs::fstat(&held).map(|stat| (stat.st_dev, stat.st_ino));
            let there = rustix::fs::stat(&path).map(|stat| (stat.st_dev, stat.st_ino));
            if here.is_ok() && here == there {
                return Ok(Self { path, _lock: held });
            }
        }
    }
}

impl Drop for UnpackTurn {
    fn drop(&mut self) {
        // Before the lock goes, so that the next one makes a new file.
        let _ = fs::remove_file(&self.path);
    }
}

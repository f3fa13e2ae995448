//! Blobs on their way in: what came of them so far, kept across commands.
//!
//! ```text
//! <data-root>/partial/<hex of the blob's digest>
//! ```
//!
//! - **Whose turn.** Whoever downloads a blob holds the `flock(2)` of its file, which a killed
//!   command gives back. Another command that wants the same blob meanwhile does without.
//! - **What it is worth.** Bytes are appended as they arrive, before anybody has verified them, and
//!   are not synced: a power cut may leave zeros. The next download hashes them again on their way
//!   to the decompressor; a wrong digest empties the file.
//! - **How long.** Until the image they belong to is recorded. Then they become blobs
//!   ([`Partials::keep`]) or go; so do those of a pull that failed for another reason than the
//!   line. What nobody came back for goes after [`Partials::sweep`]'s age.

use crate::lease::{self, Lease};
use crate::{BlobError, Blobs};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tug_types::Digest;

/// The half-fetched blobs of one data root.
#[derive(Clone, Debug)]
pub struct Partials {
    root: PathBuf,
}

/// One of them, locked.
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Partials {
    /// Those below the data root `root`. Nothing is made before the first download.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Takes over what there is of a blob, or begins it. `None` while somebody else downloads it.
    ///
    /// # Errors
    /// When the file cannot be made or locked.
    pub fn take(&self, digest: &Digest) -> Result<Option<Partial>, BlobError> {
        let path = self.path(digest);
        lease::store_dir(&self.root, "partial")?;
        let failed = |source| BlobError::Write { path: path.clone(), source };
        loop {
            let mut options = File::options();
            let options = options.read(true).append(true).create(true).mode(0o600);
            let file = options.open(&path).map_err(failed)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(failed(error.into())),
            }
            // Whoever had it may have taken it away since it was opened.
            let here = file.metadata().map_err(failed)?;
            let there = fs::metadata(&path);
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino())) {
                return Ok(Some(Partial { path, file, length: here.len() }));
            }
        }
    }

    /// Bytes there are of a blob.
    pub fn length(&self, digest: &Digest) -> u64 {
        fs::metadata(self.path(digest)).map_or(0, |metadata| metadata.len())
    }

    /// Makes a whole and verified one a blob. That it is not there is no failure.
    ///
    /// # Errors
    /// When it cannot be protected or moved.
    pub fn keep(&self, lease: &Lease, digest: &Digest) -> Result<(), BlobError> {
        lease.protect_blob(digest)?;
        let blobs = Blobs::new(&self.root);
        let dir = lease::store_dir(&self.root, "blobs")?.join("sha256");
        lease::private_dir(&dir)?;
        match fs::rename(self.path(digest), blobs.path(digest)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(BlobError::Commit { digest: *digest, source })
            }
            _ => Ok(()),
        }
    }

    /// Throws one away.
    ///
    /// # Errors
    /// When it is there but cannot be removed.
    pub fn discard(&self, digest: &Digest) -> Result<(), BlobError> {
        match fs::remove_file(self.path(digest)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(BlobError::Remove { digest: *digest, source })
            }
            _ => Ok(()),
        }
    }

    /// Throws those away that nobody has touched for `age`, except while they are locked.
    ///
    /// # Errors
    /// When the directory cannot be read or a file cannot be removed.
    pub fn sweep(&self, age: Duration) -> Result<(), BlobError> {
        for path in lease::entries(&self.root.join("partial"))? {
            let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
            let elapsed =
                modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
            if elapsed.is_none_or(|elapsed| elapsed < age) {
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(digest) = name.and_then(Digest::from_hex) else { continue };
            // Held while it goes, so that nobody appends to a file without a name.
            if let Some(partial) = self.take(&digest)? {
                self.discard(&digest)?;
                drop(partial);
            }
        }
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("partial").join(digest.hex())
    }
}

impl Partial {
    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Reads some of them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// Adds bytes at the end. After a failure it is as long as before.
    ///
    /// # Errors
    /// When they cannot be written: a full disk, for one.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                let _ = self.file.set_len(self.length);
                Err(error)
            }
        }
    }

    /// Begins anew.
    ///
    /// # Errors
    /// When the file cannot be cut.
    pub fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.length = 0;
        Ok(())
    }

    /// Throws it away.
    pub fn discard(self) {
        // Swept later if it cannot be removed now.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest::from_sha256([byte; 32])
    }

    #[test]
    fn what_came_is_there_for_the_next_one_alone() {
        let temp = tempfile::tempdir().unwrap();
        let partials = Partials::new(temp.path());
        assert_eq!(partials.length(&digest(1)), 0);
        let mut first = partials.take(&digest(1)).unwrap().unwrap();
        first.append(b"hello ").unwrap();
        assert!(partials.take(&digest(1)).unwrap().is_none(), "one at a time");
        drop(first);
        let mut second = partials.take(&digest(1)).unwrap().unwrap();
        assert_eq!(second.length(), 6);
        second.append(b"world").unwrap();
        let mut all = [0; 11];
        assert_eq!(second.read_at(0, &mut all).unwrap(), 11);
        assert_eq!(&all, b"hello world");
        drop(second);

        let lease = Lease::create(temp.path()).unwrap();
        partials.keep(&lease, &digest(1)).unwrap();
        partials.keep(&lease, &digest(2)).unwrap();
        assert_eq!(fs::read(Blobs::new(temp.path()).path(&digest(1))).unwrap(), b"hello world");
        assert_eq!(partials.length(&digest(1)), 0);
    }

    #[test]
    fn one_taken_away_is_begun_anew() {
        let temp = tempfile::tempdir().unwrap();
        let partials = Partials::new(temp.path());
        let mut partial = partials.take(&digest(1)).unwrap().unwrap();
        partial.append(b"x").unwrap();
        partial.clear().unwrap();
        assert_eq!(partials.length(&digest(1)), 0);
        partial.append(b"yz").unwrap();
        assert_eq!(partials.length(&digest(1)), 2);
        partial.discard();
        assert_eq!(partials.take(&digest(1)).unwrap().unwrap().length(), 0);
    }

    #[test]
    fn only_old_ones_nobody_holds_are_swept() {
        let temp = tempfile::tempdir().unwrap();
        let partials = Partials::new(temp.path());
        partials.sweep(Duration::ZERO).unwrap();
        let mut held = partials.take(&digest(1)).unwrap().unwrap();
        held.append(b"x").unwrap();
        partials.take(&digest(2)).unwrap().unwrap().append(b"x").unwrap();
        partials.sweep(Duration::from_secs(3600)).unwrap();
        assert_eq!(partials.length(&digest(2)), 1);
        partials.sweep(Duration::ZERO).unwrap();
        assert_eq!((partials.length(&digest(1)), partials.length(&digest(2))), (1, 0));
    }
}

//! Blobs: bytes kept under their SHA-256, in the places an OCI image layout has them.
//!
//! ```text
//! <data-root>/blobs/sha256/<hex>     complete, or not there
//! ```
//!
//! A blob is written inside a lease and renamed into place. It is not synced one by one: a pull
//! calls [`Layers::sync`](crate::Layers::sync) once before it records the image, and what a power
//! cut leaves of a blob that no image refers to is noticed, because reading verifies.

use crate::lease::{self, Lease, LeaseError};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tug_types::{Digest, Explain, Kind};

/// Manifests and configs larger than this are not read into memory. Registries refuse manifests
/// above 4 MiB; configs with long histories stay far below this too.
pub const READ_LIMIT: u64 = 16 << 20;

/// A failed operation on a blob.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum BlobError {
    #[error("no such blob: {digest}")]
    NotFound { digest: Digest },
    #[error("write the blob {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("put the blob {digest} in place")]
    Commit { digest: Digest, source: io::Error },
    #[error("read the blob {digest}")]
    Read { digest: Digest, source: io::Error },
    #[error("remove the blob {digest}")]
    Remove { digest: Digest, source: io::Error },
    #[error("the data should have the digest {expected} but has {actual}")]
    WrongDigest { expected: Digest, actual: Digest },
    #[error("the blob {digest} is damaged: its content has the digest {actual}")]
    Damaged { digest: Digest, actual: Digest },
    #[error("the blob {digest} is {size} bytes long; at most {READ_LIMIT} are read into memory")]
    TooLarge { digest: Digest, size: u64 },
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

impl Explain for BlobError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } => Kind::NotFound,
            Self::WrongDigest { .. } | Self::TooLarge { .. } => Kind::Invalid,
            Self::Write { source, .. } | Self::Commit { source, .. } => lease::kind_of(source),
            Self::Lease(error) => error.kind(),
            _ => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Write { source, .. } | Self::Commit { source, .. } => lease::hint_of(source),
            Self::Damaged { .. } => Some("pull the image again".to_owned()),
            Self::Lease(error) => error.hint(),
            _ => None,
        }
    }
}

/// The blobs of one data root.
#[derive(Clone, Debug)]
pub struct Blobs {
    root: PathBuf,
}

impl Blobs {
    /// The blobs below the data root `root`. Nothing is made before the first write.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where a blob is or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join("sha256").join(digest.hex())
    }

    /// Whether the blob is there.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// Keeps `bytes` and returns their digest.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put(&self, lease: &Lease, bytes: &[u8]) -> Result<Digest, BlobError> {
        let digest = Digest::from_sha256(Sha256::digest(bytes).into());
        lease.protect_blob(&digest)?;
        // A whole one is already there; a damaged one is replaced.
        if fs::read(self.path(&digest)).is_ok_and(|there| there == bytes) {
            return Ok(digest);
        }
        let mut writer = self.writer(lease)?;
        let path = writer.path.clone();
        writer.write_all(bytes).map_err(|source| BlobError::Write { path, source })?;
        writer.finish(Some(digest))
    }

    /// Starts a blob of unknown size.
    ///
    /// # Errors
    /// When its file cannot be made.
    pub fn writer(&self, lease: &Lease) -> Result<BlobWriter, BlobError> {
        let path = lease.fresh_path("blob");
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| BlobError::Write { path: path.clone(), source })?;
        let lease = lease.dir().to_owned();
        Ok(BlobWriter { blobs: self.clone(), lease, path, file, hash: Sha256::new(), size: 0 })
    }

    /// Reads a manifest or config whole and checks it against its digest.
    ///
    /// # Errors
    /// When it is not there, too large, or damaged.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        let failed = |source| BlobError::Read { digest: *digest, source };
        let file = self.open(digest)?;
        let size = file.metadata().map_err(failed)?.len();
        if size > READ_LIMIT {
            return Err(BlobError::TooLarge { digest: *digest, size });
        }
        let mut bytes = Vec::new();
        file.take(READ_LIMIT).read_to_end(&mut bytes).map_err(failed)?;
        let actual = Digest::from_sha256(Sha256::digest(&bytes).into());
        if actual == *digest {
            Ok(bytes)
        } else {
            Err(BlobError::Damaged { digest: *digest, actual })
        }
    }

    /// Opens a blob of any size, unverified.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open(&self, digest: &Digest) -> Result<File, BlobError> {
        File::open(self.path(digest)).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BlobError::NotFound { digest: *digest },
            _ => BlobError::Read { digest: *digest, source },
        })
    }

    /// Removes a blob; that it is not there is no failure.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        match fs::remove_file(self.path(digest)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(BlobError::Remove { digest: *digest, source })
            }
            _ => Ok(()),
        }
    }

    /// The digests of all blobs.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Digest>, BlobError> {
        let paths = lease::entries(&self.root.join("blobs").join("sha256"))?;
        let name = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).and_then(Digest::from_hex)
        };
        Ok(paths.iter().filter_map(name).collect())
    }
}

/// A blob being written. Dropped unfinished, it disappears.
#[derive(Debug)]
pub struct BlobWriter {
    blobs: Blobs,
    lease: PathBuf,
    path: PathBuf,
    file: File,
    hash: Sha256,
    size: u64,
}

impl BlobWriter {
    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Puts the blob in place under its digest.
    ///
    /// # Errors
    /// [`BlobError::WrongDigest`] when it is not the `expected` one, and when it cannot be renamed.
    pub fn finish(mut self, expected: Option<Digest>) -> Result<Digest, BlobError> {
        let digest = Digest::from_sha256(std::mem::take(&mut self.hash).finalize().into());
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(BlobError::WrongDigest { expected, actual: digest });
        }
        lease::protect_at(&self.lease, &digest)?;
        let dir = lease::store_dir(&self.blobs.root, "blobs")?.join("sha256");
        lease::private_dir(&dir)?;
        fs::rename(&self.path, self.blobs.path(&digest))
            .map_err(|source| BlobError::Commit { digest, source })?;
        Ok(digest)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // Gone already after a successful rename.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        blobs: Blobs,
        lease: Lease,
        _temp: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let temp = tempfile::tempdir().unwrap();
        let lease = Lease::create(temp.path()).unwrap();
        Fixture { blobs: Blobs::new(temp.path()), lease, _temp: temp }
    }

    fn half_done(lease: &Lease) -> usize {
        lease::entries(lease.dir()).unwrap().len() - 2
    }

    #[test]
    fn what_is_put_is_read() {
        let Fixture { blobs, lease, _temp } = fixture();
        let digest = blobs.put(&lease, b"hello").unwrap();
        assert_eq!(digest.hex()[..8], *"2cf24dba");
        assert_eq!(blobs.put(&lease, b"hello").unwrap(), digest);
        assert!(blobs.contains(&digest));
        assert_eq!(blobs.read(&digest).unwrap(), b"hello");
        assert_eq!(blobs.list().unwrap(), [digest]);
        blobs.remove(&digest).unwrap();
        blobs.remove(&digest).unwrap();
        assert!(!blobs.contains(&digest));
        assert!(matches!(blobs.read(&digest), Err(BlobError::NotFound { .. })));
        assert_eq!(half_done(&lease), 0);
    }

    #[test]
    fn a_wrong_digest_leaves_nothing() {
        let Fixture { blobs, lease, _temp } = fixture();
        let expected = Digest::from_sha256([1; 32]);
        let mut writer = blobs.writer(&lease).unwrap();
        writer.write_all(b"hello").unwrap();
        let error = writer.finish(Some(expected)).unwrap_err();
        assert!(matches!(error, BlobError::WrongDigest { expected: e, .. } if e == expected));
        drop(blobs.writer(&lease).unwrap());
        assert_eq!(half_done(&lease), 0);
        assert_eq!(blobs.list().unwrap(), []);
    }

    #[test]
    fn damage_is_noticed_and_mended() {
        let Fixture { blobs, lease, _temp } = fixture();
        let digest = blobs.put(&lease, b"hello").unwrap();
        for damage in [&b"hell"[..], b"hallo", b""] {
            fs::write(blobs.path(&digest), damage).unwrap();
            let error = blobs.read(&digest).unwrap_err();
            assert!(matches!(error, BlobError::Damaged { .. }), "{error}");
            blobs.put(&lease, b"hello").unwrap();
            assert_eq!(blobs.read(&digest).unwrap(), b"hello");
        }
    }

    #[test]
    fn large_blobs_are_not_read_into_memory() {
        let Fixture { blobs, lease, _temp } = fixture();
        let mut writer = blobs.writer(&lease).unwrap();
        io::copy(&mut io::repeat(b'x').take(READ_LIMIT + 1), &mut writer).unwrap();
        assert_eq!(writer.size(), READ_LIMIT + 1);
        let digest = writer.finish(None).unwrap();
        assert!(matches!(blobs.read(&digest), Err(BlobError::TooLarge { .. })));
        assert_eq!(blobs.open(&digest).unwrap().metadata().unwrap().len(), READ_LIMIT + 1);
    }
}

//! Leases: what protects half-done work from the collector, and dies with its process.
//!
//! ```text
//! <data-root>/tmp/
//!   .sweep             locked shared while a lease is made, exclusive while dead ones are looked for
//!   .collect           locked shared while something is protected, exclusive while collecting
//!   lease-<random>/    lock       flock(2)ed by the owner for its lifetime
//!                      protect/   one empty file per layer or blob, named by its digest
//!                      …          the owner's half-done files
//!   unpack-<hex>.lock  whose turn it is to unpack a layer (`layers`)
//!   trash-<random>/    renamed out of its place, being deleted
//! ```
//!
//! The kernel drops the lock when the owner dies, however it dies; then the whole directory may be
//! deleted by whoever comes along ([`sweep_dead`]). `.sweep` closes the moment between a lease's
//! directory appearing and its lock being held.

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tug_types::{DiffId, Digest, Explain, Kind};

/// A failed operation on leases.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum LeaseError {
    #[error("create the directory {path}")]
    Directory { path: PathBuf, source: io::Error },
    #[error("lock {path}")]
    Lock { path: PathBuf, source: io::Error },
    #[error("protect the layer {layer} in {path}")]
    Protect { layer: DiffId, path: PathBuf, source: io::Error },
    #[error("read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("remove {path}")]
    Remove { path: PathBuf, source: io::Error },
    #[error("draw a random name")]
    Random { source: io::Error },
}

impl Explain for LeaseError {
    fn kind(&self) -> Kind {
        match self {
            Self::Directory { source, .. } | Self::Protect { source, .. } => kind_of(source),
            _ => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Directory { source, .. } | Self::Protect { source, .. } => hint_of(source),
            _ => None,
        }
    }
}

/// How a failed write to the store is classified: a full disk passes, the rest is ours.
pub(crate) fn kind_of(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Unavailable,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Denied,
        _ => Kind::Internal,
    }
}

/// The next step after a failed write to the store.
pub(crate) fn hint_of(error: &io::Error) -> Option<String> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("make room, for example with `tug system prune`".to_owned())
        }
        io::ErrorKind::PermissionDenied => Some("run tug as root".to_owned()),
        _ => None,
    }
}

/// A claim on half-done work. Dropping it deletes what is left of that work.
#[derive(Debug)]
pub struct Lease {
    dir: PathBuf,
    next: AtomicU64,
    _lock: OwnedFd,
}

impl Lease {
    /// Takes a new lease in the data root `root`, which is made if missing.
    ///
    /// # Errors
    /// When its directory cannot be made or locked.
    pub fn create(root: &Path) -> Result<Self, LeaseError> {
        let tmp = tmp_dir(root)?;
        let _sweep = lock(&tmp.join(".sweep"), FlockOperation::LockShared)?;
        let dir = tmp.join(format!("lease-{}", random_name()?));
        private_dir(&dir)?;
        // Waits only for somebody asking whether it is alive.
        let lock = lock(&dir.join("lock"), FlockOperation::LockExclusive)?;
        private_dir(&dir.join("protect"))?;
        Ok(Self { dir, next: AtomicU64::new(0), _lock: lock })
    }

    /// The lease's own directory, on the same file system as everything else in the data root.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path in [`dir`](Self::dir) that no earlier call returned; nothing is made there.
    pub fn fresh_path(&self, what: &str) -> PathBuf {
        self.dir.join(format!("{what}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// Keeps a layer from being collected while the lease lives. Call it *before* asking whether
    /// the layer is there: the collector looks again after it has taken a layer away, and puts it
    /// back when it finds it protected.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn protect(&self, layer: &DiffId) -> Result<(), LeaseError> {
        protect_at(&self.dir, &layer.0)
    }

    /// The same for a blob.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn protect_blob(&self, blob: &Digest) -> Result<(), LeaseError> {
        self.protect(&DiffId(*blob))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Left over by a failure here, it is a dead lease like any other.
        let _ = remove_tree(&self.dir);
    }
}

/// Marks a digest in a lease's directory, while no collection is looking.
pub(crate) fn protect_at(lease: &Path, digest: &Digest) -> Result<(), LeaseError> {
    let _shared = collecting(lease.parent().unwrap_or(lease), FlockOperation::LockShared)?;
    let path = lease.join("protect").join(digest.hex());
    let layer = DiffId(*digest);
    fs::write(&path, []).map_err(|source| LeaseError::Protect { layer, path, source })
}

/// Takes the lock that keeps protecting and collecting apart (`collect`); `tmp` exists.
pub(crate) fn collecting(tmp: &Path, operation: FlockOperation) -> Result<OwnedFd, LeaseError> {
    lock(&tmp.join(".collect"), operation)
}

/// The directories of leases that are alive.
///
/// # Errors
/// When `tmp/` cannot be read, or one of them not asked about.
pub fn live_leases(root: &Path) -> Result<Vec<PathBuf>, LeaseError> {
    let mut alive = Vec::new();
    for dir in entries(&root.join("tmp"))?.into_iter().filter(|path| is_lease(path)) {
        if is_alive(&dir)? {
            alive.push(dir);
        }
    }
    Ok(alive)
}

/// All layers protected by leases that are alive.
///
/// # Errors
/// When `tmp/` cannot be read.
pub fn live_protected(root: &Path) -> Result<HashSet<DiffId>, LeaseError> {
    Ok(live_protected_digests(root)?.into_iter().map(DiffId).collect())
}

/// Layers and blobs alike.
pub(crate) fn live_protected_digests(root: &Path) -> Result<HashSet<Digest>, LeaseError> {
    let mut layers = HashSet::new();
    for dir in live_leases(root)? {
        for mark in entries(&dir.join("protect"))? {
            let name = mark.file_name().and_then(|name| name.to_str());
            layers.extend(name.and_then(Digest::from_hex));
        }
    }
    Ok(layers)
}

/// Whether [`sweep_dead`] would find something. A lease that is being made this moment may look dead.
pub(crate) fn is_anything_dead(root: &Path) -> Result<bool, LeaseError> {
    for path in entries(&root.join("tmp"))? {
        if name_starts_with(&path, TRASH) || (is_lease(&path) && !is_alive(&path)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deletes the work of dead leases, and whatever was being deleted by a process that died.
///
/// # Errors
/// The first directory that cannot be read or removed; the others are removed nevertheless.
pub fn sweep_dead(root: &Path) -> Result<(), LeaseError> {
    let tmp = root.join("tmp");
    if !tmp.exists() {
        return Ok(());
    }
    let dead = {
        let _sweep = lock(&tmp.join(".sweep"), FlockOperation::LockExclusive)?;
        let mut dead = Vec::new();
        for path in entries(&tmp)? {
            if name_starts_with(&path, "unpack-") {
                remove_free_lock(&path)?;
            }
            let is_trash = name_starts_with(&path, TRASH);
            if is_trash || (is_lease(&path) && !is_alive(&path)?) {
                dead.push(path);
            }
        }
        dead
    };
    // A dead lease stays dead, so the slow part needs no lock.
    let mut result = Ok(());
    for path in dead {
        let removed = remove_tree(&path);
        result = result.and(removed);
    }
    result
}

/// Removes the lock file of a turn (`layers`) that a killed process had. Held while it goes, as
/// everybody does, so that whoever waits for it sees that it is gone.
fn remove_free_lock(path: &Path) -> Result<(), LeaseError> {
    let failed = |error: Errno| LeaseError::Lock { path: path.to_owned(), source: error.into() };
    let fd = match rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.map_err(failed)?,
    };
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(()),
        other => other.map_err(failed)?,
    }
    // Between opening and locking, the path may have become somebody else's new file.
    let here = rustix::fs::fstat(&fd).map(|stat| (stat.st_dev, stat.st_ino));
    let there = rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
    if here.is_ok() && here == there {
        rustix::fs::unlink(path).map_err(failed)?;
    }
    Ok(())
}

/// What names of something on its way to deletion begin with.
const TRASH: &str = "trash-";

fn is_lease(path: &Path) -> bool {
    name_starts_with(path, "lease-")
}

fn name_starts_with(path: &Path, prefix: &str) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(prefix))
}

/// Whether somebody holds the lease's lock. Asked without taking the lock for itself alone, so
/// that two processes asking at once do not see each other.
fn is_alive(lease: &Path) -> Result<bool, LeaseError> {
    let path = lease.join("lock");
    let fd = match rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(false),
        Err(error) => return Err(LeaseError::Lock { path, source: error.into() }),
    };
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(LeaseError::Lock { path, source: error.into() }),
    }
}

/// Opens or makes a lock file and takes its lock.
pub(crate) fn lock(path: &Path, operation: FlockOperation) -> Result<OwnedFd, LeaseError> {
    let failed = |error: Errno| LeaseError::Lock { path: path.to_owned(), source: error.into() };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    loop {
        match rustix::fs::flock(&fd, operation) {
            Ok(()) => return Ok(fd),
            Err(Errno::INTR) => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// `<root>/tmp`, made if missing.
pub(crate) fn tmp_dir(root: &Path) -> Result<PathBuf, LeaseError> {
    store_dir(root, "tmp")
}

/// A directory directly below the data root, made if missing. Only root may enter it: the trees
/// below hold set-user-id programs of any age that no user of the host shall be able to run.
pub(crate) fn store_dir(root: &Path, name: &str) -> Result<PathBuf, LeaseError> {
    let dir = root.join(name);
    if !dir.is_dir() {
        let failed = |source| LeaseError::Directory { path: root.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o711).create(root).map_err(failed)?;
        private_dir(&dir)?;
    }
    Ok(dir)
}

/// A directory only its owner may enter; it may exist.
pub(crate) fn private_dir(path: &Path) -> Result<(), LeaseError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| LeaseError::Directory { path: path.to_owned(), source })
}

/// A name in `tmp/` for something on its way to deletion.
pub(crate) fn trash_path(root: &Path) -> Result<PathBuf, LeaseError> {
    Ok(tmp_dir(root)?.join(format!("{TRASH}{}", random_name()?)))
}

/// Deletes a tree. That somebody else deletes it at the same time is no failure.
pub(crate) fn remove_tree(path: &Path) -> Result<(), LeaseError> {
    // Not the standard library's: a layer may be deeper than there are descriptors.
    tug_archive::remove_tree(path)
        .map_err(|source| LeaseError::Remove { path: path.to_owned(), source })
}

/// The paths in a directory; none when it is not there.
pub(crate) fn entries(dir: &Path) -> Result<Vec<PathBuf>, LeaseError> {
    let failed = |source| LeaseError::Read { path: dir.to_owned(), source };
    match fs::read_dir(dir) {
        Ok(entries) => {
            entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

/// Sixteen random hex digits.
pub(crate) fn random_name() -> Result<String, LeaseError> {
    let mut bytes = [0u8; 8];
    // Up to 256 bytes come whole or not at all.
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| LeaseError::Random { source: error.into() })?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(byte: u8) -> DiffId {
        DiffId(Digest::from_sha256([byte; 32]))
    }

    #[test]
    fn only_the_living_protect() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        assert!(live_protected(root).unwrap().is_empty());
        let alive = Lease::create(root).unwrap();
        alive.protect(&layer(1)).unwrap();
        alive.protect(&layer(1)).unwrap();
        // Killed: everything is there, but nobody holds the lock.
        let dead = Lease::create(root).unwrap();
        dead.protect(&layer(2)).unwrap();
        fs::write(dead.dir().join("half-done"), "x").unwrap();
        let remains = dead.dir().to_owned();
        let kept = root.join("kept");
        fs::rename(&remains, &kept).unwrap();
        drop(dead);
        fs::rename(&kept, &remains).unwrap();
        fs::create_dir(root.join("tmp/trash-1")).unwrap();
        fs::write(root.join("tmp/unpack-1.lock"), "").unwrap();

        assert_eq!(live_protected(root).unwrap(), HashSet::from([layer(1)]));
        assert!(is_anything_dead(root).unwrap());
        fs::remove_dir(root.join("tmp/trash-1")).unwrap();
        assert!(is_anything_dead(root).unwrap(), "the lease alone");
        fs::create_dir(root.join("tmp/trash-1")).unwrap();
        sweep_dead(root).unwrap();
        assert!(!is_anything_dead(root).unwrap());
        assert!(!remains.exists());
        assert!(!root.join("tmp/trash-1").exists());
        assert!(!root.join("tmp/unpack-1.lock").exists());
        assert!(alive.dir().join("protect").exists());
        drop(alive);
        assert!(live_protected(root).unwrap().is_empty());
        let mut left = entries(&root.join("tmp")).unwrap();
        left.sort();
        assert_eq!(left, [root.join("tmp/.collect"), root.join("tmp/.sweep")]);
    }

    #[test]
    fn a_new_lease_is_never_swept() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        sweep_dead(root).unwrap();
                        live_protected(root).unwrap();
                    }
                });
            }
            for _ in 0..300 {
                let lease = Lease::create(root).unwrap();
                lease.protect(&layer(1)).unwrap();
                assert!(lease.dir().join("lock").exists());
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_full_disk_is_said_with_its_way_out() {
        let source = io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error());
        let error = LeaseError::Directory { path: "/x".into(), source };
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.hint().unwrap().contains("prune"));
    }
}

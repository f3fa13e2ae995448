//! The lock that says whether a container has a monitor.
//!
//! An open-file-description lock on `<run_dir>/lock`. The starter takes it and hands the descriptor
//! to the monitor, so that it is held without a gap from before the monitor exists until after it
//! has cleaned up. Asking about it ([`is_running`]) never disturbs anybody's attempt to take it.

use crate::{Error, layout};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use tug_sys::file_lock;

/// Whether a monitor (or a command that is about to start one, or one that cleans up) holds the
/// container's lock. `false` when the directory or the file is missing.
pub fn is_running(run_dir: &Path) -> bool {
    std::fs::File::open(layout::lock(run_dir))
        .and_then(|file| file_lock::is_locked(file.as_fd()))
        .unwrap_or(false)
}

/// Takes the container's lock, creating the file when missing (the directory must exist).
///
/// # Errors
/// [`Error::Held`] when somebody has it, [`Error::Lock`] when the file cannot be used.
pub fn take_lock(run_dir: &Path) -> Result<OwnedFd, Error> {
    take(run_dir, |file| {
        if file_lock::try_lock(file)? { Ok(()) } else { Err(rustix::io::Errno::WOULDBLOCK.into()) }
    })
}

/// Waits until the lock is free, and takes it: for somebody who has just seen the exit and knows
/// that the cleaning up takes milliseconds.
///
/// # Errors
/// [`Error::Lock`] when the file cannot be used.
pub fn wait_for_lock(run_dir: &Path) -> Result<OwnedFd, Error> {
    take(run_dir, file_lock::lock)
}

/// Removes what is left of a run directory. The lock stays valid for its holder until dropped;
/// [`take_lock`] notices that the file it got is no longer the one at the path.
///
/// # Errors
/// [`Error::File`] when something in it cannot be removed.
pub fn remove_run_dir(run_dir: &Path, _held: &OwnedFd) -> Result<(), Error> {
    match std::fs::remove_dir_all(run_dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::File { verb: "remove", path: run_dir.to_owned(), source }),
    }
}

fn take(
    run_dir: &Path,
    acquire: impl Fn(std::os::fd::BorrowedFd<'_>) -> io::Result<()>,
) -> Result<OwnedFd, Error> {
    let path = layout::lock(run_dir);
    let attempt = || -> io::Result<OwnedFd> {
        loop {
            let file = std::fs::File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .mode(0o600)
                .open(&path)?;
            match acquire(file.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            // Whoever had it may have removed the directory: then this is a lock on nothing.
            match std::fs::metadata(&path) {
                Ok(now) if now.ino() == file.metadata()?.ino() => return Ok(file.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    };
    attempt().map_err(|source| {
        if source.kind() == io::ErrorKind::WouldBlock {
            Error::Held { path: path.clone() }
        } else {
            Error::Lock { path: path.clone(), source }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_means_running_and_a_removed_directory_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("c1");
        assert!(!is_running(&run));
        assert!(matches!(take_lock(&run), Err(Error::Lock { .. })), "the directory is missing");

        std::fs::create_dir(&run).unwrap();
        let lock = take_lock(&run).unwrap();
        assert!(is_running(&run));
        assert!(matches!(take_lock(&run), Err(Error::Held { .. })));

        remove_run_dir(&run, &lock).unwrap();
        remove_run_dir(&run, &lock).unwrap();
        assert!(!is_running(&run));
        std::fs::create_dir(&run).unwrap();
        let second = take_lock(&run).unwrap();
        drop(lock);
        assert!(is_running(&run), "the old lock's end does not end the new one");
        drop(second);
        assert!(!is_running(&run));
        drop(wait_for_lock(&run).unwrap());
    }
}

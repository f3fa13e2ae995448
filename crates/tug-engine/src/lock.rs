//! Taking a container's lock (`tug_monitor::lock`): whoever changes a container holds it, a running
//! container's monitor holds it for life.

use crate::Error;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};
use tug_types::Explain;

/// How long to wait for another command that is changing the same container.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Takes the lock, waiting up to `patience` for a holder to let go. `None` when it did not.
pub(crate) fn take(run_dir: &Path, patience: Duration) -> Result<Option<OwnedFd>, Error> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_micros(100);
    loop {
        if let Some(lock) = try_take(run_dir)? {
            return Ok(Some(lock));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Takes the lock if nobody holds it, making the run directory when it is missing.
pub(crate) fn try_take(run_dir: &Path) -> Result<Option<OwnedFd>, Error> {
    loop {
        match tug_monitor::take_lock(run_dir) {
            Ok(lock) => return Ok(Some(lock)),
            Err(tug_monitor::Error::Held { .. }) => return Ok(None),
            Err(_) if !run_dir.exists() => crate::engine::make_dir(run_dir)?,
            Err(error) => return Err(Error::Failed(error.failure())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_a_removed_directory_is_made_again() {
        let dir = std::env::temp_dir().join(format!("tug-lock-{}", std::process::id()));
        let first = try_take(&dir).unwrap();
        assert!(first.is_some());
        assert!(take(&dir, Duration::from_millis(5)).unwrap().is_none());
        std::fs::remove_dir_all(&dir).unwrap();
        let second = try_take(&dir).unwrap();
        assert!(second.is_some(), "the old lock is of a file that is gone");
        drop((first, second));
        assert!(!tug_monitor::is_running(&dir));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

//! `state.json` and `exit.json`: written beside and renamed, so that a reader sees all or nothing.

use crate::{Error, ExitRecord, RunState, layout};
use serde::{Serialize, de::DeserializeOwned};
use std::io;
use std::path::{Path, PathBuf};

/// What runs. `None` when nothing was recorded; believe it only while [`crate::is_running`].
///
/// # Errors
/// [`Error::File`] when the file exists and cannot be read.
pub fn read_state(run_dir: &Path) -> Result<Option<RunState>, Error> {
    read(&layout::state(run_dir))
}

/// How the last run ended. `None` when the container never ran, or runs.
///
/// # Errors
/// [`Error::File`] when the file exists and cannot be read.
pub fn read_exit(container_dir: &Path) -> Result<Option<ExitRecord>, Error> {
    read(&layout::exit(container_dir))
}

/// Reads one of the two; missing is `None`.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let failed = |source| Error::File { verb: "read", path: path.to_owned(), source };
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Writes one of the two. Not synced: after a power cut the next command reconciles anyway.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let attempt = || -> io::Result<()> {
        let beside = beside(path);
        std::fs::write(&beside, serde_json::to_vec(value)?)?;
        std::fs::rename(&beside, path)
    };
    attempt().map_err(|source| Error::File { verb: "write", path: path.to_owned(), source })
}

/// Removes one of the two, and what a killed writer left beside it.
pub(crate) fn discard(path: &Path) -> Result<(), Error> {
    remove(&beside(path)).and_then(|()| remove(path))
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("json.new")
}

/// Removes a file that may be missing.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::File { verb: "remove", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_the_way_through_its_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_exit(dir.path()).unwrap(), None);
        let record = ExitRecord {
            exit_code: 137,
            started_at: 1,
            finished_at: 2,
            oom_killed: true,
            error: Some(tug_types::Failure::new(tug_types::Kind::Internal, "no")),
        };
        write(&layout::exit(dir.path()), &record).unwrap();
        assert_eq!(read_exit(dir.path()).unwrap(), Some(record));
        std::fs::write(layout::exit(dir.path()), b"{").unwrap();
        assert!(matches!(read_exit(dir.path()), Err(Error::File { verb: "read", .. })));
        remove(&layout::exit(dir.path())).unwrap();
        remove(&layout::exit(dir.path())).unwrap();
    }
}

//! Names of the files of a run (drawn in [`crate::spec`]).

use std::path::{Path, PathBuf};

/// The lock in a run directory.
pub(crate) fn lock(run_dir: &Path) -> PathBuf {
    run_dir.join("lock")
}

/// The monitor's socket in a run directory.
pub(crate) fn socket(run_dir: &Path) -> PathBuf {
    run_dir.join("monitor.sock")
}

/// `state.json` in a run directory.
pub(crate) fn state(run_dir: &Path) -> PathBuf {
    run_dir.join("state.json")
}

/// `exit.json` in a container directory.
pub(crate) fn exit(container_dir: &Path) -> PathBuf {
    container_dir.join("exit.json")
}

/// The log's directory in a container directory.
pub(crate) fn log(container_dir: &Path) -> PathBuf {
    container_dir.join("log")
}

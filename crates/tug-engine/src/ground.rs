//! What every container has that no image brings: `/.dockerenv`, by which programs tell that they are in a
//! container, and `/etc/mtab`, in which old ones look for mounts. Docker makes both for every container;
//! here they are one tree for all, below the lowest layer, so that an image's own come first.
//!
//! ```text
//! <data-root>/ground/.dockerenv
//!                    etc/mtab -> /proc/mounts
//! ```

use crate::Error;
use crate::engine::Engine;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tug_store::Lease;

impl Engine {
    /// The tree, made if it is not there.
    pub(crate) fn ground(&self) -> Result<PathBuf, Error> {
        let place = self.store.root().join("ground");
        if place.exists() {
            return Ok(place);
        }
        // Beside it first: nobody sees half of it.
        let lease = Lease::create(self.store.root()).map_err(tug_store::Error::from)?;
        let beside = lease.fresh_path("ground");
        make(&beside).map_err(Error::files("create", &beside))?;
        match std::fs::rename(&beside, &place) {
            // Somebody else was first.
            Err(_) if place.exists() => {}
            other => other.map_err(Error::files("create", &place))?,
        }
        Ok(place)
    }
}

fn make(dir: &Path) -> std::io::Result<()> {
    let etc = dir.join("etc");
    std::fs::create_dir_all(&etc)?;
    for dir in [dir, &etc] {
        std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755))?;
    }
    let mark = dir.join(".dockerenv");
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&mark)?;
    std::fs::set_permissions(&mark, PermissionsExt::from_mode(0o755))?;
    symlink("/proc/mounts", etc.join("mtab"))
}

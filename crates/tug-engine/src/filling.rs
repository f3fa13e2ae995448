//! Filling: what an image has at a path, copied into an empty volume on its first use.
//!
//! ```text
//! volumes/<name>/
//!   _data        what containers see
//!   filling      there while `_data` is being filled, flock(2)ed by who does it
//! ```
//! A filling that was killed left its file behind with the lock free: the next use empties the volume
//! and starts again, provided that no other container had it since.

use crate::engine::remove_tree;
use crate::{Engine, Error};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use tug_types::{ContainerPath, DiffId, Explain};

impl Engine {
    /// Copies what the image has at `destination` into an empty volume, as Docker does on first use.
    pub(crate) fn populate_volume(
        &self,
        name: &str,
        layers: &[DiffId],
        destination: &ContainerPath,
    ) -> Result<(), Error> {
        let data = self.store.volume_data(name);
        let mark = data.with_file_name("filling");
        let is_empty = || -> Result<bool, Error> {
            let mut entries = std::fs::read_dir(&data).map_err(Error::files("read", &data))?;
            Ok(entries.next().is_none())
        };
        if !is_empty()? && !mark.exists() {
            return Ok(());
        }
        let Some(root) = self.image_tree(layers)? else { return Ok(()) };
        let Some(source) = open_in_root(&root, destination)? else { return Ok(()) };

        let file = File::options().create(true).truncate(false).write(true).open(&mark);
        let file = file.map_err(Error::files("create", &mark))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| Error::files("lock", &mark)(error.into()))?;
        // Whoever filled it while we waited took the file away.
        if mark.exists() && !is_empty()? {
            // A creation that was killed still counts as a user until somebody looks.
            self.reconciled()?;
            if self.store.volume_users(name)?.len() <= 1 {
                empty_dir(&data)?;
            }
        }
        if is_empty()? {
            let target = File::open(&data).map_err(Error::files("open", &data))?;
            tug_archive::copy_tree(source.as_fd(), target.as_fd())
                .map_err(|error| Error::Failed(error.failure()))?;
            if destination.as_str() == "/etc" {
                places_in_etc(&data)?;
            }
        }
        std::fs::remove_file(&mark).or_else(gone_is_fine).map_err(Error::files("remove", &mark))
    }

    /// The image's merged tree as a directory descriptor, mounted nowhere. `None` without layers.
    fn image_tree(&self, layers: &[DiffId]) -> Result<Option<OwnedFd>, Error> {
        let trees = self.store.layers().trees(layers.iter());
        match trees.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(File::open(only).map_err(Error::files("open layer", only))?.into())),
            _ => detached_overlay(&trees)
                .map(Some)
                .map_err(|source| Error::System { what: "mount the image's layers", source }),
        }
    }
}

/// What is mounted over in every container's /etc, where the image lacks it: a read-only volume could not
/// be given it later.
fn places_in_etc(data: &Path) -> Result<(), Error> {
    for name in ["resolv.conf", "hostname", "hosts"] {
        let path = data.join(name);
        match File::options().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::files("create", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes what is in a directory.
fn empty_dir(dir: &Path) -> Result<(), Error> {
    let failed = Error::files("empty", dir);
    let entries = std::fs::read_dir(dir).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    for entry in entries.map_err(failed)? {
        let path = entry.path();
        match entry.file_type().map_err(Error::files("read", &path))?.is_dir() {
            true => remove_tree(&path)?,
            false => std::fs::remove_file(&path).map_err(Error::files("remove", &path))?,
        }
    }
    Ok(())
}

fn gone_is_fine(error: std::io::Error) -> std::io::Result<()> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

/// A read-only overlay of the trees, uppermost first, that exists only as a descriptor.
pub(crate) fn detached_overlay(trees: &[PathBuf]) -> std::io::Result<OwnedFd> {
    use rustix::mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
        fsopen,
    };
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let by_one = trees
        .iter()
        .try_for_each(|tree| fsconfig_set_string(context.as_fd(), "lowerdir+", tree.as_path()));
    if by_one.is_err() {
        // Before Linux 6.8 the layers come in one text.
        let joined: Vec<String> = trees.iter().map(|tree| tree.display().to_string()).collect();
        fsconfig_set_string(context.as_fd(), "lowerdir", joined.join(":"))?;
    }
    fsconfig_create(context.as_fd())?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    Ok(fsmount(context.as_fd(), flags, MountAttrFlags::MOUNT_ATTR_RDONLY)?)
}

/// A directory below `root`, symlinks resolved inside it; `None` when there is no such directory.
fn open_in_root(root: &OwnedFd, path: &ContainerPath) -> Result<Option<OwnedFd>, Error> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::Errno;
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, path.relative(), flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => {
            Err(Error::System { what: "open the image's directory", source: error.into() })
        }
    }
}

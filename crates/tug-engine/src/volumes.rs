//! Volumes: made, listed, removed, and filled with an image's content on first use.

use crate::engine::{make_dir, remove_tree};
use crate::view::Volume;
use crate::{Engine, Error, mounts};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use tug_store::{NewVolume, VolumeRow};
use tug_types::{ContainerId, ContainerPath, DiffId, Explain};

impl Engine {
    /// Makes a volume, or finds the one of that name. Without a name it gets a random one.
    ///
    /// # Errors
    /// For a bad name, a driver other than `local`, driver options, or a failing disk.
    pub fn volume_create(
        &self,
        name: Option<&str>,
        labels: BTreeMap<String, String>,
        driver: &str,
        options: BTreeMap<String, String>,
    ) -> Result<Volume, Error> {
        if !matches!(driver, "" | "local") {
            return Err(Error::Unsupported {
                flag: format!("volume driver {driver:?}"),
                hint: None,
            });
        }
        if let Some(option) = options.keys().next() {
            return Err(Error::Unsupported {
                flag: format!("option {option:?} of the volume driver"),
                hint: Some(
                    "mount the filesystem on the host and use `-v /its/path:/inside`".to_owned(),
                ),
            });
        }
        let name = match name {
            Some(name) => {
                mounts::check_volume_name(name)?;
                name.to_owned()
            }
            None => random_name()?,
        };
        self.ensure_volume(&name, false, labels)?;
        self.volume(&name)
    }

    /// All volumes, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub fn volumes(&self) -> Result<Vec<Volume>, Error> {
        Ok(self.store.volumes()?.into_iter().map(|row| self.volume_view(row)).collect())
    }

    /// One volume by its name.
    ///
    /// # Errors
    /// [`Error::NoVolume`].
    pub fn volume(&self, name: &str) -> Result<Volume, Error> {
        let row = self.store.volume(name)?;
        row.map(|row| self.volume_view(row))
            .ok_or_else(|| Error::NoVolume { name: name.to_owned() })
    }

    /// Names of the containers that use a volume.
    ///
    /// # Errors
    /// When the store fails.
    pub fn volume_users(&self, name: &str) -> Result<Vec<String>, Error> {
        Ok(self.store.volume_users(name)?)
    }

    /// Removes a volume nobody uses. With `force` a missing one is no error.
    ///
    /// # Errors
    /// When a container uses it, or it is not there.
    pub fn volume_remove(&self, name: &str, force: bool) -> Result<(), Error> {
        match self.store.forget_volume(name) {
            Err(tug_store::Error::NoVolume { .. }) if force => return Ok(()),
            Err(tug_store::Error::NoVolume { .. }) => {
                return Err(Error::NoVolume { name: name.to_owned() });
            }
            result => result?,
        }
        self.remove_volume_files(name)
    }

    pub(crate) fn remove_volume_files(&self, name: &str) -> Result<(), Error> {
        remove_tree(&self.settings.data_root.join("volumes").join(name))
    }

    /// The volume's directory, made and recorded when missing. True when it is new.
    pub(crate) fn ensure_volume(
        &self,
        name: &str,
        anonymous: bool,
        labels: BTreeMap<String, String>,
    ) -> Result<bool, Error> {
        let data = self.store.volume_data(name);
        make_dir(data.parent().unwrap_or(&data))?;
        match std::fs::create_dir(&data) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::files("create", &data)(error));
            }
            _ => {}
        }
        // Ordinary users inside containers enter it: Docker's mode.
        std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(Error::files("set the mode of", &data))?;
        let new = NewVolume { name, anonymous, labels, options: BTreeMap::new() };
        Ok(self.store.insert_volume(&new)?)
    }

    /// Copies what the image has at `destination` into an empty volume, as Docker does on first use.
    pub(crate) fn populate_volume(
        &self,
        name: &str,
        layers: &[DiffId],
        destination: &ContainerPath,
    ) -> Result<(), Error> {
        let data = self.store.volume_data(name);
        let mut entries = std::fs::read_dir(&data).map_err(Error::files("read", &data))?;
        if entries.next().is_some() {
            return Ok(());
        }
        let Some(root) = self.image_tree(layers)? else { return Ok(()) };
        let Some(source) = open_in_root(&root, destination)? else { return Ok(()) };
        let target = File::open(&data).map_err(Error::files("open", &data))?;
        tug_archive::copy_tree(source.as_fd(), target.as_fd())
            .map_err(|error| Error::Failed(error.failure()))
    }

    /// The image's merged tree as a directory descriptor, mounted nowhere. `None` without layers.
    fn image_tree(&self, layers: &[DiffId]) -> Result<Option<OwnedFd>, Error> {
        let trees: Vec<PathBuf> =
            layers.iter().rev().map(|layer| self.store.layers().tree(layer)).collect();
        match trees.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(File::open(only).map_err(Error::files("open layer", only))?.into())),
            _ => detached_overlay(&trees)
                .map(Some)
                .map_err(|source| Error::System { what: "mount the image's layers", source }),
        }
    }

    fn volume_view(&self, row: VolumeRow) -> Volume {
        let some = |map: BTreeMap<String, String>| if map.is_empty() { None } else { Some(map) };
        Volume {
            created_at: crate::time::rfc3339_seconds(row.created),
            driver: "local".to_owned(),
            labels: some(row.labels),
            mountpoint: self.store.volume_data(&row.name),
            name: row.name,
            options: some(row.options),
            scope: "local".to_owned(),
            anonymous: row.anonymous,
        }
    }
}

/// 64 hexadecimal digits, as Docker names anonymous volumes.
pub(crate) fn random_name() -> Result<String, Error> {
    ContainerId::random()
        .map(String::from)
        .map_err(|source| Error::System { what: "draw a random name", source })
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

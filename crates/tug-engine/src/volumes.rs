//! Volumes: made, listed, removed.

use crate::engine::make_dir;
use crate::view::Volume;
use crate::{Engine, Error, mounts};
use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use tug_store::{NewVolume, VolumeRow};
use tug_types::ContainerId;

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
        self.store.insert_volume(&NewVolume { name: &name, labels, ..NewVolume::default() })?;
        self.make_volume_dir(&name)?;
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
            Err(tug_store::Error::NoVolume { .. }) if force => Ok(()),
            Err(tug_store::Error::NoVolume { .. }) => {
                Err(Error::NoVolume { name: name.to_owned() })
            }
            discarded => {
                discarded?.delete()?;
                Ok(())
            }
        }
    }

    /// The directory of a volume that has its row. It may be there.
    pub(crate) fn make_volume_dir(&self, name: &str) -> Result<(), Error> {
        let data = self.store.volume_data(name);
        make_dir(data.parent().unwrap_or(&data))?;
        match std::fs::DirBuilder::new().mode(0o755).create(&data) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            made => made.map_err(Error::files("create", &data))?,
        }
        // Ordinary users inside containers enter it: Docker's mode, whatever the command's umask.
        std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(Error::files("set the mode of", &data))
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

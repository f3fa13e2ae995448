//! The engine itself: where its data is, and what every use case starts from.

use std::path::{Path, PathBuf};
use tug_store::Store;
use tug_types::ContainerId;

/// Where things are and what the user configured. The binary reads the environment once and passes
/// this in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Everything durable, `/var/lib/tug`.
    pub data_root: PathBuf,
    /// Everything of this boot, `/run/tug`.
    pub exec_root: PathBuf,
    /// The program to start monitors from, `/proc/self/exe`.
    pub exe: PathBuf,
    /// The folder of Docker's `config.json`, `~/.docker`.
    pub docker_config_dir: Option<PathBuf>,
    /// Mirrors of docker.io, as URLs, tried in order.
    pub mirrors: Vec<String>,
    /// The files that say how registries are reached and whom to trust.
    pub registries: RegistryFiles,
    /// `DOCKER_DEFAULT_PLATFORM`.
    pub default_platform: Option<String>,
}

/// Where the settings of registries are. What is not there says nothing.
#[derive(Clone, Debug, Default)]
pub struct RegistryFiles {
    /// `registries.json`, the machine's before the user's.
    pub settings: Vec<PathBuf>,
    /// `policy.json`, which signatures are demanded; each of them must agree.
    pub policies: Vec<PathBuf>,
    /// Directories laid out as `/etc/docker/certs.d`.
    pub certs_dirs: Vec<PathBuf>,
    /// Where log-ins are kept that no helper keeps.
    pub vault: Option<tug_registry::Vault>,
}

/// The use cases over one data root. Cheap to make: nothing is opened before it is needed.
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
}

impl Engine {
    /// An engine over the given places.
    pub fn new(settings: Settings) -> Self {
        let store = Store::new(&settings.data_root);
        Self { settings, store }
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// `build-cache` of the settings files: what builds may keep, as the command line reads sizes.
    ///
    /// # Errors
    /// When a file is there but cannot be read or understood.
    pub fn build_cache_setting(&self) -> Result<Option<String>, crate::Error> {
        let read = tug_registry::Registries::read(&self.settings.registries.settings);
        Ok(read.map_err(|error| crate::Error::from_explain(&error))?.build_cache)
    }

    /// The store below it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn run_dir(&self, id: &ContainerId) -> PathBuf {
        self.settings.exec_root.join("containers").join(id.as_str())
    }

    pub(crate) fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.store.container_dir(id)
    }
}

/// Makes a directory, its parents too, that only root may enter.
pub(crate) fn make_dir(path: &Path) -> Result<(), crate::Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o710)
        .create(path)
        .map_err(crate::Error::files("create", path))
}

/// Removes a tree; one that is not there is removed already. Somebody who waits for the lock in a run
/// directory may put the lock's file back meanwhile: then it is removed once more.
pub(crate) fn remove_tree(path: &Path) -> Result<(), crate::Error> {
    let mut again = 100;
    loop {
        match std::fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // A part that vanished is not the whole.
                if !path.exists() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty && again > 0 => {}
            Err(error) => return Err(crate::Error::files("remove", path)(error)),
        }
        again -= 1;
        if again == 0 {
            let error = std::io::ErrorKind::DirectoryNotEmpty.into();
            return Err(crate::Error::files("remove", path)(error));
        }
    }
}

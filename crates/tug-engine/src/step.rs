//! One command of a build, run as a container that is nobody's: a row of its own so that addresses, locks
//! and recovery work as for any other, but in no list, gone when it ends, and killed with whoever started
//! it. What it wrote is handed over instead of removed.
//!
//! Steps and their undo: as `run`; in the end the upper directory is renamed out, then the container is
//! finished, which removes it. A kill anywhere leaves what reconciliation removes.

use crate::engine::make_dir;
use crate::model::{Config, HostConfig};
use crate::record::{NetworkMode, Record};
use crate::{Engine, Error, lock, stubs};
use std::path::{Path, PathBuf};
use tug_monitor::log::{Begin, Item, Reader, Stream};
use tug_monitor::{Client, ExitRecord};
use tug_runtime::{Mount, MountSource};
use tug_store::NewContainer;
use tug_types::{ContainerId, ContainerPath, DiffId};

/// What a step is to be.
#[derive(Clone, Debug, Default)]
pub struct StepRequest {
    /// Layers it runs on, base first.
    pub layers: Vec<DiffId>,
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`: all there is, but for HOME.
    pub env: Vec<String>,
    /// Working directory, made when missing.
    pub working_dir: String,
    /// `name`, `uid`, `name:group`.
    pub user: String,
    /// Limits, network mode, hosts, privileges.
    pub host: HostConfig,
    /// In the order they are made.
    pub mounts: Vec<StepMount>,
    /// Seen inside.
    pub hostname: String,
}

/// Something a step sees and that is not part of what it writes.
#[derive(Clone, Debug)]
pub struct StepMount {
    /// Where.
    pub destination: ContainerPath,
    /// What.
    pub source: StepSource,
    /// Nothing can be written there.
    pub readonly: bool,
}

/// What a step sees there.
#[derive(Clone, Debug)]
pub enum StepSource {
    /// A file or directory of the host.
    Bind(PathBuf),
    /// A fresh tmpfs, with these mount options.
    Tmpfs(String),
    /// A path in the files of these layers, base first. What is written there is lost afterwards.
    Layers(Vec<DiffId>, ContainerPath),
}

/// A step that runs.
pub struct Step {
    id: ContainerId,
    client: Client,
    reader: Reader,
    upper: PathBuf,
    run_dir: PathBuf,
    /// What the runtime could not do as asked.
    pub warnings: Vec<String>,
}

/// Ends a step from another thread.
#[derive(Clone, Debug)]
pub struct StepKiller {
    run_dir: PathBuf,
}

impl StepKiller {
    /// SIGKILL; one that has ended is left alone.
    pub fn kill(&self) {
        if let Ok(mut client) = Client::connect(&self.run_dir) {
            let _ = client.signal(9);
        }
    }
}

impl Step {
    /// The way to end it from elsewhere.
    pub fn killer(&self) -> StepKiller {
        StepKiller { run_dir: self.run_dir.clone() }
    }

    /// The directory of everything it writes to disk, its output's record included.
    pub fn container(&self) -> PathBuf {
        self.upper.parent().map_or_else(PathBuf::new, Path::to_path_buf)
    }

    /// Hands out what it prints (`true` is stderr) until its end, and how it ended.
    ///
    /// # Errors
    /// When its monitor was killed.
    pub fn follow(&mut self, mut each: impl FnMut(bool, &[u8])) -> Result<ExitRecord, Error> {
        let failed = |error: tug_monitor::Error| Error::from_explain(&error);
        self.client
            .follow(&mut self.reader, |item| {
                if let Some(Item::Chunk(chunk)) = item {
                    each(chunk.stream == Stream::Stderr, chunk.bytes);
                }
                Ok::<(), tug_monitor::Error>(())
            })
            .map_err(failed)?;
        self.client.wait().map_err(failed)
    }
}

/// An image as builds start from it.
#[derive(Clone, Debug)]
pub struct BaseLayers {
    /// The configuration's own bytes.
    pub config: Vec<u8>,
    /// Layers and the sizes of their files, base first.
    pub layers: Vec<(DiffId, u64)>,
}

impl Engine {
    /// The image of a name or an id that is here.
    ///
    /// # Errors
    /// When the store fails, or a prefix is ambiguous.
    pub fn base_image(&self, name: &str) -> Result<Option<BaseLayers>, Error> {
        let Some(row) = self.find_image(name)? else { return Ok(None) };
        let layers = self.store.image_layers(&row.id)?;
        let layers = layers.into_iter().map(|layer| (layer.diff_id, layer.size)).collect();
        Ok(Some(BaseLayers { config: row.config, layers }))
    }

    /// The image of a name that is here and for a platform: the one the name points at, or another one of
    /// the same index.
    ///
    /// # Errors
    /// When the store fails, a prefix is ambiguous, or the platform is none.
    pub fn base_image_on(&self, name: &str, platform: &str) -> Result<Option<BaseLayers>, Error> {
        let Some(row) = self.find_image(name)? else { return Ok(None) };
        let Some(wanted) = self.platform_wanted(Some(platform))? else { return Ok(None) };
        let images = self.images_of(name, row)?;
        let Ok(chosen) = crate::images::best(images, |image| &image.row, &wanted) else {
            return Ok(None);
        };
        let row = chosen.row;
        let layers = self.store.image_layers(&row.id)?;
        let layers = layers.into_iter().map(|layer| (layer.diff_id, layer.size)).collect();
        Ok(Some(BaseLayers { config: row.config, layers }))
    }

    /// Starts a step.
    ///
    /// # Errors
    /// As for `run`.
    pub fn start_step(&self, request: &StepRequest) -> Result<Step, Error> {
        let id = ContainerId::random()
            .map_err(|source| Error::System { what: "draw a random id", source })?;
        let record = record(request);
        if let NetworkMode::Container(_) | NetworkMode::Named(_) = record.network() {
            return Err(Error::BadValue {
                what: "network",
                value: request.host.network_mode.clone(),
                why: "a build runs on default, none or host".to_owned(),
            });
        }
        crate::spec::check(&record)?;
        let lock = lock::take(&self.run_dir(&id), lock::PATIENCE)?
            .ok_or_else(|| Error::Busy { name: id.short().to_owned() })?;
        let json = record.json(&id)?;
        let new = NewContainer {
            id: &id,
            image: &tug_store::STEP_IMAGE,
            layers: &layers_used(request),
            record: &json,
            volumes: &[],
        };
        let name = format!("build-step-{}", id.short());
        self.store.insert_container(&new, Some(&name), String::new)?;
        match self.launch_step(&id, request, &record, lock) {
            Ok(step) => Ok(step),
            Err(error) => {
                // The failure of the start is what the user must read.
                let _ = self.record_failed_start(&id, &error);
                let _ = self.finish(&id);
                Err(error)
            }
        }
    }

    fn launch_step(
        &self,
        id: &ContainerId,
        request: &StepRequest,
        record: &Record,
        lock: std::os::fd::OwnedFd,
    ) -> Result<Step, Error> {
        self.make_files(id, record)?;
        let (mut spec, mut warnings) = self.prepare(id, record)?;
        let container = &mut spec.container;
        container.process.env.clone_from(&request.env);
        for (number, mount) in request.mounts.iter().enumerate() {
            container.mounts.push(self.step_mount(id, number, mount)?);
        }
        // What is mounted on must not become part of what the step writes.
        let stub_dir = self.container_dir(id).join("stubs");
        if let tug_runtime::Rootfs::Overlay { lowers, .. } = &mut container.rootfs {
            // A step sees what the image holds and nothing besides.
            lowers.pop();
            if lowers.is_empty() {
                lowers.push(self.container_dir(id).join("empty"));
            }
            if stubs::make(&stub_dir, lowers, &container.mounts)? {
                lowers.insert(0, stub_dir);
            }
        }
        let starting = tug_monitor::spawn(&self.settings.exe, &spec, lock)
            .map_err(|error| Error::from_explain(&error))?;
        let started = starting.wait_started().map_err(|error| Error::from_explain(&error))?;
        warnings.extend(started.warnings);
        let log = self.container_dir(id).join("log");
        let reader = Reader::open(&log, Begin::Offset(started.state.log_start))
            .map_err(|error| Error::from_explain(&error))?;
        Ok(Step {
            id: id.clone(),
            client: started.owner,
            reader,
            upper: self.container_dir(id).join("upper"),
            run_dir: self.run_dir(id),
            warnings,
        })
    }

    fn step_mount(
        &self,
        id: &ContainerId,
        number: usize,
        mount: &StepMount,
    ) -> Result<Mount, Error> {
        let source = match &mount.source {
            StepSource::Bind(path) => MountSource::Bind { path: path.clone() },
            StepSource::Tmpfs(options) => MountSource::Tmpfs { options: options.clone() },
            StepSource::Layers(layers, path) => {
                let store = self.store.layers();
                let mut lowers = store.trees(layers.iter());
                let dir = self.container_dir(id).join(format!("mount-{number}"));
                make_dir(&dir)?;
                let part = |name: &str| -> Result<PathBuf, Error> {
                    let path = dir.join(name);
                    std::fs::create_dir(&path).map_err(Error::files("create", &path))?;
                    std::fs::set_permissions(
                        &path,
                        std::os::unix::fs::PermissionsExt::from_mode(0o755),
                    )
                    .map_err(Error::files("set the mode of", &path))?;
                    Ok(path)
                };
                if lowers.is_empty() {
                    lowers.push(part("empty")?);
                }
                let upper = match mount.readonly {
                    true => None,
                    false => Some((part("upper")?, part("work")?)),
                };
                let at = self.run_dir(id).join(format!("mount-{number}"));
                MountSource::Layers { lowers, upper, at, path: path.clone() }
            }
        };
        Ok(Mount {
            destination: mount.destination.clone(),
            source,
            readonly: mount.readonly,
            recursive_readonly: mount.readonly,
            propagation: None,
        })
    }

    /// After the end of a step: renames what it wrote to `into`, and removes the rest of it.
    ///
    /// # Errors
    /// When it cannot be renamed or removed.
    pub fn finish_step(&self, mut step: Step, into: &Path) -> Result<(), Error> {
        let claim = step.client.take_claim();
        let moved = std::fs::rename(&step.upper, into).map_err(Error::files("move", &step.upper));
        if let Some(claim) = &claim {
            // The engine takes the lock by itself.
            claim.unlock();
        }
        let finished = self.finish(&step.id);
        if let Some(claim) = claim {
            claim.done();
        }
        moved.and(finished)
    }
}

/// Everything that must not be collected meanwhile.
fn layers_used(request: &StepRequest) -> Vec<DiffId> {
    let mounted = request.mounts.iter().flat_map(|mount| match &mount.source {
        StepSource::Layers(layers, _) => layers.as_slice(),
        _ => &[],
    });
    request.layers.iter().chain(mounted).copied().collect()
}

fn record(request: &StepRequest) -> Record {
    let config = Config {
        hostname: request.hostname.clone(),
        user: request.user.clone(),
        cmd: Some(request.args.clone()),
        // Variables are not written down: there may be secrets among them.
        working_dir: request.working_dir.clone(),
        ..Config::default()
    };
    let mut host = HostConfig { auto_remove: true, ..request.host.clone() };
    if host.shm_size == 0 {
        host.shm_size = 64 << 20;
    }
    let (layers, mounts) = (request.layers.clone(), Vec::new());
    Record { config, host, layers, mounts, anonymous_volumes: Vec::new(), step: true }
}

//! `create`: from an image and a request to a container that could start.
//!
//! Steps and their undo: take the lock (drop it) → row in state `creating` with its new volumes (forget
//! it and those made without a name; named ones stay, as in Docker) → files and volumes' content (remove
//! them) → state `created`. A kill in between leaves a `creating` row with a free lock, which whoever
//! comes next removes.

use crate::engine::{make_dir, remove_tree};
use crate::image_config::ImageConfig;
use crate::model::{CreateRequest, HostConfig};
use crate::mounts::{Source, Wish};
use crate::record::{NetworkMode, Record};
use crate::view::MountPoint;
use crate::{Engine, Error, lock, mounts, names, ports, propagation, volumes};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use tug_store::{ContainerState, ImageRow, NewContainer, NewVolume};
use tug_types::{ContainerId, ContainerPath};

/// A container made.
#[derive(Clone, Debug)]
pub struct Created {
    /// Id.
    pub id: ContainerId,
    /// Name, given or generated.
    pub name: String,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// A container made and still locked by us.
pub(crate) struct Fresh {
    pub created: Created,
    pub record: Record,
    pub lock: OwnedFd,
}

/// A volume that a container is to have.
struct Granted {
    name: String,
    anonymous: bool,
    labels: BTreeMap<String, String>,
    /// The path of the image whose content it gets when it is empty.
    fill_from: Option<ContainerPath>,
}

impl Granted {
    fn as_new(&self) -> NewVolume<'_> {
        NewVolume {
            name: &self.name,
            anonymous: self.anonymous,
            labels: self.labels.clone(),
            ..NewVolume::default()
        }
    }
}

/// An id for a container to be.
pub(crate) fn random_id() -> Result<ContainerId, Error> {
    ContainerId::random().map_err(|source| Error::System { what: "draw a random id", source })
}

const DEFAULT_SHM_SIZE: i64 = 64 << 20;

impl Engine {
    /// Makes a container without starting it.
    ///
    /// # Errors
    /// When the image is not here, the request makes no sense, or a name is taken.
    pub fn create(&self, request: &CreateRequest) -> Result<Created, Error> {
        let fresh = self.create_locked(request, random_id()?)?;
        self.store.set_container_state(
            &fresh.created.id,
            &[ContainerState::Creating],
            ContainerState::Created,
        )?;
        Ok(fresh.created)
    }

    /// Makes a container and leaves it in state `creating` under its lock.
    pub(crate) fn create_locked(
        &self,
        request: &CreateRequest,
        id: ContainerId,
    ) -> Result<Fresh, Error> {
        if let Some(name) = &request.name {
            check_container_name(name)?;
        }
        let image = self.image_on(&request.config.image, request.platform.as_deref())?;
        let image_config = parse_image_config(&image)?;
        let mut warnings = platform_warnings(&image_config, request);
        let mut record = merge(request, &image_config, &id)?;
        self.resolve_network(&mut record, request)?;
        validate(&record, &mut warnings)?;
        let from = self.mounts_of_others(&record.host)?;
        let wishes = mounts::wishes(&record.config, &record.host, &from)?;

        let lock = lock::take(&self.run_dir(&id), lock::PATIENCE)?
            .ok_or_else(|| Error::Busy { name: id.short().to_owned() })?;
        match self.record_and_fill(request, &image, record, &id, wishes) {
            Ok((name, record)) => {
                Ok(Fresh { created: Created { id, name, warnings }, record, lock })
            }
            Err(error) => {
                // Best effort: what cannot be removed now has a `creating` row to be found by.
                let row =
                    self.store.find_containers(id.as_str()).ok().and_then(|mut rows| rows.pop());
                let _ = match row {
                    Some(row) => self.remove_locked(&row, true),
                    None => remove_tree(&self.run_dir(&id)),
                };
                Err(error)
            }
        }
    }

    fn record_and_fill(
        &self,
        request: &CreateRequest,
        image: &ImageRow,
        mut record: Record,
        id: &ContainerId,
        wishes: Vec<Wish>,
    ) -> Result<(String, Record), Error> {
        let mut granted = Vec::new();
        for wish in wishes {
            granted.extend(self.grant(wish, &mut record)?);
        }
        let json = record.json(id)?;
        let volumes: Vec<NewVolume<'_>> = granted.iter().map(Granted::as_new).collect();
        let new = NewContainer {
            id,
            image: &image.id,
            layers: &record.layers,
            record: &json,
            volumes: &volumes,
        };
        let seed = u64::from_str_radix(&id.as_str()[..16], 16).unwrap_or(0);
        let name =
            self.store.insert_container(&new, request.name.as_deref(), names::generator(seed))?;
        self.make_files(id, &record)?;
        for volume in &granted {
            self.make_volume_dir(&volume.name)?;
            if let Some(destination) = &volume.fill_from {
                self.populate_volume(&volume.name, &record.layers, destination)?;
            }
        }
        Ok((name, record))
    }

    /// Makes one wish come true, noted as a mount point; a volume is still to be made.
    fn grant(&self, wish: Wish, record: &mut Record) -> Result<Option<Granted>, Error> {
        let mut mount = MountPoint {
            kind: String::new(),
            name: None,
            source: String::new(),
            destination: wish.destination.to_string(),
            driver: None,
            mode: wish.mode,
            rw: !wish.readonly,
            propagation: wish.propagation,
        };
        let mut granted = None;
        match wish.source {
            Source::Bind { path, create } => {
                if !path.exists() {
                    if !create {
                        return Err(Error::NoBindSource { path });
                    }
                    std::fs::create_dir_all(&path).map_err(Error::files("create", &path))?;
                }
                propagation::check(&path, &mount.propagation)?;
                "bind".clone_into(&mut mount.kind);
                mount.source = path.display().to_string();
                if mount.propagation.is_empty() {
                    "rprivate".clone_into(&mut mount.propagation);
                }
            }
            Source::Tmpfs { options } => {
                "tmpfs".clone_into(&mut mount.kind);
                mount.mode = options;
            }
            Source::Volume { name, copy, labels } => {
                if mount.mode.is_empty() {
                    "z".clone_into(&mut mount.mode);
                }
                let fill_from = copy.then_some(wish.destination);
                granted = Some(Granted { name, anonymous: false, labels, fill_from });
            }
            Source::Anonymous { copy } => {
                let name = volumes::random_name()?;
                record.anonymous_volumes.push(name.clone());
                let labels = [("com.docker.volume.anonymous".to_owned(), String::new())].into();
                let fill_from = copy.then_some(wish.destination);
                granted = Some(Granted { name, anonymous: true, labels, fill_from });
            }
        }
        if let Some(volume) = &granted {
            "volume".clone_into(&mut mount.kind);
            mount.source = self.store.volume_data(&volume.name).display().to_string();
            mount.driver = Some("local".to_owned());
            mount.name = Some(volume.name.clone());
        }
        record.mounts.push(mount);
        Ok(granted)
    }

    /// The directories of the container; those that change from start to start are written then.
    pub(crate) fn make_files(&self, id: &ContainerId, record: &Record) -> Result<(), Error> {
        let dir = self.container_dir(id);
        if let Err(error) = std::fs::create_dir(&dir) {
            match error.kind() {
                std::io::ErrorKind::NotFound => make_dir(&dir)?,
                _ => return Err(Error::files("create", &dir)(error)),
            }
        }
        let mut parts = vec!["upper", "work", "log"];
        if record.layers.is_empty() {
            parts.push("empty");
        }
        for part in parts {
            let path = dir.join(part);
            std::fs::create_dir(&path).map_err(Error::files("create", &path))?;
        }
        // The root directory of the container is the upper layer's: its mode is what is seen inside.
        let upper = dir.join("upper");
        std::fs::set_permissions(&upper, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(Error::files("set the mode of", &upper))
    }

    /// `container:NAME` becomes `container:ID`, so that a later rename does not matter; who shares a
    /// network shares the host name too, unless it was given one.
    fn resolve_network(&self, record: &mut Record, request: &CreateRequest) -> Result<(), Error> {
        let named = !request.config.hostname.is_empty();
        let mode = match record.network() {
            NetworkMode::Bridge => "bridge".to_owned(),
            NetworkMode::Container(name) => {
                let other = self.container_as_recorded(name)?;
                if !named {
                    record.config.hostname = Record::read(&other)?.config.hostname;
                }
                format!("container:{}", other.id)
            }
            NetworkMode::Named(name) => {
                return Err(Error::BadValue {
                    what: "network",
                    value: name.to_owned(),
                    why: "network not found; there are bridge, host, none and container:NAME"
                        .to_owned(),
                });
            }
            NetworkMode::Host => {
                if !named {
                    let uname = rustix::system::uname();
                    record.config.hostname = uname.nodename().to_string_lossy().into_owned();
                }
                return Ok(());
            }
            NetworkMode::None => return Ok(()),
        };
        record.host.network_mode = mode;
        Ok(())
    }

    fn mounts_of_others(&self, host: &HostConfig) -> Result<Vec<(MountPoint, bool)>, Error> {
        let mut all = Vec::new();
        for text in host.volumes_from.iter().flatten() {
            let (name, mode) = text.split_once(':').unwrap_or((text, "rw"));
            let row = self.container_as_recorded(name)?;
            for mount in Record::read(&row)?.mounts {
                if mount.kind != "tmpfs" {
                    all.push((mount, mode == "ro"));
                }
            }
        }
        Ok(all)
    }
}

pub(crate) fn check_container_name(name: &str) -> Result<(), Error> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let word = |b: u8| b.is_ascii_alphanumeric();
    let mut bytes = bare.bytes();
    let good = bytes.next().is_some_and(word)
        && bare.len() >= 2
        && bytes.all(|b| word(b) || matches!(b, b'_' | b'.' | b'-'));
    if good { Ok(()) } else { Err(Error::BadName { name: name.to_owned() }) }
}

pub(crate) fn parse_image_config(image: &ImageRow) -> Result<ImageConfig, Error> {
    serde_json::from_slice(&image.config).map_err(|error| Error::DamagedImage {
        image: image.tags.first().map_or_else(|| image.id.short(), |tag| tag.familiar()),
        what: format!("its configuration cannot be read: {error}"),
    })
}

/// Docker's warning for an image of another architecture; it may still run through binfmt_misc.
fn platform_warnings(image: &ImageConfig, request: &CreateRequest) -> Vec<String> {
    let host = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    if request.platform.is_some() || image.architecture.is_empty() || image.architecture == host {
        return Vec::new();
    }
    vec![format!(
        "The requested image's platform ({}/{}) does not match the detected host platform (linux/{host}) and no specific platform was requested",
        image.os, image.architecture
    )]
}

/// The request over the image, by Docker's rules.
fn merge(request: &CreateRequest, image: &ImageConfig, id: &ContainerId) -> Result<Record, Error> {
    let base = image.config.clone().unwrap_or_default();
    let mut config = request.config.clone();
    let mut host = request.host.clone();
    config.env = merge_env(base.env.unwrap_or_default(), &config.env);
    if config.entrypoint.is_none() {
        if config.cmd.is_none() {
            config.cmd = base.cmd;
        }
        config.entrypoint = base.entrypoint;
    } else if config.entrypoint.as_ref().is_some_and(|words| words.iter().all(String::is_empty)) {
        config.entrypoint = None;
    }
    take_if_empty(&mut config.user, base.user);
    take_if_empty(&mut config.working_dir, base.working_dir);
    if config.hostname.is_empty() && host.uts_mode != "host" {
        id.short().clone_into(&mut config.hostname);
    }
    for (port, value) in base.exposed_ports.into_iter().flatten() {
        config.exposed_ports.entry(port).or_insert(value);
    }
    for port in host.port_bindings.keys() {
        config.exposed_ports.entry(port.clone()).or_default();
    }
    if let Some(volumes) = base.volumes {
        config.volumes.get_or_insert_default().extend(volumes);
    }
    for (label, value) in base.labels.into_iter().flatten() {
        config.labels.entry(label).or_insert(value);
    }
    config.stop_signal = config.stop_signal.or(base.stop_signal);
    config.stop_timeout = config.stop_timeout.or(base.stop_timeout);
    config.healthcheck = config.healthcheck.or(base.healthcheck);
    config.shell = base.shell;
    fill_host_defaults(&mut host);
    let record = Record {
        layers: image.rootfs.diff_ids.clone(),
        config,
        host,
        mounts: Vec::new(),
        anonymous_volumes: Vec::new(),
        step: false,
    };
    if record.command().is_empty() {
        return Err(Error::NoCommand { image: request.config.image.clone() });
    }
    Ok(record)
}

fn take_if_empty(own: &mut String, base: String) {
    if own.is_empty() {
        *own = base;
    }
}

/// The user's variables, then those of the image that they do not name, as Docker orders them. Of a
/// name given twice the last counts; a bare `NAME` that got no value from the command line removes the
/// image's.
fn merge_env(base: Vec<String>, own: &[String]) -> Vec<String> {
    fn name(variable: &str) -> &str {
        variable.split('=').next().unwrap_or(variable)
    }
    let mut merged: Vec<String> = Vec::with_capacity(base.len() + own.len());
    for variable in own {
        match merged.iter().position(|other| name(other) == name(variable)) {
            Some(at) => merged[at].clone_from(variable),
            None => merged.push(variable.clone()),
        }
    }
    let rest = base.into_iter().filter(|other| own.iter().all(|own| name(own) != name(other)));
    let rest: Vec<String> = rest.collect();
    merged.retain(|variable| variable.contains('='));
    merged.extend(rest);
    merged
}

fn fill_host_defaults(host: &mut HostConfig) {
    if host.shm_size == 0 {
        host.shm_size = DEFAULT_SHM_SIZE;
    }
    for (mode, default) in [(&mut host.ipc_mode, "private"), (&mut host.cgroupns_mode, "private")] {
        if mode.is_empty() {
            default.clone_into(mode);
        }
    }
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    if host.runtime.is_empty() {
        "tug".clone_into(&mut host.runtime);
    }
    if host.log_config.driver.is_empty() {
        "local".clone_into(&mut host.log_config.driver);
    }
    if host.restart_policy.name.is_empty() {
        "no".clone_into(&mut host.restart_policy.name);
    }
    if host.privileged {
        host.masked_paths = Some(Vec::new());
        host.readonly_paths = Some(Vec::new());
    }
}

/// What can be said to be wrong before anything is made.
fn validate(record: &Record, warnings: &mut Vec<String>) -> Result<(), Error> {
    let host = &record.host;
    let bad =
        |what, value: String, why: &str| Err(Error::BadValue { what, value, why: why.to_owned() });
    if host.restart_policy.name != "no" {
        return Err(Error::Unsupported { flag: "--restart".to_owned(), hint: None });
    }
    if !matches!(host.log_config.driver.as_str(), "local" | "json-file") {
        return Err(Error::Unsupported {
            flag: format!("log driver {:?}", host.log_config.driver),
            hint: Some("leave it out: tug keeps every container's output itself".to_owned()),
        });
    }
    if host.memory != 0 && host.memory < 6 << 20 {
        return bad("memory limit", host.memory.to_string(), "Minimum memory limit allowed is 6MB");
    }
    if host.memory_swap > 0 && host.memory == 0 {
        return bad(
            "memory-swap",
            host.memory_swap.to_string(),
            "You should always set the Memory limit when using Memoryswap limit",
        );
    }
    if host.memory_swap > 0 && host.memory_swap < host.memory {
        return bad(
            "memory-swap",
            host.memory_swap.to_string(),
            "Minimum memoryswap limit should be larger than memory limit",
        );
    }
    if host.nano_cpus > 0 && (host.cpu_quota != 0 || host.cpu_period != 0) {
        return bad(
            "cpus",
            host.nano_cpus.to_string(),
            "Nano CPUs and CPU Period or Quota cannot both be set",
        );
    }
    // Counting the cores reads cgroup files: only for those who ask.
    let cores = match host.nano_cpus {
        0 => 0,
        _ => std::thread::available_parallelism().map_or(1, |cores| cores.get()) as i64,
    };
    if host.nano_cpus > cores * 1_000_000_000 {
        let why = format!(
            "range of CPUs is from 0.01 to {cores}.00, as there are only {cores} CPUs available"
        );
        return bad("cpus", format!("{:.2}", host.nano_cpus as f64 / 1e9), &why);
    }
    let listening = ports::requests(&record.config, host)?;
    if !listening.is_empty() && record.network() != NetworkMode::Bridge {
        match record.network() {
            NetworkMode::Container(_) => {
                return bad(
                    "port publishing",
                    host.network_mode.clone(),
                    "conflicting options: port publishing and the container type network mode",
                );
            }
            _ => warnings.push(format!(
                "Published ports are discarded when using {} network mode",
                host.network_mode
            )),
        }
    }
    crate::spec::check(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_config::{ImageRootFs, ImageRunConfig};
    use crate::model::Config;

    fn image() -> ImageConfig {
        ImageConfig {
            architecture: "amd64".to_owned(),
            config: Some(ImageRunConfig {
                env: Some(vec!["PATH=/bin".to_owned(), "A=1".to_owned()]),
                entrypoint: Some(vec!["echo".to_owned()]),
                cmd: Some(vec!["hello".to_owned()]),
                working_dir: "/app".to_owned(),
                labels: Some([("x".to_owned(), "image".to_owned())].into()),
                ..ImageRunConfig::default()
            }),
            rootfs: ImageRootFs::default(),
            ..ImageConfig::default()
        }
    }

    fn merged(config: Config) -> Record {
        let request = CreateRequest { config, ..CreateRequest::default() };
        merge(&request, &image(), &ContainerId::random().unwrap()).unwrap()
    }

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn command_and_entrypoint_follow_dockers_rules() {
        assert_eq!(merged(Config::default()).command(), ["echo", "hello"]);
        let cmd = Config { cmd: words("bye now"), ..Config::default() };
        assert_eq!(merged(cmd).command(), ["echo", "bye", "now"]);
        let entrypoint = Config { entrypoint: words("cat"), ..Config::default() };
        assert_eq!(merged(entrypoint).command(), ["cat"], "the image's command goes too");
        let reset =
            Config { entrypoint: Some(vec![String::new()]), cmd: words("ls"), ..Config::default() };
        assert_eq!(merged(reset).command(), ["ls"]);
    }

    #[test]
    fn variables_are_replaced_added_and_removed() {
        let own = ["B=1", "A=2", "B=3", "PATH"].map(str::to_owned);
        let base = ["PATH=/bin", "C=4", "A=1"].map(str::to_owned);
        assert_eq!(merge_env(base.into(), &own), ["B=3", "A=2", "C=4"]);
    }

    #[test]
    fn no_command_at_all_is_refused() {
        let request = CreateRequest {
            config: Config { entrypoint: Some(vec![String::new()]), ..Config::default() },
            ..CreateRequest::default()
        };
        let result = merge(&request, &image(), &ContainerId::random().unwrap());
        assert!(matches!(result, Err(Error::NoCommand { .. })));
    }

    #[test]
    fn names_follow_dockers_grammar() {
        for good in ["ab", "a.b-c_d", "A1"] {
            assert!(check_container_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "-a", "a b", "a/b", "ä1"] {
            assert!(check_container_name(bad).is_err(), "{bad}");
        }
    }
}

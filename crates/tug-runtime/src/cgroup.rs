//! Control groups of a container: v1, v2 and the hybrid of both.
//!
//! A container has the group `<parent>/<id>` in every hierarchy the host has. [`hierarchies`] says which
//! those are, [`plan`] which limits are written where (pure), this file makes, fills and removes them.
//! Everything by id is idempotent, so that whoever reconciles after a kill may do it twice.

mod devices;
mod freeze;
mod hierarchies;
mod plan;

pub(crate) use devices::{Rule, parse_access};
pub use freeze::{Frozen, freeze};
pub use hierarchies::{Controller, Hierarchies, Hierarchy};
pub(crate) use plan::{Plan, plan};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tug_types::{ContainerId, Explain, Kind};

/// What failed with a control group.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the names the message shows")]
pub enum CgroupError {
    #[error("read the cgroup hierarchies from {path}")]
    Hierarchies { path: &'static str, source: io::Error },
    #[error("this host has no cgroup hierarchy mounted")]
    NoHierarchy,
    #[error("{flag} needs the cgroup controller {controller}, which this host does not offer")]
    NoController { flag: &'static str, controller: &'static str },
    #[error("{flag} needs {file}, which this kernel does not offer")]
    NoFile { flag: &'static str, file: &'static str },
    #[error("create cgroup {path}")]
    Create { path: PathBuf, source: io::Error },
    #[error("set {flag}: write {value:?} to {path}")]
    Limit { flag: &'static str, value: String, path: PathBuf, source: io::Error },
    #[error("move the process into cgroup {path}")]
    Join { path: PathBuf, source: io::Error },
    #[error("read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("limit the devices of cgroup {path}")]
    Devices { path: PathBuf, source: io::Error },
    #[error("bad device rule {rule:?}: expected TYPE MAJOR:MINOR ACCESS, such as \"c 1:3 rwm\"")]
    DeviceRule { rule: String },
    #[error("processes of cgroup {path} do not end")]
    Alive { path: PathBuf },
    #[error("remove cgroup {path}")]
    Remove { path: PathBuf, source: io::Error },
}

impl Explain for CgroupError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoController { .. } | Self::NoFile { .. } | Self::NoHierarchy => {
                Kind::Unavailable
            }
            Self::DeviceRule { .. } => Kind::Invalid,
            Self::Limit { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
                Kind::Invalid
            }
            _ => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoController { flag, .. } | Self::NoFile { flag, .. } => {
                Some(format!("leave {flag} out, or use a kernel with that controller"))
            }
            Self::NoHierarchy => {
                Some("mount one: `mount -t cgroup2 none /sys/fs/cgroup`".to_owned())
            }
            _ => None,
        }
    }
}

type Result<T> = std::result::Result<T, CgroupError>;

/// Docker's default device rules.
pub(crate) fn default_rules() -> Vec<Rule> {
    devices::DEFAULT.to_vec()
}

/// The groups of one container, made in two steps: the v2 one before its process, which is cloned into
/// it; those of v1 while the process already sets up its root, since making ten of them takes a while.
pub(crate) struct Cgroup {
    hierarchies: &'static Hierarchies,
    directories: Vec<PathBuf>,
    /// The v2 group, to clone into.
    pub(crate) into: Option<OwnedFd>,
}

impl Cgroup {
    /// Makes the v2 group, if there is such a hierarchy. On an error nothing remains.
    pub(crate) fn begin(id: &ContainerId, parent: &str) -> Result<Self> {
        let hierarchies = Hierarchies::of_host()?;
        let group = |hierarchy: &Hierarchy| hierarchy.group(parent, id);
        let directories: Vec<PathBuf> = hierarchies.all().iter().map(group).collect();
        let v2 =
            hierarchies.all().iter().zip(&directories).find(|(hierarchy, _)| hierarchy.is_v2());
        let into = v2.map(|(hierarchy, directory)| {
            make_directory(hierarchy, directory, parent)?;
            open_group(directory)
        });
        let into = into.transpose().inspect_err(|_| {
            // The error that matters is the first; what is left here is found by id.
            let _ = remove(id, parent);
        })?;
        Ok(Self { hierarchies, directories, into })
    }

    /// Makes the other groups and writes the plan. Returns what could not be limited and was not asked
    /// for by name.
    pub(crate) fn complete(&self, parent: &str, plan: &Plan) -> Result<Vec<String>> {
        for (hierarchy, directory) in self.pairs().filter(|(hierarchy, _)| !hierarchy.is_v2()) {
            make_directory(hierarchy, directory, parent)?;
        }
        let mut warnings = Vec::new();
        for (hierarchy, directory) in self.pairs() {
            plan.apply(hierarchy, directory, &mut warnings)?;
        }
        Ok(warnings)
    }

    /// Moves another process into every v1 group: one in a user namespace may not do it itself.
    pub(crate) fn add(&self, pid: i32) -> Result<()> {
        for (_, directory) in self.pairs().filter(|(hierarchy, _)| !hierarchy.is_v2()) {
            write(&directory.join("cgroup.procs"), &pid.to_string()).map_err(joining(directory))?;
        }
        Ok(())
    }

    fn pairs(&self) -> impl Iterator<Item = (&Hierarchy, &PathBuf)> {
        self.hierarchies.all().iter().zip(&self.directories)
    }
}

/// The v2 group of a container that exists, to clone another process into.
pub(crate) fn into(id: &ContainerId, parent: &str) -> Result<Option<OwnedFd>> {
    let v2 = Hierarchies::of_host()?.all().iter().find(|hierarchy| hierarchy.is_v2());
    v2.map(|hierarchy| open_group(&hierarchy.group(parent, id))).transpose()
}

fn open_group(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| CgroupError::Read { path: path.to_owned(), source: error.into() })
}

/// Moves this process, which has one thread, into the v1 groups of a container. Writing 0 to `tasks` is
/// the one move that does not lock out every fork of the machine and wait for a grace period of RCU to
/// do so (`cgroup_attach_lock` of the kernel): with ten hierarchies and a busy machine the same
/// through `cgroup.procs` was seen to take 10 milliseconds instead of 0.1.
pub(crate) fn enter(id: &ContainerId, parent: &str) -> Result<()> {
    let hierarchies = Hierarchies::of_host()?.all();
    for hierarchy in hierarchies.iter().filter(|hierarchy| !hierarchy.is_v2()) {
        let directory = hierarchy.group(parent, id);
        write(&directory.join("tasks"), "0").map_err(joining(&directory))?;
    }
    Ok(())
}

fn joining(directory: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    move |source| CgroupError::Join { path: directory.to_owned(), source }
}

/// The directory's parent may be missing, or vanish in between: the last container of another root
/// takes it along.
fn make_directory(hierarchy: &Hierarchy, directory: &Path, parent: &str) -> Result<()> {
    let failed =
        |source: Errno| CgroupError::Create { path: directory.to_owned(), source: source.into() };
    for _ in 0..100 {
        match rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                if hierarchy.has(Controller::Cpuset) && !hierarchy.is_v2() {
                    inherit_cpuset(directory).map_err(|source| CgroupError::Create {
                        path: directory.to_owned(),
                        source,
                    })?;
                }
                return Ok(());
            }
            Err(Errno::NOENT) => make_parent(hierarchy, parent)?,
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(Errno::NOENT))
}

fn make_parent(hierarchy: &Hierarchy, parent: &str) -> Result<()> {
    let mut path = hierarchy.mount_point().to_owned();
    for part in parent.split('/').filter(|part| !part.is_empty()) {
        if hierarchy.is_v2() {
            hierarchy.delegate(&path);
        }
        path.push(part);
        let made = match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755)) {
            Err(error) if error != Errno::EXIST => Err(error.into()),
            _ if hierarchy.has(Controller::Cpuset) && !hierarchy.is_v2() => {
                inherit_cpuset(&path).and_then(|()| write(&path.join("cgroup.clone_children"), "1"))
            }
            _ => Ok(()),
        };
        match made {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|source| CgroupError::Create { path: path.clone(), source })?,
        }
    }
    if hierarchy.is_v2() {
        hierarchy.delegate(&path);
    }
    Ok(())
}

/// A v1 cpuset starts empty and takes no process until it has CPUs and memory nodes. Its parent may
/// have been made by somebody else this very moment and be empty still.
fn inherit_cpuset(directory: &Path) -> io::Result<()> {
    let Some(parent) = directory.parent() else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = directory.join(file);
        if !std::fs::read_to_string(&own)?.trim().is_empty() {
            continue;
        }
        let mut value = std::fs::read_to_string(parent.join(file))?;
        if value.trim().is_empty() {
            inherit_cpuset(parent)?;
            value = std::fs::read_to_string(parent.join(file))?;
        }
        write(&own, value.trim())?;
    }
    Ok(())
}

pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes())?;
    Ok(())
}

/// The container's groups, for those who look from outside.
fn existing(id: &ContainerId, parent: &str) -> Result<Vec<PathBuf>> {
    let all = Hierarchies::of_host()?.all().iter().map(|hierarchy| hierarchy.group(parent, id));
    Ok(all.collect())
}

/// Process ids in a container's groups, its children's included; none when there are no groups.
///
/// # Errors
/// When a group cannot be read.
pub fn pids(id: &ContainerId, parent: &str) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    if let Some(directory) = existing(id, parent)?.into_iter().next() {
        collect_pids(&directory, &mut pids)?;
    }
    Ok(pids)
}

fn collect_pids(directory: &Path, pids: &mut Vec<i32>) -> Result<()> {
    let path = directory.join("cgroup.procs");
    match std::fs::read_to_string(&path) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
            return Ok(());
        }
        Err(source) => return Err(CgroupError::Read { path, source }),
    }
    for child in children(directory) {
        collect_pids(&child, pids)?;
    }
    Ok(())
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Ends every process in a container's groups and waits until none is left.
///
/// # Errors
/// [`CgroupError::Alive`] when some do not go within ten seconds (an uninterruptible wait).
pub fn kill_all(id: &ContainerId, parent: &str) -> Result<()> {
    let directories = existing(id, parent)?;
    for attempt in 0..1000u32 {
        // All hierarchies: a container that was allowed to may have moved a process in one of them.
        let mut left = Vec::new();
        for directory in &directories {
            collect_pids(directory, &mut left)?;
        }
        left.sort_unstable();
        left.dedup();
        if left.is_empty() {
            return Ok(());
        }
        let by_kernel =
            directories.iter().any(|directory| write(&directory.join("cgroup.kill"), "1").is_ok());
        let own = rustix::process::getpid().as_raw_nonzero().get();
        for pid in left.into_iter().filter(|pid| !by_kernel && *pid > 1 && *pid != own) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                // ESRCH: it went by itself.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        std::thread::sleep(Duration::from_micros(if attempt < 20 { 200 } else { 10_000 }));
    }
    Err(CgroupError::Alive { path: directories.into_iter().next().unwrap_or_default() })
}

/// Removes a container's groups, those it made inside them too. None there is fine.
///
/// # Errors
/// The first group that could not be removed; the others were tried.
pub fn remove(id: &ContainerId, parent: &str) -> Result<()> {
    let mut first = Ok(());
    for directory in existing(id, parent)? {
        let removed = remove_directory(&directory);
        if first.is_ok() {
            first = removed.map_err(|source| CgroupError::Remove { path: directory, source });
        }
    }
    first
}

/// A process that just ended may keep its group busy for a moment.
fn remove_directory(directory: &Path) -> io::Result<()> {
    let mut pause = Duration::from_micros(50);
    loop {
        match rustix::fs::rmdir(directory) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if pause < Duration::from_secs(2) => {
                for child in children(directory) {
                    remove_directory(&child)?;
                }
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes the group above all containers where it is empty.
///
/// # Errors
/// When it cannot be removed for another reason than being used.
pub fn remove_parent(parent: &str) -> Result<()> {
    for hierarchy in Hierarchies::of_host()?.all() {
        let path = hierarchy.mount_point().join(parent);
        match rustix::fs::rmdir(&path) {
            Ok(()) | Err(Errno::NOENT | Errno::BUSY | Errno::NOTEMPTY) => {}
            Err(error) => return Err(CgroupError::Remove { path, source: error.into() }),
        }
    }
    Ok(())
}

/// Whether the kernel ended a process of the container for memory. False when it cannot be told.
pub fn oom_killed(id: &ContainerId, parent: &str) -> bool {
    let Ok(hierarchies) = Hierarchies::of_host() else { return false };
    let Some(memory) = hierarchies.with(Controller::Memory) else { return false };
    let directory = memory.group(parent, id);
    let file = if memory.is_v2() { "memory.events" } else { "memory.oom_control" };
    let text = std::fs::read_to_string(directory.join(file)).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse::<u64>().ok()).is_some_and(|count| count > 0)
}

//! What a `RUN` sees and does not write: `--mount`, and scripts of the Dockerfile's own.
//!
//! ```text
//! <data-root>/build/mounts/<hash of the id>/   id     what the Dockerfile calls it
//!                                              lock   flock(2)ed by its users
//!                                              data/  what is mounted
//!                                              written  there while used: what killed users wrote is in no record
//! <exec-root>/builds/<random>/                 secrets and scripts of one step, on the tmpfs of the run
//! ```

use super::files::{FILE, as_text};
use super::{Worker, chain};
use crate::error::BuildError;
use crate::files::copy::{Manner, Writer};
use crate::files::target::Target;
use crate::files::tree::Entry;
use crate::ignore::Rules;
use crate::ops::{CacheSharing, Exec, ExecMount, ExecMountKind, Output, layers};
use rustix::fs::{FlockOperation, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, Uid};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tug_engine::{StepMount, StepSource};
use tug_solver::{Input, Inputs};
use tug_types::{ContainerPath, DiffId};

/// Mounts of one step, and what has to live as long as it.
pub(super) struct Prepared {
    pub mounts: Vec<StepMount>,
    /// The files of contexts are the ones the step's key was made of.
    pub sure: bool,
    /// Variables: secrets, and where the ssh agent is.
    pub env: Vec<(String, String)>,
    /// The data of caches, and how many bytes are recorded for them.
    pub caches: Vec<(PathBuf, u64)>,
    /// Locks of caches.
    _locks: Vec<OwnedFd>,
    /// Secrets and scripts; gone with it.
    _dir: Option<tempfile::TempDir>,
}

impl Prepared {
    /// After the command: records how big the caches are now. Those for which there is no room are gone then;
    /// their names.
    pub(super) fn release(self, worker: &Worker<'_>) -> Result<Vec<String>, BuildError> {
        let caches = self.caches.clone();
        // With the locks: only who is alone with a cache knows its size.
        drop(self);
        let mut gone = Vec::new();
        for dir in caches.iter().filter_map(|(data, _)| data.parent()) {
            let id = std::fs::read_to_string(dir.join("id")).unwrap_or_default();
            if !worker.settle_mount(dir)? {
                gone.push(id);
            }
        }
        Ok(gone)
    }
}

/// Makes everything the mounts of a command need.
pub(super) fn prepare(
    worker: &Worker<'_>,
    exec: &Exec,
    results: &[Output],
    inputs: Option<&Inputs>,
) -> Result<Prepared, BuildError> {
    let mut prepared = Prepared {
        mounts: Vec::new(),
        sure: true,
        env: Vec::new(),
        caches: Vec::new(),
        _locks: Vec::new(),
        _dir: None,
    };
    for mount in &exec.mounts {
        add(worker, &mut prepared, mount, results, inputs)?;
    }
    if let Some((name, content)) = &exec.script {
        let dir = private_dir(worker, &mut prepared)?.join("pipes");
        std::fs::create_dir(&dir).map_err(BuildError::files("create", &dir))?;
        write_private(&dir.join(name), content.as_bytes(), (0, 0), 0o755)?;
        let source = StepSource::Bind(dir);
        prepared.mounts.push(step_mount("/dev/pipes", source, true)?);
    }
    Ok(prepared)
}

fn add(
    worker: &Worker<'_>,
    prepared: &mut Prepared,
    mount: &ExecMount,
    results: &[Output],
    inputs: Option<&Inputs>,
) -> Result<(), BuildError> {
    let source = match &mount.kind {
        ExecMountKind::Bind { from, source } => {
            let (bound, taken) = worker.bind(results.get(*from), source)?;
            if let (Some(taken), Some(inputs)) = (taken, inputs) {
                prepared.sure &= files_of(mount, inputs) == taken.parts();
            }
            bound
        }
        ExecMountKind::Tmpfs { size } => {
            let size = size.map(|size| format!(",size={size}")).unwrap_or_default();
            StepSource::Tmpfs(format!("exec,suid,dev,mode=1777{size}"))
        }
        ExecMountKind::Cache { .. } => cache(worker, prepared, mount, results)?,
        ExecMountKind::Secret { .. } => return secret(worker, prepared, mount),
        ExecMountKind::Ssh { id, required } => {
            let Some(agent) = worker.request.ssh.agents.get(id) else {
                return if *required { Err(BuildError::NoSsh { id: id.clone() }) } else { Ok(()) };
            };
            prepared.env.push(("SSH_AUTH_SOCK".to_owned(), mount.target.clone()));
            StepSource::Bind(agent.socket().to_owned())
        }
    };
    prepared.mounts.push(step_mount(&mount.target, source, mount.readonly)?);
    Ok(())
}

/// The files that the inputs of a command name for one of its mounts.
fn files_of<'i>(mount: &ExecMount, inputs: &'i Inputs) -> &'i [Input] {
    let name = format!("mount {}", mount.target);
    let parts = inputs.parts();
    let begin = parts.iter().position(|part| part.name == name).map_or(parts.len(), |at| at + 1);
    let files = &parts[begin..];
    let end = files.iter().position(|part| !part.name.starts_with(FILE));
    &files[..end.unwrap_or(files.len())]
}

fn step_mount(target: &str, source: StepSource, readonly: bool) -> Result<StepMount, BuildError> {
    let destination = ContainerPath::parse(target)
        .map_err(|_| BuildError::MountTarget { target: target.to_owned() })?;
    Ok(StepMount { destination, source, readonly })
}

/// A directory of the step's own below the exec root.
fn private_dir(worker: &Worker<'_>, prepared: &mut Prepared) -> Result<PathBuf, BuildError> {
    if let Some(dir) = &prepared._dir {
        return Ok(dir.path().to_owned());
    }
    let parent = worker.settings.exec_root.join("builds");
    std::fs::create_dir_all(&parent).map_err(BuildError::files("create", &parent))?;
    let dir = tempfile::Builder::new()
        .tempdir_in(&parent)
        .map_err(BuildError::files("create a directory in", &parent))?;
    let path = dir.path().to_owned();
    // What a killed build leaves has a free lock, and goes with the next build.
    let claim = crate::files::rooted::open_root(&path)
        .and_then(|fd| {
            rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).map(|()| fd)
        })
        .map_err(|errno| BuildError::files("lock", &path)(errno.into()))?;
    prepared._locks.push(claim);
    prepared._dir = Some(dir);
    Ok(path)
}

/// Removes what killed builds left of secrets and scripts.
pub(crate) fn sweep(exec_root: &Path) {
    let dirs = std::fs::read_dir(exec_root.join("builds"));
    for dir in dirs.into_iter().flatten().flatten().map(|entry| entry.path()) {
        // Made this moment and not locked yet: its owner is about to.
        let young = dir
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() < 2));
        let Ok(fd) = crate::files::rooted::open_root(&dir) else { continue };
        let free = rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok();
        if free && !young {
            // The next build tries again.
            let _ = tug_archive::remove_tree(&dir);
        }
    }
}

fn write_private(
    path: &Path,
    bytes: &[u8],
    (uid, gid): (u32, u32),
    mode: u32,
) -> Result<(), BuildError> {
    let open = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path);
    let mut file = open.map_err(BuildError::files("create", path))?;
    file.write_all(bytes).map_err(BuildError::files("write", path))?;
    rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .and_then(|()| rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)))
        .map_err(|errno| BuildError::files("set owner and mode of", path)(errno.into()))
}

fn secret(
    worker: &Worker<'_>,
    prepared: &mut Prepared,
    mount: &ExecMount,
) -> Result<(), BuildError> {
    let ExecMountKind::Secret { id, env, required, uid, gid, mode } = &mount.kind else {
        return Ok(());
    };
    let Some(secret) = worker.request.secrets.get(id) else {
        return if *required { Err(BuildError::NoSecret { id: id.clone() }) } else { Ok(()) };
    };
    if let Some(name) = env {
        let value = String::from_utf8_lossy(secret.expose()).into_owned();
        prepared.env.push((name.clone(), value));
    }
    if mount.target.is_empty() {
        return Ok(());
    }
    let path = private_dir(worker, prepared)?.join(format!("secret-{}", prepared.mounts.len()));
    write_private(&path, secret.expose(), (*uid, *gid), *mode)?;
    prepared.mounts.push(step_mount(&mount.target, StepSource::Bind(path), true)?);
    Ok(())
}

/// Marks a cache whose size is not known since somebody uses it, or was killed.
pub(crate) const WRITTEN: &str = "written";

/// Where caches of builds are.
pub(crate) fn caches_dir(data_root: &Path) -> PathBuf {
    data_root.join("build").join("mounts")
}

fn cache(
    worker: &Worker<'_>,
    prepared: &mut Prepared,
    mount: &ExecMount,
    results: &[Output],
) -> Result<StepSource, BuildError> {
    let ExecMountKind::Cache { id, sharing, from, uid, gid, mode } = &mount.kind else {
        return Ok(StepSource::Tmpfs(String::new()));
    };
    let parent = caches_dir(&worker.settings.data_root);
    let name = super::files::hex(&Sha256::digest(id.as_bytes())[..16]);
    for number in 0.. {
        let dir = match number {
            0 => parent.join(&name),
            number => parent.join(format!("{name}-{number}")),
        };
        let Some(lock) = take(worker, &dir, *sharing)? else { continue };
        prepared._locks.push(lock);
        let data = dir.join("data");
        let mark = dir.join(WRITTEN);
        std::fs::write(&mark, []).map_err(BuildError::files("write", &mark))?;
        if !data.exists() {
            let note = dir.join("id");
            std::fs::write(&note, id).map_err(BuildError::files("write", &note))?;
            fill(worker, &data, from.as_ref(), results, (*uid, *gid, *mode))?;
        }
        let name =
            dir.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        let known = super::locked(&worker.store).cache_mount(&name)?;
        prepared.caches.push((data.clone(), known.map_or(0, |mount| mount.size)));
        return Ok(StepSource::Bind(data));
    }
    Err(BuildError::Cancelled)
}

/// The lock of a cache, which is made when missing; none when it is somebody's private one.
fn take(
    worker: &Worker<'_>,
    dir: &Path,
    sharing: CacheSharing,
) -> Result<Option<OwnedFd>, BuildError> {
    let path = dir.join("lock");
    let failed = |errno: Errno| BuildError::files("lock", &path)(errno.into());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let operation = match sharing {
        CacheSharing::Shared => FlockOperation::NonBlockingLockShared,
        CacheSharing::Private | CacheSharing::Locked => FlockOperation::NonBlockingLockExclusive,
    };
    loop {
        std::fs::create_dir_all(dir).map_err(BuildError::files("create", dir))?;
        let lock = match rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR) {
            // Pruned this moment.
            Err(Errno::NOENT) => continue,
            other => other.map_err(failed)?,
        };
        match rustix::fs::flock(&lock, operation) {
            // A lock on a deleted file excludes nobody.
            Ok(()) if !is_at(&lock, &path) => {}
            Ok(()) => {
                let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
                let times = Timestamps { last_access: now, last_modification: now };
                rustix::fs::futimens(&lock, &times).map_err(failed)?;
                return Ok(Some(lock));
            }
            Err(Errno::WOULDBLOCK) if sharing == CacheSharing::Private => return Ok(None),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                worker.cancel.check()?;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

fn is_at(file: &OwnedFd, path: &Path) -> bool {
    let here = rustix::fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino));
    let there = rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
    here.is_ok() && here == there
}

/// The lock of a cache, if nobody uses it.
pub(crate) fn take_cache(dir: &Path) -> Option<OwnedFd> {
    let path = dir.join("lock");
    let fd = rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()?;
    rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).ok()?;
    is_at(&fd, &path).then_some(fd)
}

fn fill(
    worker: &Worker<'_>,
    data: &Path,
    from: Option<&(usize, String)>,
    results: &[Output],
    (uid, gid, mode): (u32, u32, u32),
) -> Result<(), BuildError> {
    // Beside, so that one that was cut off is not taken for a whole one.
    let beside = data.with_extension("new");
    tug_archive::remove_tree(&beside).map_err(BuildError::files("remove", &beside))?;
    std::fs::create_dir(&beside).map_err(BuildError::files("create", &beside))?;
    if let Some((from, source)) = from {
        worker.copy_out(results.get(*from), source, &beside)?;
    }
    rustix::fs::chown(&beside, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .and_then(|()| rustix::fs::chmod(&beside, Mode::from_raw_mode(mode)))
        .map_err(|errno| BuildError::files("set owner and mode of", &beside)(errno.into()))?;
    std::fs::rename(&beside, data).map_err(BuildError::files("rename", &beside))
}

fn name_files(entries: &[Entry], inputs: &mut Inputs) {
    for entry in entries {
        let (mode, sum) = (entry.stat.st_mode & 0o7777, super::files::hex(&entry.sum));
        inputs.add(format!("{FILE}{}", as_text(&entry.path)), format!("{mode:o} {sum}"));
    }
}

impl Worker<'_> {
    /// What is mounted for a bind: layers, or a layer made of what of a context is there, and then also
    /// which files these are (and that they changed while they were read).
    fn bind(
        &self,
        output: Option<&Output>,
        source: &str,
    ) -> Result<(StepSource, Option<Inputs>), BuildError> {
        let path = ContainerPath::parse(&format!("/{source}"))
            .map_err(|_| BuildError::MountTarget { target: source.to_owned() })?;
        let Some(Output::Context(tree)) = output else {
            let all: Vec<DiffId> = layers(output).iter().map(|layer| layer.diff_id).collect();
            return Ok((StepSource::Layers(all, path), None));
        };
        let mut files = Inputs::new();
        self.bind_inputs(output, source, &mut files)?;
        let mut named = Inputs::new();
        named.add("operation", "context as a layer");
        files.parts().iter().for_each(|part| named.add(&part.name, &part.value));
        let key = named.key();
        let _turn = tug_solver::Executor::turn(self, &key)?;
        let layer = match self.remembered(&key.to_string())? {
            Some(known) => known,
            None => {
                let upper = self.fresh_dir("upper")?;
                let target = Target::over(Vec::new(), &upper)
                    .map_err(|error| BuildError::Overlay { source: error.into() })?;
                let manner = Manner::default();
                let mut writer = Writer::new(&target, manner).heeding(self.cancel);
                let mut taken = Inputs::new();
                for found in tree.select(source, false)? {
                    let entries = tree.walk(&found.real, &Rules::default())?;
                    name_files(&entries, &mut taken);
                    let parent = crate::files::rooted::split(&found.real).0;
                    writer.make_dirs(parent, Default::default())?;
                    writer.copy_at(tree, &found.real, &entries, &found.real)?;
                }
                let sure = !writer.changed && taken == files;
                drop(target);
                let made = self.adopt(&upper, Vec::new())?;
                match sure {
                    true => self.keep_context_layer(&key.to_string(), &made)?,
                    false => files.add("changed", "while it was read"),
                }
                made
            }
        };
        let all: Vec<DiffId> = layers(Some(&layer)).iter().map(|layer| layer.diff_id).collect();
        Ok((StepSource::Layers(all, path), Some(files)))
    }

    fn keep_context_layer(&self, key: &str, made: &Output) -> Result<(), BuildError> {
        let made = layers(Some(made));
        let result = serde_json::to_string(&made).unwrap_or_default();
        let sizes: Vec<_> = made.iter().map(|layer| (layer.diff_id, layer.size)).collect();
        let new = tug_store::NewCacheRow {
            key,
            kind: "source",
            description: "[internal] context for a mount",
            result: &result,
            layers: &sizes,
        };
        self.put(&new)?;
        super::locked(&self.used).insert(key.to_owned());
        Ok(())
    }

    /// What a bind shows, as part of what the command depends on.
    pub(super) fn bind_inputs(
        &self,
        output: Option<&Output>,
        source: &str,
        inputs: &mut Inputs,
    ) -> Result<(), BuildError> {
        match output {
            Some(Output::Context(tree)) => {
                let found = tree.select(source, false)?;
                if found.is_empty() {
                    let path = format!("/{}", source.trim_start_matches('/'));
                    return Err(BuildError::NotFound { path, hint: None });
                }
                for found in found {
                    name_files(&tree.walk(&found.real, &Rules::default())?, inputs);
                }
            }
            other => inputs.add("mounted files", chain(&layers(other))),
        }
        Ok(())
    }

    /// Copies a directory of an input into an empty one.
    fn copy_out(
        &self,
        output: Option<&Output>,
        source: &str,
        into: &Path,
    ) -> Result<(), BuildError> {
        let overlay;
        let root = match output {
            Some(Output::Context(tree)) => tree.root(),
            other => {
                overlay = self.read_files(&layers(other))?;
                overlay.root()
            }
        };
        let failed = |errno: Errno| BuildError::files("open", source)(errno.into());
        let real = crate::files::rooted::real(&root, source, true).map_err(failed)?;
        let from = crate::files::rooted::open_dir(root, &real).map_err(failed)?;
        let to = crate::files::rooted::open_root(into).map_err(failed)?;
        tug_archive::copy_tree(from.as_fd(), to.as_fd())
            .map_err(|source| BuildError::Unpack { name: into.display().to_string(), source })
    }
}

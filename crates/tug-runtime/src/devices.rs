//! /dev of a container: the default nodes and links, `--device`, and all of the host's for
//! `--privileged`.

use crate::cgroup::Rule;
use crate::root::Root;
use crate::spec::{ContainerSpec, Device};
use crate::{Error, mounts};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use tug_types::ContainerPath;

const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
];

/// A node to make.
struct Node {
    path: ContainerPath,
    host: PathBuf,
    kind: FileType,
    device: u64,
    mode: u32,
    owner: (u32, u32),
}

/// Fills the fresh /dev.
pub(crate) fn nodes(spec: &ContainerSpec, root: &Root) -> Result<(), Error> {
    let failed = |name: &str| {
        let path = format!("/dev/{name}");
        move |errno: Errno| Error::Device { path, source: errno.into() }
    };
    let dev = root.open("/dev", OFlags::PATH | OFlags::DIRECTORY).map_err(failed(""))?;
    for (name, major, minor) in NODES {
        let mode = Mode::from_raw_mode(0o666);
        let device = rustix::fs::makedev(major, minor);
        match rustix::fs::mknodat(&dev, name, FileType::CharacterDevice, mode, device) {
            Err(Errno::PERM) => bind(root, Path::new("/dev").join(name).as_path(), &inside(name)?)?,
            other => other.map_err(failed(name))?,
        }
    }
    for (target, name) in LINKS {
        rustix::fs::symlinkat(target, &dev, name).map_err(failed(name))?;
    }
    for node in wanted(spec)? {
        make(root, &node)?;
    }
    Ok(())
}

fn inside(name: &str) -> Result<ContainerPath, Error> {
    let path = format!("/dev/{name}");
    ContainerPath::parse(&path).map_err(|_| Error::NotADevice { path })
}

/// The nodes beyond the default ones.
fn wanted(spec: &ContainerSpec) -> Result<Vec<Node>, Error> {
    let mut nodes = Vec::new();
    if spec.privileged {
        host_nodes(Path::new("/dev"), &mut nodes);
    }
    for device in &spec.devices {
        nodes.extend(of_request(device)?);
    }
    Ok(nodes)
}

/// What `--device` names: a node, or every node below a directory.
fn of_request(device: &Device) -> Result<Vec<Node>, Error> {
    let path = device.host.display().to_string();
    let Ok(metadata) = std::fs::metadata(&device.host) else {
        return Err(Error::NoDevice { path });
    };
    if !metadata.is_dir() {
        let node = node(&device.host, device.container.clone());
        return node.map(|node| vec![node]).ok_or(Error::NotADevice { path });
    }
    let mut below = Vec::new();
    collect(&device.host, &mut below);
    let placed = below.into_iter().filter_map(|host| {
        let relative = host.strip_prefix(&device.host).ok()?.to_str()?.to_owned();
        node(&host, device.container.join(&relative).ok()?)
    });
    Ok(placed.collect())
}

/// Rules for the device cgroup of what `--device` and `--device-cgroup-rule` ask for; `None` for a
/// privileged container.
pub(crate) fn rules(spec: &ContainerSpec) -> Result<Option<Vec<Rule>>, Error> {
    if spec.privileged {
        return Ok(None);
    }
    let mut rules = crate::cgroup::default_rules();
    for device in &spec.devices {
        let access = crate::cgroup::parse_access(&device.permissions)
            .unwrap_or_else(|| crate::cgroup::parse_access("rwm").unwrap_or(7));
        for node in of_request(device)? {
            rules.push(Rule {
                kind: if node.kind == FileType::BlockDevice { 'b' } else { 'c' },
                major: Some(rustix::fs::major(node.device)),
                minor: Some(rustix::fs::minor(node.device)),
                access,
            });
        }
    }
    for text in &spec.device_rules {
        rules.push(Rule::parse(text)?);
    }
    Ok(Some(rules))
}

fn node(host: &Path, path: ContainerPath) -> Option<Node> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(host).ok()?;
    let kind = FileType::from_raw_mode(metadata.mode());
    let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    device.then(|| Node {
        path,
        host: host.to_owned(),
        kind,
        device: metadata.rdev(),
        mode: metadata.mode() & 0o777,
        owner: (metadata.uid(), metadata.gid()),
    })
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), found),
            Ok(_) => found.push(entry.path()),
            Err(_) => {}
        }
    }
}

/// Everything in the host's /dev but what a container has of its own.
fn host_nodes(directory: &Path, nodes: &mut Vec<Node>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(text) = path.to_str() else { continue };
        let own = matches!(
            text,
            "/dev/pts" | "/dev/shm" | "/dev/mqueue" | "/dev/fd" | "/dev/console" | "/dev/ptmx"
        );
        let default = NODES.iter().any(|(name, ..)| text == format!("/dev/{name}"));
        match entry.file_type() {
            _ if own || default => {}
            Ok(kind) if kind.is_dir() => host_nodes(&path, nodes),
            Ok(kind) if !kind.is_symlink() => {
                let inside = ContainerPath::parse(text).ok();
                nodes.extend(inside.and_then(|inside| node(&path, inside)));
            }
            _ => {}
        }
    }
}

fn make(root: &Root, node: &Node) -> Result<(), Error> {
    let path = node.path.to_string();
    let failed = |errno: Errno| Error::Device { path: path.clone(), source: errno.into() };
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let parent = ContainerPath::parse(if parent.is_empty() { "/" } else { parent })
        .map_err(|_| Error::NotADevice { path: path.clone() })?;
    let directory = root.directory(&parent)?;
    let mode = Mode::from_raw_mode(node.mode);
    match rustix::fs::mknodat(&directory, name, node.kind, mode, node.device) {
        Err(Errno::PERM) => bind(root, &node.host, &node.path),
        Err(Errno::EXIST) => Ok(()),
        Ok(()) => {
            // A group such as the host's `disk` keeps its access.
            let (uid, gid) = (Uid::from_raw(node.owner.0), Gid::from_raw(node.owner.1));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(&directory, name, Some(uid), Some(gid), flags).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// In a user namespace nodes cannot be made: the host's own is shown instead.
fn bind(root: &Root, host: &Path, path: &ContainerPath) -> Result<(), Error> {
    let failed = |errno: Errno| Error::Device { path: path.to_string(), source: errno.into() };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let source = rustix::fs::open(host, flags, Mode::empty()).map_err(failed)?;
    let tree = mounts::clone_fd(&source).map_err(failed)?;
    let target = root.file(path)?;
    mounts::place(tree.as_fd(), target.as_fd()).map_err(failed)
}

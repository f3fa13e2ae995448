//! Everything mounted in a container, made inside its own mount namespace: nothing of it is ever seen
//! on the host, and all of it goes with the container's last process.
//!
//! Filesystems are made detached (fsopen(2), fsmount(2), open_tree(2)) and put in place by descriptor
//! (move_mount(2)), so that no path of the image is ever resolved by name outside of [`Root`].

use crate::root::Root;
use crate::spec::{ContainerSpec, Mount, MountSource, Propagation, Rootfs};
use crate::{Error, devices, tmpfs};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    move_mount, open_tree,
};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use tug_sys::mount as attributes;
use tug_types::ContainerPath;

/// Takes the new mount namespace out of the host's propagation. Binds that are to follow the host, or to
/// be followed by it, are copied before ([`sources`]): the copies stay in the host's groups.
pub(crate) fn separate() -> Result<(), Error> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags)
        .map_err(Error::system("separate the container's mounts from the host's"))
}

/// The root filesystem, mounted and open. With a user namespace it was composed by the parent.
pub(crate) fn root(spec: &ContainerSpec, composed: Option<OwnedFd>) -> Result<Root, Error> {
    let (tree, at) = match &spec.rootfs {
        Rootfs::Overlay { mount_point, .. } => {
            let tree = match composed {
                Some(tree) => tree,
                None => overlay(&spec.rootfs, None)?,
            };
            (tree, mount_point)
        }
        Rootfs::Directory { path } => (clone_tree(path, true)?, path),
    };
    let failed = |what| {
        move |errno: Errno| Error::Mount { what, destination: "/".to_owned(), source: errno.into() }
    };
    let target = make_mount_point(at).and_then(|()| open_directory(at));
    let target = target.map_err(failed("the root filesystem".to_owned()))?;
    place(tree.as_fd(), target.as_fd()).map_err(failed("the root filesystem".to_owned()))?;
    Ok(Root::new(open_directory(at).map_err(failed("the root filesystem".to_owned()))?))
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Composes the overlay as a detached mount. With a user namespace (its descriptor, and the outside id
/// of its user 0) every layer is seen through its id maps (Linux 5.19), so that nothing of the image
/// has to be copied or chowned.
pub(crate) fn overlay(
    rootfs: &Rootfs,
    ids: Option<(BorrowedFd<'_>, u32)>,
) -> Result<OwnedFd, Error> {
    let Rootfs::Overlay { lowers, upper, work, volatile, mount_point } = rootfs else {
        return Err(Error::Vanished);
    };
    let failed = |errno: Errno| Error::Mount {
        what: "the image's layers".to_owned(),
        destination: "/".to_owned(),
        source: errno.into(),
    };
    // Mapped trees must live until the overlay has taken hold of them.
    let mut mapped = Vec::new();
    let mut seen = |path: &Path| -> Result<PathBuf, Error> {
        let Some((ids, _)) = ids else { return Ok(path.to_owned()) };
        let tree = clone_tree(path, false)?;
        map_ids(&tree, ids, "the image's layers", "/")?;
        let name = format!("/proc/self/fd/{}", tree.as_raw_fd());
        mapped.push(tree);
        Ok(name.into())
    };
    let lowers = once(lowers).map(|lower| seen(lower)).collect::<Result<Vec<_>, _>>()?;
    if let Some((_, owner)) = ids {
        // What is written is stored with the outside ids; only the image is seen through the maps.
        rustix::fs::chown(upper, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))
            .map_err(failed)?;
    }
    let layers = Layers { lowers: &lowers, upper, work, volatile: *volatile };
    // An older kernel takes them only in one text, and that only through mount(2). With id maps the text
    // will not do: there the kernel's refusal is the answer.
    if ids.is_none() && !takes_layers_one_by_one() {
        return layers.compose_by_text(mount_point).map_err(failed);
    }
    layers.compose().map_err(failed)
}

/// Whether overlayfs knows `lowerdir+` (Linux 6.8). Asking it would leave a complaint in the kernel's log
/// at every start.
fn takes_layers_one_by_one() -> bool {
    let system = rustix::system::uname();
    let mut numbers = system.release().to_bytes().split(|byte| !byte.is_ascii_digit());
    let mut next = || std::str::from_utf8(numbers.next()?).ok()?.parse::<u32>().ok();
    (next(), next()) >= (Some(6), Some(8))
}

/// Every layer once: the kernel refuses one that comes twice (an image may well have several empty ones).
/// What the lower one holds, the upper one shows.
fn once(lowers: &[PathBuf]) -> impl Iterator<Item = &PathBuf> {
    let mut seen = std::collections::HashSet::new();
    lowers.iter().filter(move |lower| seen.insert(*lower))
}

/// The parts of an overlay, as this process sees them.
struct Layers<'a> {
    lowers: &'a [PathBuf],
    upper: &'a Path,
    work: &'a Path,
    volatile: bool,
}

/// Whoever makes an image layer of the upper directory must find whole files and directories there, not
/// references to the layers below, whatever the kernel was built to prefer.
const WHOLE: [(&str, &str); 3] = [("redirect_dir", "off"), ("metacopy", "off"), ("index", "off")];

impl Layers<'_> {
    fn compose(&self) -> Result<OwnedFd, Errno> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let context = context.as_fd();
        fsconfig_set_string(context, "source", "overlay")?;
        for lower in self.lowers {
            fsconfig_set_string(context, "lowerdir+", lower.as_path())?;
        }
        fsconfig_set_string(context, "upperdir", self.upper)?;
        fsconfig_set_string(context, "workdir", self.work)?;
        for (name, value) in WHOLE {
            fsconfig_set_string(context, name, value)?;
        }
        if self.volatile {
            fsconfig_set_flag(context, "volatile")?;
        }
        fsconfig_create(context)?;
        fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    }

    /// Through mount(2), whose text has room for a page: layers are named by short numbers. The mount is
    /// picked up again from where it was made, in a mount namespace of our own.
    fn compose_by_text(&self, at: &Path) -> Result<OwnedFd, Errno> {
        let mut held = Vec::with_capacity(self.lowers.len() + 2);
        let mut short = |path: &Path| -> Result<String, Errno> {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = rustix::fs::open(path, flags, Mode::empty())?;
            let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
            held.push(fd);
            Ok(name)
        };
        let lowers = self.lowers.iter().map(|lower| short(lower)).collect::<Result<Vec<_>, _>>()?;
        let (upper, work) = (short(self.upper)?, short(self.work)?);
        let mut text = format!("lowerdir={},upperdir={upper},workdir={work}", lowers.join(":"));
        for (name, value) in WHOLE {
            text.push_str(&format!(",{name}={value}"));
        }
        if self.volatile {
            text.push_str(",volatile");
        }
        let text = CString::new(text).map_err(|_| Errno::INVAL)?;
        make_mount_point(at)?;
        let none = rustix::mount::MountFlags::empty();
        rustix::mount::mount("overlay", at, "overlay", none, text.as_c_str())?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, at, flags);
        rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH)?;
        tree
    }
}

fn make_mount_point(at: &Path) -> Result<(), Errno> {
    match rustix::fs::mkdir(at, Mode::from_raw_mode(0o700)) {
        Err(error) if error != Errno::EXIST => Err(error),
        _ => Ok(()),
    }
}

fn map_ids(
    tree: &OwnedFd,
    ids: BorrowedFd<'_>,
    what: &str,
    destination: &str,
) -> Result<(), Error> {
    let wanted = attributes::Attributes {
        set: attributes::IDMAP,
        user_namespace: u64::from(ids.as_raw_fd().cast_unsigned()),
        ..Default::default()
    };
    attributes::set_attributes(tree.as_fd(), wanted, false).map_err(|source| Error::Mount {
        what: format!("{what} with the ids of the user namespace"),
        destination: destination.to_owned(),
        source,
    })
}

/// A detached copy of what is mounted at a path of the host.
fn clone_tree(path: &Path, recursive: bool) -> Result<OwnedFd, Error> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(CWD, path, flags)
        .map_err(|errno| Error::Open { path: path.display().to_string(), source: errno.into() })
}

/// Puts a detached mount where the target descriptor points.
pub(crate) fn place(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags)
}

/// A new filesystem, detached. Options without a value are flags.
pub(crate) fn filesystem(
    kind: &str,
    options: &[(&str, &str)],
    flags: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    // What df and /proc/mounts show first.
    fsconfig_set_string(context.as_fd(), "source", kind)?;
    for (name, value) in options {
        match *value {
            "" => fsconfig_set_flag(context.as_fd(), *name)?,
            value => fsconfig_set_string(context.as_fd(), *name, value)?,
        }
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

const NOT_SUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NO_DEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const NO_EXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;

/// /proc, /dev with what is in it, /sys. What belongs below /sys/fs/cgroup comes with [`cgroups`].
pub(crate) fn standard(spec: &ContainerSpec, root: &Root) -> Result<(), Error> {
    let proc = NOT_SUID | NO_DEV | NO_EXEC;
    mount_at(root, "/proc", || filesystem("proc", &[], proc), "proc")?;
    device_directory(spec, root)?;
    let read_only = match spec.privileged {
        true => MountAttrFlags::empty(),
        false => MountAttrFlags::MOUNT_ATTR_RDONLY,
    };
    mount_at(root, "/sys", || filesystem("sysfs", &[], proc | read_only), "sysfs")
}

/// Makes a filesystem and puts it on a directory of the container. The directory must not be reached
/// through a symlink of the image: /proc elsewhere than at /proc would be a trap for tug itself.
fn mount_at(
    root: &Root,
    path: &str,
    make: impl FnOnce() -> Result<OwnedFd, Errno>,
    what: &str,
) -> Result<(), Error> {
    let destination =
        ContainerPath::parse(path).map_err(|_| Error::NotADirectory { path: path.to_owned() })?;
    let target = root.directory(&destination)?;
    let plain = rustix::fs::openat2(
        root.fd(),
        destination.relative(),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS,
    );
    if plain.is_err() {
        return Err(Error::NotADirectory { path: path.to_owned() });
    }
    make().and_then(|mount| place(mount.as_fd(), target.as_fd())).map_err(|errno| Error::Mount {
        what: what.to_owned(),
        destination: path.to_owned(),
        source: errno.into(),
    })
}

fn device_directory(spec: &ContainerSpec, root: &Root) -> Result<(), Error> {
    let dev = [("mode", "755"), ("size", "65536k")];
    let flags = NOT_SUID | MountAttrFlags::MOUNT_ATTR_STRICTATIME;
    mount_at(root, "/dev", || filesystem("tmpfs", &dev, flags), "tmpfs")?;
    devices::nodes(spec, root)?;
    let pts = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    mount_at(
        root,
        "/dev/pts",
        || {
            match filesystem("devpts", &pts, NOT_SUID | NO_EXEC) {
                // A user namespace without a group 5.
                Err(Errno::INVAL) => filesystem("devpts", &pts[..3], NOT_SUID | NO_EXEC),
                other => other,
            }
        },
        "devpts",
    )?;
    let size = spec.shm_size.to_string();
    let shm = [("mode", "1777"), ("size", size.as_str())];
    let all = NOT_SUID | NO_DEV | NO_EXEC;
    if spec.namespaces.ipc == crate::spec::Namespace::Host {
        bind_host(root, "/dev/shm")?;
        return bind_host(root, "/dev/mqueue");
    }
    mount_at(root, "/dev/shm", || filesystem("tmpfs", &shm, all), "tmpfs")?;
    mount_at(root, "/dev/mqueue", || filesystem("mqueue", &[], all), "mqueue")
}

/// The host's own directory at the same place, where the host has it.
fn bind_host(root: &Root, path: &str) -> Result<(), Error> {
    match Path::new(path).exists() {
        true => {
            let tree = clone_tree(Path::new(path), false)?;
            mount_at(root, path, || Ok(tree), path)
        }
        false => Ok(()),
    }
}

/// /sys/fs/cgroup: the container's own groups, each shown as a root. Called once the process is in
/// them, inside its cgroup namespace.
pub(crate) fn cgroups(spec: &ContainerSpec, root: &Root) -> Result<(), Error> {
    let failed = |errno: Errno| Error::Mount {
        what: "its cgroups".to_owned(),
        destination: "/sys/fs/cgroup".to_owned(),
        source: errno.into(),
    };
    let target = match root.open("/sys/fs/cgroup", OFlags::PATH | OFlags::DIRECTORY) {
        // A kernel without cgroups in sysfs.
        Err(Errno::NOENT) => return Ok(()),
        other => other.map_err(failed)?,
    };
    let hierarchies = crate::cgroup::Hierarchies::of_host()?;
    let all = NOT_SUID | NO_DEV | NO_EXEC;
    let host = spec.namespaces.cgroup == crate::spec::Namespace::Host;
    let group = |hierarchy: &crate::cgroup::Hierarchy| match host {
        true => hierarchy.mount_point().to_owned(),
        false => hierarchy.group(&spec.cgroup_parent, &spec.id),
    };
    let top = match hierarchies.only_v2() {
        true => clone_tree(&group(&hierarchies.all()[0]), false)?,
        false => filesystem("tmpfs", &[("mode", "755")], all).map_err(failed)?,
    };
    place(top.as_fd(), target.as_fd()).map_err(failed)?;
    if !hierarchies.only_v2() {
        for hierarchy in hierarchies.all() {
            let tree = clone_tree(&group(hierarchy), false)?;
            below(&top, hierarchy.name(), &tree).map_err(failed)?;
        }
    }
    let wanted = attributes::NO_SUID | attributes::NO_DEVICES | attributes::NO_EXEC;
    let read_only = if spec.privileged { 0 } else { attributes::READ_ONLY };
    let set = attributes::Attributes { set: wanted | read_only, ..Default::default() };
    attributes::set_attributes(top.as_fd(), set, true).map_err(|source| Error::Mount {
        what: "its cgroups".to_owned(),
        destination: "/sys/fs/cgroup".to_owned(),
        source,
    })
}

/// A hierarchy under its name, and where several controllers share it a link for each.
fn below(top: &OwnedFd, name: &str, tree: &OwnedFd) -> Result<(), Errno> {
    rustix::fs::mkdirat(top, name, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = rustix::fs::openat(top, name, flags, Mode::empty())?;
    place(tree.as_fd(), target.as_fd())?;
    for controller in name.split(',').filter(|_| name.contains(',')) {
        rustix::fs::symlinkat(name, top, controller)?;
    }
    Ok(())
}

/// Detached copies of what is to be bound, in the order of the mounts; a tmpfs has none.
pub(crate) fn sources(spec: &ContainerSpec) -> Result<Vec<Option<OwnedFd>>, Error> {
    let source = |mount: &Mount| match &mount.source {
        MountSource::Bind { path } => clone_tree(path, true).map(Some),
        MountSource::Tmpfs { .. } | MountSource::Layers { .. } => Ok(None),
    };
    spec.mounts.iter().map(source).collect()
}

/// One mount of the user's: a bind or a volume by its [`sources`], or a tmpfs.
pub(crate) fn user(root: &Root, mount: &Mount, source: Option<OwnedFd>) -> Result<(), Error> {
    let failed = |errno: Errno| Error::Mount {
        what: match &mount.source {
            MountSource::Bind { path } => path.display().to_string(),
            MountSource::Tmpfs { .. } => "tmpfs".to_owned(),
            MountSource::Layers { path, .. } => format!("{path} of an image's layers"),
        },
        destination: mount.destination.to_string(),
        source: errno.into(),
    };
    let (tree, target) = match (&mount.source, source) {
        (MountSource::Bind { path }, source) => {
            let tree = source.map_or_else(|| clone_tree(path, true), Ok)?;
            let target = match is_directory(&tree).map_err(failed)? {
                true => root.directory(&mount.destination)?,
                false => root.file(&mount.destination)?,
            };
            (tree, target)
        }
        (MountSource::Tmpfs { options }, _) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let covered = root.open(mount.destination.as_str(), flags).ok();
            let mode = covered.and_then(|fd| rustix::fs::fstat(fd).ok()).map(|stat| stat.st_mode);
            let tree = tmpfs::make(options, mode, &mount.destination)?;
            (tree, root.directory(&mount.destination)?)
        }
        (MountSource::Layers { lowers, upper, at, path }, _) => {
            let tree = layers(lowers, upper.as_ref(), at, path).map_err(failed)?;
            let target = match is_directory(&tree).map_err(failed)? {
                true => root.directory(&mount.destination)?,
                false => root.file(&mount.destination)?,
            };
            (tree, target)
        }
    };
    if !may_cover(&mount.destination, &target).map_err(failed)? {
        return Err(Error::InsideProc { path: mount.destination.to_string() });
    }
    place(tree.as_fd(), target.as_fd()).map_err(failed)?;
    let changed = settle(&tree, mount);
    changed.map_err(|source| Error::Mount {
        what: "its options".to_owned(),
        destination: mount.destination.to_string(),
        source,
    })
}

/// Composes layers, puts them where only this mount namespace sees them, and takes a copy of what is at the
/// path: a detached mount cannot be copied from before Linux 6.15.
fn layers(
    lowers: &[PathBuf],
    upper: Option<&(PathBuf, PathBuf)>,
    at: &Path,
    path: &ContainerPath,
) -> Result<OwnedFd, Errno> {
    let lowers: Vec<&PathBuf> = once(lowers).collect();
    let tree = match (lowers.as_slice(), upper) {
        // An overlay needs two layers.
        ([only], None) => open_tree(
            CWD,
            only.as_path(),
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
        )?,
        _ => {
            let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
            let context = context.as_fd();
            fsconfig_set_string(context, "source", "overlay")?;
            match fsconfig_set_string(context, "lowerdir+", lowers[0].as_path()) {
                Ok(()) => lowers[1..].iter().try_for_each(|lower| {
                    fsconfig_set_string(context, "lowerdir+", lower.as_path())
                })?,
                Err(_) => {
                    let all: Vec<_> = lowers.iter().map(|l| l.display().to_string()).collect();
                    fsconfig_set_string(context, "lowerdir", all.join(":").as_str())?;
                }
            }
            if let Some((upper, work)) = upper {
                fsconfig_set_string(context, "upperdir", upper.as_path())?;
                fsconfig_set_string(context, "workdir", work.as_path())?;
            }
            fsconfig_create(context)?;
            fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?
        }
    };
    make_mount_point(at)?;
    place(tree.as_fd(), open_directory(at)?.as_fd())?;
    let inside = Root::new(open_directory(at)?);
    clone_fd(&inside.open(path.as_str(), OFlags::PATH)?)
}

fn is_directory(fd: &OwnedFd) -> Result<bool, Errno> {
    rustix::fs::fstat(fd).map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// What tug itself writes and covers below /proc must be the kernel's, whatever links the image has. Only
/// what shows limits as if they were the machine's (lxcfs) may be replaced, as Docker allows.
fn may_cover(destination: &ContainerPath, target: &OwnedFd) -> Result<bool, Errno> {
    const SHOWN: [&str; 10] = [
        "cpuinfo",
        "diskstats",
        "loadavg",
        "meminfo",
        "slabinfo",
        "stat",
        "swaps",
        "uptime",
        "sys/crypto/fips_enabled",
        "sys/kernel/ns_last_pid",
    ];
    let below = destination.as_str().strip_prefix("/proc/").unwrap_or_default();
    Ok(SHOWN.contains(&below)
        || rustix::fs::fstatfs(target)?.f_type != rustix::fs::PROC_SUPER_MAGIC)
}

fn settle(tree: &OwnedFd, mount: &Mount) -> std::io::Result<()> {
    let (kind, recursive) = match mount.propagation.unwrap_or(Propagation::Rprivate) {
        Propagation::Private => (attributes::propagation::PRIVATE, false),
        Propagation::Rprivate => (attributes::propagation::PRIVATE, true),
        Propagation::Slave => (attributes::propagation::SLAVE, false),
        Propagation::Rslave => (attributes::propagation::SLAVE, true),
        Propagation::Shared => (attributes::propagation::SHARED, false),
        Propagation::Rshared => (attributes::propagation::SHARED, true),
    };
    let propagation = attributes::Attributes { propagation: kind, ..Default::default() };
    attributes::set_attributes(tree.as_fd(), propagation, recursive)?;
    if mount.readonly {
        let set = attributes::Attributes { set: attributes::READ_ONLY, ..Default::default() };
        attributes::set_attributes(tree.as_fd(), set, mount.recursive_readonly)?;
    }
    Ok(())
}

/// Covers the masked paths and makes the read-only ones so. Those the kernel does not have are skipped.
pub(crate) fn restrict(spec: &ContainerSpec, root: &Root) -> Result<(), Error> {
    let failed = |path: &ContainerPath| {
        let destination = path.to_string();
        move |errno: Errno| Error::Mount {
            what: "a cover".to_owned(),
            destination,
            source: errno.into(),
        }
    };
    // One empty filesystem covers all directories: the first gets itself, the others copies of it.
    let mut empty: Option<OwnedFd> = None;
    for path in &spec.masked_paths {
        let Some(target) = existing(root, path).map_err(failed(path))? else { continue };
        let directory = is_directory(&target).map_err(failed(path))?;
        let cover = match (&empty, directory) {
            (_, false) => clone_inside(root, "/dev/null"),
            (Some(placed), true) => clone_fd(placed),
            (None, true) => {
                let least = [("size", "4k"), ("nr_inodes", "1")];
                filesystem("tmpfs", &least, MountAttrFlags::MOUNT_ATTR_RDONLY)
            }
        };
        let cover = cover.map_err(failed(path))?;
        place(cover.as_fd(), target.as_fd()).map_err(failed(path))?;
        if directory && empty.is_none() {
            empty = Some(cover);
        }
    }
    for path in &spec.readonly_paths {
        let Some(target) = existing(root, path).map_err(failed(path))? else { continue };
        let copy = clone_fd(&target).map_err(failed(path))?;
        let set = attributes::Attributes { set: attributes::READ_ONLY, ..Default::default() };
        attributes::set_attributes(copy.as_fd(), set, true).map_err(|source| Error::Mount {
            what: "itself read-only".to_owned(),
            destination: path.to_string(),
            source,
        })?;
        place(copy.as_fd(), target.as_fd()).map_err(failed(path))?;
    }
    Ok(())
}

/// What is at a path; none where this kernel has no such thing. Anything else that keeps it from being
/// opened must not leave it uncovered.
fn existing(root: &Root, path: &ContainerPath) -> Result<Option<OwnedFd>, Errno> {
    match root.open(path.as_str(), OFlags::PATH) {
        Ok(target) => Ok(Some(target)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

fn clone_inside(root: &Root, path: &str) -> Result<OwnedFd, Errno> {
    clone_fd(&root.open(path, OFlags::PATH)?)
}

pub(crate) fn clone_fd(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(fd, c"", flags)
}

/// Makes the root the only thing there is, and with `--read-only` unwritable.
pub(crate) fn enter(spec: &ContainerSpec, root: &Root) -> Result<(), Error> {
    let failed = Error::system;
    rustix::process::fchdir(root.fd()).map_err(failed("enter the container's root"))?;
    // The old root ends up on top of the new one and is let go (pivot_root(2), "pivot_root(".", ".")").
    rustix::process::pivot_root(".", ".").map_err(failed("pivot_root to the container's root"))?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)
        .map_err(failed("let go of the host's root"))?;
    rustix::process::chdir("/").map_err(failed("enter the container's root"))?;
    if spec.readonly_rootfs {
        let set = attributes::Attributes { set: attributes::READ_ONLY, ..Default::default() };
        attributes::set_attributes(root.fd(), set, false)
            .map_err(|source| Error::System { what: "make the root read-only", source })?;
    }
    Ok(())
}

/// Shows a file of ours at a path below /dev (a terminal as /dev/console).
pub(crate) fn bind_fd(root: &Root, fd: BorrowedFd<'_>, path: &ContainerPath) -> Result<(), Error> {
    let failed = |errno: Errno| Error::Mount {
        what: "the terminal".to_owned(),
        destination: path.to_string(),
        source: errno.into(),
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(fd, c"", flags).map_err(failed)?;
    let target = root.file(path)?;
    place(tree.as_fd(), target.as_fd()).map_err(failed)
}

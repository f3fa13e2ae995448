//! Places to mount on that an image does not have: made in a tree of their own, put between the image's
//! layers and what a step writes. Directories on the way keep the mode, owner and time they have in the
//! image, so nothing of this shows, neither inside nor in the step's layer.

use crate::Error;
use rustix::fs::{AtFlags, CWD, FileType, Stat, Timespec, Timestamps};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tug_runtime::{Mount, MountSource};

/// What every container has mounted, or made, by the runtime.
const STANDARD: [&str; 3] = ["/proc", "/sys", "/dev"];

/// As many symlinks in a row as the kernel follows.
const LINKS: usize = 40;

/// What a stub is.
#[derive(Clone, Copy)]
enum Stub {
    /// A directory of the image, with its attributes.
    Known(Stat),
    Directory,
    File,
}

/// Makes the tree for what is mounted over `lowers` (uppermost first). False when nothing is missing: then
/// nothing was made.
pub(crate) fn make(dir: &Path, lowers: &[PathBuf], mounts: &[Mount]) -> Result<bool, Error> {
    let mut stubs = BTreeMap::new();
    for path in STANDARD {
        plan(&mut stubs, lowers, path, Stub::Directory);
    }
    for mount in mounts {
        let path = mount.destination.as_str();
        let covered = |top: &str| path == top || path.starts_with(&format!("{top}/"));
        if !STANDARD.iter().any(|top| covered(top)) {
            plan(&mut stubs, lowers, path, kind(mount));
        }
    }
    if stubs.values().all(|stub| matches!(stub, Stub::Known(_))) {
        return Ok(false);
    }
    std::fs::create_dir(dir).map_err(Error::files("create", dir))?;
    for (path, stub) in &stubs {
        let path = dir.join(path);
        let made = match stub {
            Stub::File => std::fs::write(&path, []),
            _ => std::fs::create_dir(&path),
        };
        made.map_err(Error::files("create", &path))?;
    }
    // Inner ones first: making something in a directory changes its time.
    for (path, stub) in stubs.iter().rev() {
        let path = dir.join(path);
        settle(&path, stub).map_err(Error::files("set the attributes of", &path))?;
    }
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(Error::files("set the mode of", dir))?;
    Ok(true)
}

fn settle(path: &Path, stub: &Stub) -> std::io::Result<()> {
    use rustix::fs::{Gid, Mode, Uid};
    let Stub::Known(stat) = stub else {
        return std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755));
    };
    rustix::fs::chown(path, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::chmod(path, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.cast_signed(),
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())?)
}

/// Whether a directory or a file is to be mounted.
fn kind(mount: &Mount) -> Stub {
    let directory = match &mount.source {
        MountSource::Bind { path } => path.is_dir(),
        MountSource::Tmpfs { .. } => true,
        MountSource::Layers { lowers, path, .. } => match find(lowers, path.as_str()) {
            Some(Found::There(stat)) => FileType::from_raw_mode(stat.st_mode).is_dir(),
            _ => true,
        },
    };
    if directory { Stub::Directory } else { Stub::File }
}

/// Adds what is missing at a path of the image, and the directories on the way to it.
fn plan(stubs: &mut BTreeMap<PathBuf, Stub>, lowers: &[PathBuf], path: &str, stub: Stub) {
    let Some(Found::Missing { known, missing }) = find(lowers, path) else { return };
    let mut here = PathBuf::new();
    for (name, stat) in known {
        here.push(name);
        stubs.entry(here.clone()).or_insert(Stub::Known(stat));
    }
    let last = missing.len().saturating_sub(1);
    for (place, name) in missing.into_iter().enumerate() {
        here.push(name);
        let made = if place == last { stub } else { Stub::Directory };
        stubs.entry(here.clone()).or_insert(made);
    }
}

/// What is at a path of the image.
enum Found {
    There(Stat),
    /// The directories that are there, and the names that are not.
    Missing {
        known: Vec<(String, Stat)>,
        missing: Vec<String>,
    },
}

/// Looks a path up in layers, links followed inside of them. None when it cannot lead anywhere.
fn find(lowers: &[PathBuf], path: &str) -> Option<Found> {
    let mut open: Vec<String> = names(path).rev().collect();
    let mut known: Vec<(String, Stat)> = Vec::new();
    let mut links = 0;
    let mut last = None;
    while let Some(name) = open.pop() {
        if name == ".." {
            known.pop();
            continue;
        }
        let here: PathBuf = known.iter().map(|(name, _)| name.as_str()).collect();
        let here = here.join(&name);
        let Some((place, stat)) = lookup(lowers, &here) else {
            let missing = std::iter::once(name).chain(open.into_iter().rev()).collect();
            return Some(Found::Missing { known, missing });
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > LINKS {
                    return None;
                }
                let target = std::fs::read_link(&place).ok()?;
                let target = target.to_str()?.to_owned();
                if target.starts_with('/') {
                    known.clear();
                }
                open.extend(names(&target).rev());
            }
            kind if kind.is_dir() || open.is_empty() => {
                last = Some(stat);
                known.push((name, stat));
            }
            _ => return None,
        }
    }
    last.map(Found::There)
}

fn names(path: &str) -> impl DoubleEndedIterator<Item = String> {
    path.split('/').filter(|name| !matches!(*name, "" | ".")).map(str::to_owned)
}

/// The uppermost layer's own thing of that name, none of whose directories are links, as overlayfs sees it.
fn lookup(lowers: &[PathBuf], path: &Path) -> Option<(PathBuf, Stat)> {
    'layers: for tree in lowers {
        let mut here = tree.clone();
        let mut opaque = false;
        let mut found = None;
        for name in path {
            here.push(name);
            let Ok(stat) = rustix::fs::lstat(&here) else {
                if opaque {
                    return None;
                }
                continue 'layers;
            };
            if is_whiteout(&stat) {
                return None;
            }
            opaque |= is_opaque(&here, &stat);
            found = Some(stat);
        }
        return found.map(|stat| (here, stat));
    }
    None
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn is_opaque(path: &Path, stat: &Stat) -> bool {
    if !FileType::from_raw_mode(stat.st_mode).is_dir() {
        return false;
    }
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    let mut value = [0u8; 4];
    matches!(
        rustix::fs::lgetxattr(path.as_c_str(), c"trusted.overlay.opaque", &mut value),
        Ok(1) if value[0] == b'y'
    )
}

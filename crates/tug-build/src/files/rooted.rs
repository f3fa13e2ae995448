//! Names below a directory: bytes, which are text or not. Links are read and resolved here, as if the
//! directory were the root; what is opened afterwards is opened without following any.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// As many symlinks in a row as the kernel follows.
const LINKS: usize = 40;

/// The kernel takes names up to this length at once.
const LONGEST: usize = 4000;

/// Opens a directory by path.
pub(crate) fn open_root(path: &std::path::Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a name below `root` without following links. The name has no `..`; empty is the root itself.
pub(crate) fn open(
    root: BorrowedFd<'_>,
    name: impl AsRef<[u8]>,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = flags | OFlags::CLOEXEC;
    let name = name.as_ref();
    if name.len() <= LONGEST {
        let name = if name.is_empty() { b"." } else { name };
        return retry(|| rustix::fs::openat2(root, name, flags, Mode::empty(), resolve));
    }
    // Piece by piece.
    let middle = name.len() / 2;
    let slash = name[middle..].iter().position(|byte| *byte == b'/');
    let Some(cut) = slash.map(|at| at + middle) else {
        return Err(Errno::NAMETOOLONG);
    };
    let outer = open(root, &name[..cut], OFlags::PATH | OFlags::DIRECTORY)?;
    open(outer.as_fd(), &name[cut + 1..], flags)
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Opens a directory below `root`.
pub(crate) fn open_dir(root: BorrowedFd<'_>, name: impl AsRef<[u8]>) -> Result<OwnedFd, Errno> {
    open(root, name, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// What is at a name, links not followed.
pub(crate) fn stat(root: BorrowedFd<'_>, name: impl AsRef<[u8]>) -> Result<Stat, Errno> {
    let name = name.as_ref();
    rustix::fs::fstat(open(root, name, OFlags::PATH | OFlags::NOFOLLOW).or_else(
        |error| match error {
            // A link itself: `NO_SYMLINKS` refuses even to look at it in older kernels.
            Errno::LOOP => {
                let (dir, last) = split(name);
                let dir = open(root, dir, OFlags::PATH | OFlags::DIRECTORY)?;
                rustix::fs::openat(
                    &dir,
                    last,
                    OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )
            }
            other => Err(other),
        },
    )?)
}

/// Where a link leads.
pub(crate) fn read_link(root: BorrowedFd<'_>, name: impl AsRef<[u8]>) -> Result<Vec<u8>, Errno> {
    let (dir, last) = split(name.as_ref());
    let dir = open(root, dir, OFlags::PATH | OFlags::DIRECTORY)?;
    Ok(rustix::fs::readlinkat(&dir, last, Vec::new())?.into_bytes())
}

/// Directory and last name.
pub(crate) fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&name[..slash], &name[slash + 1..]),
        None => (b"", name),
    }
}

pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

/// The names a path is made of.
pub(crate) fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."))
}

/// What of a path below another one is left.
pub(crate) fn below_of<'p>(path: &'p [u8], top: &[u8]) -> &'p [u8] {
    let rest = path.get(top.len()..).unwrap_or_default();
    rest.strip_prefix(b"/").unwrap_or(rest)
}

/// As people read it.
pub(crate) fn shown(name: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(name))
}

/// The kind of what stat saw.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Where names and links are looked up.
pub(crate) trait Names {
    /// What is at a name, links not followed.
    fn stat(&self, name: &[u8]) -> Result<Stat, Errno>;
    /// Where a link leads.
    fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, Errno>;
    /// Opens a file to read it; no link is followed.
    fn open_file(&self, name: &[u8]) -> Result<OwnedFd, Errno>;
}

impl Names for BorrowedFd<'_> {
    fn stat(&self, name: &[u8]) -> Result<Stat, Errno> {
        stat(*self, name)
    }

    fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        read_link(*self, name)
    }

    fn open_file(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        open(*self, name, OFlags::RDONLY | OFlags::NONBLOCK)
    }
}

/// The real name of a path: cleaned, links on the way resolved inside the root, the last one only when
/// `follow` is set. What does not exist is taken as it is written.
///
/// # Errors
/// `ELOOP` after too many links, and what the kernel says.
pub(crate) fn real(
    root: &impl Names,
    path: impl AsRef<[u8]>,
    follow: bool,
) -> Result<Vec<u8>, Errno> {
    let names = |path: &[u8]| -> Vec<Vec<u8>> { parts(path).rev().map(<[u8]>::to_vec).collect() };
    let mut open = names(path.as_ref());
    let mut here = Vec::new();
    let mut links = 0;
    let mut missing = false;
    while let Some(name) = open.pop() {
        if name == b".." {
            here = split(&here).0.to_vec();
            continue;
        }
        let next = join(&here, &name);
        if missing || open.is_empty() && !follow {
            here = next;
            continue;
        }
        match root.stat(&next) {
            Ok(stat) if kind(&stat) == FileType::Symlink => {
                links += 1;
                if links > LINKS {
                    return Err(Errno::LOOP);
                }
                let target = root.read_link(&next)?;
                if target.starts_with(b"/") {
                    here.clear();
                }
                open.extend(names(&target));
            }
            Ok(_) => here = next,
            Err(Errno::NOENT | Errno::NOTDIR) => {
                missing = true;
                here = next;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(here)
}

/// The names in a directory, sorted as bytes, with their kinds where the file system tells.
pub(crate) fn list(dir: BorrowedFd<'_>) -> Result<Vec<(Vec<u8>, FileType)>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok(names)
}

/// Calls `each` for everything below a directory, whatever its name and however deep: with the directory it
/// is in, its name and what stat says of it. Directories before what is in them.
///
/// # Errors
/// What the kernel says, and what `each` does.
pub(crate) fn below(
    root: BorrowedFd<'_>,
    mut each: impl FnMut(BorrowedFd<'_>, &std::ffi::CStr, &Stat) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut open = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let dir = match open_dir(root, &path) {
            // Gone meanwhile, or something else by now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !path.is_empty() => continue,
            other => other?,
        };
        for entry in rustix::fs::Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            each(dir.as_fd(), name, &stat)?;
            if kind(&stat) == FileType::Directory {
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                open.push([&path, slash, name.to_bytes()].concat());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_below_the_root() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path();
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        symlink("/a/b", top.join("absolute")).unwrap();
        symlink("../../../../a", top.join("a/up")).unwrap();
        symlink("loop", top.join("loop")).unwrap();
        let root = open_root(top).unwrap();
        let real = |path, follow| real(&root.as_fd(), path, follow).map(|name| shown(&name));
        assert_eq!(real("/absolute/c", true).unwrap(), "/a/b/c");
        assert_eq!(real("a/up/b", true).unwrap(), "/a/b");
        assert_eq!(real("absolute", true).unwrap(), "/a/b");
        assert_eq!(real("absolute", false).unwrap(), "/absolute");
        assert_eq!(real("../../x/./y", true).unwrap(), "/x/y");
        assert_eq!(real("loop", true), Err(Errno::LOOP));
        assert_eq!(real("/", true).unwrap(), "/");
        assert_eq!(kind(&stat(root.as_fd(), "absolute").unwrap()), FileType::Symlink);
    }
}

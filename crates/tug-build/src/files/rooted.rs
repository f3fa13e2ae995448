//! Names below a directory. Links are read and resolved here, as if the directory were the root; what is
//! opened afterwards is opened without following any.

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
pub(crate) fn stat(root: BorrowedFd<'_>, name: &str) -> Result<Stat, Errno> {
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
pub(crate) fn read_link(root: BorrowedFd<'_>, name: &str) -> Result<Vec<u8>, Errno> {
    let (dir, last) = split(name);
    let dir = open(root, dir, OFlags::PATH | OFlags::DIRECTORY)?;
    Ok(rustix::fs::readlinkat(&dir, last, Vec::new())?.into_bytes())
}

/// Directory and last name.
pub(crate) fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

pub(crate) fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// The kind of what stat saw.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The real name of a path: cleaned, links on the way resolved inside the root, the last one only when
/// `follow` is set. What does not exist is taken as it is written.
///
/// # Errors
/// `ELOOP` after too many links, and what the kernel says.
pub(crate) fn real(root: BorrowedFd<'_>, path: &str, follow: bool) -> Result<String, Errno> {
    let names = |text: &str| -> Vec<String> {
        text.split('/').filter(|n| !matches!(*n, "" | ".")).rev().map(str::to_owned).collect()
    };
    let mut open = names(path);
    let mut here = String::new();
    let mut links = 0;
    let mut missing = false;
    while let Some(name) = open.pop() {
        if name == ".." {
            here = split(&here).0.to_owned();
            continue;
        }
        let next = join(&here, &name);
        if missing || open.is_empty() && !follow {
            here = next;
            continue;
        }
        match stat(root, &next) {
            Ok(stat) if kind(&stat) == FileType::Symlink => {
                links += 1;
                if links > LINKS {
                    return Err(Errno::LOOP);
                }
                let target = read_link(root, &next)?;
                let target = String::from_utf8(target).map_err(|_| Errno::ILSEQ)?;
                if target.starts_with('/') {
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

/// The names in a directory, sorted as bytes, with their kinds where the file system tells. For names that
/// are no text `no_text` decides what is said.
pub(crate) fn list<E: From<Errno>>(
    dir: BorrowedFd<'_>,
    no_text: impl Fn(&str, FileType) -> Result<(), E>,
) -> Result<Vec<(String, FileType)>, E> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        match std::str::from_utf8(name) {
            Ok(name) => names.push((name.to_owned(), entry.file_type())),
            Err(_) => no_text(&String::from_utf8_lossy(name), entry.file_type())?,
        }
    }
    names.sort_unstable_by(|(one, _), (other, _): &(String, FileType)| one.cmp(other));
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
        let real = |path, follow| real(root.as_fd(), path, follow);
        assert_eq!(real("/absolute/c", true).unwrap(), "a/b/c");
        assert_eq!(real("a/up/b", true).unwrap(), "a/b");
        assert_eq!(real("absolute", true).unwrap(), "a/b");
        assert_eq!(real("absolute", false).unwrap(), "absolute");
        assert_eq!(real("../../x/./y", true).unwrap(), "x/y");
        assert_eq!(real("loop", true), Err(Errno::LOOP));
        assert_eq!(real("/", true).unwrap(), "");
        assert_eq!(kind(&stat(root.as_fd(), "absolute").unwrap()), FileType::Symlink);
    }
}

//! A directory below which everything stays: finding and making parents, and moving away what a
//! later entry replaces.
//!
//! Every operation goes through a directory descriptor below the root and a single name in it, so
//! no name, link or race can lead outside. Archives legitimately write through links they made
//! themselves (`bin -> usr/bin`, then `bin/sh`): those are resolved as in a chroot, where absolute
//! targets start at the root and `..` stops there.
//!
//! The quick way is one `openat2(2)` that refuses links; then the name as written is the real one.
//! Anything else takes the slow way, component by component, which also makes missing directories.

use crate::unpack::Whiteouts;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

/// Directory descriptors kept open. Archives mostly go depth first, so few are enough.
const CACHE: usize = 64;
/// As in the kernel's own path walk.
const MAX_LINKS: u32 = 40;
/// Paths longer than this cannot be used by any program, and make every later walk expensive.
const MAX_PATH: usize = 4095;

/// A directory in the tree.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    /// Its real name below the root: no links on the way, no slash at either end, empty for the root.
    path: Vec<u8>,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// The real name of something in this directory.
    pub(crate) fn join(&self, name: &[u8]) -> Vec<u8> {
        join(&self.path, name)
    }

    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// Why a directory was not found.
#[derive(Debug)]
pub(crate) enum WalkError {
    /// This component is something else.
    NotADirectory(Vec<u8>),
    Loop,
    Kernel(Errno),
}

impl From<Errno> for WalkError {
    fn from(error: Errno) -> Self {
        Self::Kernel(error)
    }
}

/// What to do about missing directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Make,
    Fail,
}

pub(crate) struct Tree {
    root: OwnedFd,
    whiteouts: Whiteouts,
    cache: HashMap<Vec<u8>, Rc<Dir>>,
    /// Makes directories with the mode asked for, whatever the caller's umask.
    umask: u32,
}

impl Tree {
    /// Opens an existing directory as root.
    pub(crate) fn open(root: &Path, whiteouts: Whiteouts) -> rustix::io::Result<Self> {
        let root = rustix::fs::openat(CWD, root, CALLERS_DIRECTORY, Mode::empty())?;
        Ok(Self { root, whiteouts, cache: HashMap::new(), umask: umask() })
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Bits that the kernel takes out of every mode at creation.
    pub(crate) fn umask(&self) -> u32 {
        self.umask
    }

    /// The directory called `path` in the archive: cleaned, links in it allowed.
    pub(crate) fn directory(
        &mut self,
        path: &[u8],
        missing: Missing,
    ) -> Result<Rc<Dir>, WalkError> {
        if let Some(dir) = self.cache.get(path) {
            return Ok(Rc::clone(dir));
        }
        let dir = Rc::new(self.find(path, missing)?);
        if self.cache.len() >= CACHE {
            self.cache.clear();
        }
        self.cache.insert(path.to_vec(), Rc::clone(&dir));
        Ok(dir)
    }

    fn find(&self, path: &[u8], missing: Missing) -> Result<Dir, WalkError> {
        if path.len() > MAX_PATH {
            return Err(WalkError::Kernel(Errno::NAMETOOLONG));
        }
        match self.open_real(path) {
            Ok(fd) => Ok(Dir { fd, path: path.to_vec() }),
            // Missing, behind a link, or without openat2(2): the slow way tells.
            Err(_) => self.walk(path, missing),
        }
    }

    /// Opens a directory by its real name.
    fn open_real(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        if path.is_empty() {
            return rustix::fs::openat(&self.root, c".", DIRECTORY, Mode::empty());
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        rustix::fs::openat2(&self.root, path, DIRECTORY, Mode::empty(), resolve)
    }

    /// The same, also where there is no `openat2(2)` for us (a seccomp filter around tug).
    pub(crate) fn directory_fd(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        if let Ok(fd) = self.open_real(path) {
            return Ok(fd);
        }
        let mut fd = self.open_real(b"")?;
        for name in components(path) {
            fd = rustix::fs::openat(&fd, name, DIRECTORY, Mode::empty())?;
        }
        Ok(fd)
    }

    fn walk(&self, path: &[u8], missing: Missing) -> Result<Dir, WalkError> {
        let mut at = Dir { fd: self.open_real(b"")?, path: Vec::new() };
        let mut todo: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                let parent = at.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                at.path.truncate(parent);
                at.fd = self.directory_fd(&at.path)?;
                continue;
            }
            if at.path.len() + name.len() >= MAX_PATH {
                return Err(WalkError::Kernel(Errno::NAMETOOLONG));
            }
            match rustix::fs::openat(&at.fd, name.as_slice(), DIRECTORY, Mode::empty()) {
                Ok(fd) => at = Dir { path: at.join(&name), fd },
                Err(Errno::NOENT) if missing == Missing::Make => {
                    at = self.make_missing(&at, &name)?;
                }
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    let stat = rustix::fs::statat(&at.fd, name.as_slice(), NO_FOLLOW)?;
                    if file_type(&stat) == FileType::Symlink {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(WalkError::Loop);
                        }
                        let target = rustix::fs::readlinkat(&at.fd, name.as_slice(), Vec::new())?;
                        let target = target.to_bytes();
                        if target.starts_with(b"/") {
                            at = Dir { fd: self.open_real(b"")?, path: Vec::new() };
                        }
                        todo.extend(components(target).rev().map(<[u8]>::to_vec));
                    } else if self.is_whiteout(&stat) && missing == Missing::Make {
                        // Deleted below, and made anew by this same archive.
                        rustix::fs::unlinkat(&at.fd, name.as_slice(), AtFlags::empty())?;
                        at = self.make_missing(&at, &name)?;
                        self.set_opaque(&at.fd)?;
                    } else {
                        return Err(WalkError::NotADirectory(at.join(&name)));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(at)
    }

    /// A directory that the archive has no entry for, as everybody makes them: 0755, of root.
    fn make_missing(&self, parent: &Dir, name: &[u8]) -> rustix::io::Result<Dir> {
        rustix::fs::mkdirat(&parent.fd, name, Mode::from_raw_mode(0o755))?;
        let fd = rustix::fs::openat(&parent.fd, name, DIRECTORY, Mode::empty())?;
        if self.umask & 0o755 != 0 {
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755))?;
        }
        Ok(Dir { fd, path: parent.join(name) })
    }

    pub(crate) fn is_whiteout(&self, stat: &Stat) -> bool {
        self.whiteouts != Whiteouts::Keep && is_whiteout(stat)
    }

    /// Hides everything that lower layers have in this directory.
    pub(crate) fn set_opaque(&self, dir: impl AsFd) -> rustix::io::Result<()> {
        let name = match self.whiteouts {
            Whiteouts::Overlay => c"trusted.overlay.opaque",
            Whiteouts::OverlayUser => c"user.overlay.opaque",
            Whiteouts::Keep => return Ok(()),
        };
        rustix::fs::fsetxattr(dir, name, b"y", rustix::fs::XattrFlags::empty())
    }

    /// Forgets opened directories: to be called when a directory or a link goes away, because the
    /// names that led through it now lead elsewhere.
    pub(crate) fn forget_directories(&mut self) {
        self.cache.clear();
    }
}

/// How a directory named by the caller is opened; what links lead there is their business.
pub(crate) const CALLERS_DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// How a directory inside the tree is opened.
pub(crate) const DIRECTORY: OFlags = CALLERS_DIRECTORY.union(OFlags::NOFOLLOW);
pub(crate) const NO_FOLLOW: AtFlags = AtFlags::SYMLINK_NOFOLLOW;

pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Overlay's mark for "deleted here": character device 0:0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    file_type(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// A path's components without empty ones and dots.
fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."))
}

/// A name from an archive as a path below the root: absolute names start at the root, dots and
/// repeated slashes go, `..` takes back what is before it. `None` when it would take back the root.
pub(crate) fn clean(name: &[u8]) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(name.len());
    for component in components(name) {
        if component == b".." {
            if path.is_empty() {
                return None;
            }
            let parent = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            path.truncate(parent);
            continue;
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(component);
    }
    Some(path)
}

/// A clean path as directory and name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Makes a directory for ourselves, which may exist, and opens it.
pub(crate) fn make_private_dir(path: &Path) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    rustix::fs::open(path, DIRECTORY, Mode::empty())
}

/// The process's umask, read without changing it (`umask(2)` can only do both, and other threads
/// create files). Where /proc does not tell, every bit is taken for masked: all modes are set anew.
fn umask() -> u32 {
    std::fs::read_to_string("/proc/thread-self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o777)
}

/// Deletes a name in a directory, whatever it is. Deep trees are no problem: what lies deeper than
/// a few levels is first moved up, so neither stack nor descriptors run out.
pub(crate) fn remove(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        other => return other,
    }
    let top = rustix::fs::openat(dir, name, DIRECTORY, Mode::empty())?;
    let mut moved = 0;
    loop {
        let before = moved;
        empty(top.as_fd(), top.as_fd(), 0, &mut moved)?;
        if moved == before {
            break;
        }
    }
    rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
}

/// Levels of directories held open at once.
const DEPTH: u32 = 32;

fn empty(
    top: BorrowedFd<'_>,
    dir: BorrowedFd<'_>,
    depth: u32,
    moved: &mut u64,
) -> rustix::io::Result<()> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    for (name, kind) in names {
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(dir, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR) => {}
                Err(error) => return Err(error),
            }
        }
        if depth >= DEPTH {
            move_up(top, dir, &name, moved)?;
            continue;
        }
        // Somebody else may be deleting the same tree.
        let gone = |error| if error == Errno::NOENT { Ok(()) } else { Err(error) };
        match rustix::fs::openat(dir, &name, DIRECTORY, Mode::empty()) {
            Ok(below) => empty(top, below.as_fd(), depth + 1, moved)?,
            Err(error) => gone(error)?,
        }
        rustix::fs::unlinkat(dir, &name, AtFlags::REMOVEDIR).or_else(gone)?;
    }
    Ok(())
}

fn move_up(
    top: BorrowedFd<'_>,
    dir: BorrowedFd<'_>,
    name: &CStr,
    moved: &mut u64,
) -> rustix::io::Result<()> {
    loop {
        let up = format!(".moved-up-{moved}");
        *moved += 1;
        match rustix::fs::renameat_with(dir, name, top, up, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            other => return other,
        }
    }
}

/// Deletes a whole tree by path, of any depth. That it is not there is no failure.
///
/// # Errors
/// The kernel's, for the first name that cannot be deleted.
pub fn remove_tree(path: &Path) -> std::io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let removed = rustix::fs::open(parent, CALLERS_DIRECTORY, Mode::empty())
        .and_then(|parent| remove(parent.as_fd(), name.as_encoded_bytes()));
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_root() {
        for (name, path) in [
            (&b"a/b"[..], Some(&b"a/b"[..])),
            (b"./a//b/./", Some(b"a/b")),
            (b"/etc/passwd", Some(b"etc/passwd")),
            (b"a/../b", Some(b"b")),
            (b"a/b/../../c/d", Some(b"c/d")),
            (b"./", Some(b"")),
            (b"..", None),
            (b"a/../../b", None),
            (b"/../b", None),
        ] {
            assert_eq!(clean(name).as_deref(), path, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn very_deep_trees_are_deleted() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().join("deep");
        std::fs::create_dir(&top).unwrap();
        let mut fd = rustix::fs::open(&top, DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&fd, c"directory", Mode::RWXU).unwrap();
            fd = rustix::fs::openat(&fd, c"directory", DIRECTORY, Mode::empty()).unwrap();
        }
        remove_tree(&top).unwrap();
        assert!(!top.exists());
        remove_tree(&top).unwrap();
    }
}

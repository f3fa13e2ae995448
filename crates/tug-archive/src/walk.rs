//! Reading a tree in a fixed order: names sorted as bytes, a directory right before what is in it.
//!
//! Nothing is followed: neither links nor mounts. Only the innermost directories are kept open, so
//! trees may be deeper than there are descriptors.

use crate::tree::DIRECTORY;
use rustix::fs::{FileType, Mode, ResolveFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Directories kept open.
const OPEN: usize = 64;

pub(crate) struct Walk<'r> {
    root: BorrowedFd<'r>,
    frames: Vec<Frame>,
}

struct Frame {
    path: Vec<u8>,
    fd: Option<OwnedFd>,
    names: std::vec::IntoIter<(CString, FileType)>,
}

/// What comes next.
pub(crate) enum Step {
    /// Something in the current directory.
    Found { name: CString, path: Vec<u8>, kind: FileType },
    /// Everything in this directory has been seen.
    Left { path: Vec<u8> },
}

impl<'r> Walk<'r> {
    pub(crate) fn new(root: BorrowedFd<'r>) -> rustix::io::Result<Self> {
        let fd = rustix::fs::openat(root, c".", DIRECTORY, Mode::empty())?;
        let mut walk = Self { root, frames: Vec::new() };
        walk.push(fd, Vec::new())?;
        Ok(walk)
    }

    pub(crate) fn next(&mut self) -> Option<Step> {
        let frame = self.frames.last_mut()?;
        match frame.names.next() {
            Some((name, kind)) => {
                let mut path = frame.path.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name.as_bytes());
                Some(Step::Found { name, path, kind })
            }
            None => self.frames.pop().map(|frame| Step::Left { path: frame.path }),
        }
    }

    /// The directory that the last thing found is in.
    pub(crate) fn current(&mut self) -> rustix::io::Result<BorrowedFd<'_>> {
        let root = self.root;
        let Some(frame) = self.frames.last_mut() else {
            return Ok(root);
        };
        let fd = match frame.fd.take() {
            Some(fd) => fd,
            None => open_below(root, &frame.path)?,
        };
        let fd: &OwnedFd = frame.fd.insert(fd);
        Ok(fd.as_fd())
    }

    /// Makes a directory just found the current one. Says no when it is on another mount.
    pub(crate) fn enter(&mut self, name: &CString, path: Vec<u8>) -> rustix::io::Result<bool> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let here = self.current()?;
        let fd = match rustix::fs::openat2(here, name, DIRECTORY, Mode::empty(), resolve) {
            Err(Errno::XDEV) => return Ok(false),
            // A filter around tug may know only the older call.
            Err(Errno::NOSYS | Errno::PERM) => {
                rustix::fs::openat(here, name, DIRECTORY, Mode::empty())?
            }
            other => other?,
        };
        if let Some(outer) = self.frames.len().checked_sub(OPEN) {
            self.frames[outer].fd = None;
        }
        self.push(fd, path)?;
        Ok(true)
    }

    fn push(&mut self, fd: OwnedFd, path: Vec<u8>) -> rustix::io::Result<()> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&fd)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push((entry.file_name().to_owned(), entry.file_type()));
            }
        }
        names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        self.frames.push(Frame { path, fd: Some(fd), names: names.into_iter() });
        Ok(())
    }
}

/// Opens a directory by its name below the root, one component after the other: the name may be
/// longer than the kernel takes at once.
pub(crate) fn open_below(root: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let mut fd = rustix::fs::openat(root, c".", DIRECTORY, Mode::empty())?;
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        fd = rustix::fs::openat(&fd, name, DIRECTORY, Mode::empty())?;
    }
    Ok(fd)
}

//! A tree into another tree.

use crate::ids::{IdRange, stat_inside};
use crate::tree::{DIRECTORY, NO_FOLLOW, file_type};
use crate::walk::{Step, Walk, open_below};
use crate::xattrs::{self, Xattr};
use crate::{EntryName, Error, Result};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Copies what is in the directory `source` into the directory `destination`, which holds none of
/// the names; the directory's own owner, mode, attributes and times too. Symbolic links are copied,
/// not followed; what is mounted below is not entered; sockets are left out. Hard links and holes
/// stay, and blocks are shared where the file system can.
///
/// # Errors
/// The first file that cannot be copied, by name.
pub fn copy_tree(source: BorrowedFd<'_>, destination: BorrowedFd<'_>) -> Result<()> {
    copy(source, destination, false, None)
}

/// The same for an overlay's upper directory: its deletion marks stay what they are. That of a user
/// namespace is copied with the ids inside.
///
/// # Errors
/// As [`copy_tree`].
pub fn copy_upper(
    source: BorrowedFd<'_>,
    destination: BorrowedFd<'_>,
    ids: Option<IdRange>,
) -> Result<()> {
    copy(source, destination, true, ids)
}

fn copy(
    source: BorrowedFd<'_>,
    destination: BorrowedFd<'_>,
    upper: bool,
    ids: Option<IdRange>,
) -> Result<()> {
    let mut walk = Walk::new(source).map_err(on("list", b"/"))?;
    let mut copier = Copier {
        into: rustix::fs::openat(destination, c".", DIRECTORY, Mode::empty())
            .map_err(on("open the destination", b"/"))?,
        destination,
        upper,
        ids,
        links: HashMap::new(),
        content: ContentCopier::default(),
    };
    while let Some(step) = walk.next() {
        match step {
            Step::Found { name, path, .. } => {
                let dir = walk.current().map_err(on("open the directory", &path))?;
                if copier.found(dir, &name, &path)? == FileType::Directory {
                    let entered =
                        walk.enter(&name, path.clone()).map_err(on("list the directory", &path))?;
                    if entered {
                        copier.enter(&name, &path)?;
                    } else {
                        // A mount: its directory is copied, not what is in it.
                        let dir = walk.current().map_err(on("open the directory", &path))?;
                        let stat = rustix::fs::statat(dir, &name, NO_FOLLOW)
                            .map_err(on("look at", &path))?;
                        copier.attributes_by_name(dir, &name, &path, &stat)?;
                    }
                }
            }
            Step::Left { path } => {
                copier.leave(source, &path)?;
            }
        }
    }
    Ok(())
}

fn on(action: &'static str, path: &[u8]) -> impl Fn(Errno) -> Error {
    move |error| Error::Copy { action, file: EntryName::new(path), source: error.into() }
}

struct Copier<'d> {
    destination: BorrowedFd<'d>,
    /// The directory being copied into.
    into: OwnedFd,
    /// Overlay's mark of opaque directories is copied too.
    upper: bool,
    ids: Option<IdRange>,
    /// First names of files with several.
    links: HashMap<(u64, u64), Vec<u8>>,
    content: ContentCopier,
}

impl Copier<'_> {
    fn found(&mut self, from: BorrowedFd<'_>, name: &CString, path: &[u8]) -> Result<FileType> {
        let stat = rustix::fs::statat(from, name, NO_FOLLOW).map_err(on("look at", path))?;
        let kind = file_type(&stat);
        if kind == FileType::Directory {
            rustix::fs::mkdirat(&self.into, name, Mode::RWXU)
                .or_else(ignore_existing)
                .map_err(on("create", path))?;
            return Ok(kind);
        }
        if kind == FileType::Socket || self.link(&stat, name, path)? {
            return Ok(kind);
        }
        match kind {
            FileType::RegularFile => self.regular(from, name, path)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())
                    .map_err(on("read the link", path))?;
                rustix::fs::symlinkat(target, &self.into, name).map_err(on("create", path))?;
                self.attributes_by_name(from, name, path, &stat)?;
            }
            _ => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
                rustix::fs::mknodat(&self.into, name, kind, mode, stat.st_rdev)
                    .map_err(on("create", path))?;
                self.attributes_by_name(from, name, path, &stat)?;
            }
        }
        Ok(kind)
    }

    fn link(&mut self, stat: &Stat, name: &CString, path: &[u8]) -> Result<bool> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let file = (stat.st_dev, stat.st_ino);
        let Some(first) = self.links.get(&file) else {
            self.links.insert(file, path.to_vec());
            return Ok(false);
        };
        let (dir, first) = crate::tree::split(first);
        open_below(self.destination, dir)
            .and_then(|dir| rustix::fs::linkat(dir, first, &self.into, name, AtFlags::empty()))
            .map_err(on("link", path))?;
        Ok(true)
    }

    fn regular(&mut self, from: BorrowedFd<'_>, name: &CString, path: &[u8]) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(from, name, flags, Mode::empty()).map_err(on("open", path))?;
        let stat = rustix::fs::fstat(&file).map_err(on("look at", path))?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = rustix::fs::openat(&self.into, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(on("create", path))?;
        self.content
            .copy(&file, &copy, stat.st_dev, stat.st_size as u64)
            .map_err(on("copy the content", path))?;
        self.attributes(&file, &copy, &stat, path)
    }

    /// Owner, mode, attributes and times of what cannot be opened.
    fn attributes_by_name(
        &self,
        from: BorrowedFd<'_>,
        name: &CString,
        path: &[u8],
        stat: &Stat,
    ) -> Result<()> {
        let (uid, gid) = self.owner(stat);
        rustix::fs::chownat(&self.into, name, Some(uid), Some(gid), NO_FOLLOW)
            .map_err(on("set the owner", path))?;
        if file_type(stat) != FileType::Symlink {
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            rustix::fs::chmodat(&self.into, name, mode, AtFlags::empty())
                .map_err(on("set the mode", path))?;
        }
        let mut all =
            xattrs::of_name(from, name.as_bytes()).map_err(on("read the attributes", path))?;
        if let Some(ids) = self.ids {
            ids.xattrs(&mut all);
        }
        let target = xattrs::path(self.into.as_fd(), name.as_bytes());
        set_xattrs(&all, path, |name, value| {
            rustix::fs::lsetxattr(target.as_slice(), name, value, XattrFlags::empty())
        })?;
        rustix::fs::utimensat(&self.into, name, &times(stat), NO_FOLLOW)
            .map_err(on("set the times", path))
    }

    fn attributes(&self, from: &OwnedFd, to: &OwnedFd, stat: &Stat, path: &[u8]) -> Result<()> {
        let (uid, gid) = self.owner(stat);
        rustix::fs::fchown(to, Some(uid), Some(gid)).map_err(on("set the owner", path))?;
        rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))
            .map_err(on("set the mode", path))?;
        let mut all = xattrs::of_file(from.as_fd()).map_err(on("read the attributes", path))?;
        if let Some(ids) = self.ids {
            ids.xattrs(&mut all);
        }
        set_xattrs(&all, path, |name, value| {
            rustix::fs::fsetxattr(to, name, value, XattrFlags::empty())
        })?;
        rustix::fs::futimens(to, &times(stat)).map_err(on("set the times", path))
    }

    fn owner(&self, stat: &Stat) -> (Uid, Gid) {
        let stat = stat_inside(self.ids, stat);
        (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
    }

    fn enter(&mut self, name: &CString, path: &[u8]) -> Result<()> {
        self.into = rustix::fs::openat(&self.into, name, DIRECTORY, Mode::empty())
            .map_err(on("open the copy", path))?;
        Ok(())
    }

    /// Finishes a directory and returns to the one it is in.
    fn leave(&mut self, source: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
        let from = open_below(source, path).map_err(on("open the directory", path))?;
        let stat = rustix::fs::fstat(&from).map_err(on("look at", path))?;
        self.attributes(&from, &self.into, &stat, path)?;
        if self.upper {
            opaque(&from, &self.into).map_err(on("mark as opaque", path))?;
        }
        let (parent, _) = crate::tree::split(path);
        self.into =
            open_below(self.destination, parent).map_err(on("open the copy's parent", path))?;
        Ok(())
    }
}

/// Copies the mark of a directory that hides what lies below it.
fn opaque(from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
    for name in [c"trusted.overlay.opaque", c"user.overlay.opaque"] {
        let mut value = [0u8; 1];
        if rustix::fs::fgetxattr(from, name, &mut value) == Ok(1) && value == *b"y" {
            rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty())?;
        }
    }
    Ok(())
}

fn ignore_existing(error: Errno) -> rustix::io::Result<()> {
    if error == Errno::EXIST { Ok(()) } else { Err(error) }
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec.cast_signed()),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
    }
}

fn set_xattrs(
    all: &[Xattr],
    path: &[u8],
    set: impl Fn(&CString, &[u8]) -> rustix::io::Result<()>,
) -> Result<()> {
    for (name, value) in all.iter().filter(|(name, _)| !xattrs::is_left_out(name.as_bytes())) {
        match set(name, value) {
            // The other file system keeps fewer of them.
            Err(Errno::OPNOTSUPP) => {}
            other => other.map_err(on("set the attributes", path))?,
        }
    }
    Ok(())
}

/// Up to here a file is read and written in one piece.
const SMALL: u64 = 64 << 10;

/// Copies contents of files, one after the other.
#[derive(Debug, Default)]
pub struct ContentCopier {
    buffer: Vec<u8>,
    /// A device whose blocks cannot be shared where the copies are.
    unshared: Option<u64>,
}

impl ContentCopier {
    /// Whether blocks of files on this device can be shared with the copies, as far as is known.
    pub fn may_share(&self, device: u64) -> bool {
        self.unshared != Some(device)
    }

    /// Copies `size` bytes of an open file on `device` into an empty one: blocks are shared where the file
    /// system can, else copied stretch by stretch, leaving holes as they are. Always to the same file
    /// system.
    ///
    /// # Errors
    /// The kernel's.
    pub fn copy(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        device: u64,
        size: u64,
    ) -> rustix::io::Result<()> {
        if size == 0 {
            return Ok(());
        }
        // All blocks at once, where that exists.
        if self.may_share(device) {
            match rustix::fs::ioctl_ficlone(to, from) {
                Ok(()) => return Ok(()),
                Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY) => self.unshared = Some(device),
                Err(_) => {}
            }
        }
        // No hole in so little is worth looking for.
        if size <= SMALL {
            let copied = self.through_memory(from, to, 0, size)?;
            return if copied == size { Ok(()) } else { rustix::fs::ftruncate(to, size) };
        }
        let mut position = 0;
        while position < size {
            let start = match rustix::fs::seek(from, SeekFrom::Data(position)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                // Knows no holes: all of it is data.
                Err(Errno::INVAL) => position,
                Err(error) => return Err(error),
            };
            let end = rustix::fs::seek(from, SeekFrom::Hole(start)).unwrap_or(size).min(size);
            self.stretch(from, to, start, end)?;
            position = end.max(start + 1);
        }
        rustix::fs::ftruncate(to, size)
    }

    fn stretch(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        start: u64,
        end: u64,
    ) -> rustix::io::Result<()> {
        let (mut read_at, mut write_at) = (start, start);
        while read_at < end {
            let length = usize::try_from(end - read_at).unwrap_or(usize::MAX).min(1 << 30);
            let (read, write) = (Some(&mut read_at), Some(&mut write_at));
            match rustix::fs::copy_file_range(from, read, to, write, length) {
                // It shrank; the caller sets the size.
                Ok(0) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                // Between file systems, or one that cannot: through memory.
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                    return self.through_memory(from, to, read_at, end).map(drop);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns up to where there was something.
    fn through_memory(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        mut position: u64,
        end: u64,
    ) -> rustix::io::Result<u64> {
        const MOST: usize = 256 << 10;
        let wanted = usize::try_from(end.saturating_sub(position)).unwrap_or(MOST).min(MOST);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted.next_power_of_two(), 0);
        }
        while position < end {
            let left = usize::try_from(end - position).unwrap_or(MOST).min(self.buffer.len());
            let count = match rustix::io::pread(from, &mut self.buffer[..left], position) {
                Ok(0) => break,
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let mut bytes = &self.buffer[..count];
            while !bytes.is_empty() {
                let written = match rustix::io::pwrite(to, bytes, position) {
                    Ok(0) => return Err(Errno::NOSPC),
                    Err(Errno::INTR) => continue,
                    other => other?,
                };
                bytes = &bytes[written..];
                position += written as u64;
            }
        }
        Ok(position)
    }
}

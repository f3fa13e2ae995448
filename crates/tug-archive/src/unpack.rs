//! Entries into files.
//!
//! Order of operations on one file: create (never opening what exists), write, owner, mode (a
//! change of owner takes set-user-id away), extended attributes (it takes capabilities away too),
//! times. What is so by itself is not done: a file of root with mode 0644 costs `openat`, `pwrite`,
//! `utimensat` and `close`. Directories get their times, and everything that would interfere with
//! making files in them, at the very end. Nothing is synced.
//!
//! A hard link's entry has owner, mode, attributes and times of its own, and the file gets those, as
//! with Docker: of several names the last one in the archive decides. Other than Docker, an owner that
//! is right already is not set again, for that would take away set-user-id and capabilities.

mod attributes;

use crate::body::FileBody;
use crate::entry::{Entry, EntryKind};
use crate::reader::Reader;
use crate::skeleton::Recorder;
use crate::tree::{self, Dir, Missing, NO_FOLLOW, Tree, WalkError, file_type};
use crate::{EntryName, Error, Result};
use attributes::{Attributes, MERGED};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

/// How much an archive may contain. What goes beyond is refused, by the name of the entry that did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries, extended headers not counted.
    pub entries: u64,
    /// Bytes of the uncompressed stream. Holes of sparse files cost nothing.
    pub bytes: u64,
    /// Bytes of one extended header (PAX records, long names, sparse maps).
    pub header: u64,
}

impl Default for Limits {
    /// Wide enough for any image seen in the wild, narrow enough to end: ten million entries,
    /// 1 TiB, and 1 MiB a header as Go's reader has it.
    fn default() -> Self {
        Self { entries: 10_000_000, bytes: 1 << 40, header: 1 << 20 }
    }
}

/// What `.wh.` entries become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Whiteouts {
    /// Overlay marks as the kernel reads them by default: character device 0:0 and
    /// `trusted.overlay.opaque`.
    #[default]
    Overlay,
    /// The same with `user.overlay.opaque`, for overlays mounted with `userxattr`.
    OverlayUser,
    /// Files as any other: the archive is not a layer.
    Keep,
}

/// How to unpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct UnpackOptions {
    /// What the archive may cost.
    pub limits: Limits,
    /// What deletion marks become.
    pub whiteouts: Whiteouts,
}

/// What an archive held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// Entries, extended headers not counted.
    pub entries: u64,
    /// The sum of the sizes of all regular files and symbolic links (a link's is the length of its
    /// target), as Docker counts the size of a layer.
    pub size: u64,
    /// Bytes of the whole tar stream, padding included.
    pub tar_size: u64,
    /// Extended attributes that were left out: overlay's own, or not supported by the file system.
    pub skipped_xattrs: u64,
}

/// Unpacks a plain tar below `root`, which exists and is empty or holds what may be replaced.
///
/// # Errors
/// The first entry that is damaged or refused, by name. What was unpacked so far stays: the caller
/// removes the directory.
pub fn unpack(tar: impl Read, root: &Path, options: &UnpackOptions) -> Result<Unpacked> {
    let tar = BufReader::with_capacity(256 << 10, tar);
    unpack_recorded(tar, root, options, None::<Recorder<std::io::Sink>>)
}

/// The same, writing the skeleton on the way.
///
/// # Errors
/// As [`unpack`], and when the skeleton cannot be written.
pub fn unpack_recorded<W: Write>(
    tar: impl BufRead,
    root: &Path,
    options: &UnpackOptions,
    recorder: Option<Recorder<W>>,
) -> Result<Unpacked> {
    let root_failed = |error: Errno| Error::Unpack {
        action: "open the directory to unpack into for",
        entry: EntryName::new(b"/"),
        source: error.into(),
    };
    let tree = Tree::open(root, options.whiteouts).map_err(root_failed)?;
    // Also takes set-group-id away, which would hand the directory's group down.
    rustix::fs::fchmod(tree.root(), Mode::from_raw_mode(0o755)).map_err(root_failed)?;
    let mut unpacker = Unpacker {
        reader: Reader::new(tar, options.limits, recorder),
        tree,
        owner: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        whiteouts: options.whiteouts,
        directories: BTreeMap::new(),
        displaced: None,
        aufs_links: false,
        size: 0,
        skipped_xattrs: 0,
    };
    while let Some(entry) = unpacker.reader.next()? {
        unpacker.entry(&entry)?;
    }
    unpacker.remove_aufs_links()?;
    unpacker.finish_directories()?;
    let unpacked = Unpacked {
        entries: unpacker.reader.entries(),
        size: unpacker.size,
        tar_size: unpacker.reader.offset(),
        skipped_xattrs: unpacker.skipped_xattrs,
    };
    if let Some(recorder) = unpacker.reader.into_recorder() {
        recorder.finish()?;
    }
    Ok(unpacked)
}

struct Unpacker<R: BufRead, W: Write> {
    reader: Reader<R, W>,
    tree: Tree,
    /// Whom a new file belongs to by itself.
    owner: (u32, u32),
    whiteouts: Whiteouts,
    /// What directories still have to get, by real name.
    directories: BTreeMap<Vec<u8>, Attributes>,
    /// Where replaced files go, once there was one.
    displaced: Option<OwnedFd>,
    /// There were entries in [`AUFS_LINKS`].
    aufs_links: bool,
    size: u64,
    skipped_xattrs: u64,
}

/// Turns a failed call into the entry's error.
fn on<'e>(action: &'static str, entry: &'e Entry) -> impl Fn(Errno) -> Error + 'e {
    move |error| Error::Unpack { action, entry: entry.name(), source: error.into() }
}

const OPAQUE: &[u8] = b".wh..wh..opq";
const RESERVED: &[u8] = b".wh..wh.";
const WHITEOUT: &[u8] = b".wh.";
/// Where aufs kept files with several names, in the root of its layers: the names proper are hard links
/// to what lies there. No part of the image itself, it goes when the last entry is read.
const AUFS_LINKS: &[u8] = b".wh..wh.plnk/";

impl<R: BufRead, W: Write> Unpacker<R, W> {
    fn entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind == EntryKind::Ignored {
            return Ok(());
        }
        let path =
            tree::clean(&entry.name).ok_or_else(|| Error::Escapes { entry: entry.name() })?;
        if path.is_empty() {
            return self.root_entry(entry);
        }
        if self.whiteouts != Whiteouts::Keep && path.starts_with(RESERVED) && path.contains(&b'/') {
            // In a directory that aufs had for itself. Hard links may lead to what lies there.
            if entry.kind != EntryKind::Regular || !path.starts_with(AUFS_LINKS) {
                return Ok(());
            }
            self.aufs_links = true;
        }
        let (parent, name) = tree::split(&path);
        let parent = self.parent(entry, parent)?;
        if self.whiteouts != Whiteouts::Keep && name.starts_with(WHITEOUT) {
            return self.whiteout(entry, &parent, name);
        }
        match entry.kind {
            EntryKind::Regular => self.regular(entry, &parent, name),
            EntryKind::Directory => self.make_directory(entry, &parent, name),
            EntryKind::Symlink => self.symlink(entry, &parent, name),
            EntryKind::HardLink => self.hard_link(entry, &parent, name),
            EntryKind::Fifo => self.special(entry, &parent, name, FileType::Fifo, (0, 0)),
            EntryKind::CharacterDevice { major, minor } => {
                self.special(entry, &parent, name, FileType::CharacterDevice, (major, minor))
            }
            EntryKind::BlockDevice { major, minor } => {
                self.special(entry, &parent, name, FileType::BlockDevice, (major, minor))
            }
            EntryKind::Ignored => Ok(()),
        }
    }

    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != EntryKind::Directory {
            return Err(Error::ReplacesRoot { entry: entry.name() });
        }
        self.directories.insert(Vec::new(), Attributes::of(entry, MERGED));
        Ok(())
    }

    fn parent(&mut self, entry: &Entry, path: &[u8]) -> Result<Rc<Dir>> {
        self.tree.directory(path, Missing::Make).map_err(|error| match error {
            WalkError::NotADirectory(parent) => {
                Error::NotADirectory { entry: entry.name(), parent: EntryName(parent) }
            }
            WalkError::Loop => Error::SymlinkLoop { entry: entry.name() },
            WalkError::Kernel(error) => on("make the directory of", entry)(error),
        })
    }

    fn regular(&mut self, entry: &Entry, parent: &Dir, name: &[u8]) -> Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made_with = entry.mode & 0o777;
        let mode = Mode::from_raw_mode(made_with);
        let file = self.make(entry, parent, name, "create", || {
            rustix::fs::openat(parent, name, flags, mode)
        })?;
        // Sparse files can be larger than everything; no sum of them is worth a panic.
        self.size = self.size.saturating_add(entry.size);
        self.write_body(entry, parent, name, &file)?;
        self.set_attributes(&file, &Attributes::of(entry, made_with))
    }

    fn write_body(
        &mut self,
        entry: &Entry,
        parent: &Dir,
        name: &[u8],
        file: &OwnedFd,
    ) -> Result<()> {
        let real = || parent.join(name);
        let mut body = FileBody::new(file.as_fd(), entry);
        if let Some(pieces) = &entry.pieces {
            if let Some(recorder) = self.reader.recorder() {
                recorder.pieces(&real(), pieces)?;
            }
            for piece in pieces {
                body.seek(piece.offset);
                self.reader.copy_body(piece.length, |bytes| body.write(bytes))?;
            }
        } else if entry.stored > 0 {
            if let Some(recorder) = self.reader.recorder() {
                recorder.body(&real(), entry.stored)?;
            }
            self.reader.copy_body(entry.stored, |bytes| body.write(bytes))?;
        }
        body.finish()
    }

    fn make_directory(&mut self, entry: &Entry, parent: &Dir, name: &[u8]) -> Result<()> {
        // Whoever unpacks must be able to make files in it until the end.
        let made_with = if entry.mode & 0o700 == 0o700 { entry.mode & 0o777 } else { 0o700 };
        let mode = Mode::from_raw_mode(made_with);
        let failed = on("create the directory", entry);
        let mut attributes = Attributes::of(entry, made_with);
        match rustix::fs::mkdirat(parent, name, mode) {
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(parent, name, NO_FOLLOW).map_err(&failed)?;
                if file_type(&stat) == FileType::Directory {
                    attributes.made_with = MERGED;
                } else {
                    let was_whiteout = self.tree.is_whiteout(&stat);
                    self.displace(&entry.name(), parent, name)?;
                    rustix::fs::mkdirat(parent, name, mode).map_err(&failed)?;
                    if was_whiteout {
                        self.make_opaque(entry, &parent.join(name))?;
                    }
                }
            }
            other => other.map_err(failed)?,
        }
        self.directories.insert(parent.join(name), attributes);
        Ok(())
    }

    fn symlink(&mut self, entry: &Entry, parent: &Dir, name: &[u8]) -> Result<()> {
        if entry.link.is_empty() {
            return Err(Error::EmptyLink { entry: entry.name() });
        }
        self.make(entry, parent, name, "create the symbolic link", || {
            rustix::fs::symlinkat(entry.link.as_slice(), parent, name)
        })?;
        self.size = self.size.saturating_add(entry.link.len() as u64);
        self.set_attributes_by_name(entry, parent, name, None)
    }

    fn special(
        &mut self,
        entry: &Entry,
        parent: &Dir,
        name: &[u8],
        kind: FileType,
        (major, minor): (u32, u32),
    ) -> Result<()> {
        let made_with = entry.mode & 0o777;
        let device = rustix::fs::makedev(major, minor);
        self.make(entry, parent, name, "create the special file", || {
            rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(made_with), device)
        })?;
        self.set_attributes_by_name(entry, parent, name, Some(made_with))
    }

    fn hard_link(&mut self, entry: &Entry, parent: &Dir, name: &[u8]) -> Result<()> {
        let target_name = || EntryName::new(&entry.link);
        let unusable = |error: Errno| Error::LinkTarget {
            entry: entry.name(),
            target: target_name(),
            source: error.into(),
        };
        let target = tree::clean(&entry.link)
            .filter(|target| !target.is_empty())
            .ok_or_else(|| Error::LinkEscapes { entry: entry.name(), target: target_name() })?;
        let (directory, target) = tree::split(&target);
        let directory =
            self.tree.directory(directory, Missing::Fail).map_err(|error| match error {
                WalkError::NotADirectory(_) => unusable(Errno::NOTDIR),
                WalkError::Loop => unusable(Errno::LOOP),
                WalkError::Kernel(error) => unusable(error),
            })?;
        if directory.path() == parent.path() && target == name {
            // A link to itself: what is there must not be moved away first.
            rustix::fs::statat(parent, name, NO_FOLLOW).map_err(unusable)?;
            return Ok(());
        }
        // Without AT_SYMLINK_FOLLOW: a link to a symbolic link is a second name of that link.
        let link = || rustix::fs::linkat(&*directory, target, parent, name, AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => {
                rustix::fs::statat(&*directory, target, NO_FOLLOW).map_err(unusable)?;
                self.displace(&entry.name(), parent, name)?;
                link().map_err(unusable)?;
            }
            other => other.map_err(unusable)?,
        }
        self.set_link_attributes(entry, parent, name)
    }

    /// `.wh.NAME`: NAME is deleted from the layers below. `.wh..wh..opq`: everything is.
    fn whiteout(&mut self, entry: &Entry, parent: &Dir, name: &[u8]) -> Result<()> {
        if name == OPAQUE {
            return self.tree.set_opaque(parent).map_err(on("make opaque by", entry));
        }
        let hidden = &name[WHITEOUT.len()..];
        if name.starts_with(RESERVED) {
            // Bookkeeping of a file system of the past.
            return Ok(());
        }
        if hidden.is_empty() {
            return Err(Error::EmptyWhiteout { entry: entry.name() });
        }
        if matches!(hidden, b"." | b"..") {
            return Err(Error::Escapes { entry: entry.name() });
        }
        let mode = Mode::empty();
        match rustix::fs::mknodat(parent, hidden, FileType::CharacterDevice, mode, 0) {
            Err(Errno::EXIST) => {
                // It only speaks of layers below: a directory of this one hides theirs, and
                // anything else does so by being there.
                let failed = on("apply the deletion", entry);
                let stat = rustix::fs::statat(parent, hidden, NO_FOLLOW).map_err(failed)?;
                if file_type(&stat) == FileType::Directory {
                    self.make_opaque(entry, &parent.join(hidden))?;
                }
                Ok(())
            }
            other => other.map_err(on("apply the deletion", entry)),
        }
    }

    fn make_opaque(&self, entry: &Entry, real: &[u8]) -> Result<()> {
        self.tree
            .directory_fd(real)
            .and_then(|dir| self.tree.set_opaque(dir))
            .map_err(on("make opaque by", entry))
    }

    /// Makes something new, moving away what is in its place.
    fn make<T>(
        &mut self,
        entry: &Entry,
        parent: &Dir,
        name: &[u8],
        action: &'static str,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.displace(&entry.name(), parent, name)?;
                make().map_err(on(action, entry))
            }
            other => other.map_err(on(action, entry)),
        }
    }

    /// Takes away what an earlier entry made. Contents stay where a skeleton will look for them.
    fn displace(&mut self, entry: &EntryName, parent: &Dir, name: &[u8]) -> Result<()> {
        let failed = |error: Errno| Error::Unpack {
            action: "replace the earlier",
            entry: entry.clone(),
            source: error.into(),
        };
        let stat = rustix::fs::statat(parent, name, NO_FOLLOW).map_err(&failed)?;
        let kind = file_type(&stat);
        let real = parent.join(name);
        if kind == FileType::Directory {
            self.forget_attributes_below(&real);
        }
        if matches!(kind, FileType::Directory | FileType::Symlink) {
            self.tree.forget_directories();
        }
        let has_content =
            kind == FileType::Directory || (kind == FileType::RegularFile && stat.st_size > 0);
        let Some(recorder) = self.reader.recorder().filter(|_| has_content) else {
            return tree::remove(parent.as_fd(), name).map_err(failed);
        };
        let place = recorder.displaced_dir().to_owned();
        let number = recorder.displace(real);
        let displaced = match self.displaced.take() {
            Some(dir) => dir,
            None => tree::make_private_dir(&place).map_err(&failed)?,
        };
        rustix::fs::renameat(parent, name, &displaced, number).map_err(failed)?;
        self.displaced = Some(displaced);
        Ok(())
    }

    fn remove_aufs_links(&mut self) -> Result<()> {
        if !self.aufs_links {
            return Ok(());
        }
        let name = &AUFS_LINKS[..AUFS_LINKS.len() - 1];
        let entry = EntryName::new(AUFS_LINKS);
        let root = self.tree.directory(b"", Missing::Fail).map_err(|_| Error::NotADirectory {
            entry: entry.clone(),
            parent: EntryName::new(b"/"),
        })?;
        self.displace(&entry, &root, name)
    }

    fn forget_attributes_below(&mut self, real: &[u8]) {
        self.directories.remove(real);
        let start = [real, b"/"].concat();
        let below: Vec<_> = self
            .directories
            .range(start.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&start))
            .cloned()
            .collect();
        for path in below {
            self.directories.remove(&path);
        }
    }

    fn finish_directories(&mut self) -> Result<()> {
        for (path, attributes) in std::mem::take(&mut self.directories) {
            let dir = self.tree.directory_fd(&path).map_err(|error| Error::Unpack {
                action: "open the directory",
                entry: attributes.name.clone(),
                source: error.into(),
            })?;
            self.set_attributes(&dir, &attributes)?;
        }
        Ok(())
    }
}

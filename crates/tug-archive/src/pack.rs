//! A tree into a tar, the same bytes for the same tree.
//!
//! The format is ustar with PAX records where a value does not fit: written by Go, GNU tar, Python
//! and everybody else who reads layers. Names are sorted as bytes, owners are numbers only, there
//! are no access or change times, and hard links go to the first name in this order.

use crate::entry::BLOCK;
use crate::header::{Contents, write_entry};
use crate::ids::{IdRange, stat_inside};
use crate::reader::padding;
use crate::skeleton::Recorder;
use crate::tree::{CALLERS_DIRECTORY, NO_FOLLOW, file_type, is_whiteout};
use crate::walk::{Step, Walk};
use crate::xattrs::{self, Xattr};
use crate::{EntryName, Error, Result};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// How to pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PackOptions {
    /// The tree is an overlay's upper directory: its marks become `.wh.` entries, its bookkeeping
    /// attributes are left out.
    pub layer: bool,
    /// Write modification times with nanoseconds. Docker writes whole seconds.
    pub nanoseconds: bool,
    /// The tree is of a user namespace: what it has of these ids gets those inside.
    pub ids: Option<IdRange>,
}

/// What was packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Packed {
    /// Entries.
    pub entries: u64,
    /// The sum of the sizes of all regular files and symbolic links.
    pub size: u64,
    /// Bytes of the whole tar stream.
    pub tar_size: u64,
}

/// Writes the tree below `root` as a tar. With a recorder, the skeleton of that tar is written too,
/// so that the tree itself can become a layer. Sockets are left out, and so is what is mounted
/// below `root`; `root` itself is an entry only if it differs from 0755 of root.
///
/// # Errors
/// The first file that cannot be read or represented, by name, or on writing.
pub fn pack<W: Write>(
    root: &Path,
    out: impl Write,
    options: &PackOptions,
    recorder: Option<Recorder<W>>,
) -> Result<Packed> {
    let root_failed = |action| on(action, b"/");
    let root = rustix::fs::open(root, CALLERS_DIRECTORY, Mode::empty())
        .map_err(root_failed("open the directory"))?;
    let mut packer = Packer {
        out: Output { out, recorder, written: 0 },
        options: *options,
        links: HashMap::new(),
        packed: Packed::default(),
        buffer: vec![0; 256 << 10],
    };
    packer.root_entry(root.as_fd())?;
    let mut walk = Walk::new(root.as_fd()).map_err(root_failed("list the directory"))?;
    while let Some(step) = walk.next() {
        let Step::Found { name, path, kind } = step else { continue };
        let dir = walk.current().map_err(on("open the directory of", &path))?;
        if packer.found(dir, &name, &path, kind)? == FileType::Directory {
            walk.enter(&name, path.clone()).map_err(on("list the directory", &path))?;
        }
    }
    packer.finish()
}

fn on(action: &'static str, path: &[u8]) -> impl Fn(Errno) -> Error {
    move |error| Error::Pack { action, file: EntryName::new(path), source: error.into() }
}

struct Packer<O: Write, W: Write> {
    out: Output<O, W>,
    options: PackOptions,
    /// First names of files with several.
    links: HashMap<(u64, u64), Vec<u8>>,
    packed: Packed,
    buffer: Vec<u8>,
}

const OPAQUE: &[&[u8]] = &[b"trusted.overlay.opaque", b"user.overlay.opaque"];

impl<O: Write, W: Write> Packer<O, W> {
    fn root_entry(&mut self, root: BorrowedFd<'_>) -> Result<()> {
        let stat = rustix::fs::fstat(root).map_err(on("look at", b"/"))?;
        let mut xattrs = xattrs::of_file(root).map_err(on("read the attributes of", b"/"))?;
        xattrs.retain(|(name, _)| !xattrs::is_left_out(name.as_bytes()));
        let usual = stat.st_mode & 0o7777 == 0o755 && (stat.st_uid, stat.st_gid) == (0, 0);
        if usual && xattrs.is_empty() {
            return Ok(());
        }
        self.entry(b"./", &stat, &xattrs, Contents::Directory)
    }

    /// Writes what was found; returns what it is.
    fn found(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CString,
        path: &[u8],
        listed: FileType,
    ) -> Result<FileType> {
        if self.options.layer && name.as_bytes().starts_with(b".wh.") {
            return Err(Error::ReservedName { file: EntryName::new(path) });
        }
        // Most things are files: those are opened at once and asked what they are afterwards.
        if listed == FileType::RegularFile {
            return self.regular(dir, name, path).map(|()| FileType::RegularFile);
        }
        let stat = rustix::fs::statat(dir, name, NO_FOLLOW).map_err(on("look at", path))?;
        let kind = file_type(&stat);
        match kind {
            FileType::RegularFile => self.regular(dir, name, path)?,
            FileType::Directory => self.directory(dir, name, path, &stat)?,
            FileType::Socket => {}
            FileType::CharacterDevice if self.options.layer && is_whiteout(&stat) => {
                let (parent, name) = path.split_at(path.len() - name.as_bytes().len());
                let marked = [parent, b".wh.", name].concat();
                self.entry(&marked, &marker(&stat), &[], Contents::Empty)?;
            }
            _ => self.special(dir, name, path, &stat)?,
        }
        Ok(kind)
    }

    fn regular(&mut self, dir: BorrowedFd<'_>, name: &CString, path: &[u8]) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(on("open", path))?;
        let stat = rustix::fs::fstat(&file).map_err(on("look at", path))?;
        if file_type(&stat) != FileType::RegularFile {
            return Err(Error::Changed { file: EntryName::new(path) });
        }
        if self.link(&stat, path)? {
            return Ok(());
        }
        let xattrs = self.xattrs(path, xattrs::of_file(file.as_fd()))?;
        let size = stat.st_size as u64;
        self.entry(path, &stat, &xattrs, Contents::File { size })?;
        self.packed.size += size;
        self.content(&file, path, size)
    }

    fn content(&mut self, file: &OwnedFd, path: &[u8], size: u64) -> Result<()> {
        if size == 0 {
            return Ok(());
        }
        self.out.body(path, size)?;
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            match rustix::io::read(file, &mut self.buffer[..wanted]) {
                Ok(0) => return Err(Error::Changed { file: EntryName::new(path) }),
                Ok(count) => {
                    self.out.plain(&self.buffer[..count])?;
                    left -= count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(on("read", path)(error)),
            }
        }
        self.out.zeros(padding(size))
    }

    fn directory(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CString,
        path: &[u8],
        stat: &Stat,
    ) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(on("open", path))?;
        let all = xattrs::of_file(fd.as_fd());
        let opaque = self.options.layer
            && all.as_ref().is_ok_and(|all| {
                all.iter().any(|(name, value)| OPAQUE.contains(&name.as_bytes()) && value == b"y")
            });
        let xattrs = self.xattrs(path, all)?;
        let path = [path, b"/"].concat();
        self.entry(&path, stat, &xattrs, Contents::Directory)?;
        if opaque {
            let mark = [&path[..], b".wh..wh..opq"].concat();
            self.entry(&mark, &marker(stat), &[], Contents::Empty)?;
        }
        Ok(())
    }

    fn special(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CString,
        path: &[u8],
        stat: &Stat,
    ) -> Result<()> {
        if self.link(stat, path)? {
            return Ok(());
        }
        let xattrs = self.xattrs(path, xattrs::of_name(dir, name.as_bytes()))?;
        let target;
        let contents = match file_type(stat) {
            FileType::Symlink => {
                target = rustix::fs::readlinkat(dir, name, Vec::new())
                    .map_err(on("read the link", path))?;
                self.packed.size += target.to_bytes().len() as u64;
                Contents::Symlink { target: target.to_bytes() }
            }
            FileType::CharacterDevice => Contents::CharacterDevice { device: stat.st_rdev },
            FileType::BlockDevice => Contents::BlockDevice { device: stat.st_rdev },
            FileType::Fifo => Contents::Fifo,
            _ => return Err(Error::Changed { file: EntryName::new(path) }),
        };
        self.entry(path, stat, &xattrs, contents)
    }

    /// Writes a hard link if the file has been written under another name.
    fn link(&mut self, stat: &Stat, path: &[u8]) -> Result<bool> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let file = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&file).cloned() {
            self.entry(path, stat, &[], Contents::HardLink { target: &first })?;
            return Ok(true);
        }
        self.links.insert(file, path.to_vec());
        Ok(false)
    }

    /// The attributes to write; refuses files that are only a reference into another layer.
    fn xattrs(&self, path: &[u8], all: rustix::io::Result<Vec<Xattr>>) -> Result<Vec<Xattr>> {
        let mut all = all.map_err(on("read the attributes of", path))?;
        if self.options.layer {
            for (name, _) in &all {
                let attribute = match name.as_bytes() {
                    b"trusted.overlay.metacopy" | b"user.overlay.metacopy" => "metacopy",
                    b"trusted.overlay.redirect" | b"user.overlay.redirect" => "redirect",
                    _ => continue,
                };
                return Err(Error::Redirected { file: EntryName::new(path), attribute });
            }
        }
        all.retain(|(name, _)| !xattrs::is_left_out(name.as_bytes()));
        if let Some(ids) = self.options.ids {
            ids.xattrs(&mut all);
        }
        Ok(all)
    }

    fn entry(
        &mut self,
        path: &[u8],
        stat: &Stat,
        xattrs: &[Xattr],
        contents: Contents<'_>,
    ) -> Result<()> {
        self.packed.entries += 1;
        let mut blocks = Vec::with_capacity(3 * BLOCK);
        let stat = stat_inside(self.options.ids, stat);
        write_entry(&mut blocks, path, &stat, xattrs, contents, self.options.nanoseconds);
        self.out.raw(&blocks)
    }

    fn finish(mut self) -> Result<Packed> {
        self.out.zeros(2 * BLOCK as u64)?;
        self.packed.tar_size = self.out.written;
        self.out.out.flush().map_err(|source| Error::Write { source })?;
        if let Some(recorder) = self.out.recorder {
            recorder.finish()?;
        }
        Ok(self.packed)
    }
}

/// A deletion mark has no attributes of its own but a time.
fn marker(stat: &Stat) -> Stat {
    let mut stat = *stat;
    (stat.st_mode, stat.st_uid, stat.st_gid) = (0o600, 0, 0);
    stat
}

/// The tar and its skeleton.
struct Output<O: Write, W: Write> {
    out: O,
    recorder: Option<Recorder<W>>,
    written: u64,
}

impl<O: Write, W: Write> Output<O, W> {
    /// Bytes of a file, already announced by [`body`](Self::body).
    fn plain(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|source| Error::Write { source })
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(recorder) = &mut self.recorder {
            recorder.raw(bytes)?;
        }
        self.plain(bytes)
    }

    fn body(&mut self, path: &[u8], size: u64) -> Result<()> {
        match &mut self.recorder {
            Some(recorder) => recorder.body(path, size),
            None => Ok(()),
        }
    }

    fn zeros(&mut self, count: u64) -> Result<()> {
        let zeros = [0u8; 2 * BLOCK];
        self.raw(&zeros[..count as usize])
    }
}

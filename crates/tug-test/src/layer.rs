//! Layer tars, honest and hostile.
//!
//! A [`LayerTar`] writes any entry it is told to, names like `../x` included: what an image may
//! hold in the wild is for tug to judge, not for the fixture. [`LayerTar::tree`] takes a directory,
//! or an overlay's upper directory, as a builder would.

use rustix::fs::{self as rfs, AtFlags, CWD, FileType, Stat};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// A layer's tar on its way into `W`.
pub struct LayerTar<W: Write> {
    tar: tar::Builder<W>,
    /// Time stamp of entries that are not copied from disk, seconds since the epoch.
    mtime: u64,
    /// Regular files written so far, with what they said of themselves: their further names say it again.
    files: BTreeMap<String, (Meta, u64)>,
}

/// What an entry says about itself beside its name.
#[derive(Clone, Copy)]
pub struct Meta {
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
}

impl Meta {
    /// Root's, with these permission bits.
    pub const fn mode(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0 }
    }
}

/// Fixed, so that a fixture's digest is the same on every machine (2024-01-01 00:00:00 UTC).
const FIXED_TIME: u64 = 1_704_067_200;

impl<W: Write> LayerTar<W> {
    /// Starts a tar.
    pub fn new(out: W) -> Self {
        Self { tar: tar::Builder::new(out), mtime: FIXED_TIME, files: BTreeMap::new() }
    }

    fn header(&self, kind: EntryType, meta: Meta) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(meta.mode);
        header.set_uid(meta.uid);
        header.set_gid(meta.gid);
        header.set_mtime(self.mtime);
        header.set_size(0);
        header
    }

    /// A directory.
    ///
    /// # Errors
    /// Writing failed; so for every method here.
    pub fn dir(&mut self, name: &str, meta: Meta) -> io::Result<()> {
        let header = self.header(EntryType::Directory, meta);
        self.raw(header, &format!("{}/", name.trim_end_matches('/')), "", &[])
    }

    /// A regular file.
    ///
    /// # Errors
    /// Writing failed.
    pub fn file(&mut self, name: &str, meta: Meta, content: &[u8]) -> io::Result<()> {
        let header = self.header(EntryType::Regular, meta);
        self.files.insert(name.to_owned(), (meta, self.mtime));
        self.raw(header, name, "", content)
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// Writing failed.
    pub fn symlink(&mut self, name: &str, target: &str) -> io::Result<()> {
        let header = self.header(EntryType::Symlink, Meta::mode(0o777));
        self.raw(header, name, target, &[])
    }

    /// A hard link to an earlier entry, with that entry's mode, owner and time as tar(1) writes it: Docker
    /// sets the file's to what its last name says.
    ///
    /// # Errors
    /// Writing failed.
    pub fn hardlink(&mut self, name: &str, target: &str) -> io::Result<()> {
        let (meta, mtime) =
            self.files.get(target).copied().unwrap_or((Meta::mode(0o644), self.mtime));
        let mut header = self.header(EntryType::Link, meta);
        header.set_mtime(mtime);
        self.raw(header, name, target, &[])
    }

    /// A character or block device.
    ///
    /// # Errors
    /// Writing failed.
    pub fn device(&mut self, name: &str, kind: EntryType, number: (u32, u32)) -> io::Result<()> {
        let mut header = self.header(kind, Meta::mode(0o666));
        header.set_device_major(number.0)?;
        header.set_device_minor(number.1)?;
        self.raw(header, name, "", &[])
    }

    /// Extended attributes of the entry that follows, as Docker writes them (`SCHILY.xattr.*`).
    ///
    /// # Errors
    /// Writing failed.
    pub fn xattrs(&mut self, attributes: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        let records: Vec<(String, &[u8])> = attributes
            .iter()
            .map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_slice()))
            .collect();
        self.tar.append_pax_extensions(records.iter().map(|(name, value)| (name.as_str(), *value)))
    }

    /// A regular file of `size` zero bytes, never held in memory.
    ///
    /// # Errors
    /// Writing failed.
    pub fn zeros(&mut self, name: &str, size: u64) -> io::Result<()> {
        self.stream(name, Meta::mode(0o644), size, io::repeat(0))
    }

    /// Any entry at all, its name and link target unchecked; longer than 100 bytes they become GNU
    /// long-name entries.
    ///
    /// # Errors
    /// Writing failed.
    pub fn raw(
        &mut self,
        mut header: Header,
        name: &str,
        target: &str,
        content: &[u8],
    ) -> io::Result<()> {
        for (text, kind) in [(name, b'L'), (target, b'K')] {
            if text.len() > 100 {
                self.long_text(text, kind)?;
            }
        }
        set_name(&mut header, name);
        set_link(&mut header, target);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.tar.append(&header, content)
    }

    fn long_text(&mut self, text: &str, kind: u8) -> io::Result<()> {
        let mut header = self.header(EntryType::new(kind), Meta::mode(0o644));
        set_name(&mut header, "././@LongLink");
        header.set_size(text.len() as u64 + 1);
        header.set_cksum();
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.tar.append(&header, bytes.as_slice())
    }

    /// Everything below `root`, in the order of its names, without `root` itself. An overlay's
    /// character device 0/0 becomes a whiteout, its opaque directories are marked.
    ///
    /// # Errors
    /// Reading a file or writing failed; names the file.
    pub fn tree(&mut self, root: &Path) -> io::Result<()> {
        let mut seen = BTreeMap::new();
        self.tree_below(root, Path::new(""), &mut seen)
    }

    fn tree_below(
        &mut self,
        root: &Path,
        inside: &Path,
        seen: &mut BTreeMap<(u64, u64), PathBuf>,
    ) -> io::Result<()> {
        let mut names: Vec<_> = std::fs::read_dir(root.join(inside))?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            let path = inside.join(name);
            let on_disk = root.join(&path);
            let stat = rfs::statat(CWD, &on_disk, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| named(&on_disk, error.into()))?;
            self.node(&on_disk, &path, &stat, seen).map_err(|error| named(&on_disk, error))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                self.tree_below(root, &path, seen)?;
            }
        }
        Ok(())
    }

    fn node(
        &mut self,
        on_disk: &Path,
        inside: &Path,
        stat: &Stat,
        seen: &mut BTreeMap<(u64, u64), PathBuf>,
    ) -> io::Result<()> {
        let name = inside.to_str().ok_or_else(|| io::Error::other("name is not UTF-8"))?;
        let meta = Meta {
            mode: stat.st_mode & 0o7777,
            uid: u64::from(stat.st_uid),
            gid: u64::from(stat.st_gid),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            return self.file(&whiteout_of(inside), Meta::mode(0o644), &[]);
        }
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = seen.get(&(stat.st_dev, stat.st_ino)) {
                let first = first.to_str().unwrap_or_default().to_owned();
                return self.hardlink(name, &first);
            }
            seen.insert((stat.st_dev, stat.st_ino), inside.to_owned());
        }
        self.mtime = u64::try_from(stat.st_mtime).unwrap_or(0);
        let (attributes, opaque) = attributes_of(on_disk)?;
        if !attributes.is_empty() {
            self.xattrs(&attributes)?;
        }
        let (major, minor) = (rfs::major(stat.st_rdev), rfs::minor(stat.st_rdev));
        match kind {
            FileType::Directory => {
                self.dir(name, meta)?;
                if opaque {
                    self.file(&format!("{name}/.wh..wh..opq"), Meta::mode(0o644), &[])?;
                }
                Ok(())
            }
            FileType::Symlink => {
                let target = std::fs::read_link(on_disk)?;
                let mut header = self.header(EntryType::Symlink, meta);
                header.set_mode(0o777);
                self.raw(header, name, &target.to_string_lossy(), &[])
            }
            FileType::RegularFile => {
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                self.stream(name, meta, size, File::open(on_disk)?)
            }
            FileType::CharacterDevice => self.device(name, EntryType::Char, (major, minor)),
            FileType::BlockDevice => self.device(name, EntryType::Block, (major, minor)),
            FileType::Fifo => {
                let header = self.header(EntryType::Fifo, meta);
                self.raw(header, name, "", &[])
            }
            // A socket is no part of an image.
            _ => Ok(()),
        }
    }

    /// A file of the disk, under another name, never held in memory.
    ///
    /// # Errors
    /// Reading or writing failed.
    pub fn copy(&mut self, name: &str, on_disk: &Path) -> io::Result<()> {
        let file = File::open(on_disk)?;
        let size = file.metadata()?.len();
        self.stream(name, Meta::mode(0o644), size, file)
    }

    fn stream(&mut self, name: &str, meta: Meta, size: u64, from: impl io::Read) -> io::Result<()> {
        if name.len() > 100 {
            self.long_text(name, b'L')?;
        }
        self.files.insert(name.to_owned(), (meta, self.mtime));
        let mut header = self.header(EntryType::Regular, meta);
        set_name(&mut header, name);
        header.set_size(size);
        header.set_cksum();
        self.tar.append(&header, from.take(size))
    }

    /// Ends the tar and hands its sink back.
    ///
    /// # Errors
    /// Writing failed.
    pub fn finish(self) -> io::Result<W> {
        self.tar.into_inner()
    }
}

fn set_name(header: &mut Header, name: &str) {
    fill(&mut header.as_old_mut().name, name.as_bytes());
}

fn set_link(header: &mut Header, target: &str) {
    fill(&mut header.as_old_mut().linkname, target.as_bytes());
}

fn fill(field: &mut [u8; 100], bytes: &[u8]) {
    field.fill(0);
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

fn whiteout_of(inside: &Path) -> String {
    let name = inside.file_name().unwrap_or(OsStr::new("")).to_string_lossy();
    let parent = inside.parent().unwrap_or(Path::new(""));
    parent.join(format!(".wh.{name}")).to_string_lossy().into_owned()
}

/// Attributes to keep, and whether overlayfs marked the directory opaque.
fn attributes_of(path: &Path) -> io::Result<(BTreeMap<String, Vec<u8>>, bool)> {
    let mut list = vec![0u8; 64 * 1024];
    let length = match rfs::llistxattr(path, list.as_mut_slice()) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    let (mut attributes, mut opaque) = (BTreeMap::new(), false);
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; 64 * 1024];
        let length = rfs::lgetxattr(path, OsStr::from_bytes(name), value.as_mut_slice())?;
        value.truncate(length);
        let name = String::from_utf8_lossy(name).into_owned();
        if name.starts_with("trusted.overlay.") {
            opaque |= name == "trusted.overlay.opaque";
        } else {
            attributes.insert(name, value);
        }
    }
    Ok((attributes, opaque))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

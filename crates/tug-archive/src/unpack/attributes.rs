//! What a file gets after it was made: owner, mode, extended attributes, times.

use super::{Unpacker, on};
use crate::entry::{Entry, Time};
use crate::tree::{Dir, NO_FOLLOW, file_type};
use crate::{EntryName, Error, Result, xattrs};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::io::{BufRead, Write};
use std::os::fd::{AsFd, OwnedFd};

/// What a file gets after it was made.
pub(super) struct Attributes {
    pub(super) name: EntryName,
    mode: u32,
    uid: u32,
    gid: u32,
    times: Timestamps,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The mode it was made with, before the umask.
    pub(super) made_with: u32,
}

/// Not made by us: nothing is known about its mode and owner.
pub(super) const MERGED: u32 = u32::MAX;

impl Attributes {
    pub(super) fn of(entry: &Entry, made_with: u32) -> Self {
        Self {
            name: entry.name(),
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            times: times(entry.mtime),
            xattrs: entry.xattrs.clone(),
            made_with,
        }
    }
}

fn times(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

impl<R: BufRead, W: Write> Unpacker<R, W> {
    /// Owner, mode, attributes, times, in this order; see the module.
    pub(super) fn set_attributes(&mut self, file: &OwnedFd, attributes: &Attributes) -> Result<()> {
        let failed = |action: &'static str| {
            move |error: Errno| Error::Unpack {
                action,
                entry: attributes.name.clone(),
                source: error.into(),
            }
        };
        let (uid, gid) = (attributes.uid, attributes.gid);
        let merged = attributes.made_with == MERGED;
        if merged || (uid, gid) != self.owner {
            rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(failed("set the owner of"))?;
        }
        if merged || attributes.made_with & !self.tree.umask() != attributes.mode {
            rustix::fs::fchmod(file, Mode::from_raw_mode(attributes.mode))
                .map_err(failed("set the mode of"))?;
        }
        for (name, value) in &attributes.xattrs {
            self.set_xattr(&attributes.name, name, || {
                rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty())
            })?;
        }
        rustix::fs::futimens(file, &attributes.times).map_err(failed("set the times of"))
    }

    /// The same for what cannot be opened: links (which have no mode) and special files.
    pub(super) fn set_attributes_by_name(
        &mut self,
        entry: &Entry,
        parent: &Dir,
        name: &[u8],
        made_with: Option<u32>,
    ) -> Result<()> {
        if (entry.uid, entry.gid) != self.owner {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), NO_FOLLOW)
                .map_err(on("set the owner of", entry))?;
        }
        if made_with.is_some_and(|made_with| made_with & !self.tree.umask() != entry.mode) {
            // Not a link: it was made a moment ago as something else.
            let mode = Mode::from_raw_mode(entry.mode);
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty())
                .map_err(on("set the mode of", entry))?;
        }
        self.set_xattrs_by_name(entry, parent, name)?;
        rustix::fs::utimensat(parent, name, &times(entry.mtime), NO_FOLLOW)
            .map_err(on("set the times of", entry))
    }

    /// What a hard link's entry says about its file, where it says something new. Of a symbolic link
    /// only the owner and attributes; see the module.
    pub(super) fn set_link_attributes(
        &mut self,
        entry: &Entry,
        parent: &Dir,
        name: &[u8],
    ) -> Result<()> {
        let stat = rustix::fs::statat(parent, name, NO_FOLLOW)
            .map_err(on("look at the file of", entry))?;
        let owner = (stat.st_uid, stat.st_gid) == (entry.uid, entry.gid);
        if !owner {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), NO_FOLLOW)
                .map_err(on("set the owner of", entry))?;
        }
        let is_link = file_type(&stat) == FileType::Symlink;
        if !is_link && (!owner || stat.st_mode & 0o7777 != entry.mode) {
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .map_err(on("set the mode of", entry))?;
        }
        self.set_xattrs_by_name(entry, parent, name)?;
        let mtime = (stat.st_mtime, stat.st_mtime_nsec);
        if !is_link && mtime != (entry.mtime.seconds, u64::from(entry.mtime.nanoseconds)) {
            rustix::fs::utimensat(parent, name, &times(entry.mtime), NO_FOLLOW)
                .map_err(on("set the times of", entry))?;
        }
        Ok(())
    }

    fn set_xattrs_by_name(&mut self, entry: &Entry, parent: &Dir, name: &[u8]) -> Result<()> {
        if entry.xattrs.is_empty() {
            return Ok(());
        }
        let path = xattrs::path(parent.as_fd(), name);
        for (attribute, value) in &entry.xattrs {
            self.set_xattr(&entry.name(), attribute, || {
                let flags = XattrFlags::empty();
                rustix::fs::lsetxattr(path.as_slice(), attribute.as_slice(), value, flags)
            })?;
        }
        Ok(())
    }

    /// Sets one attribute unless it must not or cannot be: overlay's own would let a layer read
    /// files of other layers, SELinux's are the host's business, and not every file system keeps
    /// all of them (as Docker does, which ignores the same failures).
    fn set_xattr(
        &mut self,
        entry: &EntryName,
        name: &[u8],
        set: impl FnOnce() -> rustix::io::Result<()>,
    ) -> Result<()> {
        const FOREIGN: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"security.selinux"];
        if FOREIGN.iter().any(|prefix| name.starts_with(prefix)) {
            self.skipped_xattrs += 1;
            return Ok(());
        }
        match set() {
            Err(Errno::OPNOTSUPP) => self.skipped_xattrs += 1,
            // User attributes exist on files and directories only.
            Err(Errno::PERM) if name.starts_with(b"user.") => self.skipped_xattrs += 1,
            other => other.map_err(|error| Error::Unpack {
                action: "set the extended attributes of",
                entry: entry.clone(),
                source: error.into(),
            })?,
        }
        Ok(())
    }
}

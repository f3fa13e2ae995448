//! Entries into the files of a layer: where they go (by the rules of Docker's `COPY`), and their content,
//! owners, modes and times.

use super::index::{Mark, now};
use super::mode::ModeChange;
use super::owner::Owner;
use super::rooted;
use super::tree::{Entry, Found, Tree, file_sum, link_sum};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid,
    XattrFlags,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Why something cannot be copied.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum CopyError {
    #[error("{action} {path:?}")]
    Files { action: &'static str, path: String, source: std::io::Error },
    #[error("cannot copy a directory over {path:?}, which is none")]
    NotADirectory { path: String },
    #[error("cannot replace the directory {path:?} with a file")]
    IsADirectory { path: String },
    #[error(transparent)]
    Tree(#[from] super::tree::TreeError),
}

fn on<'a>(action: &'static str, path: &'a str) -> impl Fn(Errno) -> CopyError + 'a {
    move |errno| CopyError::Files { action, path: format!("/{path}"), source: errno.into() }
}

/// How entries are copied.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    /// `--chown`; else the source's owners, or root's when the source has none that count.
    pub owner: Option<Owner>,
    /// `--chmod`
    pub mode: Option<ModeChange>,
    /// Times after this (seconds since the epoch) are set back to it.
    pub epoch: Option<i64>,
}

/// Writes into one layer.
pub(crate) struct Writer<'t> {
    target: BorrowedFd<'t>,
    manner: Manner,
    /// First copies of files with several names.
    links: HashMap<(u64, u64), String>,
    /// Directories whose times are set in the end.
    finished: Vec<(String, Stat)>,
    /// The directory last written to.
    last_dir: Option<(String, OwnedFd)>,
    /// A source file was not what it was when its digest was taken.
    pub(crate) changed: bool,
    /// Nanoseconds since the epoch, before any of the digests was taken.
    since: i128,
    /// Bytes of regular files written.
    pub(crate) bytes: u64,
}

impl<'t> Writer<'t> {
    /// To be made before the entries it copies are walked: see [`Self::changed`].
    pub(crate) fn new(target: BorrowedFd<'t>, manner: Manner) -> Self {
        Self {
            target,
            manner,
            links: HashMap::new(),
            finished: Vec::new(),
            last_dir: None,
            changed: false,
            since: now(),
            bytes: 0,
        }
    }

    /// Whose everything is to be, if not as it was.
    pub(crate) fn new_owner(&self) -> Option<Owner> {
        self.manner.owner
    }

    /// Makes a directory and its parents; those that are there are left as they are. Returns its real
    /// name.
    pub(crate) fn make_dirs(&mut self, path: &str, owner: Owner) -> Result<String, CopyError> {
        let real = rooted::real(self.target, path, true).map_err(on("look up", path))?;
        let mut here = String::new();
        let mut missing = Vec::new();
        for name in real.split('/').filter(|name| !name.is_empty()) {
            here = rooted::join(&here, name);
            if missing.is_empty() {
                match rooted::stat(self.target, &here) {
                    Ok(stat) if rooted::kind(&stat) == FileType::Directory => continue,
                    Ok(_) => return Err(CopyError::NotADirectory { path: format!("/{here}") }),
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(on("look at", &here)(error)),
                }
            }
            missing.push(here.clone());
        }
        // Parents outside of the image's layer keep their times when something is made in them here.
        for dir in &missing {
            let (parent, name) = rooted::split(dir);
            let parent = self.open_parent(parent)?;
            rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))
                .map_err(on("create", dir))?;
            let made = rustix::fs::openat(&parent, name, DIRECTORY, Mode::empty())
                .map_err(on("open", dir))?;
            chown(&made, owner).map_err(on("set the owner of", dir))?;
            rustix::fs::fchmod(&made, self.mode_of_made()).map_err(on("set the mode of", dir))?;
        }
        for dir in missing.iter().rev() {
            if let Some(epoch) = self.manner.epoch {
                let time = Timespec { tv_sec: epoch, tv_nsec: 0 };
                let fd = rooted::open_dir(self.target, dir).map_err(on("open", dir))?;
                let times = Timestamps { last_access: time, last_modification: time };
                rustix::fs::futimens(&fd, &times).map_err(on("set the times of", dir))?;
            }
        }
        Ok(real)
    }

    /// Copies one source to a destination as written: `/dir/`, `/name`.
    pub(crate) fn copy(
        &mut self,
        from: &Tree,
        found: &Found,
        entries: &[Entry],
        destination: &str,
    ) -> Result<(), CopyError> {
        let owner = self.manner.owner.unwrap_or_default();
        let ensured = match destination.ends_with('/') {
            true => destination,
            false => rooted::split(destination).0,
        };
        self.make_dirs(ensured, owner)?;
        let mut to =
            rooted::real(self.target, destination, true).map_err(on("look up", destination))?;
        // The way a link leads may not be there yet.
        self.make_dirs(rooted::split(&to).0, owner)?;
        let Some(top) = entries.first() else { return Ok(()) };
        if !top.is_dir() {
            let there = rooted::stat(self.target, &to).ok();
            if there.is_some_and(|stat| rooted::kind(&stat) == FileType::Directory) {
                let name = rooted::split(found.written.trim_end_matches('/')).1;
                to = rooted::join(&to, name);
            }
        }
        self.copy_at(from, &found.real, entries, &to)
    }

    /// Copies entries to a real name; directories above it exist.
    pub(crate) fn copy_at(
        &mut self,
        from: &Tree,
        top: &str,
        entries: &[Entry],
        to: &str,
    ) -> Result<(), CopyError> {
        let mut source_dir: Option<(String, OwnedFd)> = None;
        for entry in entries {
            let relative = entry.path[top.len()..].trim_start_matches('/');
            let target =
                if relative.is_empty() { to.to_owned() } else { rooted::join(to, relative) };
            if entry.is_dir() {
                self.directory(from, entry, &target, relative.is_empty())?;
            } else {
                let (dir, name) = rooted::split(&entry.path);
                if source_dir.as_ref().is_none_or(|(known, _)| known != dir) {
                    let fd = rooted::open(from.root(), dir, OFlags::PATH | OFlags::DIRECTORY)
                        .map_err(on("open", dir))?;
                    source_dir = Some((dir.to_owned(), fd));
                }
                if let Some((_, fd)) = &source_dir {
                    self.file(from, fd.as_fd(), name, entry, &target)?;
                }
            }
        }
        self.settle_directories()
    }

    /// `--parents`: the directories on the way from `base` to what was found are copied too.
    pub(crate) fn copy_parents(
        &mut self,
        from: &Tree,
        base: &str,
        found: &Found,
        entries: &[Entry],
        destination: &str,
    ) -> Result<(), CopyError> {
        let to = self.make_dirs(destination, self.manner.owner.unwrap_or_default())?;
        let relative = found.real[base.len().min(found.real.len())..].trim_start_matches('/');
        let mut here = base.to_owned();
        let mut there = to;
        let names: Vec<&str> = relative.split('/').filter(|name| !name.is_empty()).collect();
        for name in names.iter().take(names.len().saturating_sub(1)) {
            here = rooted::join(&here, name);
            there = rooted::join(&there, name);
            let stat = rooted::stat(from.root(), &here).map_err(on("look at", &here))?;
            let entry = Entry { path: here.clone(), stat, sum: [0; 32] };
            self.directory(from, &entry, &there, false)?;
        }
        if let Some(last) = names.last() {
            there = rooted::join(&there, last);
        }
        self.copy_at(from, &found.real, entries, &there)
    }

    /// Writes a file of a Dockerfile's own.
    pub(crate) fn write(
        &mut self,
        name: &str,
        data: &[u8],
        mode: u32,
        destination: &str,
    ) -> Result<(), CopyError> {
        let owner = self.manner.owner.unwrap_or_default();
        let ensured = match destination.ends_with('/') {
            true => destination,
            false => rooted::split(destination).0,
        };
        self.make_dirs(ensured, owner)?;
        let mut to =
            rooted::real(self.target, destination, true).map_err(on("look up", destination))?;
        self.make_dirs(rooted::split(&to).0, owner)?;
        let there = rooted::stat(self.target, &to).ok();
        if there.is_some_and(|stat| rooted::kind(&stat) == FileType::Directory) {
            to = rooted::join(&to, rooted::split(name).1);
        }
        self.make_room(&to)?;
        let (dir, last) = rooted::split(&to);
        let dir = self.open_parent(dir)?;
        let file = rustix::fs::openat(&dir, last, NEW_FILE, Mode::RUSR | Mode::WUSR)
            .map_err(on("create", &to))?;
        let mut rest = data;
        while !rest.is_empty() {
            match rustix::io::write(&file, rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(on("write", &to)(error)),
            }
        }
        self.bytes += data.len() as u64;
        chown(&file, owner).map_err(on("set the owner of", &to))?;
        let mode = self.manner.mode.as_ref().map_or(mode, |change| change.apply(mode, false));
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(on("set the mode of", &to))?;
        // The time of writing would make every build another one.
        let time = Timespec { tv_sec: self.manner.epoch.unwrap_or(0), tv_nsec: 0 };
        let time = if self.manner.epoch.is_some() {
            time
        } else {
            Timespec { tv_sec: 0, tv_nsec: UTIME_NOW }
        };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&file, &times).map_err(on("set the times of", &to))
    }

    fn directory(
        &mut self,
        from: &Tree,
        entry: &Entry,
        target: &str,
        top: bool,
    ) -> Result<(), CopyError> {
        if target.is_empty() {
            return Ok(());
        }
        let (parent, name) = rooted::split(target);
        let parent = self.open_parent(parent)?;
        let made = match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(on("create", target)(error)),
        };
        let fd = match rustix::fs::openat(&parent, name, DIRECTORY, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(CopyError::NotADirectory { path: format!("/{target}") });
            }
            Err(error) => return Err(on("open", target)(error)),
        };
        if !top {
            let source =
                rooted::open_dir(from.root(), &entry.path).map_err(on("open", &entry.path))?;
            self.attributes(from, &fd, &entry.stat, source.as_fd(), target)?;
        } else if made {
            // The destination is not the source but what it is copied into: one like any other.
            chown(&fd, self.manner.owner.unwrap_or_default())
                .map_err(on("set the owner of", target))?;
            rustix::fs::fchmod(&fd, self.mode_of_made()).map_err(on("set the mode of", target))?;
        }
        self.finished.push((target.to_owned(), entry.stat));
        self.last_dir = Some((target.to_owned(), fd));
        Ok(())
    }

    fn file(
        &mut self,
        from: &Tree,
        dir: BorrowedFd<'_>,
        name: &str,
        entry: &Entry,
        target: &str,
    ) -> Result<(), CopyError> {
        let (parent, last) = rooted::split(target);
        let parent = self.open_parent(parent)?;
        if entry.stat.st_nlink > 1 && entry.kind() != FileType::Directory {
            let file = (entry.stat.st_dev, entry.stat.st_ino);
            if let Some(first) = self.links.get(&file).cloned() {
                self.make_room(target)?;
                let (first_dir, first_name) = rooted::split(&first);
                let first_dir =
                    rooted::open(self.target, first_dir, OFlags::PATH | OFlags::DIRECTORY)
                        .map_err(on("open", &first))?;
                return rustix::fs::linkat(&first_dir, first_name, &parent, last, AtFlags::empty())
                    .map_err(on("link", target));
            }
            self.links.insert(file, target.to_owned());
        }
        if entry.kind() == FileType::RegularFile {
            return self.regular(from, dir, name, entry, (parent.as_fd(), last, target));
        }
        self.make_room(target)?;
        match entry.kind() {
            FileType::Symlink => {
                let to = rustix::fs::readlinkat(dir, name, Vec::new())
                    .map_err(on("read the link", &entry.path))?;
                self.changed |= link_sum(to.as_bytes()) != entry.sum;
                rustix::fs::symlinkat(to, &parent, last).map_err(on("create", target))?;
            }
            kind => {
                let mode = Mode::from_raw_mode(entry.stat.st_mode & 0o777);
                rustix::fs::mknodat(&parent, last, kind, mode, entry.stat.st_rdev)
                    .map_err(on("create", target))?;
            }
        }
        let owner = self.owner(from, &entry.stat);
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&parent, last, Some(uid), Some(gid), no_follow)
            .map_err(on("set the owner of", target))?;
        if entry.kind() != FileType::Symlink {
            let mode = Mode::from_raw_mode(self.mode(&entry.stat));
            rustix::fs::chmodat(&parent, last, mode, AtFlags::empty())
                .map_err(on("set the mode of", target))?;
        }
        rustix::fs::utimensat(&parent, last, &self.times(&entry.stat), no_follow)
            .map_err(on("set the times of", target))
    }

    fn regular(
        &mut self,
        from: &Tree,
        dir: BorrowedFd<'_>,
        name: &str,
        entry: &Entry,
        (parent, last, target): (BorrowedFd<'_>, &str, &str),
    ) -> Result<(), CopyError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(on("open", &entry.path))?;
        let stat = rustix::fs::fstat(&file).map_err(on("look at", &entry.path))?;
        let copy = match rustix::fs::openat(parent, last, NEW_FILE, Mode::RUSR | Mode::WUSR) {
            Err(Errno::EXIST) => {
                self.make_room(target)?;
                rustix::fs::openat(parent, last, NEW_FILE, Mode::RUSR | Mode::WUSR)
            }
            other => other,
        };
        let copy = copy.map_err(on("create", target))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        tug_archive::copy_content(&file, &copy, size).map_err(on("copy", &entry.path))?;
        self.bytes += size;
        self.attributes(from, &copy, &stat, file.as_fd(), target)?;
        rustix::fs::futimens(&copy, &self.times(&stat)).map_err(on("set the times of", target))?;
        let after = rustix::fs::fstat(&file).map_err(on("look at", &entry.path))?;
        let mark = Mark::of(&entry.stat);
        self.changed |= Mark::of(&after) != mark;
        // Written so shortly before that another edit would not show: the copy itself tells.
        if !self.changed && !mark.is_settled(self.since) {
            let rewound = rustix::fs::seek(&copy, rustix::fs::SeekFrom::Start(0));
            let sum = rewound.and_then(|_| file_sum(copy.as_fd(), &from.xattrs(file.as_fd())));
            self.changed = sum.map_err(on("read", target))? != entry.sum;
        }
        Ok(())
    }

    /// Owner, mode and attributes of an open copy.
    fn attributes(
        &self,
        from: &Tree,
        copy: &OwnedFd,
        stat: &Stat,
        source: BorrowedFd<'_>,
        target: &str,
    ) -> Result<(), CopyError> {
        chown(copy, self.owner(from, stat)).map_err(on("set the owner of", target))?;
        let xattrs = from.xattrs(source);
        for (name, value) in
            xattrs.iter().filter(|(name, _)| !tug_archive::is_left_out(name.as_bytes()))
        {
            match rustix::fs::fsetxattr(copy, name, value, XattrFlags::empty()) {
                // The other file system keeps fewer of them.
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(error) => return Err(on("set the attributes of", target)(error)),
            }
        }
        rustix::fs::fchmod(copy, Mode::from_raw_mode(self.mode(stat)))
            .map_err(on("set the mode of", target))
    }

    fn owner(&self, from: &Tree, stat: &Stat) -> Owner {
        match self.manner.owner {
            Some(owner) => owner,
            None if from.has_owners() => Owner { uid: stat.st_uid, gid: stat.st_gid },
            None => Owner::default(),
        }
    }

    fn mode_of_made(&self) -> Mode {
        Mode::from_raw_mode(ModeChange::of_made(self.manner.mode.as_ref()))
    }

    fn mode(&self, stat: &Stat) -> u32 {
        let mode = stat.st_mode & 0o7777;
        let directory = rooted::kind(stat) == FileType::Directory;
        self.manner.mode.as_ref().map_or(mode, |change| change.apply(mode, directory))
    }

    fn times(&self, stat: &Stat) -> Timestamps {
        let late = self.manner.epoch.filter(|epoch| stat.st_mtime >= *epoch);
        let last_modification = match late {
            Some(epoch) => Timespec { tv_sec: epoch, tv_nsec: 0 },
            None => Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() },
        };
        Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification }
    }

    /// Takes away what is at a name, unless it is a directory.
    fn make_room(&mut self, target: &str) -> Result<(), CopyError> {
        let (parent, last) = rooted::split(target);
        let parent = self.open_parent(parent)?;
        match rustix::fs::unlinkat(&parent, last, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {
                Err(CopyError::IsADirectory { path: format!("/{target}") })
            }
            Err(error) => Err(on("replace", target)(error)),
        }
    }

    /// A directory of the target. The one last used is at hand: entries come directory by directory.
    fn open_parent(&mut self, dir: &str) -> Result<OwnedFd, CopyError> {
        if let Some((known, fd)) = &self.last_dir
            && known == dir
        {
            return fd.try_clone().map_err(|source| CopyError::Files {
                action: "open",
                path: format!("/{dir}"),
                source,
            });
        }
        let fd = rooted::open_dir(self.target, dir).map_err(on("open", dir))?;
        let copy = fd.try_clone().map_err(|source| CopyError::Files {
            action: "open",
            path: format!("/{dir}"),
            source,
        })?;
        self.last_dir = Some((dir.to_owned(), copy));
        Ok(fd)
    }

    /// Times of directories last: making something in them changes them.
    fn settle_directories(&mut self) -> Result<(), CopyError> {
        for (dir, stat) in std::mem::take(&mut self.finished).into_iter().rev() {
            let fd = rooted::open_dir(self.target, &dir).map_err(on("open", &dir))?;
            rustix::fs::futimens(&fd, &self.times(&stat)).map_err(on("set the times of", &dir))?;
        }
        Ok(())
    }
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const NEW_FILE: OFlags = OFlags::RDWR
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn chown(file: &OwnedFd, owner: Owner) -> Result<(), Errno> {
    rustix::fs::fchown(file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
}

/// A path by which the kernel names an open directory.
pub(crate) fn descriptor_path(fd: BorrowedFd<'_>) -> std::path::PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

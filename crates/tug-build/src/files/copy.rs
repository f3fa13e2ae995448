//! Entries into the files of a layer: where they go, by the rules of Docker's `COPY`, and the directories
//! they go into. The files themselves: [`super::file`].

use super::file::{Files, Job, modified};
use super::index::now;
use super::mode::ModeChange;
use super::owner::Owner;
use super::rooted::{self, Names, shown};
use super::target::{OPAQUE, Place, Target, is_mark};
use super::tree::{Entry, Found, Tree};
use crate::build::Cancel;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

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
    #[error("cancelled")]
    Cancelled,
}

pub(super) fn on<'a>(action: &'static str, path: &'a [u8]) -> impl Fn(Errno) -> CopyError + 'a {
    move |errno| CopyError::Files { action, path: shown(path), source: errno.into() }
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

impl Manner {
    pub(super) fn mode_of_made(&self) -> Mode {
        Mode::from_raw_mode(ModeChange::of_made(self.mode.as_ref()))
    }

    pub(super) fn mode(&self, stat: &Stat) -> Mode {
        let mode = stat.st_mode & 0o7777;
        let directory = rooted::kind(stat) == FileType::Directory;
        let change = self.mode.as_ref();
        Mode::from_raw_mode(change.map_or(mode, |change| change.apply(mode, directory)))
    }

    pub(super) fn owner(&self, from: &Tree, stat: &Stat) -> Owner {
        match self.owner {
            Some(owner) => owner,
            None if from.has_owners() => Owner { uid: stat.st_uid, gid: stat.st_gid },
            None => Owner::default(),
        }
    }

    pub(super) fn times(&self, stat: &Stat) -> Timestamps {
        match self.epoch.filter(|epoch| stat.st_mtime >= *epoch) {
            Some(epoch) => modified(epoch, 0),
            None => modified(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
        }
    }
}

/// Writes into one layer.
pub(crate) struct Writer<'t> {
    target: &'t Target,
    manner: Manner,
    cancel: Option<&'t Cancel>,
    /// Directories whose times are set in the end.
    finished: Vec<(Vec<u8>, Stat)>,
    /// The directory last written to.
    last: Option<(Vec<u8>, Arc<Place>)>,
    /// A source file was not what it was when its digest was taken.
    pub(crate) changed: bool,
    /// Nanoseconds since the epoch, before any of the digests was taken.
    since: i128,
    /// Bytes of regular files written.
    pub(crate) bytes: u64,
}

impl<'t> Writer<'t> {
    /// To be made before the entries it copies are walked: see [`Self::changed`].
    pub(crate) fn new(target: &'t Target, manner: Manner) -> Self {
        Self {
            target,
            manner,
            cancel: None,
            finished: Vec::new(),
            last: None,
            changed: false,
            since: now(),
            bytes: 0,
        }
    }

    /// The same, ending early when it is cancelled.
    pub(crate) fn heeding(self, cancel: &'t Cancel) -> Self {
        Self { cancel: Some(cancel), ..self }
    }

    /// Where it writes.
    pub(crate) fn target(&self) -> &'t Target {
        self.target
    }

    /// Lets everything be written as one tree.
    pub(crate) fn composed<T>(
        &mut self,
        write: impl FnOnce(BorrowedFd<'_>) -> T,
    ) -> Result<T, CopyError> {
        // It may be something else afterwards.
        self.last = None;
        self.target.composed(write).map_err(on("compose the files below", b""))
    }

    /// Whose everything is to be, if not as it was.
    pub(crate) fn new_owner(&self) -> Option<Owner> {
        self.manner.owner
    }

    /// Makes a directory and its parents; those that are there are left as they are. Returns its real
    /// name.
    pub(crate) fn make_dirs(
        &mut self,
        path: impl AsRef<[u8]>,
        owner: Owner,
    ) -> Result<Vec<u8>, CopyError> {
        let path = path.as_ref();
        let real = rooted::real(self.target, path, true).map_err(on("look up", path))?;
        let mut here = Vec::new();
        let mut missing = Vec::new();
        for name in rooted::parts(&real) {
            here = rooted::join(&here, name);
            if missing.is_empty() {
                match self.target.stat(&here) {
                    Ok(stat) if rooted::kind(&stat) == FileType::Directory => continue,
                    Ok(_) => return Err(CopyError::NotADirectory { path: shown(&here) }),
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(on("look at", &here)(error)),
                }
            }
            missing.push(here.clone());
        }
        let made: Vec<OwnedFd> =
            missing.iter().map(|dir| self.make_dir(dir, owner)).collect::<Result<_, _>>()?;
        // Making something in one changes it: the innermost first.
        if let Some(epoch) = self.manner.epoch {
            for (fd, dir) in made.iter().zip(&missing).rev() {
                let times = Timestamps {
                    last_access: Timespec { tv_sec: epoch, tv_nsec: 0 },
                    ..modified(epoch, 0)
                };
                rustix::fs::futimens(fd, &times).map_err(on("set the times of", dir))?;
            }
        }
        Ok(real)
    }

    /// Makes a directory that is in neither of both.
    fn make_dir(&mut self, dir: &[u8], owner: Owner) -> Result<OwnedFd, CopyError> {
        let (parent, name) = rooted::split(dir);
        let parent = self.place(parent)?;
        let made = fresh_dir(&parent, name).map_err(on("create", dir))?;
        chown(&made, owner).map_err(on("set the owner of", dir))?;
        rustix::fs::fchmod(&made, self.manner.mode_of_made())
            .map_err(on("set the mode of", dir))?;
        Ok(made)
    }

    /// Copies one source to a destination as written: `/dir/`, `/name`.
    pub(crate) fn copy(
        &mut self,
        from: &Tree,
        found: &Found,
        entries: &[Entry],
        destination: &[u8],
    ) -> Result<(), CopyError> {
        let mut to = self.destination(destination)?;
        let Some(top) = entries.first() else { return Ok(()) };
        if !top.is_dir() && self.is_dir(&to) {
            let name = rooted::parts(&found.written).next_back().unwrap_or_default();
            to = rooted::join(&to, name);
        }
        self.copy_at(from, &found.real, entries, &to)
    }

    /// The real name of a destination; the directory it is in, or it is itself, is made.
    fn destination(&mut self, written: &[u8]) -> Result<Vec<u8>, CopyError> {
        let owner = self.manner.owner.unwrap_or_default();
        let ensured = match written.ends_with(b"/") {
            true => written,
            false => rooted::split(written).0,
        };
        self.make_dirs(ensured, owner)?;
        let to = rooted::real(self.target, written, true).map_err(on("look up", written))?;
        // The way a link leads may not be there yet.
        self.make_dirs(rooted::split(&to).0, owner)?;
        Ok(to)
    }

    fn is_dir(&self, name: &[u8]) -> bool {
        let stat = self.target.stat(name);
        stat.is_ok_and(|stat| rooted::kind(&stat) == FileType::Directory)
    }

    /// Copies entries to a real name; directories above it exist. First all directories, then what is in
    /// them, then further names of files that have several.
    pub(crate) fn copy_at(
        &mut self,
        from: &Tree,
        top: &[u8],
        entries: &[Entry],
        to: &[u8],
    ) -> Result<(), CopyError> {
        let mut jobs = Vec::with_capacity(entries.len());
        let mut links = Vec::new();
        let mut first_names = HashMap::new();
        for entry in entries {
            let below = rooted::below_of(&entry.path, top);
            let target = if below.is_empty() { to.to_vec() } else { rooted::join(to, below) };
            if entry.is_dir() {
                self.directory(from, entry, &target, below.is_empty())?;
                continue;
            }
            self.place(rooted::split(&target).0)?;
            if entry.stat.st_nlink > 1 {
                let file = (entry.stat.st_dev, entry.stat.st_ino);
                if let Some(first) = first_names.get(&file) {
                    links.push((Vec::clone(first), target));
                    continue;
                }
                first_names.insert(file, target.clone());
            }
            jobs.push(Job { entry, target });
        }
        let files = Files::new(from, self.target, &self.manner, self.cancel, self.since);
        let done = files.copy_all(&jobs)?;
        self.bytes += done.bytes;
        self.changed |= done.changed;
        for (first, target) in links {
            files.link(&first, &target)?;
        }
        self.settle_directories()
    }

    /// `--parents`: the directories on the way from `base` to what was found are copied too.
    pub(crate) fn copy_parents(
        &mut self,
        from: &Tree,
        base: &[u8],
        found: &Found,
        entries: &[Entry],
        destination: &[u8],
    ) -> Result<(), CopyError> {
        let to = self.make_dirs(destination, self.manner.owner.unwrap_or_default())?;
        let mut here = base.to_vec();
        let mut there = to;
        let names: Vec<&[u8]> = rooted::parts(rooted::below_of(&found.real, base)).collect();
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
        destination: &[u8],
    ) -> Result<(), CopyError> {
        let mut to = self.destination(destination)?;
        if self.is_dir(&to) {
            to = rooted::join(&to, rooted::split(name.as_bytes()).1);
        }
        let (dir, last) = rooted::split(&to);
        let place = self.place(dir)?;
        let file = super::file::create(&place, last, &to, Mode::RUSR | Mode::WUSR)?;
        let mut rest = data;
        while !rest.is_empty() {
            match rustix::io::write(&file, rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(on("write", &to)(error)),
            }
        }
        self.bytes += data.len() as u64;
        chown(&file, self.manner.owner.unwrap_or_default()).map_err(on("set the owner of", &to))?;
        let mode = self.manner.mode.as_ref().map_or(mode, |change| change.apply(mode, false));
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(on("set the mode of", &to))?;
        // The time of writing would make every build another one.
        let times = match self.manner.epoch {
            Some(epoch) => modified(epoch, 0),
            None => modified(0, UTIME_NOW),
        };
        rustix::fs::futimens(&file, &times).map_err(on("set the times of", &to))
    }

    fn directory(
        &mut self,
        from: &Tree,
        entry: &Entry,
        target: &[u8],
        top: bool,
    ) -> Result<(), CopyError> {
        if target.is_empty() {
            return Ok(());
        }
        if let Some(cancel) = self.cancel {
            cancel.check().map_err(|_| CopyError::Cancelled)?;
        }
        let there = match self.target.stat(target) {
            Ok(stat) if rooted::kind(&stat) == FileType::Directory => true,
            Ok(_) => return Err(CopyError::NotADirectory { path: shown(target) }),
            Err(Errno::NOENT) => false,
            Err(error) => return Err(on("look at", target)(error)),
        };
        let place = match there {
            true => self.place(target)?,
            false => {
                let (parent, name) = rooted::split(target);
                let upper = fresh_dir(&*self.place(parent)?, name).map_err(on("create", target))?;
                Arc::new(Place { upper, lower: None })
            }
        };
        if !top {
            let source =
                rooted::open_dir(from.root(), &entry.path).map_err(on("open", &entry.path))?;
            chown(&place.upper, self.manner.owner(from, &entry.stat))
                .map_err(on("set the owner of", target))?;
            set_xattrs(&place.upper, &from.xattrs(source.as_fd()))
                .map_err(on("set the attributes of", target))?;
            rustix::fs::fchmod(&place.upper, self.manner.mode(&entry.stat))
                .map_err(on("set the mode of", target))?;
        } else if !there {
            // The destination is not the source but what it is copied into: one like any other.
            chown(&place.upper, self.manner.owner.unwrap_or_default())
                .map_err(on("set the owner of", target))?;
            rustix::fs::fchmod(&place.upper, self.manner.mode_of_made())
                .map_err(on("set the mode of", target))?;
        }
        self.finished.push((target.to_vec(), entry.stat));
        self.last = Some((target.to_vec(), place));
        Ok(())
    }

    /// A directory of the target. The one last used is at hand: entries come directory by directory.
    fn place(&mut self, dir: &[u8]) -> Result<Arc<Place>, CopyError> {
        if let Some((known, place)) = &self.last
            && known == dir
        {
            return Ok(place.clone());
        }
        let place = Arc::new(self.target.place(dir).map_err(on("open", dir))?);
        self.last = Some((dir.to_vec(), place.clone()));
        Ok(place)
    }

    /// Times of directories last: making something in them changes them.
    fn settle_directories(&mut self) -> Result<(), CopyError> {
        for (dir, stat) in std::mem::take(&mut self.finished).into_iter().rev() {
            let place = self.target.place(&dir).map_err(on("open", &dir))?;
            rustix::fs::futimens(&place.upper, &self.manner.times(&stat))
                .map_err(on("set the times of", &dir))?;
        }
        Ok(())
    }
}

/// Makes a directory where nothing shows.
fn fresh_dir(parent: &Place, name: &[u8]) -> Result<OwnedFd, Errno> {
    const DIRECTORY: OFlags =
        OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
    let open = || rustix::fs::openat(&parent.upper, name, DIRECTORY, Mode::empty());
    match rustix::fs::mkdirat(&parent.upper, name, Mode::RWXU) {
        Ok(()) => open(),
        // What is below is deleted, and has to stay so.
        Err(Errno::EXIST) if is_mark(&rustix::fs::statat(&parent.upper, name, NO_FOLLOW)?) => {
            rustix::fs::unlinkat(&parent.upper, name, AtFlags::empty())?;
            rustix::fs::mkdirat(&parent.upper, name, Mode::RWXU)?;
            let made = open()?;
            rustix::fs::fsetxattr(&made, OPAQUE, b"y", XattrFlags::empty())?;
            Ok(made)
        }
        Err(error) => Err(error),
    }
}

pub(super) const NO_FOLLOW: AtFlags = AtFlags::SYMLINK_NOFOLLOW;

pub(super) fn chown(file: &OwnedFd, owner: Owner) -> Result<(), Errno> {
    rustix::fs::fchown(file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
}

pub(super) fn set_xattrs(file: &OwnedFd, xattrs: &[tug_archive::Xattr]) -> Result<(), Errno> {
    for (name, value) in xattrs {
        if tug_archive::is_left_out(name.as_bytes()) {
            continue;
        }
        match rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()) {
            // The other file system keeps fewer of them.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A path by which the kernel names an open directory.
pub(crate) fn descriptor_path(fd: BorrowedFd<'_>) -> std::path::PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

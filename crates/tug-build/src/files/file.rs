//! Files of one source into directories that are there: contents, owners, modes and times, on all cores.

use super::copy::{CopyError, Manner, NO_FOLLOW, chown, on, set_xattrs};
use super::index::Mark;
use super::rooted::{self, shown};
use super::target::{Place, Target};
use super::tree::{Entry, Tree, file_sum, link_sum};
use crate::build::Cancel;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid,
};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use tug_archive::ContentCopier;

/// One file to be copied: its name in the target, whose directory is there.
pub(super) struct Job<'e> {
    pub entry: &'e Entry,
    pub target: Vec<u8>,
}

/// What came of some.
#[derive(Default)]
pub(super) struct Done {
    /// Bytes of regular files.
    pub bytes: u64,
    /// A source file was not what it was when its digest was taken.
    pub changed: bool,
}

/// Files of one tree into another.
pub(super) struct Files<'a> {
    from: &'a Tree,
    to: &'a Target,
    manner: &'a Manner,
    cancel: Option<&'a Cancel>,
    since: i128,
}

/// What one thread has at hand.
#[derive(Default)]
struct Hand {
    source: Option<(Vec<u8>, OwnedFd)>,
    place: Option<(Vec<u8>, Place)>,
    content: ContentCopier,
    done: Done,
}

/// Fewer are copied sooner than a thread is started.
const FEW: usize = 32;
/// Files of one directory that one thread takes at once. Whole directories are best: making files in one
/// is done by one thread at a time.
const PIECE: usize = 256;
/// More threads wait for the file system's journal.
const THREADS: usize = 4;

impl<'a> Files<'a> {
    pub(super) fn new(
        from: &'a Tree,
        to: &'a Target,
        manner: &'a Manner,
        cancel: Option<&'a Cancel>,
        since: i128,
    ) -> Self {
        Self { from, to, manner, cancel, since }
    }

    /// Copies all of them, directory by directory. Fails with the first error in their order.
    pub(super) fn copy_all(&self, jobs: &[Job<'_>]) -> Result<Done, CopyError> {
        let pieces = pieces(jobs);
        let threads = match jobs.len() {
            0..FEW => 1,
            _ => std::thread::available_parallelism().map_or(1, usize::from).min(THREADS),
        };
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let failure = Mutex::new(None::<(usize, CopyError)>);
        let work = || {
            let mut hand = Hand::default();
            while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                for at in piece.clone() {
                    if failed.load(Ordering::Relaxed) {
                        return hand.done;
                    }
                    if let Err(error) = self.copy(&jobs[at], &mut hand) {
                        failed.store(true, Ordering::Relaxed);
                        let mut first = failure.lock().unwrap_or_else(PoisonError::into_inner);
                        if first.as_ref().is_none_or(|(other, _)| at < *other) {
                            *first = Some((at, error));
                        }
                        return hand.done;
                    }
                }
            }
            hand.done
        };
        let all = std::thread::scope(|scope| {
            let others: Vec<_> =
                (1..threads.min(pieces.len())).map(|_| scope.spawn(work)).collect();
            let mut all = vec![work()];
            for other in others {
                all.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            all
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, error)) => Err(error),
            None => Ok(all.into_iter().fold(Done::default(), |sum, one| Done {
                bytes: sum.bytes + one.bytes,
                changed: sum.changed || one.changed,
            })),
        }
    }

    /// Gives a file that has been copied another name.
    pub(super) fn link(&self, first: &[u8], target: &[u8]) -> Result<(), CopyError> {
        let (first_dir, first_name) = rooted::split(first);
        let (dir, name) = rooted::split(target);
        let from = self.to.place(first_dir).map_err(on("open", first_dir))?;
        let to = self.to.place(dir).map_err(on("open", dir))?;
        make_room(&to, name, target)?;
        rustix::fs::linkat(&from.upper, first_name, &to.upper, name, AtFlags::empty())
            .map_err(on("link", target))
    }

    fn copy(&self, job: &Job<'_>, hand: &mut Hand) -> Result<(), CopyError> {
        if let Some(cancel) = self.cancel {
            cancel.check().map_err(|_| CopyError::Cancelled)?;
        }
        let Job { entry, target } = job;
        let (dir, name) = rooted::split(&entry.path);
        let source = match hand.source.take() {
            Some((known, fd)) if known == dir => fd,
            _ => rooted::open(self.from.root(), dir, OFlags::PATH | OFlags::DIRECTORY)
                .map_err(on("open", dir))?,
        };
        let (parent, last) = rooted::split(target);
        let place = match hand.place.take() {
            Some((known, place)) if known == parent => place,
            _ => self.to.place(parent).map_err(on("open", parent))?,
        };
        match entry.kind() {
            FileType::RegularFile => self.regular(&source, name, job, (&place, last), hand)?,
            _ => self.special(&source, name, job, (&place, last), hand)?,
        }
        hand.source = Some((dir.to_vec(), source));
        hand.place = Some((parent.to_vec(), place));
        Ok(())
    }

    fn regular(
        &self,
        dir: &OwnedFd,
        name: &[u8],
        Job { entry, target }: &Job<'_>,
        (place, last): (&Place, &[u8]),
        hand: &mut Hand,
    ) -> Result<(), CopyError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(on("open", &entry.path))?;
        let mode = self.manner.mode(&entry.stat);
        let copy = create(place, last, target, mode & Mode::from_raw_mode(0o777))?;
        let size = u64::try_from(entry.stat.st_size).unwrap_or(0);
        let below = self.from.device_below().filter(|device| hand.content.may_share(*device));
        let content = match below.and_then(|device| Some((self.from.open_below(entry)?, device))) {
            Some((below, device)) => hand.content.copy(&below, &copy, device, size),
            None => hand.content.copy(&file, &copy, entry.stat.st_dev, size),
        };
        content.map_err(on("copy", &entry.path))?;
        hand.done.bytes += size;
        self.attributes(&entry.stat, &file, &copy, target)?;
        let after = rustix::fs::fstat(&file).map_err(on("look at", &entry.path))?;
        let mark = Mark::of(&entry.stat);
        hand.done.changed |= Mark::of(&after) != mark;
        // Written so shortly before that another edit would not show: the copy itself tells.
        if !hand.done.changed && !mark.is_settled(self.since) {
            let rewound = rustix::fs::seek(&copy, rustix::fs::SeekFrom::Start(0));
            let sum = rewound.and_then(|_| file_sum(copy.as_fd(), &self.from.xattrs(file.as_fd())));
            hand.done.changed = sum.map_err(on("read", target))? != entry.sum;
        }
        Ok(())
    }

    /// Owner, attributes, mode and times of an open copy, as far as they are not what they should be.
    fn attributes(
        &self,
        stat: &Stat,
        source: &OwnedFd,
        copy: &OwnedFd,
        target: &[u8],
    ) -> Result<(), CopyError> {
        let made = rustix::fs::fstat(copy).map_err(on("look at", target))?;
        let owner = self.manner.owner(self.from, stat);
        if (made.st_uid, made.st_gid) != (owner.uid, owner.gid) {
            chown(copy, owner).map_err(on("set the owner of", target))?;
        }
        set_xattrs(copy, &self.from.xattrs(source.as_fd()))
            .map_err(on("set the attributes of", target))?;
        // Attributes may be a list of who may do what, and change it.
        let mode = self.manner.mode(stat);
        if Mode::from_raw_mode(made.st_mode & 0o7777) != mode || self.from.has_owners() {
            rustix::fs::fchmod(copy, mode).map_err(on("set the mode of", target))?;
        }
        rustix::fs::futimens(copy, &self.manner.times(stat)).map_err(on("set the times of", target))
    }

    /// Links, pipes and devices.
    fn special(
        &self,
        dir: &OwnedFd,
        name: &[u8],
        Job { entry, target }: &Job<'_>,
        (place, last): (&Place, &[u8]),
        hand: &mut Hand,
    ) -> Result<(), CopyError> {
        make_room(place, last, target)?;
        match entry.kind() {
            FileType::Symlink => {
                let to = rustix::fs::readlinkat(dir, name, Vec::new())
                    .map_err(on("read the link", &entry.path))?;
                hand.done.changed |= link_sum(to.as_bytes()) != entry.sum;
                rustix::fs::symlinkat(to, &place.upper, last).map_err(on("create", target))?;
            }
            kind => {
                let mode = Mode::from_raw_mode(entry.stat.st_mode & 0o777);
                rustix::fs::mknodat(&place.upper, last, kind, mode, entry.stat.st_rdev)
                    .map_err(on("create", target))?;
            }
        }
        let owner = self.manner.owner(self.from, &entry.stat);
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        rustix::fs::chownat(&place.upper, last, Some(uid), Some(gid), NO_FOLLOW)
            .map_err(on("set the owner of", target))?;
        if entry.kind() != FileType::Symlink {
            let mode = self.manner.mode(&entry.stat);
            rustix::fs::chmodat(&place.upper, last, mode, AtFlags::empty())
                .map_err(on("set the mode of", target))?;
        }
        let times = self.manner.times(&entry.stat);
        rustix::fs::utimensat(&place.upper, last, &times, NO_FOLLOW)
            .map_err(on("set the times of", target))
    }
}

/// Runs of files of one directory.
fn pieces(jobs: &[Job<'_>]) -> Vec<std::ops::Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let dir = |at: usize| rooted::split(&jobs[at].target).0;
    for at in 0..jobs.len() {
        if at > start && (at - start == PIECE || dir(at) != dir(start)) {
            pieces.push(start..at);
            start = at;
        }
    }
    pieces.push(start..jobs.len());
    pieces
}

/// Makes a new file, in the place of what is there unless that is a directory.
pub(super) fn create(
    place: &Place,
    name: &[u8],
    target: &[u8],
    mode: Mode,
) -> Result<OwnedFd, CopyError> {
    const NEW_FILE: OFlags = OFlags::RDWR
        .union(OFlags::CREATE)
        .union(OFlags::EXCL)
        .union(OFlags::NOFOLLOW)
        .union(OFlags::CLOEXEC);
    let open = || rustix::fs::openat(&place.upper, name, NEW_FILE, mode);
    refuse_directory(place, name, target)?;
    match open() {
        Err(Errno::EXIST) => {
            make_room(place, name, target)?;
            open()
        }
        other => other,
    }
    .map_err(on("create", target))
}

/// Takes away what is at a name, unless it is a directory.
fn make_room(place: &Place, name: &[u8], target: &[u8]) -> Result<(), CopyError> {
    refuse_directory(place, name, target)?;
    match rustix::fs::unlinkat(&place.upper, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => Err(CopyError::IsADirectory { path: shown(target) }),
        Err(error) => Err(on("replace", target)(error)),
    }
}

/// One in the layer itself refuses by itself.
fn refuse_directory(place: &Place, name: &[u8], target: &[u8]) -> Result<(), CopyError> {
    let Some(lower) = &place.lower else { return Ok(()) };
    let below = rustix::fs::statat(lower, name, NO_FOLLOW);
    if !below.is_ok_and(|stat| rooted::kind(&stat) == FileType::Directory) {
        return Ok(());
    }
    match rustix::fs::statat(&place.upper, name, NO_FOLLOW) {
        // It is hidden: there is a file, or a mark.
        Ok(stat) if rooted::kind(&stat) != FileType::Directory => Ok(()),
        _ => Err(CopyError::IsADirectory { path: shown(target) }),
    }
}

/// Times of which only that of the last change counts.
pub(super) fn modified(seconds: i64, nanoseconds: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
    }
}

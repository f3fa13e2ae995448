//! What files are copied into: the directory of a layer that is being made, over the layers below it.
//!
//! Names are looked up in both, as the overlay will show them. What is written goes into the layer's own
//! directory, not through an overlay: made through one, a file costs twice what the file system takes, and
//! cannot share its blocks with the file it is a copy of. A copy does not need more of an overlay than this:
//! a file hides what has its name below, a directory shows what both have and has its own attributes.
//! Marks of deletion come only from archives, which may put anything in the place of anything: these are
//! unpacked through a real overlay, mounted just for that.

use super::overlay::Overlay;
use super::rooted::{self, Names};
use rustix::fs::{FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Where files go.
pub(crate) struct Target {
    upper: OwnedFd,
    lower: Option<Lower>,
    /// There may be marks of deletion in it.
    marked: AtomicBool,
}

/// What it lies on.
struct Lower {
    files: Overlay,
    paths: Vec<PathBuf>,
    upper: PathBuf,
    mounts: AtomicUsize,
}

/// A directory of the target, there in the layer itself.
pub(crate) struct Place {
    pub upper: OwnedFd,
    /// The same below, unless it is hidden or not there.
    pub lower: Option<OwnedFd>,
}

impl Target {
    /// A directory and nothing else.
    pub(crate) fn plain(dir: OwnedFd) -> Self {
        Self { upper: dir, lower: None, marked: AtomicBool::new(false) }
    }

    /// A layer's directory on the trees of the layers below, uppermost first. Beside it there may be other
    /// directories whose names begin like its own.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn over(lowers: Vec<PathBuf>, upper: &Path) -> Result<Self, Errno> {
        let dir = rooted::open_root(upper)?;
        let lower = match lowers.is_empty() {
            true => None,
            false => Some(Lower {
                files: Overlay::compose(&lowers, None)?,
                paths: lowers,
                upper: upper.to_owned(),
                mounts: AtomicUsize::new(0),
            }),
        };
        Ok(Self { upper: dir, lower, marked: AtomicBool::new(false) })
    }

    /// Everything as one tree, to be written in any way. Nothing else may be done meanwhile.
    ///
    /// # Errors
    /// When it cannot be mounted: what the kernel says.
    pub(crate) fn composed<T>(&self, write: impl FnOnce(BorrowedFd<'_>) -> T) -> Result<T, Errno> {
        let Some(lower) = &self.lower else { return Ok(write(self.upper.as_fd())) };
        // A mount without syncs spoils its work directory for the next one.
        let number = lower.mounts.fetch_add(1, Ordering::Relaxed);
        let mut work = lower.upper.clone().into_os_string();
        work.push(format!(".work-{number}"));
        rustix::fs::mkdir(&work, Mode::RWXU)?;
        let overlay = Overlay::compose(&lower.paths, Some((&lower.upper, Path::new(&work))))?;
        self.marked.store(true, Ordering::Relaxed);
        let result = write(overlay.root());
        drop(overlay);
        // Deleted with everything else of the build in the end.
        let _ = tug_archive::remove_tree(Path::new(&work));
        Ok(result)
    }

    /// A directory, to make something in it. One that is only below is made in the layer, just as it is,
    /// and the directories it is in.
    ///
    /// # Errors
    /// `ENOENT` or `ENOTDIR` when it is in neither; what the kernel says.
    pub(crate) fn place(&self, name: &[u8]) -> Result<Place, Errno> {
        let mut here = name;
        let mut missing = Vec::new();
        let upper = loop {
            match rooted::open_dir(self.upper.as_fd(), here) {
                Ok(dir) => break dir,
                Err(Errno::NOENT) if !here.is_empty() => {
                    missing.push(here);
                    here = rooted::split(here).0;
                }
                Err(error) => return Err(error),
            }
        };
        let mut place = Place { upper, lower: self.lower_dir(here)? };
        for dir in missing.into_iter().rev() {
            let lower = place.lower.as_ref().ok_or(Errno::NOENT)?;
            place = raise(&place.upper, lower, rooted::split(dir).1)?;
        }
        Ok(place)
    }

    /// A directory below that shows through.
    fn lower_dir(&self, name: &[u8]) -> Result<Option<OwnedFd>, Errno> {
        let Some(lower) = &self.lower else { return Ok(None) };
        if self.is_hidden(name)? {
            return Ok(None);
        }
        match rooted::open_dir(lower.files.root(), name) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether something in the layer hides whatever has this name below.
    fn is_hidden(&self, name: &[u8]) -> Result<bool, Errno> {
        if !self.marked.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let mut dir = rooted::open_dir(self.upper.as_fd(), b"")?;
        for part in rooted::parts(name) {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let next = match rustix::fs::openat(&dir, part, flags, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOENT) => return Ok(false),
                Err(error) => return Err(error),
            };
            if rooted::kind(&rustix::fs::fstat(&next)?) != FileType::Directory {
                return Ok(true);
            }
            dir = rustix::fs::openat(&dir, part, DIRECTORY, Mode::empty())?;
            let mut value = [0; 1];
            if rustix::fs::fgetxattr(&dir, OPAQUE, &mut value) == Ok(1) && value == *b"y" {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where a name is to be looked at: what of both shows.
    fn showing<T>(
        &self,
        name: &[u8],
        look: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>,
        is_mark: impl Fn(&T) -> bool,
    ) -> Result<T, Errno> {
        match look(self.upper.as_fd()) {
            Ok(found) if is_mark(&found) => Err(Errno::NOENT),
            Err(Errno::NOENT) => {
                let lower = self.lower.as_ref().ok_or(Errno::NOENT)?;
                if self.is_hidden(name)? {
                    return Err(Errno::NOENT);
                }
                look(lower.files.root())
            }
            other => other,
        }
    }
}

impl Names for Target {
    fn stat(&self, name: &[u8]) -> Result<Stat, Errno> {
        self.showing(name, |root| rooted::stat(root, name), is_mark)
    }

    fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.showing(name, |root| rooted::read_link(root, name), |_| false)
    }

    fn open_file(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        self.showing(name, |root| root.open_file(name), |_| false)
    }
}

/// What overlayfs marks a directory with that hides everything below.
pub(super) const OPAQUE: &std::ffi::CStr = c"trusted.overlay.opaque";

/// Whether it says that what has this name below is deleted.
pub(super) fn is_mark(stat: &Stat) -> bool {
    rooted::kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Makes a directory of the layers below in the layer itself. The one it is in keeps its times.
fn raise(parent: &OwnedFd, lower: &OwnedFd, name: &[u8]) -> Result<Place, Errno> {
    let from = rustix::fs::openat(lower, name, DIRECTORY, Mode::empty())?;
    let (stat, above) = (rustix::fs::fstat(&from)?, rustix::fs::fstat(parent)?);
    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
    let made = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(&made, Some(uid), Some(gid))?;
    for (name, value) in tug_archive::xattrs_of_file(from.as_fd())? {
        if !tug_archive::is_left_out(name.as_bytes()) {
            rustix::fs::fsetxattr(&made, &name, &value, XattrFlags::empty())?;
        }
    }
    rustix::fs::fchmod(&made, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    rustix::fs::futimens(&made, &modified(&stat))?;
    rustix::fs::futimens(parent, &modified(&above))?;
    Ok(Place { upper: made, lower: Some(from) })
}

fn modified(stat: &Stat) -> Timestamps {
    super::file::modified(stat.st_mtime, stat.st_mtime_nsec.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    struct Layers {
        temp: tempfile::TempDir,
    }

    impl Layers {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            for dir in ["low", "base", "up"] {
                fs::create_dir(temp.path().join(dir)).unwrap();
            }
            Self { temp }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.temp.path().join(name)
        }

        fn target(&self) -> Target {
            Target::over(vec![self.path("low"), self.path("base")], &self.path("up")).unwrap()
        }
    }

    #[test]
    fn names_show_as_an_overlay_shows_them() {
        let layers = Layers::new();
        fs::create_dir_all(layers.path("base/etc/deep")).unwrap();
        fs::write(layers.path("base/etc/passwd"), "base").unwrap();
        fs::create_dir_all(layers.path("low/etc")).unwrap();
        symlink("/etc/passwd", layers.path("low/etc/link")).unwrap();
        fs::create_dir(layers.path("up/etc")).unwrap();
        fs::write(layers.path("up/etc/own"), "own").unwrap();
        let target = layers.target();
        let kind = |name: &str| target.stat(name.as_bytes()).map(|stat| rooted::kind(&stat));
        assert_eq!(kind("etc/passwd"), Ok(FileType::RegularFile));
        assert_eq!(kind("etc/own"), Ok(FileType::RegularFile));
        assert_eq!(kind("etc/deep"), Ok(FileType::Directory));
        assert_eq!(kind("etc/link"), Ok(FileType::Symlink));
        assert_eq!(kind("etc/none"), Err(Errno::NOENT));
        assert_eq!(kind("etc/own/below"), Err(Errno::NOTDIR));
        assert_eq!(rooted::real(&target, "etc/link", true).unwrap(), b"etc/passwd");
        assert!(target.open_file(b"etc/passwd").is_ok());
    }

    #[test]
    fn a_directory_is_raised_as_it_is() {
        let layers = Layers::new();
        fs::create_dir_all(layers.path("base/a/b")).unwrap();
        fs::set_permissions(layers.path("base/a/b"), fs::Permissions::from_mode(0o2751)).unwrap();
        std::os::unix::fs::chown(layers.path("base/a"), Some(7), Some(8)).unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000);
        for dir in ["base/a/b", "base/a"] {
            fs::File::open(layers.path(dir)).unwrap().set_modified(old).unwrap();
        }
        let target = layers.target();
        let place = target.place(b"a/b").unwrap();
        assert!(place.lower.is_some());
        let (a, b) = (layers.path("up/a"), layers.path("up/a/b"));
        let (a, b) = (fs::metadata(a).unwrap(), fs::metadata(b).unwrap());
        assert_eq!((a.uid(), a.gid(), a.mtime()), (7, 8, 1000), "also after one was made in it");
        assert_eq!((b.mode() & 0o7777, b.mtime()), (0o2751, 1000));
        assert_eq!(target.place(b"a/c").err(), Some(Errno::NOENT));
    }

    #[test]
    fn what_an_archive_took_away_stays_away() {
        let layers = Layers::new();
        fs::create_dir_all(layers.path("base/dir/sub")).unwrap();
        fs::write(layers.path("base/file"), "").unwrap();
        fs::create_dir_all(layers.path("base/again/old")).unwrap();
        let target = layers.target();
        for _ in 0..2 {
            // The way it is, twice: a work directory is good for one mount.
            target.composed(|_| ()).unwrap();
        }
        let removed = target.composed(|root| {
            let dir = crate::files::copy::descriptor_path(root);
            fs::remove_file(dir.join("file")).unwrap();
            fs::remove_dir_all(dir.join("dir")).unwrap();
            fs::write(dir.join("dir"), "").unwrap();
            fs::remove_dir_all(dir.join("again")).unwrap();
            fs::create_dir(dir.join("again")).unwrap();
        });
        removed.unwrap();
        let kind = |name: &str| target.stat(name.as_bytes()).map(|stat| rooted::kind(&stat));
        assert_eq!(kind("file"), Err(Errno::NOENT));
        assert_eq!(kind("dir"), Ok(FileType::RegularFile));
        assert_eq!(kind("dir/sub"), Err(Errno::NOTDIR));
        assert_eq!(kind("again/old"), Err(Errno::NOENT));
        assert!(target.place(b"again").unwrap().lower.is_none());
        assert_eq!(fs::read_dir(layers.temp.path()).unwrap().count(), 3, "no work directory stays");
    }
}

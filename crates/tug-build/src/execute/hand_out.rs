//! The files of a result, copied to where they are wanted: into a directory, or into a tar.
//!
//! In a directory they are laid out under a name of their own first and then renamed, so that whoever is killed
//! leaves no half file under its name. What such a one left there, the next one to write removes.

use super::Worker;
use crate::error::BuildError;
use crate::files::copy::{Manner, Writer};
use crate::files::owner::Owner;
use crate::files::rooted;
use crate::files::target::Target;
use crate::files::tree::{Found, Tree};
use crate::ignore::Rules;
use crate::ops::Layer;
use crate::out::Out;
use crate::request::FilesTo;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, FileTimes};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The files of one platform, and the directory they go into where each has its own.
pub(crate) struct Files<'a> {
    pub layers: &'a [Layer],
    pub dir: Option<String>,
}

impl Worker<'_> {
    /// Copies files to where they are wanted. In a directory they are the caller's.
    pub(crate) fn hand_out(&self, files: &[Files<'_>], to: &FilesTo) -> Result<(), BuildError> {
        match to {
            FilesTo::Dir { path, .. } => {
                let owner = Owner {
                    uid: rustix::process::geteuid().as_raw(),
                    gid: rustix::process::getegid().as_raw(),
                };
                let stage = Stage::create(path)?;
                self.lay_out(files, &stage.path, Some(owner), self.epoch)?;
                stage.move_into(path)
            }
            FilesTo::Tar { path, .. } => self.pack(files, path),
            // An image, not its files: the release writes it.
            FilesTo::Archive(_) => Ok(()),
        }
    }

    /// `time`: of the directories that platforms have of their own.
    fn lay_out(
        &self,
        files: &[Files<'_>],
        into: &Path,
        owner: Option<Owner>,
        time: Option<i64>,
    ) -> Result<(), BuildError> {
        for Files { layers, dir } in files {
            let time = time.filter(|_| dir.is_some());
            let into = dir.as_ref().map_or_else(|| into.to_owned(), |dir| into.join(dir));
            std::fs::create_dir_all(&into).map_err(BuildError::files("create", &into))?;
            let target = rooted::open_root(&into)
                .map_err(|errno| BuildError::files("open", &into)(errno.into()))?;
            let overlay = self.read_files(layers)?;
            let root = overlay
                .root()
                .try_clone_to_owned()
                .map_err(|source| BuildError::Overlay { source })?;
            let tree = Tree::stage(root);
            let manner = Manner { owner, mode: None, epoch: self.epoch };
            let entries = tree.walk(b"", &Rules::default())?;
            let target = Target::plain(target);
            let mut writer = Writer::new(&target, manner).heeding(self.cancel);
            writer.copy(&tree, &Found::default(), &entries, b"/")?;
            if let Some(seconds) = time {
                let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
                let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + since);
                let dated = File::open(&into).and_then(|file| file.set_times(times));
                dated.map_err(BuildError::files("set the time of", &into))?;
            }
        }
        Ok(())
    }

    /// One result is packed from where it is; several are laid out beside each other before.
    fn pack(&self, files: &[Files<'_>], path: &Path) -> Result<(), BuildError> {
        let overlay;
        let root = match files {
            [Files { layers, dir: None }] => {
                overlay = self.read_files(layers)?;
                crate::files::copy::descriptor_path(overlay.root())
            }
            files => {
                let dir = self.fresh_dir("tar")?;
                // The same files are the same archive.
                self.lay_out(files, &dir, None, Some(self.epoch.unwrap_or(0)))?;
                dir
            }
        };
        let mut out = Out::create(path)?;
        let options = tug_archive::PackOptions::default();
        let nobody = None::<tug_archive::Recorder<Vec<u8>>>;
        tug_archive::pack(&root, &mut out, &options, nobody)
            .map_err(|source| BuildError::Archive { source })?;
        out.keep()
    }
}

/// How a directory begins in which files wait for their names.
const STAGE: &str = ".tug-";

/// Such a directory, locked while it is in use.
struct Stage {
    path: PathBuf,
    _lock: File,
}

impl Stage {
    fn create(beside: &Path) -> Result<Self, BuildError> {
        std::fs::create_dir_all(beside).map_err(BuildError::files("create", beside))?;
        let known = std::fs::read_dir(beside).map_err(BuildError::files("list", beside))?;
        for entry in known.flatten() {
            if entry.file_name().to_string_lossy().starts_with(STAGE) {
                remove_dead(&entry.path());
            }
        }
        let path = beside.join(format!("{STAGE}{}", std::process::id()));
        std::fs::create_dir(&path).map_err(BuildError::files("create", &path))?;
        let lock = File::open(&path).map_err(BuildError::files("open", &path))?;
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(|errno| BuildError::files("lock", &path)(errno.into()))?;
        Ok(Self { path, _lock: lock })
    }

    fn move_into(&self, place: &Path) -> Result<(), BuildError> {
        merge(&self.path, place).map_err(BuildError::files("write the files into", place))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Empty, or of something that failed and says so.
        let _ = tug_archive::remove_tree(&self.path);
    }
}

fn remove_dead(path: &Path) {
    let Ok(dir) = File::open(path) else { return };
    if path.is_dir() && flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
        // What cannot be removed now is tried again by the next one.
        let _ = tug_archive::remove_tree(path);
    }
}

/// Renames everything in one directory into another. Directories that are there stay and get what is new.
fn merge(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (old, new) = (entry.path(), to.join(entry.file_name()));
        let is_dir = entry.file_type()?.is_dir();
        let there = std::fs::metadata(&new);
        if !is_dir || !there.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
            std::fs::rename(&old, &new)?;
            continue;
        }
        let wanted = entry.metadata()?;
        merge(&old, &new)?;
        std::fs::set_permissions(&new, wanted.permissions())?;
        let times = FileTimes::new().set_modified(wanted.modified()?);
        File::open(&new)?.set_times(times)?;
        if there?.uid() != wanted.uid() {
            std::os::unix::fs::chown(&new, Some(wanted.uid()), Some(wanted.gid()))?;
        }
    }
    Ok(())
}

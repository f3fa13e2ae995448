//! Layers over each other, mounted detached: reachable through a descriptor and by no path, and gone with it.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The files of layers, and where they are written.
#[derive(Debug)]
pub(crate) struct Overlay {
    root: OwnedFd,
    /// Keeps the mount alive.
    _mount: Option<OwnedFd>,
}

impl Overlay {
    /// Composes layers, uppermost first, at least one; with an upper directory and a work directory beside
    /// it they can be written.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn compose(
        lowers: &[PathBuf],
        upper: Option<(&Path, &Path)>,
    ) -> Result<Self, Errno> {
        // One that comes twice is refused; what the lower one holds, the upper one shows.
        let mut seen = std::collections::HashSet::new();
        let lowers: Vec<&PathBuf> = lowers.iter().filter(|lower| seen.insert(*lower)).collect();
        // An overlay needs two layers.
        if let ([only], None) = (lowers.as_slice(), upper) {
            return Ok(Self { root: super::rooted::open_root(only)?, _mount: None });
        }
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let context = context.as_fd();
        fsconfig_set_string(context, "source", "overlay")?;
        match lowers
            .iter()
            .try_for_each(|lower| fsconfig_set_string(context, "lowerdir+", lower.as_path()))
        {
            Ok(()) => {}
            // Linux before 6.8 takes them only in one text.
            Err(_) => {
                let all: Vec<_> = lowers.iter().map(|lower| lower.display().to_string()).collect();
                fsconfig_set_string(context, "lowerdir", all.join(":").as_str())?;
            }
        }
        if let Some((upper, work)) = upper {
            fsconfig_set_string(context, "upperdir", upper)?;
            fsconfig_set_string(context, "workdir", work)?;
            // Layers are whole files and directories, and are synced with the image.
            for name in ["redirect_dir", "metacopy", "index"] {
                fsconfig_set_string(context, name, "off")?;
            }
            fsconfig_set_flag(context, "volatile")?;
        }
        fsconfig_create(context)?;
        let mount = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(&mount, ".", flags, Mode::empty())?;
        Ok(Self { root, _mount: Some(mount) })
    }

    /// The root directory.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

//! The root directory of a container as a descriptor, and opening below it. Every path of a container
//! goes through here: symlinks of the image resolve inside the root, never outside (openat2(2),
//! `RESOLVE_IN_ROOT`).

use crate::Error;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tug_types::ContainerPath;

/// As many symlinks in a row as the kernel follows.
const LINKS: u32 = 40;

/// A directory everything is resolved below.
pub(crate) struct Root(OwnedFd);

impl Root {
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self(directory)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Opens what is at a path, following symlinks within the root.
    pub(crate) fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let relative = match path.trim_start_matches('/') {
            "" => ".",
            relative => relative,
        };
        loop {
            match rustix::fs::openat2(
                &self.0,
                relative,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            ) {
                // Something was renamed on the way; the kernel asks to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// A handle on a directory, made with its parents when missing. A symlink of the image that leads
    /// nowhere has its target made, inside the root.
    pub(crate) fn directory(&self, path: &ContainerPath) -> Result<OwnedFd, Error> {
        self.directory_within(path, LINKS)
    }

    fn directory_within(&self, path: &ContainerPath, links: u32) -> Result<OwnedFd, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open(path.as_str(), flags) {
            Ok(fd) => return Ok(fd),
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR) => return Err(Error::NotADirectory { path: path.to_string() }),
            Err(error) => return Err(Error::Open { path: path.to_string(), source: error.into() }),
        }
        let (parent_path, name) = split(path);
        let parent = self.directory_within(&parent_path, links)?;
        let failed = |error: Errno| Error::Create { path: path.to_string(), source: error.into() };
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) if links > 0 => {
                if let Some(target) = self.target(&parent, &parent_path, name) {
                    return self.directory_within(&target, links - 1);
                }
            }
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        self.open(path.as_str(), flags).map_err(failed)
    }

    /// Where a symlink leads, seen from inside the root.
    fn target(&self, parent: &OwnedFd, path: &ContainerPath, name: &str) -> Option<ContainerPath> {
        let target = rustix::fs::readlinkat(parent, name, Vec::new()).ok()?;
        path.join(target.to_str().ok()?).ok()
    }

    /// A handle on a file, made empty with its parents when missing.
    pub(crate) fn file(&self, path: &ContainerPath) -> Result<OwnedFd, Error> {
        match self.open(path.as_str(), OFlags::PATH) {
            Ok(fd) => match rustix::fs::fstat(&fd).map(|s| FileType::from_raw_mode(s.st_mode)) {
                Ok(FileType::Directory) => {
                    return Err(Error::IsADirectory { path: path.to_string() });
                }
                _ => return Ok(fd),
            },
            Err(Errno::NOENT) => {}
            Err(error) => return Err(Error::Open { path: path.to_string(), source: error.into() }),
        }
        let (parent, name) = split(path);
        let parent = self.directory(&parent)?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |error: Errno| Error::Create { path: path.to_string(), source: error.into() };
        match rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o755)) {
            Ok(_) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        self.open(path.as_str(), OFlags::PATH).map_err(failed)
    }

    /// The content of a text file of the image; none where there is no such file. Capped: nobody's
    /// passwd has 16 MiB.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        use std::io::Read;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = std::fs::File::from(self.open(path, flags).ok()?);
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(16 << 20).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn split(path: &ContainerPath) -> (ContainerPath, &str) {
    let (parent, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
    let parent = if parent.is_empty() { "/" } else { parent };
    (ContainerPath::parse(parent).unwrap_or_else(|_| ContainerPath::root()), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (std::path::PathBuf, Root) {
        let dir = std::env::temp_dir().join(format!(
            "tug-root-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(dir.join("inside")).unwrap();
        let fd = std::fs::File::open(&dir).unwrap();
        (dir, Root::new(fd.into()))
    }

    #[test]
    fn links_of_the_image_never_lead_outside() {
        let (dir, root) = root();
        std::os::unix::fs::symlink("/inside", dir.join("absolute")).unwrap();
        std::os::unix::fs::symlink("../../../../../../inside", dir.join("climbing")).unwrap();
        for link in ["absolute", "climbing"] {
            let path = ContainerPath::parse(&format!("/{link}/made-{link}")).unwrap();
            root.directory(&path).unwrap();
            assert!(dir.join("inside").join(format!("made-{link}")).is_dir(), "{link}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn missing_parents_are_made_and_files_are_not_directories() {
        let (dir, root) = root();
        root.file(&ContainerPath::parse("/a/b/c.conf").unwrap()).unwrap();
        assert!(dir.join("a/b/c.conf").is_file());
        let through = root.directory(&ContainerPath::parse("/a/b/c.conf/d").unwrap());
        assert!(matches!(through, Err(Error::NotADirectory { .. })), "{through:?}");
        std::os::unix::fs::symlink("../../nowhere/at/all", dir.join("dangling")).unwrap();
        root.directory(&ContainerPath::parse("/dangling/x").unwrap()).unwrap();
        assert!(dir.join("nowhere/at/all/x").is_dir());
        std::os::unix::fs::symlink("loop", dir.join("loop")).unwrap();
        assert!(root.directory(&ContainerPath::parse("/loop").unwrap()).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}

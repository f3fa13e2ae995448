//! The files of a context or of a stage: what a pattern selects there, and what is below it, with digests.

use super::index::{Index, Mark, Sum, now};
use super::parallel;
use super::pattern::{glob, is_wild};
use super::rooted;
use crate::ignore::Rules;
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// A failure in a source's files.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path:?}")]
pub struct TreeError {
    /// What was attempted.
    pub action: &'static str,
    /// On what.
    pub path: String,
    /// Why it failed.
    pub source: std::io::Error,
}

fn on<'a>(action: &'static str, path: &'a [u8]) -> impl Fn(Errno) -> TreeError + 'a {
    move |errno| TreeError {
        action,
        path: String::from_utf8_lossy(path).into_owned(),
        source: errno.into(),
    }
}

/// What is in a directory: paths below the tree's root, sorted.
type Listing = Vec<(Vec<u8>, Stat)>;

/// Files below a directory.
pub(crate) struct Tree {
    root: OwnedFd,
    /// What is not there although it is.
    rules: Rules,
    index: Option<Mutex<Index>>,
    /// Whose files they are counts.
    owners: bool,
    /// The directories an overlay shows as this one, uppermost first, and the device they are on.
    layers: Option<(u64, Vec<OwnedFd>)>,
}

/// Something a pattern selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// As it is called: its last part is the name of the copy.
    pub written: Vec<u8>,
    /// Where it is, links resolved.
    pub real: Vec<u8>,
}

/// One file, directory or link.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Below the tree's root.
    pub path: Vec<u8>,
    pub stat: Stat,
    pub sum: Sum,
}

impl Entry {
    pub(crate) fn kind(&self) -> FileType {
        rooted::kind(&self.stat)
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }
}

impl Tree {
    /// A build context: whoever owns its files, in images they are root's.
    pub(crate) fn context(root: OwnedFd, rules: Rules, index: Index) -> Self {
        Self { root, rules, index: Some(Mutex::new(index)), owners: false, layers: None }
    }

    /// The files of a stage or an image.
    pub(crate) fn stage(root: OwnedFd) -> Self {
        Self { root, rules: Rules::default(), index: None, owners: true, layers: None }
    }

    /// Tells where its files really are: an overlay keeps them from sharing blocks with their copies.
    pub(crate) fn made_of(self, layers: &[std::path::PathBuf]) -> Self {
        let open = || -> Result<(u64, Vec<OwnedFd>), Errno> {
            let dirs: Vec<OwnedFd> =
                layers.iter().map(|path| rooted::open_root(path)).collect::<Result<_, _>>()?;
            let first = dirs.first().ok_or(Errno::NOENT)?;
            Ok((rustix::fs::fstat(first)?.st_dev, dirs))
        };
        let layers = if layers.len() > 1 { open().ok() } else { None };
        Self { layers, ..self }
    }

    /// The device of the layers an overlay shows.
    pub(super) fn device_below(&self) -> Option<u64> {
        self.layers.as_ref().map(|(device, _)| *device)
    }

    /// The file an overlay shows as this entry.
    pub(super) fn open_below(&self, entry: &Entry) -> Option<OwnedFd> {
        let (device, dirs) = self.layers.as_ref()?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file =
            dirs.iter().find_map(|dir| rooted::open(dir.as_fd(), &entry.path, flags).ok())?;
        // An overlay shows the file's own number as long as all layers are on one file system.
        let stat = rustix::fs::fstat(&file).ok()?;
        let same = stat.st_dev == *device
            && (stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec)
                == (
                    entry.stat.st_ino,
                    entry.stat.st_size,
                    entry.stat.st_mtime,
                    entry.stat.st_mtime_nsec,
                );
        (same && rooted::kind(&stat) == FileType::RegularFile).then_some(file)
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Whether owners and extended attributes are to be kept.
    pub(crate) fn has_owners(&self) -> bool {
        self.owners
    }

    /// Keeps the digests for the next build.
    pub(crate) fn save(&self) -> std::io::Result<()> {
        match &self.index {
            Some(index) => index.lock().unwrap_or_else(PoisonError::into_inner).save(),
            None => Ok(()),
        }
    }

    /// What a path or a pattern of Go's `filepath.Match` stands for, sorted. A path without wildcards that
    /// is not there gives none, like a pattern that matches nothing.
    /// `deep`: `**` stands for any number of directories.
    pub(crate) fn select(&self, pattern: &str, deep: bool) -> Result<Vec<Found>, TreeError> {
        let parts: Vec<&str> = pattern.split('/').filter(|p| !matches!(*p, "" | ".")).collect();
        let literal = parts.iter().position(|part| is_wild(part)).unwrap_or(parts.len());
        let fixed = clean(&parts[..literal]);
        if literal == parts.len() {
            return Ok(self.at(&fixed, pattern.as_bytes())?.into_iter().collect());
        }
        let base = rooted::real(&self.root(), &fixed, true).map_err(on("look up", &fixed))?;
        let mut matched = Vec::new();
        self.expand((&base, &fixed), &parts[literal..], deep, &mut matched)?;
        matched.sort();
        matched.dedup();
        let mut found = Vec::new();
        for written in matched {
            found.extend(self.at(&written, &written)?);
        }
        Ok(found)
    }

    fn at(&self, path: &[u8], written: &[u8]) -> Result<Option<Found>, TreeError> {
        let real = rooted::real(&self.root(), path, true).map_err(on("look up", path))?;
        match rooted::stat(self.root(), &real) {
            Ok(_) => {
                let gone = !real.is_empty() && self.rules.hides(&real);
                Ok((!gone).then(|| Found { written: written.to_vec(), real }))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(on("look at", path)(error)),
        }
    }

    /// Adds what the parts of a pattern match in a directory, given by its real and its written name.
    fn expand(
        &self,
        (real, written): (&[u8], &[u8]),
        parts: &[&str],
        deep: bool,
        found: &mut Vec<Vec<u8>>,
    ) -> Result<(), TreeError> {
        let Some((part, rest)) = parts.split_first() else { return Ok(()) };
        let any = deep && *part == "**" && !rest.is_empty();
        if any {
            self.expand((real, written), rest, deep, found)?;
        }
        let dir = match rooted::open_dir(self.root(), real) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(on("open", real)(error)),
        };
        for (name, _) in rooted::list(dir.as_fd()).map_err(on("list", real))? {
            if !glob(part, &name) {
                continue;
            }
            let (real, written) = (rooted::join(real, &name), rooted::join(written, &name));
            match rest.is_empty() {
                true => found.push(written),
                false => {
                    let parts = if any { parts } else { rest };
                    self.expand((&real, &written), parts, deep, found)?;
                }
            }
        }
        Ok(())
    }

    /// What is at a real name and below it, directories before what is in them, names sorted. `keep` is
    /// asked for every path below `real` (relative to it) besides the tree's own rules.
    pub(crate) fn walk(&self, real: &[u8], keep: &Rules) -> Result<Vec<Entry>, TreeError> {
        let stat = rooted::stat(self.root(), real).map_err(on("look at", real))?;
        let mut listed = self.list_all((real, &stat), keep)?;
        let mut entries = Vec::new();
        let mut below = vec![(real.to_vec(), stat)];
        while let Some((path, stat)) = below.pop() {
            if rooted::kind(&stat) == FileType::Socket {
                continue;
            }
            below.extend(listed.remove(&path).into_iter().flatten().rev());
            entries.push(Entry { stat: self.seen(&path, stat), path, sum: [0; 32] });
        }
        self.drop_hidden_directories(real, keep, &mut entries);
        self.digest(&mut entries)?;
        Ok(entries)
    }

    /// What is in a directory and in all below it, by their names.
    fn list_all(
        &self,
        (top, stat): (&[u8], &Stat),
        keep: &Rules,
    ) -> Result<HashMap<Vec<u8>, Listing>, TreeError> {
        /// Directories.
        const PIECE: usize = 2;
        let is_dir = |stat: &Stat| rooted::kind(stat) == FileType::Directory;
        let mut all = HashMap::new();
        let mut level: Vec<Vec<u8>> = is_dir(stat).then(|| top.to_vec()).into_iter().collect();
        while !level.is_empty() {
            let found = parallel::map(&level, PIECE, |dir| self.children(dir, top, keep))?;
            let dirs = found.iter().flatten().filter(|(_, stat)| is_dir(stat));
            let next = dirs.map(|(path, _)| path.clone()).collect();
            all.extend(level.into_iter().zip(found));
            level = next;
        }
        Ok(all)
    }

    /// The directory of a context is not part of it: what becomes of it in an image is an ordinary one.
    fn seen(&self, path: &[u8], mut stat: Stat) -> Stat {
        if path.is_empty() && !self.owners {
            stat.st_mode = stat.st_mode & !0o7777 | 0o755;
        }
        stat
    }

    /// What is in a directory, sorted.
    fn children(&self, dir: &[u8], top: &[u8], keep: &Rules) -> Result<Listing, TreeError> {
        let fd = rooted::open_dir(self.root(), dir).map_err(on("open", dir))?;
        let prunes = |path: &[u8], kind| {
            self.rules.prunes(path, kind) || keep.prunes(rooted::below_of(path, top), kind)
        };
        let names = rooted::list(fd.as_fd()).map_err(on("list", dir))?;
        let mut found = Vec::with_capacity(names.len());
        for (name, kind) in names {
            let path = rooted::join(dir, &name);
            if prunes(&path, kind) {
                continue;
            }
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            match rustix::fs::statat(&fd, name.as_slice(), flags) {
                Ok(stat) => found.push((path, stat)),
                // Removed since the directory was read.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(on("look at", &path)(error)),
            }
        }
        Ok(found)
    }

    /// Excluded directories that were entered for an exception in them, and hold nothing of it.
    fn drop_hidden_directories(&self, top: &[u8], keep: &Rules, entries: &mut Vec<Entry>) {
        if self.rules.is_empty() && keep.is_empty() {
            return;
        }
        let mut needed: Option<Vec<u8>> = None;
        let mut kept = Vec::with_capacity(entries.len());
        for entry in std::mem::take(entries).into_iter().rev() {
            let relative = rooted::below_of(&entry.path, top);
            let hidden = entry.path != top
                && (self.rules.hides(&entry.path) || !relative.is_empty() && keep.hides(relative));
            let has_kept = needed.as_ref().is_some_and(|below| is_below(below, &entry.path));
            if !hidden || entry.is_dir() && has_kept {
                needed = Some(entry.path.clone());
                kept.push(entry);
            }
        }
        kept.reverse();
        *entries = kept;
    }

    /// Fills the digests in: from the index, or by reading, on all cores.
    fn digest(&self, entries: &mut [Entry]) -> Result<(), TreeError> {
        let mut unknown = Vec::new();
        {
            let mut index =
                self.index.as_ref().map(|i| i.lock().unwrap_or_else(PoisonError::into_inner));
            for (at, entry) in entries.iter_mut().enumerate() {
                match index.as_mut().and_then(|i| i.get(&entry.path, &Mark::of(&entry.stat))) {
                    Some(sum) => entry.sum = sum,
                    None => unknown.push(at),
                }
            }
        }
        let sums = self.read_all(entries, &unknown)?;
        let mut index =
            self.index.as_ref().map(|i| i.lock().unwrap_or_else(PoisonError::into_inner));
        for (at, (sum, read_at)) in unknown.into_iter().zip(sums) {
            entries[at].sum = sum;
            if let Some(index) = index.as_mut() {
                index.put(&entries[at].path, Mark::of(&entries[at].stat), sum, read_at);
            }
        }
        Ok(())
    }

    fn read_all(&self, entries: &[Entry], wanted: &[usize]) -> Result<Vec<(Sum, i128)>, TreeError> {
        /// Files.
        const PIECE: usize = 16;
        parallel::map(wanted, PIECE, |at| {
            let read_at = now();
            self.sum(&entries[*at]).map(|sum| (sum, read_at))
        })
    }

    /// The extended attributes that are copied. Those of the user's own files stay where they are, as
    /// Docker's client leaves them.
    pub(crate) fn xattrs(&self, file: BorrowedFd<'_>) -> Vec<tug_archive::Xattr> {
        match self.owners {
            true => tug_archive::xattrs_of_file(file).unwrap_or_default(),
            false => Vec::new(),
        }
    }

    /// What an entry is and holds, its name, mode, owner and times left out.
    fn sum(&self, entry: &Entry) -> Result<Sum, TreeError> {
        let mut hash = Sha256::new();
        let path = &entry.path;
        match entry.kind() {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
                let file = rooted::open(self.root(), path, flags).map_err(on("open", path))?;
                let xattrs = self.xattrs(file.as_fd());
                return file_sum(file.as_fd(), &xattrs).map_err(on("read", path));
            }
            FileType::Directory => {
                hash.update(b"directory\0");
                let dir = rooted::open_dir(self.root(), path).map_err(on("open", path))?;
                let xattrs = self.xattrs(dir.as_fd());
                hash_xattrs(&xattrs, &mut hash);
            }
            FileType::Symlink => {
                let target = rooted::read_link(self.root(), path);
                return Ok(link_sum(&target.map_err(on("read the link", path))?));
            }
            FileType::Fifo => hash.update(b"fifo\0"),
            FileType::CharacterDevice => {
                hash.update(b"character\0");
                hash.update(entry.stat.st_rdev.to_le_bytes());
            }
            _ => {
                hash.update(b"block\0");
                hash.update(entry.stat.st_rdev.to_le_bytes());
            }
        }
        Ok(hash.finalize().into())
    }
}

/// The digest of a regular file with these attributes, from where the descriptor stands.
pub(crate) fn file_sum(file: BorrowedFd<'_>, xattrs: &[tug_archive::Xattr]) -> Result<Sum, Errno> {
    let mut hash = Sha256::new();
    hash.update(b"file\0content\0");
    // Most files are small: a big buffer would cost more than they do.
    let mut buffer = [0; 32 << 10];
    loop {
        match rustix::io::read(file, &mut buffer) {
            Ok(0) => break,
            Ok(count) => hash.update(&buffer[..count]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    hash_xattrs(xattrs, &mut hash);
    Ok(hash.finalize().into())
}

/// The digest of a link.
pub(crate) fn link_sum(target: &[u8]) -> Sum {
    let mut hash = Sha256::new();
    hash.update(b"link\0");
    hash.update(target);
    hash.finalize().into()
}

/// Those that go into a layer. A file system without any has none.
fn hash_xattrs(xattrs: &[tug_archive::Xattr], hash: &mut Sha256) {
    for (name, value) in xattrs {
        if !tug_archive::is_left_out(name.as_bytes()) {
            hash.update(b"\0xattr\0");
            hash.update(name.as_bytes());
            hash.update((value.len() as u64).to_le_bytes());
            hash.update(value);
        }
    }
}

fn is_below(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"))
}

/// `a/../b` by text: `..` never climbs above the root.
fn clean(parts: &[&str]) -> Vec<u8> {
    let mut kept: Vec<&str> = Vec::new();
    for part in parts {
        if *part == ".." {
            kept.pop();
        } else {
            kept.push(part);
        }
    }
    kept.join("/").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree(top: &std::path::Path) -> Tree {
        Tree::stage(rooted::open_root(top).unwrap())
    }

    #[test]
    fn patterns_select_and_links_are_followed_inside() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path();
        std::fs::create_dir_all(top.join("src/deep")).unwrap();
        for file in ["a.c", "src/b.c", "src/c.h", "src/deep/d.c"] {
            std::fs::write(top.join(file), file).unwrap();
        }
        symlink("/src", top.join("link")).unwrap();
        symlink("/etc/passwd", top.join("out")).unwrap();
        let tree = tree(top);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let select = |pattern: &str| -> Vec<(String, String)> {
            let found = tree.select(pattern, false).unwrap().into_iter();
            found.map(|found| (text(found.written), text(found.real))).collect()
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(select("/a.c"), [pair("/a.c", "a.c")]);
        assert_eq!(select("*.c"), [pair("a.c", "a.c")]);
        assert_eq!(select("src/*.[ch]"), [pair("src/b.c", "src/b.c"), pair("src/c.h", "src/c.h")]);
        assert_eq!(select("link/deep"), [pair("link/deep", "src/deep")]);
        assert_eq!(select("out"), [], "there is no such file inside");
        assert_eq!(select("../../a.c"), [pair("../../a.c", "a.c")]);
        assert_eq!(select("nothing"), []);
        let walked = tree.walk(b"src", &Rules::default()).unwrap();
        let paths: Vec<String> = walked.into_iter().map(|entry| text(entry.path)).collect();
        assert_eq!(paths, ["src", "src/b.c", "src/c.h", "src/deep", "src/deep/d.c"]);
    }

    #[test]
    fn digests_tell_content_kind_and_target_apart() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path();
        std::fs::write(top.join("a"), "x").unwrap();
        std::fs::write(top.join("b"), "x").unwrap();
        std::fs::write(top.join("c"), "y").unwrap();
        symlink("x", top.join("l")).unwrap();
        std::fs::create_dir(top.join("d")).unwrap();
        let entries = tree(top).walk(b"", &Rules::default()).unwrap();
        let sum = |name: &str| entries.iter().find(|e| e.path == name.as_bytes()).unwrap().sum;
        assert_eq!(sum("a"), sum("b"));
        let all = std::collections::HashSet::from([sum("a"), sum("c"), sum("l"), sum("d")]);
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn trees_deeper_than_descriptors_and_names_are_walked() {
        let temp = tempfile::tempdir().unwrap();
        let mut dir = rooted::open_root(temp.path()).unwrap();
        for _ in 0..1200 {
            rustix::fs::mkdirat(&dir, "directory", rustix::fs::Mode::RWXU).unwrap();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            dir = rustix::fs::openat(&dir, "directory", flags, rustix::fs::Mode::empty()).unwrap();
        }
        assert_eq!(tree(temp.path()).walk(b"", &Rules::default()).unwrap().len(), 1201);
        tug_archive::remove_tree(&temp.path().join("directory")).unwrap();
    }
}

//! A commit's files on the disk. Whatever is written is new: nothing is followed, nothing is replaced.

use crate::error::Error;
use crate::index;
use crate::modules::Module;
use crate::object::{Commit, Entry, EntryKind, Kind, Oid, entries, header, tagged};
use crate::pack::Pack;
use crate::protocol::Found;
use crate::remote::redacted;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Directories within each other.
const DEEPEST: usize = 1000;

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Checkout {
    /// Submodules: where they belong, below the directory that was written, and their commits.
    pub submodules: Vec<(PathBuf, Oid)>,
    /// `.gitmodules` of the whole commit.
    pub modules: Option<Vec<u8>>,
}

/// Tags of tags.
const DEEPEST_TAG: usize = 16;

/// Where files go.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// A directory.
    pub root: &'a Path,
    /// One below it, which is empty.
    pub files: &'a Path,
}

/// A `.git` that stays.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// Where the repository came from.
    pub url: &'a str,
    /// Where below the root it is: a submodule's is in that of its repository.
    pub dir: &'a Path,
}

/// Writes the files of a commit, or of one of its directories, into an empty directory; with a `.git` that knows the
/// ref by its name, if wanted.
///
/// # Errors
/// When the directory is not in it, an object is broken, or the disk does not take it.
pub fn checkout(
    pack: &Pack,
    found: &Found,
    subdir: &str,
    target: Target<'_>,
    kept: Option<Kept<'_>>,
) -> Result<Checkout, Error> {
    let mut used = BTreeMap::new();
    let mut id = found.id;
    while pack.kind(id) == Some(Kind::Tag) && used.len() < DEEPEST_TAG {
        used.insert(id, Kind::Tag);
        let content = pack.object(id, Kind::Tag)?;
        id = tagged(&content)
            .ok_or(Error::Object { id: id.to_string(), what: "the tag names nothing" })?;
    }
    used.insert(id, Kind::Commit);
    let read = Commit::read(id, &pack.object(id, Kind::Commit)?)?;
    let time = read.time;
    let mut writer = Writer { pack, time, index: Vec::new(), used, done: Checkout::default() };
    writer.done.modules = writer.modules(read.tree)?;
    let tree = writer.find(read.tree, subdir)?;
    writer.tree(tree, &target.root.join(target.files), &PathBuf::new(), 0)?;
    if let Some(kept) = kept {
        writer.repository(found, id, target, kept)?;
    }
    Ok(writer.done)
}

/// Tells a `.git` that a submodule of it is there, as `git submodule init` does.
///
/// # Errors
/// When the disk does not take it.
pub fn register(git_dir: &Path, module: &Module, url: &str) -> Result<(), Error> {
    let path = git_dir.join("config");
    let (name, url) = (quoted(&module.name), quoted(&redacted(url)));
    let text = format!("[submodule {name}]\n\tactive = true\n\turl = {url}\n");
    let file = File::options().append(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(failed("write", &path))
}

struct Writer<'a> {
    pack: &'a Pack,
    time: i64,
    /// What `.git/index` lists.
    index: Vec<index::Line>,
    /// What `.git/objects` holds. The pack may hold the whole history.
    used: BTreeMap<Oid, Kind>,
    done: Checkout,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Files { action, path, source }
}

impl Writer<'_> {
    fn entries(&self, tree: Oid) -> Result<Vec<Entry>, Error> {
        entries(tree, &self.pack.object(tree, Kind::Tree)?)
    }

    fn modules(&self, tree: Oid) -> Result<Option<Vec<u8>>, Error> {
        let entries = self.entries(tree)?;
        let file = entries.iter().find(|entry| {
            entry.name == b".gitmodules" && matches!(entry.kind, EntryKind::File { .. })
        });
        file.map(|file| Ok(self.pack.object(file.id, Kind::Blob)?.to_vec())).transpose()
    }

    /// The tree of a directory.
    fn find(&self, root: Oid, subdir: &str) -> Result<Oid, Error> {
        let mut tree = root;
        for part in subdir.split('/').filter(|part| !part.is_empty() && *part != ".") {
            let entries = self.entries(tree)?;
            let found = entries
                .iter()
                .find(|e| e.name == part.as_bytes() && e.kind == EntryKind::Directory)
                .ok_or_else(|| Error::NoDirectory { path: subdir.to_owned() })?;
            tree = found.id;
        }
        Ok(tree)
    }

    fn tree(&mut self, tree: Oid, dir: &Path, below: &Path, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST {
            let what = "its directories are too deep";
            return Err(Error::Object { id: tree.to_string(), what });
        }
        self.used.insert(tree, Kind::Tree);
        for entry in self.entries(tree)? {
            let name = OsStr::from_bytes(&entry.name);
            let (path, below) = (dir.join(name), below.join(name));
            if matches!(entry.kind, EntryKind::File { .. } | EntryKind::Link) {
                self.used.insert(entry.id, Kind::Blob);
            }
            match entry.kind {
                EntryKind::Directory => {
                    directory(&path)?;
                    self.tree(entry.id, &path, &below, depth + 1)?;
                    self.date(&path)?;
                    continue;
                }
                EntryKind::Submodule => {
                    directory(&path)?;
                    self.done.submodules.push((below.clone(), entry.id));
                }
                EntryKind::Link => {
                    let target = self.pack.object(entry.id, Kind::Blob)?;
                    std::os::unix::fs::symlink(OsStr::from_bytes(&target), &path)
                        .map_err(failed("create", &path))?;
                }
                EntryKind::File { executable } => {
                    let content = self.pack.object(entry.id, Kind::Blob)?;
                    let mode = if executable { 0o755 } else { 0o644 };
                    let open = File::options().write(true).create_new(true).mode(mode).open(&path);
                    let mut file = open.map_err(failed("create", &path))?;
                    file.write_all(&content).map_err(failed("write", &path))?;
                    file.set_permissions(std::fs::Permissions::from_mode(mode))
                        .map_err(failed("set the mode of", &path))?;
                    drop(file);
                    self.date(&path)?;
                }
            }
            let path = below.as_os_str().as_bytes().to_vec();
            self.index.push(index::Line { path, kind: entry.kind, id: entry.id });
        }
        Ok(())
    }

    /// Everything is as old as the commit.
    fn date(&self, path: &Path) -> Result<(), Error> {
        let seconds = u64::try_from(self.time).unwrap_or(0);
        let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
        let file = File::open(path).and_then(|file| file.set_modified(time));
        file.map_err(failed("set the time of", path))
    }

    /// A `.git` of one commit: what a shallow clone leaves, its objects each in a file.
    fn repository(
        &self,
        found: &Found,
        commit: Oid,
        target: Target<'_>,
        kept: Kept<'_>,
    ) -> Result<(), Error> {
        let git = &target.root.join(kept.dir);
        std::fs::create_dir_all(git.parent().unwrap_or(git)).map_err(failed("create", git))?;
        for dir in
            ["", "objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags"]
        {
            directory(&git.join(dir))?;
        }
        let mut place = String::new();
        if target.files.join(".git") != kept.dir {
            // Each knows the other's place.
            let link = target.root.join(target.files).join(".git");
            let text = format!("gitdir: {}\n", climbing(target.files, kept.dir));
            std::fs::write(&link, text).map_err(failed("write", &link))?;
            place = format!("\tworktree = {}\n", quoted(&climbing(kept.dir, target.files)));
        }
        for (id, kind) in &self.used {
            self.loose(*id, *kind, &git.join("objects"))?;
        }
        let config = format!(
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n{place}\
             [remote \"origin\"]\n\turl = {}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
            quoted(&redacted(kept.url))
        );
        let files = [
            ("packed-refs", packed_refs(found, commit)),
            ("HEAD", format!("{commit}\n").into_bytes()),
            ("shallow", format!("{commit}\n").into_bytes()),
            ("config", config.into_bytes()),
            ("index", index::write(self.index.clone())),
        ];
        for (name, bytes) in files {
            let path = git.join(name);
            std::fs::write(&path, bytes).map_err(failed("write", &path))?;
        }
        Ok(())
    }

    fn loose(&self, id: Oid, kind: Kind, objects: &Path) -> Result<(), Error> {
        let name = id.to_string();
        let (dir, path) = (objects.join(&name[..2]), objects.join(&name[..2]).join(&name[2..]));
        match std::fs::create_dir(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(failed("create", &dir)(error));
            }
            _ => {}
        }
        let content = self.pack.object(id, kind)?;
        let file = File::create(&path).map_err(failed("create", &path))?;
        let mut packer = flate2::write::ZlibEncoder::new(file, flate2::Compression::fast());
        packer
            .write_all(&header(kind, content.len()))
            .and_then(|()| packer.write_all(&content))
            .and_then(|()| packer.finish())
            .map(drop)
            .map_err(failed("write", &path))
    }
}

fn directory(path: &Path) -> Result<(), Error> {
    std::fs::DirBuilder::new().mode(0o755).create(path).map_err(failed("create", path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .map_err(failed("set the mode of", path))
}

/// The way from one directory to another, both below the same.
fn climbing(from: &Path, to: &Path) -> String {
    let up = "../".repeat(from.components().count());
    format!("{up}{}", to.display())
}

/// The ref by which the commit was found, so that `git describe` knows it too.
fn packed_refs(found: &Found, commit: Oid) -> Vec<u8> {
    let mut text = String::from("# pack-refs with: peeled fully-peeled sorted \n");
    let plain = |c: char| !c.is_control() && !c.is_whitespace();
    if let Some(name) = found.name.as_ref().filter(|name| name.chars().all(plain)) {
        text.push_str(&format!("{} {name}\n", found.id));
        if found.id != commit {
            text.push_str(&format!("^{commit}\n"));
        }
    }
    text.into_bytes()
}

/// A value of git's configuration.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

//! `COPY`, `ADD` and `WORKDIR`.

use super::budget::Claim;
use super::{Worker, chain};
use crate::error::BuildError;
use crate::files::copy::{Manner, Writer};
use crate::files::mode::ModeChange;
use crate::files::overlay::Overlay;
use crate::files::owner::{self, Owner};
use crate::files::pattern::is_wild;
use crate::files::rooted;
use crate::files::target::Target;
use crate::files::tree::{Entry, Found, Tree};
use crate::ignore::Rules;
use crate::ops::{Copy, CopySource, Layer, Output, layers};
use crate::progress::Event;
use crate::prune;
use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_OMIT};
use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tug_solver::{Input, Inputs, VertexId};

/// What the inputs call a file of a context.
pub(super) const FILE: &str = "file ";

/// What a source came to.
struct Selected {
    found: Found,
    entries: Vec<Entry>,
}

/// The files of one input.
enum Source {
    Tree(Arc<Tree>),
    /// Of layers: the mount lives as long as its tree is used.
    Stage(Box<Tree>, #[expect(dead_code, reason = "keeps the mount")] Overlay),
}

impl Source {
    fn tree(&self) -> &Tree {
        match self {
            Self::Tree(tree) => tree,
            Self::Stage(tree, _) => tree,
        }
    }
}

/// Where a copy goes, and what of it is noted.
struct Into<'a, 't> {
    writer: &'a mut Writer<'t>,
    claim: &'a Claim<'a>,
    /// The files of contexts.
    taken: &'a mut Inputs,
}

impl Worker<'_> {
    fn source(&self, output: Option<&Output>) -> Result<Source, BuildError> {
        match output {
            Some(Output::Context(tree)) => Ok(Source::Tree(tree.clone())),
            other => {
                let layers = layers(other);
                let overlay = self.read_files(&layers)?;
                let root = overlay
                    .root()
                    .try_clone_to_owned()
                    .map_err(|source| BuildError::Overlay { source })?;
                let tree = Tree::stage(root).made_of(&self.trees(&layers));
                Ok(Source::Stage(Box::new(tree), overlay))
            }
        }
    }

    /// Everything a copy depends on. What it takes from a context is named file by file.
    pub(super) fn copy_inputs(
        &self,
        copy: &Copy,
        results: &[Output],
        inputs: &mut Inputs,
    ) -> Result<(), BuildError> {
        inputs.add("operation", "copy");
        inputs.add("destination", &copy.destination);
        inputs.add("owner", copy.chown.clone().unwrap_or_default());
        inputs.add("mode", copy.chmod.clone().unwrap_or_default());
        inputs.add("parents", copy.parents.to_string());
        inputs.add("exceptions", copy.excludes.join("\n"));
        inputs.add("time", format!("{:?}", copy.epoch));
        let rules = rules(copy)?;
        for source in &copy.sources {
            match source {
                CopySource::Inline { name, data } => {
                    inputs.add(format!("here-document {name}"), data);
                }
                CopySource::Download { from, unpack } => {
                    if let Some(Output::Download(file)) = results.get(*from) {
                        inputs.add(format!("download {}", file.file_name), hex(&file.sum));
                        inputs.add("unpacked", unpack.to_string());
                    }
                }
                CopySource::Git { from } => {
                    if let Some(Output::Git(commit)) = results.get(*from) {
                        inputs.add(format!("commit of {}", commit.git.url), commit.id.to_string());
                        inputs.add("directory", &commit.git.subdir);
                        let with = (commit.git.keep_git_dir, commit.git.no_submodules);
                        inputs.add(".git, no submodules", format!("{with:?}"));
                    }
                }
                CopySource::Files { from, pattern, unpack } => {
                    inputs.add("source", pattern);
                    inputs.add("unpacked", unpack.to_string());
                    match results.get(*from) {
                        Some(Output::Layers(stage)) => {
                            let sum = self.stage_sum(stage, copy, pattern, &rules)?;
                            let name = sum_name(stage, copy, pattern);
                            super::locked(&self.sums).insert(name, sum.clone());
                            inputs.add(format!("files {pattern} of another stage"), sum);
                        }
                        output => {
                            let source = self.source(output)?;
                            for selected in select(source.tree(), pattern, &rules, copy.parents)? {
                                name_entries(source.tree(), &selected, copy.parents, inputs);
                            }
                        }
                    }
                }
            }
        }
        if !copy.link {
            inputs.add("files of the step before", chain(&layers(results.first())));
        }
        Ok(())
    }

    /// The digest of what a pattern selects in layers; layers do not change, so it is remembered.
    fn stage_sum(
        &self,
        stage: &[Layer],
        copy: &Copy,
        pattern: &str,
        rules: &Rules,
    ) -> Result<String, BuildError> {
        let name = sum_name(stage, copy, pattern);
        let known = super::locked(&self.store).build_note("content", &name)?;
        if let Some(sum) = known.and_then(|bytes| String::from_utf8(bytes).ok()) {
            return Ok(sum);
        }
        // Only as long as the files themselves are not here to be looked at.
        if stage.iter().any(|layer| !self.layers.contains(&layer.diff_id))
            && let Some(sum) = self.imports.iter().find_map(|import| import.sum(&name))
        {
            return Ok(sum.clone());
        }
        let overlay = self.read_files(stage)?;
        let root =
            overlay.root().try_clone_to_owned().map_err(|source| BuildError::Overlay { source })?;
        let tree = Tree::stage(root);
        let mut list = Inputs::new();
        for selected in select(&tree, pattern, rules, copy.parents)? {
            name_entries(&tree, &selected, copy.parents, &mut list);
        }
        let sum = list.key().to_string();
        super::locked(&self.store).put_build_note("content", &name, sum.as_bytes())?;
        Ok(sum)
    }

    pub(super) fn copy(
        &self,
        vertex: VertexId,
        copy: &Copy,
        results: &[Output],
        inputs: Option<&Inputs>,
    ) -> Result<(Output, bool), BuildError> {
        let onto = if copy.link { Vec::new() } else { layers(results.first()) };
        let rules = rules(copy)?;
        let mut sure = true;
        let output = self.write_layer(onto, |target, claim| {
            let manner = Manner {
                // A `--link`ed copy must not depend on what it is put on: there, names are found in nothing.
                owner: copy
                    .chown
                    .as_deref()
                    .map(|text| self.owner(vertex, text, target))
                    .transpose()?,
                mode: copy.chmod.as_deref().and_then(ModeChange::parse),
                epoch: copy.epoch,
            };
            let mut writer = Writer::new(target, manner).heeding(self.cancel);
            let mut taken = Inputs::new();
            for source in &copy.sources {
                let into = Into { writer: &mut writer, claim, taken: &mut taken };
                self.copy_source(copy, source, results, &rules, into)?;
            }
            // The context may be another one than when the key was made of it.
            sure = !writer.changed && inputs.is_none_or(|inputs| same_files(inputs, &taken));
            Ok(())
        })?;
        Ok((output, sure))
    }

    fn copy_source(
        &self,
        copy: &Copy,
        source: &CopySource,
        results: &[Output],
        rules: &Rules,
        into: Into<'_, '_>,
    ) -> Result<(), BuildError> {
        let Into { writer, claim, taken } = into;
        let destination = copy.destination.as_bytes();
        match source {
            CopySource::Inline { name, data } => {
                writer.write(name, data.as_bytes(), 0o644, destination)?;
                Ok(())
            }
            CopySource::Download { from, unpack } => {
                let Some(Output::Download(file)) = results.get(*from) else { return Ok(()) };
                self.copy_download(copy, file, *unpack, writer)
            }
            CopySource::Git { from } => {
                let Some(Output::Git(commit)) = results.get(*from) else { return Ok(()) };
                let dir = self.commit_files(commit)?;
                let root = rooted::open_root(&dir)
                    .map_err(|errno| BuildError::files("open", &dir)(errno.into()))?;
                let tree = Tree::stage(root);
                let entries = tree.walk(b"", rules)?;
                writer.copy(&tree, &Found::default(), &entries, destination)?;
                Ok(())
            }
            CopySource::Files { from, pattern, unpack } => {
                let source = self.source(results.get(*from))?;
                let tree = source.tree();
                for selected in select(tree, pattern, rules, copy.parents)? {
                    if let Source::Tree(_) = source {
                        name_entries(tree, &selected, copy.parents, taken);
                    }
                    let Selected { found, entries } = selected;
                    let size = |entry: &Entry| u64::try_from(entry.stat.st_size).unwrap_or(0);
                    claim.check(|| writer.bytes + entries.iter().map(size).sum::<u64>())?;
                    let archive = *unpack && entries.first().is_some_and(|e| !e.is_dir());
                    if archive && self.unpack(copy, tree, &found, writer)? {
                        continue;
                    }
                    if copy.parents {
                        let base = pivot(tree, pattern)?;
                        writer.copy_parents(tree, &base, &found, &entries, destination)?;
                    } else {
                        writer.copy(tree, &found, &entries, destination)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Unpacks an archive into the destination. False when it is none.
    fn unpack(
        &self,
        copy: &Copy,
        tree: &Tree,
        found: &Found,
        writer: &mut Writer<'_>,
    ) -> Result<bool, BuildError> {
        let flags = rustix::fs::OFlags::RDONLY;
        let failed = |errno: rustix::io::Errno| {
            BuildError::files("open", rooted::shown(&found.real))(errno.into())
        };
        let open = || rooted::open(tree.root(), &found.real, flags).map_err(failed);
        if !super::download::is_archive(open()?) {
            return Ok(false);
        }
        let owner = writer.new_owner();
        let dir = writer.make_dirs(&copy.destination, owner.unwrap_or_default())?;
        let name = String::from_utf8_lossy(&found.written);
        super::download::unpack_into(open()?, &name, writer, &dir, owner)?;
        Ok(true)
    }

    fn copy_download(
        &self,
        copy: &Copy,
        file: &crate::ops::Download,
        unpack: bool,
        writer: &mut Writer<'_>,
    ) -> Result<(), BuildError> {
        let open = || -> Result<OwnedFd, BuildError> {
            let opened = std::fs::File::open(&file.path);
            Ok(opened.map_err(BuildError::files("open", &file.path))?.into())
        };
        if unpack && super::download::is_archive(open()?) {
            let owner = writer.new_owner();
            let dir = writer.make_dirs(&copy.destination, owner.unwrap_or_default())?;
            return super::download::unpack_into(open()?, &file.file_name, writer, &dir, owner);
        }
        let dir = file.path.parent().unwrap_or(Path::new("/"));
        let root =
            rooted::open_root(dir).map_err(|errno| BuildError::files("open", dir)(errno.into()))?;
        let tree = Tree::stage(root);
        let name = file.path.file_name().unwrap_or_default().as_bytes();
        let entries = tree.walk(name, &Rules::default())?;
        let found = Found { written: file.file_name.clone().into_bytes(), real: name.to_vec() };
        writer.copy(&tree, &found, &entries, copy.destination.as_bytes())?;
        Ok(())
    }

    /// Whose the files are to be. A name the image does not have is told in the step's output.
    fn owner(&self, vertex: VertexId, text: &str, target: &Target) -> Result<Owner, BuildError> {
        let mut unknown = Vec::new();
        let owner = owner::resolve(text, target, &mut unknown)?;
        for one in unknown {
            let bytes = format!("warning: {one}\n").into_bytes();
            self.board.tell(Event::Output { line: self.line(vertex), stderr: true, bytes });
        }
        Ok(owner)
    }

    pub(super) fn mkdir(
        &self,
        vertex: VertexId,
        path: &str,
        user: &str,
        epoch: Option<i64>,
        onto: Vec<Layer>,
    ) -> Result<Output, BuildError> {
        self.write_layer(onto, |target, _| {
            let owner = match user {
                "" => Owner::default(),
                user => self.owner(vertex, user, target)?,
            };
            let manner = Manner { epoch, ..Manner::default() };
            Writer::new(target, manner).make_dirs(path, owner)?;
            Ok(())
        })
    }

    /// Writes a layer over others.
    fn write_layer(
        &self,
        onto: Vec<Layer>,
        write: impl FnOnce(&Target, &Claim<'_>) -> Result<(), BuildError>,
    ) -> Result<Output, BuildError> {
        let upper = self.fresh_dir("upper")?;
        self.ensure(&onto)?;
        let target = Target::over(self.trees(&onto), &upper)
            .map_err(|error| BuildError::Overlay { source: error.into() })?;
        let claim = self.claim();
        write(&target, &claim)?;
        drop(target);
        // Of an archive nobody knows before.
        claim.check(|| prune::tree_size(&upper))?;
        self.adopt(&upper, onto)
    }
}

/// Names what a pattern selects in layers.
fn sum_name(stage: &[Layer], copy: &Copy, pattern: &str) -> String {
    format!("{} {pattern:?} {} {:?}", chain(stage), copy.parents, copy.excludes)
}

fn rules(copy: &Copy) -> Result<Rules, BuildError> {
    Rules::new(&copy.excludes)
        .map_err(|source| BuildError::Ignore { path: PathBuf::from("--exclude"), source })
}

/// What a pattern of a copy selects. A path without wildcards must be there.
fn select(
    tree: &Tree,
    pattern: &str,
    rules: &Rules,
    deep: bool,
) -> Result<Vec<Selected>, BuildError> {
    let found = tree.select(pattern, deep)?;
    if found.is_empty() && !pattern.split('/').any(is_wild) {
        return Err(BuildError::NotFound {
            path: format!("/{}", pattern.trim_start_matches('/')),
            hint: missing(tree, pattern),
        });
    }
    let entries = |found: Found| {
        let entries = tree.walk(&found.real, rules)?;
        Ok(Selected { found, entries })
    };
    found.into_iter().map(entries).collect()
}

/// Why something is not found.
fn missing(tree: &Tree, pattern: &str) -> Option<String> {
    let real = rooted::real(&tree.root(), pattern, true).ok()?;
    if rooted::stat(tree.root(), &real).is_ok() {
        return Some("the ignore file leaves it out".to_owned());
    }
    let (dir, name) = rooted::split(&real);
    let fd = rooted::open_dir(tree.root(), dir).ok()?;
    let names = rooted::list(fd.as_fd()).ok()?;
    let close = names
        .iter()
        .map(|(known, _)| known)
        .find(|known| known.eq_ignore_ascii_case(name) || distance(known, name) <= 2)?;
    Some(format!("did you mean {:?}?", String::from_utf8_lossy(&rooted::join(dir, close))))
}

/// Edits from one name to another.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let (a, b) = (String::from_utf8_lossy(a), String::from_utf8_lossy(b));
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = before + usize::from(x != *y);
            before = row[j + 1];
            row[j + 1] = cost.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// What `--parents` counts directories from: the part before `/./`, or the root.
fn pivot(tree: &Tree, pattern: &str) -> Result<Vec<u8>, BuildError> {
    let Some((base, _)) = pattern.split_once("/./") else { return Ok(Vec::new()) };
    rooted::real(&tree.root(), base, true)
        .map_err(|errno| BuildError::files("look up", base)(errno.into()))
}

/// Adds every entry: its name, mode, owner where that counts, and digest. Names are as they are called: of
/// what a link leads to, its real place matters only where it becomes part of the copy (`--parents`).
fn name_entries(tree: &Tree, selected: &Selected, parents: bool, inputs: &mut Inputs) {
    let Found { written, real } = &selected.found;
    inputs.add("selected", as_text(written));
    let top =
        if parents { real.clone() } else { rooted::parts(written).collect::<Vec<_>>().join(&b'/') };
    for entry in &selected.entries {
        // A context's own directory is not copied; what is in it is.
        let mode = if entry.path.is_empty() { 0o755 } else { entry.stat.st_mode & 0o7777 };
        let owner = match tree.has_owners() {
            true => format!(" {}:{}", entry.stat.st_uid, entry.stat.st_gid),
            false => String::new(),
        };
        let name = match (top.as_slice(), rooted::below_of(&entry.path, real)) {
            (b"", b"") => b".".to_vec(),
            (top, b"") => top.to_vec(),
            (top, below) => rooted::join(top, below),
        };
        let value = format!("{mode:o}{owner} {}", hex(&entry.sum));
        inputs.add(format!("{FILE}{}", as_text(&name)), value);
    }
}

/// A file's name where only text can be: another text for every name.
pub(super) fn as_text(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(text) => text.into(),
        // No name has two slashes in a row.
        Err(_) => format!("//{}", name.escape_ascii()).into(),
    }
}

/// Whether the files of contexts that are named in `inputs` are the ones that were taken.
fn same_files(inputs: &Inputs, taken: &Inputs) -> bool {
    let of_context = |input: &&Input| input.name == "selected" || input.name.starts_with(FILE);
    inputs.parts().iter().filter(of_context).eq(taken.parts())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Sets times that are later than the epoch back to it, in a whole tree.
pub(super) fn clamp_times(top: &Path, epoch: i64) -> Result<(), BuildError> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: epoch, tv_nsec: 0 },
    };
    let is_late = |stat: &rustix::fs::Stat| {
        stat.st_mtime > epoch || stat.st_mtime == epoch && stat.st_mtime_nsec > 0
    };
    let clamped = rooted::open_root(top).and_then(|root| {
        rooted::below(root.as_fd(), |dir, name, stat| match is_late(stat) {
            true => rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW),
            false => Ok(()),
        })?;
        match is_late(&rustix::fs::fstat(&root)?) {
            true => rustix::fs::futimens(&root, &times),
            false => Ok(()),
        }
    });
    clamped.map_err(|errno| BuildError::files("set the times in", top)(errno.into()))
}

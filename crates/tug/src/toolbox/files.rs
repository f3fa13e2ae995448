//! What the toolbox shows of files.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Why a command failed, as it is shown.
#[derive(Debug)]
pub(super) struct Failure(String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Of printing; what is about a file is made by [`on`].
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

fn on(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Failure {
    let path = path.as_ref().display().to_string();
    move |error| Failure(format!("{path}: {error}"))
}

/// The working directory.
pub(super) fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| "(gone)".into())
}

pub(super) fn go(to: &str) -> Result<(), Failure> {
    std::env::set_current_dir(to).map_err(on(to))
}

pub(super) fn say(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    Ok(writeln!(out, "{text}")?)
}

pub(super) fn id(out: &mut impl Write) -> Result<(), Failure> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let groups = rustix::process::getgroups().map_err(io::Error::from)?;
    let groups: Vec<String> = groups.iter().map(|group| group.as_raw().to_string()).collect();
    let text = format!("uid={} gid={} groups={}", uid.as_raw(), gid.as_raw(), groups.join(","));
    say(out, &text)
}

pub(super) fn cat(out: &mut impl Write, path: &str) -> Result<(), Failure> {
    let mut file = std::fs::File::open(path).map_err(on(path))?;
    io::copy(&mut file, out).map(drop).map_err(on(path))
}

pub(super) fn head(out: &mut impl Write, path: &str, lines: usize) -> Result<(), Failure> {
    use io::BufRead;
    let file = std::fs::File::open(path).map_err(on(path))?;
    for line in io::BufReader::new(file).split(b'\n').take(lines) {
        out.write_all(&line.map_err(on(path))?)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

pub(super) fn ls(out: &mut impl Write, arguments: &[&str]) -> Result<(), Failure> {
    let (flags, paths): (Vec<&str>, Vec<&str>) =
        arguments.iter().partition(|word| word.starts_with('-') && word.len() > 1);
    let has = |letter: char| flags.iter().any(|flags| flags.contains(letter));
    let paths = if paths.is_empty() { vec!["."] } else { paths };
    for path in &paths {
        if paths.len() > 1 {
            writeln!(out, "{path}:")?;
        }
        let metadata = std::fs::symlink_metadata(path).map_err(on(path))?;
        if !metadata.is_dir() {
            line(out, Path::new(path), path, has('l'))?;
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(on(path))?;
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        for name in names {
            let name = name.to_string_lossy();
            if has('a') || !name.starts_with('.') {
                line(out, &Path::new(path).join(&*name), &name, has('l'))?;
            }
        }
    }
    Ok(())
}

fn line(out: &mut impl Write, path: &Path, name: &str, long: bool) -> Result<(), Failure> {
    let metadata = std::fs::symlink_metadata(path).map_err(on(path))?;
    if !long {
        return say(out, &format!("{name}{}", if metadata.is_dir() { "/" } else { "" }));
    }
    let target = std::fs::read_link(path).map(|target| format!(" -> {}", target.display()));
    let (uid, gid, size) = (metadata.uid(), metadata.gid(), metadata.len());
    let (links, mode) = (metadata.nlink(), mode(&metadata));
    let target = target.unwrap_or_default();
    say(out, &format!("{mode} {links:>3} {uid:>5} {gid:>5} {size:>10} {name}{target}"))
}

/// `drwxr-xr-x`
fn mode(metadata: &std::fs::Metadata) -> String {
    let mut text = String::new();
    let bits = metadata.mode();
    text.push(match metadata.file_type() {
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'l',
        kind if kind.is_fifo() => 'p',
        kind if kind.is_socket() => 's',
        kind if kind.is_char_device() => 'c',
        kind if kind.is_block_device() => 'b',
        _ => '-',
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let part = bits >> shift;
        text.push(if part & 4 != 0 { 'r' } else { '-' });
        text.push(if part & 2 != 0 { 'w' } else { '-' });
        text.push(match (part & 1 != 0, bits & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

pub(super) fn stat(out: &mut impl Write, path: &str) -> Result<(), Failure> {
    let metadata = std::fs::symlink_metadata(path).map_err(on(path))?;
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => "directory",
        kind if kind.is_symlink() => "symbolic link",
        kind if kind.is_file() => "regular file",
        kind if kind.is_fifo() => "fifo",
        kind if kind.is_socket() => "socket",
        kind if kind.is_char_device() => "character device",
        _ => "block device",
    };
    let mut text = path.to_owned();
    if let Ok(target) = std::fs::read_link(path) {
        let _ = write!(text, " -> {}", target.display());
    }
    let _ = write!(
        text,
        "\n  {kind}, {} bytes, mode {:04o} {}, owner {}:{}, {} links, inode {}, modified {}.{:09}",
        metadata.len(),
        metadata.mode() & 0o7777,
        mode(&metadata),
        metadata.uid(),
        metadata.gid(),
        metadata.nlink(),
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    );
    say(out, &text)
}

pub(super) fn find(out: &mut impl Write, top: &Path, pattern: Option<&str>) -> Result<(), Failure> {
    let pattern: Option<Vec<char>> = pattern.map(|pattern| pattern.chars().collect());
    let mut open = vec![top.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = std::fs::symlink_metadata(&path).map_err(on(&path))?;
        let name: Vec<char> = path
            .file_name()
            .map(|name| name.to_string_lossy().chars().collect())
            .unwrap_or_default();
        if pattern.as_ref().is_none_or(|pattern| matches(pattern, &name)) {
            say(out, &path.display().to_string())?;
        }
        // Those of the kernel have no end.
        let kernels = ["/proc", "/sys", "/dev"].iter().any(|dir| path.starts_with(dir));
        if metadata.is_dir() && (path == top || !kernels) {
            let mut below: Vec<_> =
                std::fs::read_dir(&path).map_err(on(&path))?.flatten().map(|e| e.path()).collect();
            below.sort();
            open.extend(below.into_iter().rev());
        }
    }
    Ok(())
}

fn matches(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => (0..=name.len()).any(|skip| matches(rest, &name[skip..])),
        (Some(('?', rest)), Some((_, below))) => matches(rest, below),
        (Some((c, rest)), Some((d, below))) => c == d && matches(rest, below),
        _ => false,
    }
}

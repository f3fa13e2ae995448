//! Build contexts from lists, so that modes, links and odd names do not depend on how a repository was
//! checked out.
//!
//! ```text
//! file NAME ["CONTENT"] [mode=644] [owner=0:0] [mtime=SECONDS] [xattr=NAME:VALUE] [times=COUNT]
//! dir NAME [mode=755] …
//! link NAME -> TARGET
//! hard NAME = EARLIER
//! fifo NAME
//! base64 NAME DATA
//! tar NAME [gzip|zstd]        entries of it below, indented
//! ```
//!
//! Words with blanks are quoted; in quotes `\n \t \r \" \\ \xHH` are what they are in Rust.

use crate::layer::{LayerTar, Meta};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// The words of a line: blanks separate, quotes hold together.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let mut word = Vec::new();
        while let Some(c) = rest.chars().next().filter(|c| *c != ' ') {
            rest = &rest[c.len_utf8()..];
            if c == '"' {
                rest = quoted(rest, &mut word);
            } else {
                word.extend(c.to_string().as_bytes());
            }
        }
        words.push(word);
        rest = rest.trim_start();
    }
    words
}

fn quoted<'a>(mut rest: &'a str, word: &mut Vec<u8>) -> &'a str {
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return rest,
            '\\' => {
                let escaped = rest.chars().next().unwrap_or('\\');
                rest = &rest[escaped.len_utf8()..];
                match escaped {
                    'n' => word.push(b'\n'),
                    't' => word.push(b'\t'),
                    'r' => word.push(b'\r'),
                    'x' => {
                        word.push(u8::from_str_radix(&rest[..2], 16).unwrap_or(b'?'));
                        rest = &rest[2..];
                    }
                    other => word.extend(other.to_string().as_bytes()),
                }
            }
            other => word.extend(other.to_string().as_bytes()),
        }
    }
    rest
}

/// One line.
struct Line {
    kind: String,
    name: Vec<u8>,
    /// What is neither the name nor an attribute.
    rest: Vec<Vec<u8>>,
    attributes: BTreeMap<String, Vec<u8>>,
}

impl Line {
    fn read(text: &str) -> Self {
        let mut words = words(text).into_iter();
        let kind = String::from_utf8_lossy(&words.next().unwrap_or_default()).into_owned();
        let name = words.next().unwrap_or_default();
        let (mut rest, mut attributes) = (Vec::new(), BTreeMap::new());
        for word in words {
            let known = ["mode=", "owner=", "mtime=", "xattr=", "times="];
            match known.iter().find(|key| word.starts_with(key.as_bytes())) {
                Some(key) => {
                    attributes.insert(key[..key.len() - 1].to_owned(), word[key.len()..].to_vec());
                }
                None => rest.push(word),
            }
        }
        Self { kind, name, rest, attributes }
    }

    fn text(&self, key: &str) -> Option<String> {
        Some(String::from_utf8_lossy(self.attributes.get(key)?).into_owned())
    }

    fn mode(&self, default: u32) -> u32 {
        self.text("mode").map_or(default, |mode| u32::from_str_radix(&mode, 8).unwrap_or(default))
    }

    fn owner(&self) -> (u32, u32) {
        let text = self.text("owner").unwrap_or_default();
        let (uid, gid) = text.split_once(':').unwrap_or(("0", "0"));
        (uid.parse().unwrap_or(0), gid.parse().unwrap_or(0))
    }

    fn mtime(&self) -> Option<i64> {
        self.text("mtime").and_then(|text| text.parse().ok())
    }

    fn content(&self) -> Vec<u8> {
        let count = self.text("times").and_then(|text| text.parse().ok()).unwrap_or(1);
        self.rest.first().cloned().unwrap_or_default().repeat(count)
    }

    /// The target of a link: behind `->` or `=`.
    fn target(&self) -> Vec<u8> {
        self.rest.get(1).cloned().unwrap_or_default()
    }

    fn xattr(&self) -> Option<(String, Vec<u8>)> {
        let text = self.attributes.get("xattr")?;
        let colon = text.iter().position(|byte| *byte == b':')?;
        Some((String::from_utf8_lossy(&text[..colon]).into_owned(), text[colon + 1..].to_vec()))
    }
}

/// Makes a directory with what a list says.
///
/// # Errors
/// A file could not be made, or a line is not understood; names it.
pub fn make(dir: &Path, list: &str) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut lines = list.lines().filter(|line| !line.trim().is_empty()).peekable();
    let mut dirs = Vec::new();
    while let Some(text) = lines.next() {
        let line = Line::read(text);
        let mut inner = Vec::new();
        while let Some(below) = lines.next_if(|next| next.starts_with("  ")) {
            inner.push(Line::read(below));
        }
        let path = dir.join(std::ffi::OsStr::from_bytes(&line.name));
        let made = entry(dir, &path, &line, &inner);
        made.map_err(|error| io::Error::new(error.kind(), format!("{text}: {error}")))?;
        if line.kind == "dir" {
            dirs.push((path, line));
        }
    }
    // Last and innermost first: what is put into a directory changes its time.
    for (path, line) in dirs.iter().rev() {
        finish(path, line, 0o755)?;
    }
    Ok(())
}

fn entry(dir: &Path, path: &Path, line: &Line, inner: &[Line]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match line.kind.as_str() {
        "file" => std::fs::write(path, line.content())?,
        "dir" => return std::fs::create_dir_all(path),
        "link" => {
            symlink(std::ffi::OsStr::from_bytes(&line.target()), path)?;
            return times(path, line);
        }
        "hard" => {
            let target = dir.join(std::ffi::OsStr::from_bytes(&line.target()));
            return std::fs::hard_link(target, path);
        }
        "fifo" => rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0)?,
        "base64" => std::fs::write(path, base64(&line.rest.concat())?)?,
        "tar" => archive(path, line, inner)?,
        other => return Err(io::Error::other(format!("what is {other}?"))),
    }
    finish(path, line, 0o644)
}

fn finish(path: &Path, line: &Line, mode: u32) -> io::Result<()> {
    let (uid, gid) = line.owner();
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(line.mode(mode)))?;
    if let Some((name, value)) = line.xattr() {
        rustix::fs::lsetxattr(path, name.as_str(), &value, XattrFlags::empty())?;
    }
    times(path, line)
}

/// Only when it is said: Docker's client takes a file of the same name, size and time for the same file,
/// also when it is another build's.
fn times(path: &Path, line: &Line) -> io::Result<()> {
    let Some(seconds) = line.mtime() else { return Ok(()) };
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn archive(path: &Path, line: &Line, inner: &[Line]) -> io::Result<()> {
    let file = std::fs::File::create(path)?;
    match line.rest.first().map(Vec::as_slice) {
        None => pack(file, inner).map(drop),
        Some(b"gzip") => {
            let level = flate2::Compression::new(6);
            pack(flate2::write::GzEncoder::new(file, level), inner)?.finish().map(drop)
        }
        Some(b"zstd") => pack(zstd::Encoder::new(file, 3)?, inner)?.finish().map(drop),
        Some(_) => Err(io::Error::other("what compression?")),
    }
}

fn pack<W: Write>(out: W, inner: &[Line]) -> io::Result<W> {
    let mut tar = LayerTar::new(out);
    for line in inner {
        let name = String::from_utf8_lossy(&line.name).into_owned();
        let target = String::from_utf8_lossy(&line.target()).into_owned();
        let (uid, gid) = line.owner();
        let meta = |mode| Meta { mode: line.mode(mode), uid: uid.into(), gid: gid.into() };
        if let Some(attribute) = line.xattr() {
            tar.xattrs(&BTreeMap::from([attribute]))?;
        }
        match line.kind.as_str() {
            "file" => tar.file(&name, meta(0o644), &line.content())?,
            "dir" => tar.dir(&name, meta(0o755))?,
            "link" => tar.symlink(&name, &target)?,
            "hard" => tar.hardlink(&name, &target)?,
            other => return Err(io::Error::other(format!("what is {other} in a tar?"))),
        }
    }
    tar.finish()
}

fn base64(text: &[u8]) -> io::Result<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for byte in text.iter().filter(|byte| **byte != b'=') {
        let value = ALPHABET.iter().position(|known| known == byte);
        let value = value.ok_or_else(|| io::Error::other("not base64"))?;
        bits = (bits << 6) | u32::try_from(value).unwrap_or(0);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from((bits >> count) & 0xff).unwrap_or(0));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_files() {
        let temp = tempfile::tempdir().unwrap();
        let list = "dir d mode=700\nfile d/a \"x\\n\" mode=600 times=2\nlink l -> d/a\nhard h = d/a\nfifo p\nbase64 b aGk=\n";
        make(temp.path(), list).unwrap();
        assert_eq!(std::fs::read_to_string(temp.path().join("l")).unwrap(), "x\nx\n");
        assert_eq!(std::fs::read(temp.path().join("b")).unwrap(), b"hi");
        let mode = std::fs::metadata(temp.path().join("d")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        assert!(make(temp.path(), "flie x\n").is_err());
    }

    #[test]
    fn quotes_hold_words_together() {
        let found = words(r#"a "b c"d "\x41\n" e"#);
        assert_eq!(found, [b"a".to_vec(), b"b cd".to_vec(), b"A\n".to_vec(), b"e".to_vec()]);
    }
}

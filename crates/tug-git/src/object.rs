//! Objects: their names, their kinds, and what commits and trees say.

use crate::error::Error;
use sha1::{Digest as _, Sha1};
use std::fmt;

/// The SHA-1 that names an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid(pub(crate) [u8; 20]);

impl Oid {
    /// From all 40 digits.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 40 || !text.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks(2)) {
            let digits = std::str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Of an object's content.
    pub(crate) fn of(kind: Kind, content: &[u8]) -> Self {
        let mut hash = Sha1::new();
        hash.update(header(kind, content.len()));
        hash.update(content);
        Self(hash.finalize().into())
    }
}

/// What is hashed, and kept, in front of the content.
pub(crate) fn header(kind: Kind, length: usize) -> Vec<u8> {
    format!("{} {length}\0", kind.name()).into_bytes()
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

/// What a commit says, as far as it is asked.
pub(crate) struct Commit {
    pub tree: Oid,
    /// Seconds since the epoch.
    pub time: i64,
}

impl Commit {
    pub(crate) fn read(id: Oid, content: &[u8]) -> Result<Self, Error> {
        let broken = |what| Error::Object { id: id.to_string(), what };
        let text = String::from_utf8_lossy(content);
        let mut lines = text.lines().take_while(|line| !line.is_empty());
        let tree = lines.next().and_then(|line| line.strip_prefix("tree ")).and_then(Oid::parse);
        let committer = lines.find_map(|line| line.strip_prefix("committer "));
        let time = committer.and_then(|line| line.rsplit(' ').nth(1)?.parse().ok());
        Ok(Self { tree: tree.ok_or_else(|| broken("it names no tree"))?, time: time.unwrap_or(0) })
    }
}

/// What a tag points at.
pub(crate) fn tagged(content: &[u8]) -> Option<Oid> {
    let text = std::str::from_utf8(content.get(..47)?).ok()?;
    Oid::parse(text.strip_prefix("object ")?)
}

/// One line of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub kind: EntryKind,
    pub name: Vec<u8>,
    pub id: Oid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Directory,
    File { executable: bool },
    Link,
    Submodule,
}

/// The lines of a tree, none of whose names leads elsewhere.
pub(crate) fn entries(id: Oid, mut content: &[u8]) -> Result<Vec<Entry>, Error> {
    let broken = |what| Error::Object { id: id.to_string(), what };
    let mut list = Vec::new();
    while !content.is_empty() {
        let space = content.iter().position(|b| *b == b' ').ok_or_else(|| broken("no mode"))?;
        let end = content.iter().position(|b| *b == 0).ok_or_else(|| broken("no name"))?;
        let name = content.get(space + 1..end).ok_or_else(|| broken("no name"))?;
        let bytes = content.get(end + 1..end + 21).ok_or_else(|| broken("it ends too soon"))?;
        let kind = match &content[..space] {
            b"40000" | b"040000" => EntryKind::Directory,
            b"120000" => EntryKind::Link,
            b"160000" => EntryKind::Submodule,
            b"100755" | b"100775" => EntryKind::File { executable: true },
            mode if mode.starts_with(b"100") => EntryKind::File { executable: false },
            _ => return Err(broken("it has an unknown mode")),
        };
        let lower = name.to_ascii_lowercase();
        if name.is_empty()
            || name.contains(&b'/')
            || [&b"."[..], b"..", b".git"].contains(&&lower[..])
        {
            return Err(Error::Name { name: String::from_utf8_lossy(name).into_owned() });
        }
        let id = Oid(bytes.try_into().map_err(|_| broken("it ends too soon"))?);
        list.push(Entry { kind, name: name.to_vec(), id });
        content = &content[end + 21..];
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_gits() {
        assert_eq!(
            Oid::of(Kind::Blob, b"").to_string(),
            "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
        );
        assert_eq!(
            Oid::of(Kind::Tree, b"").to_string(),
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        );
        assert!(Oid::parse("e69de29").is_none() && Oid::parse(&"g".repeat(40)).is_none());
    }

    #[test]
    fn trees_that_lead_elsewhere_are_refused() {
        let id = Oid([0; 20]);
        let line = |name: &str| [format!("100644 {name}\0").as_bytes(), &[1; 20]].concat();
        assert_eq!(entries(id, &line("a")).unwrap()[0].name, b"a");
        for name in ["..", ".", ".git", ".GIT", "a/b", ""] {
            assert!(matches!(entries(id, &line(name)), Err(Error::Name { .. })), "{name}");
        }
        for cut in 1..line("a").len() {
            assert!(entries(id, &line("a")[..cut]).is_err(), "{cut}");
        }
    }
}

//! Digests remembered by what stat(2) says of a file, over builds.
//!
//! ```text
//! <data-root>/build/contexts/<hash of the context's path>
//!   "TUGCTX1\n"  entry*  SHA-256 of all before
//!   entry = length of path u32, path, dev, ino, size, mtime, ctime (s, ns: i64 each), mode u32, digest
//! ```
//!
//! A file is believed unchanged when device, inode, size, mode, mtime and ctime are what they were. The
//! change time cannot be set by anybody, so edits that keep size and mtime are seen. What was changed so
//! shortly before it was read that the clock of the file system could not tell a second change apart is
//! read again every time until it has aged ("racily clean" in git's words).

use rustix::fs::Stat;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const MAGIC: &[u8; 8] = b"TUGCTX1\n";

/// How far the clock of a file system may lag: kernel ticks of 10 ms, and room.
const FINE: i128 = 100_000_000;
/// File systems that keep whole seconds, or two.
const COARSE: i128 = 2_500_000_000;

/// A digest of whatever a file's name stands for.
pub(crate) type Sum = [u8; 32];

/// What stat says that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark([i64; 8]);

impl Mark {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self([
            stat.st_dev.cast_signed(),
            stat.st_ino.cast_signed(),
            stat.st_size,
            stat.st_mtime,
            stat.st_mtime_nsec.cast_signed(),
            stat.st_ctime,
            stat.st_ctime_nsec.cast_signed(),
            i64::from(stat.st_mode),
        ])
    }

    /// Whether a change after `read_at` (nanoseconds since the epoch) would show.
    pub(crate) fn is_settled(&self, read_at: i128) -> bool {
        let Self([.., ctime, ctime_ns, _]) = *self;
        // An mtime is anybody's choice; the change time is the kernel's.
        let changed = i128::from(ctime) * 1_000_000_000 + i128::from(ctime_ns);
        let margin = if ctime_ns == 0 { COARSE } else { FINE };
        read_at - changed > margin
    }
}

/// The clock, as [`Index::put`] wants it: taken before the file is read.
pub(crate) fn now() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos().cast_signed())
}

/// The index of one context.
#[derive(Debug, Default)]
pub(crate) struct Index {
    file: PathBuf,
    known: HashMap<Vec<u8>, (Mark, Sum)>,
    changed: bool,
}

impl Index {
    /// Reads an index; a missing or damaged one is empty.
    pub(crate) fn load(file: &Path) -> Self {
        let known = std::fs::read(file).ok().and_then(|bytes| parse(&bytes)).unwrap_or_default();
        Self { file: file.to_owned(), known, ..Self::default() }
    }

    /// The digest of an unchanged file.
    pub(crate) fn get(&self, path: &[u8], mark: &Mark) -> Option<Sum> {
        self.known.get(path).filter(|(known, _)| known == mark).map(|(_, sum)| *sum)
    }

    /// Remembers the digest of a file read at `read_at` and found as `mark` says both before and after.
    pub(crate) fn put(&mut self, path: &[u8], mark: Mark, sum: Sum, read_at: i128) {
        if mark.is_settled(read_at) {
            self.known.insert(path.to_vec(), (mark, sum));
            self.changed = true;
        }
    }

    /// Writes it when something is new. What this build did not look at is kept as it was.
    ///
    /// # Errors
    /// When it cannot be written: the next build reads more files.
    pub(crate) fn save(&mut self) -> std::io::Result<()> {
        if !self.changed {
            return Ok(());
        }
        let mut bytes = MAGIC.to_vec();
        for (path, (Mark(numbers), sum)) in &self.known {
            bytes.extend(u32::try_from(path.len()).unwrap_or(0).to_le_bytes());
            bytes.extend(path);
            numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
            bytes.extend(sum);
        }
        let sum: Sum = Sha256::digest(&bytes).into();
        bytes.extend(sum);
        self.changed = false;
        let dir = self.file.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(dir)?;
        let mut beside = tempfile::NamedTempFile::new_in(dir)?;
        beside.write_all(&bytes)?;
        beside.persist(&self.file).map(drop).map_err(|error| error.error)
    }
}

fn parse(bytes: &[u8]) -> Option<HashMap<Vec<u8>, (Mark, Sum)>> {
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    if <Sum>::from(Sha256::digest(body)) != *sum {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let mut known = HashMap::with_capacity(rest.len() / 128);
    while !rest.is_empty() {
        let (length, more) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (path, more) = more.split_at_checked(length)?;
        let (numbers, more) = more.split_first_chunk::<64>()?;
        let (sum, more) = more.split_first_chunk::<32>()?;
        let mut mark = [0; 8];
        for (number, bytes) in mark.iter_mut().zip(numbers.as_chunks::<8>().0) {
            *number = i64::from_le_bytes(*bytes);
        }
        known.insert(path.to_vec(), (Mark(mark), *sum));
        rest = more;
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(ino: i64, ctime: i64) -> Mark {
        Mark([1, ino, 10, 5, 0, ctime, 1, 0o644])
    }

    #[test]
    fn what_was_settled_is_known_again() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("contexts/a");
        let mut index = Index::load(&file);
        index.put(b"old", mark(1, 5), [1; 32], 10_000_000_000);
        index.put(b"racy", mark(2, 9), [2; 32], 9_050_000_000);
        index.save().unwrap();
        let index = Index::load(&file);
        assert_eq!(index.get(b"old", &mark(1, 5)), Some([1; 32]));
        assert_eq!(index.get(b"racy", &mark(2, 9)), None, "changed just before it was read");
        assert_eq!(index.get(b"old", &mark(3, 5)), None, "another inode");
        assert_eq!(index.get(b"old", &mark(1, 6)), None, "another change time");
        std::fs::write(&file, b"TUGCTX1\ndamage").unwrap();
        assert_eq!(Index::load(&file).get(b"old", &mark(1, 5)), None);
    }

    #[test]
    fn what_a_build_did_not_look_at_stays() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("a");
        let mut index = Index::load(&file);
        index.put(b"a", mark(1, 5), [1; 32], 10_000_000_000);
        index.save().unwrap();
        let mut index = Index::load(&file);
        index.put(b"b", mark(2, 5), [2; 32], 10_000_000_000);
        index.save().unwrap();
        let index = Index::load(&file);
        assert!(index.get(b"a", &mark(1, 5)).is_some() && index.get(b"b", &mark(2, 5)).is_some());
    }
}

//! A file's content on its way to the disk: long runs of zeros become holes.

use crate::entry::Entry;
use crate::{EntryName, Error, Result};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// Files from this size on are looked through for holes: a database image of 10 GB that is all
/// zeros shall not fill the disk, whatever format the tar is in.
const LOOK_FROM: u64 = 1 << 20;
/// Zeros are left out in aligned stretches of this size, or what of one is at hand.
const STRETCH: u64 = 32 << 10;

/// Writes one file from its beginning to its end.
pub(crate) struct FileBody<'f> {
    file: BorrowedFd<'f>,
    name: EntryName,
    position: u64,
    /// Where the last written byte ended.
    written: u64,
    size: u64,
}

impl<'f> FileBody<'f> {
    pub(crate) fn new(file: BorrowedFd<'f>, entry: &Entry) -> Self {
        Self { file, name: entry.name(), position: 0, written: 0, size: entry.size }
    }

    /// Goes on at `offset`, leaving a hole.
    pub(crate) fn seek(&mut self, offset: u64) {
        self.position = offset;
    }

    /// Writes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.size < LOOK_FROM {
            return self.write_all(bytes);
        }
        // Bytes before `start` are written; those up to `end` are known not to be zeros.
        let (mut start, mut end) = (0, 0);
        while end < bytes.len() {
            let aligned = STRETCH - (self.position + (end - start) as u64) % STRETCH;
            let stretch = (aligned as usize).min(bytes.len() - end);
            let next = end + stretch;
            // A stretch may come in two pieces: each is left out for itself.
            if is_zero(&bytes[end..next]) {
                self.write_all(&bytes[start..end])?;
                self.position += stretch as u64;
                start = next;
            }
            end = next;
        }
        self.write_all(&bytes[start..end])
    }

    /// Gives the file its size where it ends in a hole.
    pub(crate) fn finish(self) -> Result<()> {
        if self.written == self.size {
            return Ok(());
        }
        rustix::fs::ftruncate(self.file, self.size).map_err(|error| self.failed(error))
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match rustix::io::pwrite(self.file, bytes, self.position) {
                Ok(0) => return Err(self.failed(Errno::NOSPC)),
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.position += count as u64;
                    self.written = self.position;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    fn failed(&self, error: Errno) -> Error {
        Error::Unpack { action: "write", entry: self.name.clone(), source: error.into() }
    }
}

/// Whether all bytes are zero; the first and the last one tell most of the time.
fn is_zero(bytes: &[u8]) -> bool {
    let (Some(0), Some(0)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

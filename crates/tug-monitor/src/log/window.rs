//! Positioned reads of a file through one buffer, forwards or backwards.

use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::io;

/// Bytes read ahead. Four times the page cache's read-ahead, and still inside a second-level cache.
const BLOCK: usize = 256 << 10;

/// A part of a file held in memory.
#[derive(Debug)]
pub(crate) struct Window {
    file: OwnedFd,
    /// Position in the file of the buffer's first byte.
    at: u64,
    buffer: Vec<u8>,
}

impl Window {
    pub(crate) fn new(file: OwnedFd) -> Self {
        Self { file, at: 0, buffer: Vec::new() }
    }

    pub(crate) fn file(&self) -> &OwnedFd {
        &self.file
    }

    pub(crate) fn into_file(self) -> OwnedFd {
        self.file
    }

    /// The same memory for another file.
    pub(crate) fn reuse(self, file: OwnedFd) -> Self {
        let mut buffer = self.buffer;
        buffer.clear();
        Self { file, at: 0, buffer }
    }

    /// `length` bytes from `position` on, or `None` when the file ends before. Reads ahead.
    pub(crate) fn get(&mut self, position: u64, length: usize) -> io::Result<Option<&[u8]>> {
        if !self.holds(position, length) {
            self.fill(position, length.max(BLOCK))?;
        }
        Ok(self.slice(position, length))
    }

    /// The same, reading the block that ends with these bytes: for walking backwards.
    pub(crate) fn get_back(&mut self, position: u64, length: usize) -> io::Result<Option<&[u8]>> {
        if !self.holds(position, length) {
            let end = position + length as u64;
            let begin = end.saturating_sub(length.max(BLOCK) as u64);
            self.fill(begin, (end - begin) as usize)?;
        }
        Ok(self.slice(position, length))
    }

    /// A few bytes from `position` on, without reading ahead.
    pub(crate) fn glance<const N: usize>(&self, position: u64) -> io::Result<Option<[u8; N]>> {
        match self.slice(position, N).and_then(|bytes| bytes.first_chunk().copied()) {
            Some(bytes) => Ok(Some(bytes)),
            None => self.read_again(position),
        }
    }

    /// A few bytes as they are in the file now.
    pub(crate) fn read_again<const N: usize>(&self, position: u64) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        loop {
            match rustix::io::pread(&self.file, &mut bytes, position) {
                Ok(count) => return Ok((count == N).then_some(bytes)),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn holds(&self, position: u64, length: usize) -> bool {
        position >= self.at && position + length as u64 <= self.at + self.buffer.len() as u64
    }

    fn slice(&self, position: u64, length: usize) -> Option<&[u8]> {
        let begin = usize::try_from(position.checked_sub(self.at)?).ok()?;
        self.buffer.get(begin..begin.checked_add(length)?)
    }

    fn fill(&mut self, position: u64, length: usize) -> io::Result<()> {
        self.buffer.clear();
        self.at = position;
        self.buffer.reserve_exact(length);
        while self.buffer.len() < length {
            let next = position + self.buffer.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(&mut self.buffer), next) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

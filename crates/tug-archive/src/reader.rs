//! Walking the blocks of a tar stream: headers with their extensions, bodies, padding, the end.
//!
//! Every byte of the stream passes here exactly once, and is either part of a file, which the
//! caller takes with [`Reader::copy_body`], or handed to the recorder as it is.

use crate::entry::{self, BLOCK, Entry, Extensions, checksum_matches, type_flag};
use crate::pax::{self, SparseFormat, parse_pax};
use crate::skeleton::Recorder;
use crate::unpack::Limits;
use crate::{EntryName, Error, Result};
use std::io::{self, BufRead, Write};
use tar::Header;

pub(crate) struct Reader<R, W: Write> {
    input: R,
    limits: Limits,
    recorder: Option<Recorder<W>>,
    /// Bytes taken from the stream so far.
    offset: u64,
    entries: u64,
    /// Bytes of the current body not taken yet, and the padding behind it.
    body: u64,
    padding: u64,
    /// The current entry, for errors.
    name: Vec<u8>,
}

impl<R: BufRead, W: Write> Reader<R, W> {
    pub(crate) fn new(input: R, limits: Limits, recorder: Option<Recorder<W>>) -> Self {
        Self {
            input,
            limits,
            recorder,
            offset: 0,
            entries: 0,
            body: 0,
            padding: 0,
            name: Vec::new(),
        }
    }

    pub(crate) fn recorder(&mut self) -> Option<&mut Recorder<W>> {
        self.recorder.as_mut()
    }

    pub(crate) fn into_recorder(self) -> Option<Recorder<W>> {
        self.recorder
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// The next entry; what the caller did not take of the last body is skipped. At the end of the
    /// archive, the rest of the stream is read too: it belongs to the digest.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        self.finish_body()?;
        let mut extensions = Extensions::default();
        loop {
            let start = self.offset;
            let Some(header) = self.header()? else {
                self.drain()?;
                return Ok(None);
            };
            match type_flag(&header) {
                b'x' => {
                    let bytes = self.extension(&header, start)?;
                    extensions.pax = parse_pax(&bytes).ok_or(Error::PaxRecord { offset: start })?;
                }
                b'L' => extensions.long_name = Some(until_nul(self.extension(&header, start)?)),
                b'K' => extensions.long_link = Some(until_nul(self.extension(&header, start)?)),
                // Global records say nothing about files that anybody honours.
                b'g' => drop(self.extension(&header, start)?),
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
    }

    fn entry(&mut self, header: &Header, mut extensions: Extensions) -> Result<Entry> {
        let mut entry = entry::describe(header, &mut extensions)?;
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Error::TooManyEntries { entry: entry.name(), limit: self.limits.entries });
        }
        if self.offset.saturating_add(entry.stored) > self.limits.bytes {
            return Err(Error::TooLarge { entry: entry.name(), limit: self.limits.bytes });
        }
        self.name.clear();
        self.name.extend_from_slice(&entry.name);
        if type_flag(header) == b'S' {
            self.gnu_sparse(header, &mut entry)?;
        }
        self.body = entry.stored;
        self.padding = padding(entry.stored);
        if type_flag(header) != b'S' {
            self.pax_sparse(&extensions, &mut entry)?;
        }
        Ok(entry)
    }

    /// The old GNU format: four pieces in the header, then blocks of 21.
    fn gnu_sparse(&mut self, header: &Header, entry: &mut Entry) -> Result<()> {
        let invalid = || Error::SparseMap { entry: EntryName::new(&entry.name) };
        let gnu = header.as_gnu().ok_or_else(invalid)?;
        let mut numbers = Vec::new();
        let mut add = |pieces: &[tar::GnuSparseHeader]| {
            for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                for field in [&piece.offset, &piece.numbytes] {
                    let number = entry::number(field).and_then(|number| number.try_into().ok());
                    numbers.push(number.ok_or_else(invalid)?);
                }
            }
            Ok(())
        };
        add(&gnu.sparse)?;
        let size = entry::number(&gnu.realsize).and_then(|size| size.try_into().ok());
        let mut extended = gnu.is_extended();
        let mut read = 0u64;
        while extended {
            let offset = self.offset;
            read += BLOCK as u64;
            if read > self.limits.header {
                let limit = self.limits.header;
                return Err(Error::HeaderTooLarge { offset, size: read, limit });
            }
            let mut block = tar::GnuExtSparseHeader::new();
            self.exact(block.as_mut_bytes())?;
            self.record(block.as_bytes())?;
            add(&block.sparse)?;
            extended = block.is_extended();
        }
        entry::set_pieces(entry, size, &numbers)
    }

    fn pax_sparse(&mut self, extensions: &Extensions, entry: &mut Entry) -> Result<()> {
        let sparse = &extensions.pax.sparse;
        match sparse.format() {
            Ok(None) => Ok(()),
            Ok(Some(_)) if entry.kind != entry::EntryKind::Regular => Ok(()),
            Ok(Some(SparseFormat::Records)) => {
                entry::set_pieces(entry, sparse.size, &sparse.numbers)
            }
            Ok(Some(SparseFormat::InBody)) => {
                let numbers = self.sparse_map_in_body(entry)?;
                entry.stored = self.body;
                entry::set_pieces(entry, sparse.size, &numbers)
            }
            Err(()) => Err(Error::SparseMap { entry: entry.name() }),
        }
    }

    /// PAX 1.0: decimal lines, the first their number of pairs, padded to a block.
    fn sparse_map_in_body(&mut self, entry: &Entry) -> Result<Vec<u64>> {
        let invalid = || Error::SparseMap { entry: entry.name() };
        let (mut numbers, mut line, mut wanted) = (Vec::new(), Vec::new(), None);
        let mut read = 0u64;
        loop {
            if self.body < BLOCK as u64 || read >= self.limits.header {
                return Err(invalid());
            }
            let mut block = [0u8; BLOCK];
            self.exact(&mut block)?;
            self.record(&block)?;
            self.body -= BLOCK as u64;
            read += BLOCK as u64;
            for byte in block {
                if byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                let number = pax::decimal(&line).ok_or_else(invalid)?;
                line.clear();
                match wanted {
                    None => wanted = Some(number.checked_mul(2).ok_or_else(invalid)?),
                    Some(_) => numbers.push(number),
                }
                if wanted == Some(numbers.len() as u64) {
                    return Ok(numbers);
                }
            }
        }
    }

    /// A header block; none at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>> {
        let offset = self.offset;
        let mut header = Header::new_old();
        if !self.block(header.as_mut_bytes(), offset)? {
            return Ok(None);
        }
        if header.as_bytes().iter().any(|byte| *byte != 0) {
            return if checksum_matches(&header) {
                self.record(header.as_bytes())?;
                Ok(Some(header))
            } else {
                Err(Error::Checksum { offset })
            };
        }
        self.record(header.as_bytes())?;
        // Two zero blocks end the archive; one followed by nothing is accepted as well.
        let offset = self.offset;
        if self.block(header.as_mut_bytes(), offset)? {
            if header.as_bytes().iter().any(|byte| *byte != 0) {
                return Err(Error::Checksum { offset: offset - BLOCK as u64 });
            }
            self.record(header.as_bytes())?;
        }
        Ok(None)
    }

    /// Fills a block, or finds the stream at its end.
    fn block(&mut self, block: &mut [u8], offset: u64) -> Result<bool> {
        let filled = self.fill(block)?;
        if filled == 0 {
            return Ok(false);
        }
        if filled < block.len() {
            return Err(Error::TruncatedHeader { offset });
        }
        Ok(true)
    }

    /// The body of an extended header.
    fn extension(&mut self, header: &Header, offset: u64) -> Result<Vec<u8>> {
        let size = entry::size(header).ok_or_else(|| Error::HeaderField {
            entry: EntryName::new(&header.path_bytes()),
            field: "size",
        })?;
        let limit = self.limits.header;
        if size > limit {
            return Err(Error::HeaderTooLarge { offset, size, limit });
        }
        let mut bytes = vec![0; (size + padding(size)) as usize];
        self.name.clear();
        self.name.extend_from_slice(&header.path_bytes());
        self.exact(&mut bytes)?;
        self.record(&bytes)?;
        bytes.truncate(size as usize);
        Ok(bytes)
    }

    /// Hands `length` bytes of the current body to `take`. Not recorded: the caller says in which
    /// file they end up.
    pub(crate) fn copy_body(
        &mut self,
        length: u64,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut left = length.min(self.body);
        self.body -= left;
        while left > 0 {
            let ahead = fill_buf(&mut self.input)?;
            if ahead.is_empty() {
                return Err(Error::TruncatedEntry { entry: EntryName::new(&self.name) });
            }
            let count = usize::try_from(left).map_or(ahead.len(), |left| left.min(ahead.len()));
            take(&ahead[..count])?;
            self.input.consume(count);
            self.offset += count as u64;
            left -= count as u64;
        }
        Ok(())
    }

    /// Skips what is left of the current body, and its padding.
    fn finish_body(&mut self) -> Result<()> {
        let mut left = std::mem::take(&mut self.body) + std::mem::take(&mut self.padding);
        let mut buffer = [0u8; 8 * BLOCK];
        while left > 0 {
            let count = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            self.exact(&mut buffer[..count])?;
            self.record(&buffer[..count])?;
            left -= count as u64;
        }
        Ok(())
    }

    /// Reads the stream to its end.
    fn drain(&mut self) -> Result<()> {
        loop {
            let ahead = fill_buf(&mut self.input)?;
            let count = ahead.len();
            if count == 0 {
                return Ok(());
            }
            if let Some(recorder) = &mut self.recorder {
                recorder.raw(ahead)?;
            }
            self.input.consume(count);
            self.offset += count as u64;
            if self.offset > self.limits.bytes {
                let entry = EntryName::new(b"(after the last entry)");
                return Err(Error::TooLarge { entry, limit: self.limits.bytes });
            }
        }
    }

    fn record(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.recorder {
            Some(recorder) => recorder.raw(bytes),
            None => Ok(()),
        }
    }

    /// Fills the buffer with bytes that belong to the current entry.
    fn exact(&mut self, buffer: &mut [u8]) -> Result<()> {
        if self.fill(buffer)? < buffer.len() {
            return Err(Error::TruncatedEntry { entry: EntryName::new(&self.name) });
        }
        Ok(())
    }

    /// Fills the buffer unless the stream ends; returns how far.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let ahead = fill_buf(&mut self.input)?;
            if ahead.is_empty() {
                break;
            }
            let count = ahead.len().min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&ahead[..count]);
            self.input.consume(count);
            filled += count;
        }
        self.offset += filled as u64;
        Ok(filled)
    }
}

fn fill_buf(input: &mut impl BufRead) -> Result<&[u8]> {
    // The loop asks again for what is then already buffered: a borrow in the loop would outlive it.
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Read { source }),
        }
    }
    input.fill_buf().map_err(|source| Error::Read { source })
}

/// Zero bytes up to the next block.
pub(crate) const fn padding(length: u64) -> u64 {
    let block = BLOCK as u64;
    (block - length % block) % block
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

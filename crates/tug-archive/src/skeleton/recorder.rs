//! Writing a skeleton.

use super::{BODY, END, MAGIC, PIECES, RAW, VERSION, ZEROS};
use crate::entry::Piece;
use crate::{Error, Result};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Headers repeat so much that the quickest level already leaves a tenth.
const LEVEL: i32 = 1;

/// Raw bytes are gathered up to this size before they become a record.
const GATHER: usize = 64 << 10;

/// Writes a skeleton while an archive is unpacked or packed.
pub struct Recorder<W: Write> {
    out: zstd::stream::write::Encoder<'static, W>,
    raw: Vec<u8>,
    zeros: u64,
    tar_size: u64,
    bodies: u64,
    displaced: Vec<(Vec<u8>, u64)>,
    displaced_dir: PathBuf,
}

impl<W: Write> Recorder<W> {
    /// Records into `out`. Files that later entries of the same archive replace are kept below
    /// `displaced`, a directory that is made when the first one needs it. It must be on the file
    /// system of the tree.
    ///
    /// # Errors
    /// When the start of the skeleton cannot be written.
    pub fn new(mut out: W, displaced: &Path) -> Result<Self> {
        out.write_all(MAGIC).and_then(|()| out.write_all(&[VERSION])).map_err(failed)?;
        Ok(Self {
            out: zstd::stream::write::Encoder::new(out, LEVEL).map_err(failed)?,
            raw: Vec::with_capacity(GATHER),
            zeros: 0,
            tar_size: 0,
            bodies: 0,
            displaced: Vec::new(),
            displaced_dir: displaced.to_owned(),
        })
    }

    /// Where replaced files go.
    pub(crate) fn displaced_dir(&self) -> &Path {
        &self.displaced_dir
    }

    /// Bytes of the tar that no file holds.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.tar_size += bytes.len() as u64;
        if bytes.iter().all(|byte| *byte == 0) {
            if !self.raw.is_empty() && bytes.len() < BLOCK_OF_ZEROS {
                self.raw.extend_from_slice(bytes);
                return Ok(());
            }
            self.flush_raw()?;
            self.zeros += bytes.len() as u64;
            return Ok(());
        }
        self.flush_zeros()?;
        self.raw.extend_from_slice(bytes);
        if self.raw.len() >= GATHER { self.flush_raw() } else { Ok(()) }
    }

    /// The first `length` bytes of a file.
    pub(crate) fn body(&mut self, name: &[u8], length: u64) -> Result<()> {
        self.tar_size += length;
        self.flush()?;
        self.bodies += 1;
        self.byte(BODY)?;
        self.bytes(name)?;
        self.number(length)
    }

    /// Stretches of a file.
    pub(crate) fn pieces(&mut self, name: &[u8], pieces: &[Piece]) -> Result<()> {
        self.tar_size += pieces.iter().map(|piece| piece.length).sum::<u64>();
        self.flush()?;
        self.bodies += 1;
        self.byte(PIECES)?;
        self.bytes(name)?;
        self.number(pieces.len() as u64)?;
        for piece in pieces {
            self.number(piece.offset)?;
            self.number(piece.length)?;
        }
        Ok(())
    }

    /// Notes that what was called `name` is being moved; returns its name in the displaced
    /// directory.
    pub(crate) fn displace(&mut self, name: Vec<u8>) -> String {
        self.displaced.push((name, self.bodies));
        (self.displaced.len() - 1).to_string()
    }

    /// Ends the skeleton and returns what it was written to.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.flush()?;
        let mut footer = Vec::new();
        push_number(&mut footer, self.tar_size);
        push_number(&mut footer, self.bodies);
        push_number(&mut footer, self.displaced.len() as u64);
        for (name, ordinal) in &self.displaced {
            push_number(&mut footer, name.len() as u64);
            footer.extend_from_slice(name);
            push_number(&mut footer, *ordinal);
        }
        let length =
            u32::try_from(footer.len()).map_err(|error| failed(io::Error::other(error)))?;
        footer.extend_from_slice(&length.to_le_bytes());
        footer.extend_from_slice(END);
        let mut out = self.out.finish().map_err(failed)?;
        out.write_all(&footer).and_then(|()| out.flush()).map_err(failed)?;
        Ok(out)
    }

    fn flush(&mut self) -> Result<()> {
        self.flush_raw()?;
        self.flush_zeros()
    }

    fn flush_raw(&mut self) -> Result<()> {
        if self.raw.is_empty() {
            return Ok(());
        }
        self.byte(RAW)?;
        let raw = std::mem::take(&mut self.raw);
        self.bytes(&raw)?;
        self.raw = raw;
        self.raw.clear();
        Ok(())
    }

    fn flush_zeros(&mut self) -> Result<()> {
        if self.zeros == 0 {
            return Ok(());
        }
        self.byte(ZEROS)?;
        self.number(self.zeros)?;
        self.zeros = 0;
        Ok(())
    }

    fn byte(&mut self, byte: u8) -> Result<()> {
        self.out.write_all(&[byte]).map_err(failed)
    }

    fn number(&mut self, number: u64) -> Result<()> {
        let mut bytes = Vec::with_capacity(10);
        push_number(&mut bytes, number);
        self.out.write_all(&bytes).map_err(failed)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.number(bytes.len() as u64)?;
        self.out.write_all(bytes).map_err(failed)
    }
}

/// Shorter runs of zeros stay among raw bytes: padding is no record of its own.
const BLOCK_OF_ZEROS: usize = 512;

fn failed(source: io::Error) -> Error {
    Error::WriteSkeleton { source }
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

//! The bytes of a tar that are in no file.

use crate::{Error, Result};
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// Writes a skeleton while an archive is unpacked or packed.
pub struct Recorder<W: Write> {
    _out: W,
    _displaced: PathBuf,
}

impl<W: Write> Recorder<W> {
    /// Records into `out`. Files that later entries of the same archive replace are kept below
    /// `displaced`, a directory that is made when the first one needs it.
    ///
    /// # Errors
    /// When the start of the skeleton cannot be written.
    pub fn new(out: W, displaced: &Path) -> Result<Self> {
        Ok(Self { _out: out, _displaced: displaced.to_owned() })
    }
}

/// Reads the exact tar again, from its skeleton and the files it was unpacked into.
pub struct Assembler {
    _private: PhantomData<()>,
}

impl Assembler {
    /// Opens the skeleton of the tree `root`; `displaced` as given to the [`Recorder`].
    ///
    /// # Errors
    /// When the skeleton cannot be read, is damaged, or is of a newer version.
    pub fn open(_skeleton: &Path, _root: &Path, _displaced: &Path) -> Result<Self> {
        Err(Error::SkeletonDamaged { what: "assembling is not written yet" })
    }

    /// Bytes of the whole tar.
    pub fn tar_size(&self) -> u64 {
        0
    }
}

impl Read for Assembler {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}

/// Writes the exact tar again. Returns its length in bytes.
///
/// # Errors
/// As [`Assembler::open`], when a file of the tree is missing or too short, or on writing.
pub fn assemble(
    skeleton: &Path,
    root: &Path,
    displaced: &Path,
    out: &mut impl Write,
) -> Result<u64> {
    let mut assembler = Assembler::open(skeleton, root, displaced)?;
    io::copy(&mut assembler, out).map_err(|source| Error::Write { source })
}

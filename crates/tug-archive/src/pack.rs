//! A tree into a tar, the same bytes for the same tree.

use crate::skeleton::Recorder;
use crate::{Error, Result};
use std::io::Write;
use std::path::Path;

/// How to pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PackOptions {
    /// The tree is an overlay's upper directory: its marks become `.wh.` entries, its bookkeeping
    /// attributes are left out.
    pub layer: bool,
    /// Write modification times with nanoseconds. Docker writes whole seconds.
    pub nanoseconds: bool,
}

/// What was packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Packed {
    /// Entries.
    pub entries: u64,
    /// The sum of the sizes of all regular files.
    pub size: u64,
    /// Bytes of the whole tar stream.
    pub tar_size: u64,
}

/// Writes the tree below `root` as a tar: sorted by name, no owner names, no access times. With a
/// recorder, the skeleton of that tar is written too, so that the tree itself can become a layer.
///
/// # Errors
/// The first file that cannot be read or represented, by name, or on writing.
pub fn pack<W: Write>(
    _root: &Path,
    _out: impl Write,
    _options: &PackOptions,
    _recorder: Option<Recorder<W>>,
) -> Result<Packed> {
    Err(Error::SkeletonDamaged { what: "packing is not written yet" })
}

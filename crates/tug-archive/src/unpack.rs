//! Entries into files.

use crate::skeleton::Recorder;
use crate::{Error, Result};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

/// How much an archive may contain. What goes beyond is refused, by the name of the entry that did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries, extended headers not counted.
    pub entries: u64,
    /// Bytes of the uncompressed stream. Holes of sparse files cost nothing.
    pub bytes: u64,
    /// Bytes of one extended header (PAX records, long names, sparse maps).
    pub header: u64,
}

impl Default for Limits {
    /// Wide enough for any image seen in the wild, narrow enough to end: ten million entries,
    /// 1 TiB, and 1 MiB a header as Go's reader has it.
    fn default() -> Self {
        Self { entries: 10_000_000, bytes: 1 << 40, header: 1 << 20 }
    }
}

/// What `.wh.` entries become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Whiteouts {
    /// Overlay marks as the kernel reads them by default: character device 0:0 and
    /// `trusted.overlay.opaque`.
    #[default]
    Overlay,
    /// The same with `user.overlay.opaque`, for overlays mounted with `userxattr`.
    OverlayUser,
    /// Files as any other: the archive is not a layer.
    Keep,
}

/// How to unpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct UnpackOptions {
    /// What the archive may cost.
    pub limits: Limits,
    /// What deletion marks become.
    pub whiteouts: Whiteouts,
}

/// What an archive held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// Entries, extended headers not counted.
    pub entries: u64,
    /// The sum of the sizes of all regular files, as Docker counts the size of a layer.
    pub size: u64,
    /// Bytes of the whole tar stream, padding included.
    pub tar_size: u64,
    /// Extended attributes that were left out: overlay's own, or not supported by the file system.
    pub skipped_xattrs: u64,
}

/// Unpacks a plain tar below `root`, which exists and is empty or holds what may be replaced.
///
/// # Errors
/// The first entry that is damaged or refused, by name. What was unpacked so far stays: the caller
/// removes the directory.
pub fn unpack(tar: impl Read, root: &Path, options: &UnpackOptions) -> Result<Unpacked> {
    unpack_recorded(
        BufReader::with_capacity(256 << 10, tar),
        root,
        options,
        None::<Recorder<std::io::Sink>>,
    )
}

/// The same, writing the skeleton on the way.
///
/// # Errors
/// As [`unpack`], and when the skeleton cannot be written.
pub fn unpack_recorded<W: Write>(
    _tar: impl BufRead,
    _root: &Path,
    _options: &UnpackOptions,
    _recorder: Option<Recorder<W>>,
) -> Result<Unpacked> {
    Err(Error::SkeletonDamaged { what: "unpacking is not written yet" })
}

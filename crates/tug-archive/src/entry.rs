//! One archive entry, as its header block, its PAX records and GNU's extensions describe it.
//!
//! Pure: bytes in, values out. Where readers in the wild disagree, this follows Go's `archive/tar`,
//! because that is what layers are made and unpacked with everywhere else: links, devices and
//! directories have no body whatever their size field says, PAX values win over the header block,
//! global PAX headers are ignored.

use crate::pax::{Pax, usable_id};
use crate::{EntryName, Error, Result};
use tar::Header;

/// One header block, and the unit every body is padded to.
pub(crate) const BLOCK: usize = 512;

/// What an entry becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Regular,
    HardLink,
    Symlink,
    CharacterDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
    Directory,
    Fifo,
    /// Says something about the archive, not about a file: a volume label.
    Ignored,
}

impl EntryKind {
    /// Whether bytes follow the header.
    pub(crate) const fn has_body(self) -> bool {
        matches!(self, Self::Regular | Self::Ignored)
    }
}

/// Seconds and nanoseconds since 1970; nanoseconds count forwards before 1970 too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// A stretch of a sparse file that is in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// One entry without its body.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// As the archive spells it.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: EntryKind,
    /// Target of a hard or symbolic link, as spelled.
    pub(crate) link: Vec<u8>,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    /// Bytes of body in the archive.
    pub(crate) stored: u64,
    /// Bytes of the file once unpacked.
    pub(crate) size: u64,
    /// For a sparse file, what the body's bytes are.
    pub(crate) pieces: Option<Vec<Piece>>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    pub(crate) fn name(&self) -> EntryName {
        EntryName::new(&self.name)
    }
}

/// What precedes an entry and changes it.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) pax: Pax,
    pub(crate) long_name: Option<Vec<u8>>,
    pub(crate) long_link: Option<Vec<u8>>,
}

/// A numeric field of a header: octal digits between spaces and NULs, nothing at all for zero, or
/// binary when the first bit is set (GNU, also for negative numbers).
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        // The sign is the second bit; the marking bit counts as its copy.
        let mut value = i128::from(first << 1 >> 1);
        if first & 0x40 != 0 {
            value -= 0x80;
        }
        for byte in &field[1..] {
            value = value << 8 | i128::from(*byte);
        }
        return i64::try_from(value).ok();
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0i64, |value, digit| {
        let digit = (b'0'..=b'7').contains(digit).then(|| i64::from(digit - b'0'))?;
        value.checked_mul(8)?.checked_add(digit)
    })
}

/// The size field of a header.
pub(crate) fn size(header: &Header) -> Option<u64> {
    number(&header.as_bytes()[124..136]).and_then(|size| u64::try_from(size).ok())
}

/// Whether the block is a header: its checksum counts every byte, its own field as spaces. Some
/// old writers added the bytes as signed numbers.
pub(crate) fn checksum_matches(header: &Header) -> bool {
    let Some(wanted) = number(&header.as_bytes()[148..156]) else {
        return false;
    };
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (place, byte) in header.as_bytes().iter().enumerate() {
        let byte = if (148..156).contains(&place) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    unsigned == wanted || signed == wanted
}

/// The type letter of a header.
pub(crate) fn type_flag(header: &Header) -> u8 {
    header.as_bytes()[156]
}

/// Puts header and extensions together. Sparse maps come later: they may be in the body.
pub(crate) fn describe(header: &Header, extensions: &mut Extensions) -> Result<Entry> {
    let pax = &mut extensions.pax;
    let name = (extensions.long_name.take())
        .or_else(|| pax.sparse.name.take())
        .or_else(|| pax.path.take())
        .unwrap_or_else(|| header.path_bytes().into_owned());
    let unreadable = |field| Error::HeaderField { entry: EntryName::new(&name), field };
    if name.contains(&0) {
        return Err(unreadable("name"));
    }
    let link = (extensions.long_link.take())
        .or_else(|| pax.link.take())
        .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
        .unwrap_or_default();
    if link.contains(&0) {
        return Err(unreadable("link target"));
    }
    let block = header.as_bytes();
    let header_id = |field| number(field).and_then(|id| u64::try_from(id).ok()).and_then(usable_id);
    let kind = kind(header, &name)?;
    let stored = match pax.size {
        Some(size) => size,
        None => size(header).ok_or_else(|| unreadable("size"))?,
    };
    // Room for padding and for sums with offsets, whatever an attacker writes.
    if i64::try_from(stored).is_err() {
        return Err(unreadable("size"));
    }
    let stored = if kind.has_body() { stored } else { 0 };
    let mtime = match pax.mtime {
        Some(time) => time,
        None => {
            let seconds =
                number(&block[136..148]).ok_or_else(|| unreadable("modification time"))?;
            Time { seconds, nanoseconds: 0 }
        }
    };
    Ok(Entry {
        kind,
        link,
        mode: number(&block[100..108]).ok_or_else(|| unreadable("mode"))? as u32 & 0o7777,
        uid: pax.uid.or_else(|| header_id(&block[108..116])).ok_or_else(|| unreadable("owner"))?,
        gid: pax.gid.or_else(|| header_id(&block[116..124])).ok_or_else(|| unreadable("group"))?,
        mtime,
        stored,
        size: stored,
        pieces: None,
        xattrs: std::mem::take(&mut pax.xattrs),
        name,
    })
}

fn kind(header: &Header, name: &[u8]) -> Result<EntryKind> {
    let unreadable = |field| Error::HeaderField { entry: EntryName::new(name), field };
    let device = || {
        // Only these formats have the fields; before them, everything there is zero.
        let half = |field| number(field).and_then(|number| u32::try_from(number).ok());
        let major =
            half(&header.as_bytes()[329..337]).ok_or_else(|| unreadable("device number"))?;
        let minor =
            half(&header.as_bytes()[337..345]).ok_or_else(|| unreadable("device number"))?;
        Ok((major, minor))
    };
    Ok(match type_flag(header) {
        // Before there were types, a slash at the end told directories.
        b'0' | 0 if name.ends_with(b"/") => EntryKind::Directory,
        b'0' | 0 | b'7' | b'S' => EntryKind::Regular,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => device().map(|(major, minor)| EntryKind::CharacterDevice { major, minor })?,
        b'4' => device().map(|(major, minor)| EntryKind::BlockDevice { major, minor })?,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        b'V' => EntryKind::Ignored,
        other => {
            let entry = EntryName::new(name);
            return Err(Error::UnknownType { entry, kind: char::from(other) });
        }
    })
}

/// Takes a sparse map over into the entry, checking that it describes exactly the stored bytes:
/// ascending, inside the file, as long as the body.
pub(crate) fn set_pieces(entry: &mut Entry, size: Option<u64>, numbers: &[u64]) -> Result<()> {
    let invalid = || Error::SparseMap { entry: EntryName::new(&entry.name) };
    let size = size.filter(|size| i64::try_from(*size).is_ok()).ok_or_else(invalid)?;
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(invalid());
    }
    let (mut end, mut stored, mut pieces) = (0u64, 0u64, Vec::with_capacity(pairs.len()));
    for &[offset, length] in pairs {
        let piece_end = offset.checked_add(length).ok_or_else(invalid)?;
        if offset < end || piece_end > size {
            return Err(invalid());
        }
        end = piece_end;
        stored += length;
        if length > 0 {
            pieces.push(Piece { offset, length });
        }
    }
    if stored != entry.stored {
        return Err(invalid());
    }
    entry.size = size;
    entry.pieces = Some(pieces);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_binary_or_missing() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"12345670", Some(0o12345670)),
            (b"\x80\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff", Some(-1)),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"0000648\0", None),
            (b"+644", None),
        ] {
            assert_eq!(number(field), value, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn sparse_maps_must_fit_file_and_body() {
        let header = Header::new_ustar();
        let mut entry = describe(&header, &mut Extensions::default()).unwrap();
        entry.stored = 10;
        assert!(set_pieces(&mut entry, Some(100), &[0, 4, 90, 6]).is_ok());
        assert_eq!(entry.size, 100);
        for (size, map) in [
            (None, &[0, 10][..]),
            (Some(100), &[0, 4, 2, 6]),
            (Some(100), &[0, 4, 95, 6]),
            (Some(100), &[0, 4]),
            (Some(100), &[0, 10, 50]),
            (Some(100), &[u64::MAX, 10]),
        ] {
            assert!(set_pieces(&mut entry, size, map).is_err(), "{map:?}");
        }
    }
}

//! One archive entry, as its header block, its PAX records and GNU's extensions describe it.
//!
//! Pure: bytes in, values out. Where readers in the wild disagree, this follows Go's `archive/tar`,
//! because that is what layers are made and unpacked with everywhere else: links, devices and
//! directories have no body whatever their size field says, PAX values win over the header block,
//! global PAX headers are ignored.

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

/// The PAX records this crate knows.
#[derive(Debug, Default)]
pub(crate) struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Time>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) sparse: PaxSparse,
}

/// GNU's sparse records, in all three versions.
#[derive(Debug, Default)]
pub(crate) struct PaxSparse {
    major: Option<Vec<u8>>,
    minor: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    size: Option<u64>,
    /// 0.0 in pairs of records, 0.1 as one list.
    numbers: Vec<u64>,
    has_map: bool,
}

/// How a sparse file's map is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SparseFormat {
    /// PAX 0.0 and 0.1: in the records.
    Records,
    /// PAX 1.0: in front of the body.
    InBody,
}

impl PaxSparse {
    /// Which version the records are of; `Err` for one that nobody has described.
    pub(crate) fn format(&self) -> std::result::Result<Option<SparseFormat>, ()> {
        match (self.major.as_deref(), self.minor.as_deref()) {
            (Some(b"1"), Some(b"0")) => Ok(Some(SparseFormat::InBody)),
            (Some(b"0"), Some(b"0" | b"1")) => Ok(Some(SparseFormat::Records)),
            (None, None) if self.has_map => Ok(Some(SparseFormat::Records)),
            (None, None) => Ok(None),
            _ => Err(()),
        }
    }
}

/// Reads the records of an extended header. `None` when they are not well formed.
pub(crate) fn parse_pax(mut bytes: &[u8]) -> Option<Pax> {
    let mut pax = Pax::default();
    while !bytes.is_empty() {
        // "LENGTH KEY=VALUE\n", where LENGTH counts the whole record in decimal.
        let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
        let record = bytes.get(space + 1..length)?;
        let record = record.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        pax.apply(&record[..equals], &record[equals + 1..])?;
        bytes = &bytes[length..];
    }
    Some(pax)
}

impl Pax {
    fn apply(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        // POSIX: an empty value takes the record back.
        let text = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = optional(value, decimal)?,
            b"uid" => self.uid = optional(value, id)?,
            b"gid" => self.gid = optional(value, id)?,
            b"mtime" => self.mtime = optional(value, time)?,
            b"GNU.sparse.major" => self.sparse.major = text(),
            b"GNU.sparse.minor" => self.sparse.minor = text(),
            b"GNU.sparse.name" => self.sparse.name = text(),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                self.sparse.size = optional(value, decimal)?;
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse.has_map = true;
                self.sparse.numbers.push(decimal(value)?);
            }
            b"GNU.sparse.map" => {
                self.sparse.has_map = true;
                self.sparse.numbers = match value {
                    [] => Vec::new(),
                    list => list.split(|byte| *byte == b',').map(decimal).collect::<Option<_>>()?,
                };
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.retain(|(known, _)| known != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Some(())
    }
}

/// An empty value is none; one that cannot be read is an error.
fn optional<T>(value: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if value.is_empty() { Some(None) } else { parse(value).map(Some) }
}

pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

fn id(digits: &[u8]) -> Option<u32> {
    usable_id(decimal(digits)?)
}

/// The highest id means "leave as it is" to chown(2), so nothing can belong to it.
fn usable_id(id: u64) -> Option<u32> {
    u32::try_from(id).ok().filter(|id| *id != u32::MAX)
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

/// `-12.5`, with any number of digits after the point.
fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut halves = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(halves.next()?)?).ok()?;
    let mut nanoseconds = 0;
    if let Some(fraction) = halves.next() {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        for place in 0..9 {
            nanoseconds = nanoseconds * 10 + fraction.get(place).map_or(0, |d| u32::from(d - b'0'));
        }
    }
    Some(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
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

/// The map of PAX 0.0 and 0.1.
pub(crate) fn set_record_pieces(entry: &mut Entry, sparse: &PaxSparse) -> Result<()> {
    set_pieces(entry, sparse.size, &sparse.numbers)
}

/// The size of the unpacked file as a PAX 1.0 header has it.
pub(crate) fn sparse_size(sparse: &PaxSparse) -> Option<u64> {
    sparse.size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_forwards_before_1970_too() {
        for (text, seconds, nanoseconds) in [
            ("0", 0, 0),
            ("12.5", 12, 500_000_000),
            ("12.123456789123", 12, 123_456_789),
            ("-1", -1, 0),
            ("-1.25", -2, 750_000_000),
        ] {
            assert_eq!(time(text.as_bytes()), Some(Time { seconds, nanoseconds }), "{text}");
        }
        for text in ["", "-", "1.x", "1e3", "99999999999999999999"] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn pax_values_may_hold_newlines_nul_and_equals() {
        let pax = parse_pax(b"12 path=a\nb\n28 SCHILY.xattr.user.k=a=\0\n\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(pax.xattrs, [(b"user.k".to_vec(), b"a=\0\n".to_vec())]);
    }

    #[test]
    fn broken_pax_records_are_refused() {
        for text in [
            &b"x"[..],
            b"5 a=b",
            b"6 a=b\n\n",
            b"0 a=b\n",
            b"999999999999999999999 a=b\n",
            b"7 path\n",
            b"10 size=x\n",
            b"3 \n",
            b"18 uid=4294967295\n",
        ] {
            assert!(parse_pax(text).is_none(), "{}", text.escape_ascii());
        }
    }

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

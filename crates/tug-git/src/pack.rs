//! Packs: objects one after another, most of them as what differs from another one.

use crate::error::Error;
use crate::object::{Kind, Oid};
use flate2::bufread::ZlibDecoder;
use sha1::{Digest as _, Sha1};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::rc::Rc;

/// The largest object. What a header promises is not believed before it has come.
const LARGEST: u64 = 1 << 30;

/// Contents kept at hand, in bytes.
const AT_HAND: usize = 64 << 20;

/// Changes upon changes: git itself makes 50, and 4,095 when it is told to.
const DEEPEST: usize = 4096;

/// A pack that was read and found whole.
pub struct Pack {
    file: RefCell<File>,
    entries: Vec<Packed>,
    by_id: HashMap<Oid, usize>,
    at_hand: RefCell<AtHand>,
}

struct Packed {
    base: Base,
    /// Where its compressed bytes begin.
    at: u64,
    size: u64,
    kind: Kind,
    id: Oid,
}

#[derive(Clone, Copy)]
enum Base {
    Whole,
    /// Another entry, which stands before it.
    Entry(usize),
    /// Not known yet: anywhere in the pack.
    Object(Oid),
}

#[derive(Default)]
struct AtHand {
    contents: HashMap<usize, Rc<Vec<u8>>>,
    order: VecDeque<usize>,
    bytes: usize,
}

impl Pack {
    /// A file for it to come into.
    pub(crate) fn spool() -> Result<File, Error> {
        tempfile::tempfile().map_err(|source| Error::Files {
            action: "create",
            path: std::env::temp_dir(),
            source,
        })
    }

    /// Reads what came, and names every object by its content.
    pub(crate) fn read(mut file: File) -> Result<Self, Error> {
        let length = verify(&mut file)?;
        let mut entries = scan(&mut file, length)?;
        let mut pack = Self {
            file: RefCell::new(file),
            entries: Vec::new(),
            by_id: HashMap::new(),
            at_hand: RefCell::default(),
        };
        std::mem::swap(&mut pack.entries, &mut entries);
        pack.name_all()?;
        Ok(pack)
    }

    fn name_all(&mut self) -> Result<(), Error> {
        let mut open: Vec<usize> = (0..self.entries.len()).collect();
        while !open.is_empty() {
            let before = open.len();
            let mut left = Vec::new();
            for at in open {
                let base = match self.entries[at].base {
                    Base::Object(id) => match self.by_id.get(&id) {
                        Some(base) => Base::Entry(*base),
                        None => {
                            left.push(at);
                            continue;
                        }
                    },
                    base => base,
                };
                if let Base::Entry(base) = base
                    && self.entries[base].id == NAMELESS
                {
                    left.push(at);
                    continue;
                }
                self.entries[at].base = base;
                if let Base::Entry(base) = base {
                    self.entries[at].kind = self.entries[base].kind;
                }
                let content = self.content(at, 0)?;
                let id = Oid::of(self.entries[at].kind, &content);
                self.entries[at].id = id;
                self.by_id.insert(id, at);
            }
            if left.len() == before {
                return Err(Error::Pack { what: "it stands on objects it does not hold" });
            }
            open = left;
        }
        Ok(())
    }

    /// An object of a kind.
    pub(crate) fn object(&self, id: Oid, kind: Kind) -> Result<Rc<Vec<u8>>, Error> {
        let at = self.by_id.get(&id).ok_or_else(|| Error::Missing { id: id.to_string() })?;
        if self.entries[*at].kind != kind {
            return Err(Error::Object { id: id.to_string(), what: "it is of another kind" });
        }
        self.content(*at, 0)
    }

    pub(crate) fn kind(&self, id: Oid) -> Option<Kind> {
        self.by_id.get(&id).map(|at| self.entries[*at].kind)
    }

    fn content(&self, at: usize, depth: usize) -> Result<Rc<Vec<u8>>, Error> {
        if let Some(known) = self.at_hand.borrow().contents.get(&at) {
            return Ok(known.clone());
        }
        if depth > DEEPEST {
            return Err(Error::Pack { what: "its changes stand on each other without end" });
        }
        let entry = &self.entries[at];
        let own = self.inflate(entry)?;
        let content = Rc::new(match entry.base {
            Base::Entry(base) => apply(&self.content(base, depth + 1)?, &own)?,
            _ => own,
        });
        self.keep(at, &content);
        Ok(content)
    }

    fn inflate(&self, entry: &Packed) -> Result<Vec<u8>, Error> {
        let mut file = self.file.borrow_mut();
        file.seek(SeekFrom::Start(entry.at)).map_err(Error::talk)?;
        let mut bytes = Vec::new();
        let decoder = ZlibDecoder::new(BufReader::new(&mut *file));
        decoder
            .take(entry.size + 1)
            .read_to_end(&mut bytes)
            .map_err(|_| Error::Pack { what: "an object cannot be uncompressed" })?;
        match bytes.len() as u64 == entry.size {
            true => Ok(bytes),
            false => Err(Error::Pack { what: "an object has another size than it says" }),
        }
    }

    fn keep(&self, at: usize, content: &Rc<Vec<u8>>) {
        let mut at_hand = self.at_hand.borrow_mut();
        let at_hand = &mut *at_hand;
        if content.len() > AT_HAND / 4 || at_hand.contents.contains_key(&at) {
            return;
        }
        at_hand.bytes += content.len();
        at_hand.contents.insert(at, content.clone());
        at_hand.order.push_back(at);
        while at_hand.bytes > AT_HAND {
            let Some(oldest) = at_hand.order.pop_front() else { break };
            if let Some(gone) = at_hand.contents.remove(&oldest) {
                at_hand.bytes -= gone.len();
            }
        }
    }
}

/// Stands for the name of what has none yet.
const NAMELESS: Oid = Oid([0; 20]);

/// Proves the pack by the digest at its end; the length without it.
fn verify(file: &mut File) -> Result<u64, Error> {
    let length = file.metadata().map_err(Error::talk)?.len();
    let Some(body) = length.checked_sub(20).filter(|body| *body >= 12) else {
        return Err(Error::Pack { what: "it ends too soon" });
    };
    file.seek(SeekFrom::Start(0)).map_err(Error::talk)?;
    let mut hash = Sha1::new();
    let mut reader = BufReader::with_capacity(128 << 10, &mut *file);
    let mut left = body;
    while left > 0 {
        let buffer = reader.fill_buf().map_err(Error::talk)?;
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if count == 0 {
            return Err(Error::Pack { what: "it ends too soon" });
        }
        hash.update(&buffer[..count]);
        reader.consume(count);
        left -= count as u64;
    }
    let mut digest = [0; 20];
    reader.read_exact(&mut digest).map_err(Error::talk)?;
    match <[u8; 20]>::from(hash.finalize()) == digest {
        true => Ok(body),
        false => Err(Error::Pack { what: "its digest does not match" }),
    }
}

/// Finds where every object begins.
fn scan(file: &mut File, length: u64) -> Result<Vec<Packed>, Error> {
    file.seek(SeekFrom::Start(0)).map_err(Error::talk)?;
    let mut reader = Counted { inner: BufReader::with_capacity(128 << 10, file), position: 0 };
    let mut head = [0; 12];
    reader.read_exact(&mut head).map_err(Error::talk)?;
    if &head[..4] != b"PACK" || !matches!(head[4..8], [0, 0, 0, 2 | 3]) {
        return Err(Error::Pack { what: "it is of an unknown version" });
    }
    let count = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    let mut entries = Vec::new();
    let mut by_offset = HashMap::new();
    for at in 0..count as usize {
        let offset = reader.position;
        let (code, size) = object_head(&mut reader)?;
        if size > LARGEST {
            return Err(Error::Pack { what: "an object is larger than 1 GiB" });
        }
        let (kind, base) = match code {
            1 => (Kind::Commit, Base::Whole),
            2 => (Kind::Tree, Base::Whole),
            3 => (Kind::Blob, Base::Whole),
            4 => (Kind::Tag, Base::Whole),
            6 => {
                let back = distance(&mut reader)?;
                let base = offset.checked_sub(back).and_then(|base| by_offset.get(&base));
                let base = base.ok_or(Error::Pack { what: "an object stands on none" })?;
                (Kind::Blob, Base::Entry(*base))
            }
            7 => {
                let mut id = [0; 20];
                reader.read_exact(&mut id).map_err(Error::talk)?;
                (Kind::Blob, Base::Object(Oid(id)))
            }
            _ => return Err(Error::Pack { what: "an object is of an unknown kind" }),
        };
        let data = reader.position;
        let mut decoder = ZlibDecoder::new(&mut reader);
        let inflated = std::io::copy(&mut (&mut decoder).take(size + 1), &mut std::io::sink());
        let whole =
            inflated.map_err(|_| Error::Pack { what: "an object cannot be uncompressed" })?;
        if whole != size || reader.position > length {
            return Err(Error::Pack { what: "an object has another size than it says" });
        }
        by_offset.insert(offset, at);
        entries.push(Packed { base, at: data, size, kind, id: NAMELESS });
    }
    match reader.position == length {
        true => Ok(entries),
        false => Err(Error::Pack { what: "something follows its last object" }),
    }
}

/// A reader that knows how far it is.
struct Counted<R> {
    inner: R,
    position: u64,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.position += count as u64;
        self.inner.consume(count);
    }
}

fn byte(reader: &mut impl Read) -> Result<u8, Error> {
    let mut byte = [0];
    reader.read_exact(&mut byte).map_err(Error::talk)?;
    Ok(byte[0])
}

/// Kind and size: seven bits a byte after the first, which has three bits of kind and four of size.
fn object_head(reader: &mut impl Read) -> Result<(u8, u64), Error> {
    let mut last = byte(reader)?;
    let code = last >> 4 & 7;
    let mut size = u64::from(last & 15);
    let mut shift = 4;
    while last & 0x80 != 0 {
        last = byte(reader)?;
        if shift > 57 {
            return Err(Error::Pack { what: "a number has too many digits" });
        }
        size |= u64::from(last & 0x7f) << shift;
        shift += 7;
    }
    Ok((code, size))
}

/// How far back a base is: big-endian, each further byte counting from one.
fn distance(reader: &mut impl Read) -> Result<u64, Error> {
    let mut last = byte(reader)?;
    let mut value = u64::from(last & 0x7f);
    while last & 0x80 != 0 {
        last = byte(reader)?;
        value = value
            .checked_add(1)
            .and_then(|value| value.checked_mul(128))
            .ok_or(Error::Pack { what: "a number has too many digits" })?;
        value |= u64::from(last & 0x7f);
    }
    Ok(value)
}

/// Puts changes on a base: pieces copied from it and pieces of their own.
fn apply(base: &[u8], mut delta: &[u8]) -> Result<Vec<u8>, Error> {
    const BROKEN: Error = Error::Pack { what: "a change does not fit its base" };
    let mut next = || -> Result<u8, Error> { byte(&mut delta) };
    let mut number = || -> Result<u64, Error> {
        let (mut value, mut shift) = (0, 0);
        loop {
            let last = next()?;
            value |= u64::from(last & 0x7f) << shift;
            shift += 7;
            if last & 0x80 == 0 {
                return Ok(value);
            }
            if shift > 56 {
                return Err(BROKEN);
            }
        }
    };
    let (from, to) = (number()?, number()?);
    if from != base.len() as u64 || to > LARGEST {
        return Err(BROKEN);
    }
    let mut out = Vec::new();
    while !delta.is_empty() {
        let code = byte(&mut delta)?;
        if code & 0x80 != 0 {
            let mut part = |bits: std::ops::Range<u8>| -> Result<usize, Error> {
                let mut value = 0;
                for (shift, bit) in bits.enumerate() {
                    if code & 1 << bit != 0 {
                        value |= usize::from(byte(&mut delta)?) << (8 * shift);
                    }
                }
                Ok(value)
            };
            let offset = part(0..4)?;
            let size = match part(4..7)? {
                0 => 0x10000,
                size => size,
            };
            let end = offset.checked_add(size).ok_or(BROKEN)?;
            out.extend_from_slice(base.get(offset..end).ok_or(BROKEN)?);
        } else {
            let size = usize::from(code);
            if size == 0 || size > delta.len() {
                return Err(BROKEN);
            }
            let (own, rest) = delta.split_at(size);
            out.extend_from_slice(own);
            delta = rest;
        }
        if out.len() as u64 > to {
            return Err(BROKEN);
        }
    }
    if out.len() as u64 == to { Ok(out) } else { Err(BROKEN) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn changes_are_put_on_their_base_or_refused() {
        let base = b"hello world";
        let delta = [11, 9, 0x90, 5, 4, b' ', b'g', b'i', b't'];
        assert_eq!(apply(base, &delta).unwrap(), b"hello git");
        for cut in 0..delta.len() {
            assert!(apply(base, &delta[..cut]).is_err(), "{cut}");
        }
        assert!(apply(b"other", &delta).is_err());
        assert!(apply(base, &[11, 9, 0x91, 200, 9]).is_err(), "beyond the base");
    }

    #[test]
    fn what_is_no_pack_is_refused() {
        let of = |body: &[u8]| {
            let mut file = Pack::spool().unwrap();
            file.write_all(body).unwrap();
            file.write_all(&Sha1::digest(body)).unwrap();
            Pack::read(file)
        };
        let whole = {
            let mut body = b"PACK\0\0\0\x02\0\0\0\x01\x35".to_vec();
            let mut packer =
                flate2::write::ZlibEncoder::new(&mut body, flate2::Compression::fast());
            packer.write_all(b"hello").unwrap();
            packer.finish().unwrap();
            body
        };
        let pack = of(&whole).unwrap();
        let id = Oid::of(Kind::Blob, b"hello");
        assert_eq!(**pack.object(id, Kind::Blob).unwrap(), *b"hello");
        assert!(pack.object(id, Kind::Tree).is_err());
        for cut in 0..whole.len() {
            assert!(of(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(of(&[&whole[..], b"x"].concat()).is_err());
        let mut larger = whole.clone();
        larger[12] = 0x36;
        assert!(of(&larger).is_err());
        let mut flipped = Pack::spool().unwrap();
        flipped.write_all(&[&whole[..], &[0; 20]].concat()).unwrap();
        assert!(Pack::read(flipped).is_err(), "another digest");
    }
}

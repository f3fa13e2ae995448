//! Reading a tar from its skeleton and its files.

use super::{BODY, END, MAGIC, PIECES, RAW, VERSION, ZEROS};
use crate::entry::Piece;
use crate::{EntryName, Error, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// No record of ours is longer; what claims to be is damaged.
const LONGEST: u64 = 64 << 20;

/// Reads the exact tar again, from its skeleton and the files it was unpacked into.
pub struct Assembler {
    records: zstd::stream::read::Decoder<'static, BufReader<io::Take<File>>>,
    root: OwnedFd,
    displaced_dir: PathBuf,
    /// Per name: how many bodies had been recorded when it was replaced, and by which number it
    /// goes now; ascending.
    displaced: HashMap<Vec<u8>, Vec<(u64, u64)>>,
    tar_size: u64,
    produced: u64,
    bodies: u64,
    expected_bodies: u64,
    current: Current,
}

/// What is being handed out.
enum Current {
    /// The next record.
    Next,
    Raw {
        left: u64,
    },
    Zeros {
        left: u64,
    },
    File {
        file: File,
        name: Vec<u8>,
        pieces: std::vec::IntoIter<Piece>,
        piece: Piece,
    },
    End,
}

impl Assembler {
    /// Opens the skeleton of the tree `root`; `displaced` as given to the [`Recorder`].
    ///
    /// # Errors
    /// When the skeleton cannot be read, is damaged, or is of a newer version.
    pub fn open(skeleton: &Path, root: &Path, displaced: &Path) -> Result<Self> {
        let unreadable = |source| Error::ReadSkeleton { source };
        let mut file = File::open(skeleton).map_err(unreadable)?;
        let (footer, records_end) = read_footer(&mut file)?;
        let mut footer = footer.as_slice();
        let cut = Error::SkeletonDamaged { what: "its footer is cut short" };
        let Some((tar_size, expected_bodies, names)) = parse_footer(&mut footer) else {
            return Err(cut);
        };
        let mut displaced_names: HashMap<Vec<u8>, Vec<(u64, u64)>> = HashMap::new();
        for (number, (name, ordinal)) in (0..).zip(names) {
            displaced_names.entry(name).or_default().push((ordinal, number));
        }
        let start = (MAGIC.len() + 1) as u64;
        file.seek(SeekFrom::Start(start)).map_err(unreadable)?;
        let records = BufReader::new(file.take(records_end - start));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())
            .map_err(|error| Error::Body { file: EntryName::new(b"/"), source: error.into() })?;
        Ok(Self {
            records: zstd::stream::read::Decoder::with_buffer(records).map_err(unreadable)?,
            root,
            displaced_dir: displaced.to_owned(),
            displaced: displaced_names,
            tar_size,
            produced: 0,
            bodies: 0,
            expected_bodies,
            current: Current::Next,
        })
    }

    /// Bytes of the whole tar.
    pub fn tar_size(&self) -> u64 {
        self.tar_size
    }

    /// Hands out bytes of the tar; 0 at its end.
    fn next_bytes(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let count = match &mut self.current {
                Current::End => return Ok(0),
                Current::Next => {
                    self.current = self.next_record()?;
                    continue;
                }
                Current::Raw { left } | Current::Zeros { left } if *left == 0 => {
                    self.current = Current::Next;
                    continue;
                }
                Current::Raw { left } => {
                    let wanted = at_most(buffer.len(), *left);
                    let count = self.records.read(&mut buffer[..wanted]).map_err(unreadable)?;
                    if count == 0 {
                        return Err(Error::SkeletonDamaged { what: "it ends inside a record" });
                    }
                    *left -= count as u64;
                    count
                }
                Current::Zeros { left } => {
                    let count = at_most(buffer.len(), *left);
                    buffer[..count].fill(0);
                    *left -= count as u64;
                    count
                }
                Current::File { pieces, piece, .. } if piece.length == 0 => {
                    match pieces.next() {
                        Some(next) => *piece = next,
                        None => self.current = Current::Next,
                    }
                    continue;
                }
                Current::File { file, name, piece, .. } => {
                    let wanted = at_most(buffer.len(), piece.length);
                    let count = file
                        .read_at(&mut buffer[..wanted], piece.offset)
                        .map_err(|source| Error::Body { file: EntryName::new(name), source })?;
                    if count == 0 {
                        return Err(Error::BodyTooShort { file: EntryName::new(name) });
                    }
                    piece.offset += count as u64;
                    piece.length -= count as u64;
                    count
                }
            };
            self.produced += count as u64;
            return Ok(count);
        }
    }

    fn next_record(&mut self) -> Result<Current> {
        let mut tag = [0u8; 1];
        if self.records.read(&mut tag).map_err(unreadable)? == 0 {
            let whole = self.produced == self.tar_size && self.bodies == self.expected_bodies;
            return if whole {
                Ok(Current::End)
            } else {
                Err(Error::SkeletonDamaged { what: "records are missing" })
            };
        }
        match tag[0] {
            RAW => Ok(Current::Raw { left: read_number(&mut self.records)? }),
            ZEROS => Ok(Current::Zeros { left: read_number(&mut self.records)? }),
            BODY => {
                let name = self.read_name()?;
                let length = read_number(&mut self.records)?;
                self.open_body(name, vec![Piece { offset: 0, length }])
            }
            PIECES => {
                let name = self.read_name()?;
                let count = read_number(&mut self.records)?;
                let mut pieces = Vec::new();
                for _ in 0..count {
                    let offset = read_number(&mut self.records)?;
                    let length = read_number(&mut self.records)?;
                    pieces.push(Piece { offset, length });
                }
                self.open_body(name, pieces)
            }
            _ => Err(Error::SkeletonDamaged { what: "it has a record of unknown type" }),
        }
    }

    fn read_name(&mut self) -> Result<Vec<u8>> {
        let length = read_number(&mut self.records)?;
        if length > LONGEST {
            return Err(Error::SkeletonDamaged { what: "it has an overlong name" });
        }
        let mut name = vec![0; length as usize];
        self.records.read_exact(&mut name).map_err(unreadable)?;
        Ok(name)
    }

    fn open_body(&mut self, name: Vec<u8>, pieces: Vec<Piece>) -> Result<Current> {
        let body = self.bodies;
        self.bodies += 1;
        let opened = match self.displaced_as(&name, body) {
            Some((number, below)) => {
                let path = self.displaced_dir.join(number.to_string());
                if below.is_empty() {
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    rustix::fs::open(path, flags, Mode::empty())
                } else {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    rustix::fs::open(path, flags, Mode::empty())
                        .and_then(|dir| open_file_below(&dir, below))
                }
            }
            None => open_file_below(&self.root, &name),
        };
        let file = opened
            .map_err(|error| Error::Body { file: EntryName::new(&name), source: error.into() })?;
        let mut pieces = pieces.into_iter();
        let piece = pieces.next().unwrap_or(Piece { offset: 0, length: 0 });
        Ok(Current::File { file: file.into(), name, pieces, piece })
    }

    /// Where a body went if its name, or a directory above, was replaced after it was recorded:
    /// the number it goes by and the rest of the name.
    fn displaced_as<'n>(&self, name: &'n [u8], body: u64) -> Option<(u64, &'n [u8])> {
        if self.displaced.is_empty() {
            return None;
        }
        let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends = slashes.map(|(place, _)| place).chain([name.len()]);
        let replaced = ends.filter_map(|end| {
            let after = self.displaced.get(&name[..end])?;
            let (ordinal, number) = after.iter().find(|(ordinal, _)| *ordinal > body)?;
            Some((*ordinal, *number, name.get(end + 1..).unwrap_or_default()))
        });
        // The first move that touched it is the one that took it away; numbers ascend with time.
        replaced.min_by_key(|(_, number, _)| *number).map(|(_, number, below)| (number, below))
    }
}

impl Read for Assembler {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.next_bytes(buffer).map_err(io::Error::other)
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
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = assembler.next_bytes(&mut buffer)?;
        if count == 0 {
            return Ok(assembler.produced);
        }
        out.write_all(&buffer[..count]).map_err(|source| Error::Write { source })?;
    }
}

/// The tree may be of any age: no link in it is followed.
fn open_file_below(root: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(root, name, flags, Mode::empty(), resolve)
}

fn unreadable(source: io::Error) -> Error {
    Error::ReadSkeleton { source }
}

fn at_most(length: usize, left: u64) -> usize {
    usize::try_from(left).map_or(length, |left| left.min(length))
}

fn read_number(input: &mut impl Read) -> Result<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0u8; 1];
        input.read_exact(&mut byte).map_err(unreadable)?;
        number |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Error::SkeletonDamaged { what: "it has an overlong number" })
}

/// The footer's bytes and where the records end.
fn read_footer(file: &mut File) -> Result<(Vec<u8>, u64)> {
    let damaged = |what| Error::SkeletonDamaged { what };
    let size = file.metadata().map_err(unreadable)?.len();
    let mut head = [0u8; 8];
    file.read_exact(&mut head).map_err(unreadable)?;
    if head[..7] != MAGIC[..] {
        return Err(damaged("it does not start like one"));
    }
    if head[7] != VERSION {
        return Err(Error::SkeletonVersion { found: head[7], known: VERSION });
    }
    let mut tail = [0u8; 12];
    let Some(footer_end) = size.checked_sub(12).filter(|end| *end >= 8) else {
        return Err(damaged("it is cut short"));
    };
    file.read_exact_at(&mut tail, footer_end).map_err(unreadable)?;
    let (length, end) = tail.split_at(4);
    if end != END {
        return Err(damaged("it is cut short"));
    }
    let length = length.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let Some(start) = footer_end.checked_sub(length).filter(|start| *start >= 8) else {
        return Err(damaged("its footer is longer than it"));
    };
    let mut footer = vec![0; length as usize];
    file.read_exact_at(&mut footer, start).map_err(unreadable)?;
    Ok((footer, start))
}

type Footer = (u64, u64, Vec<(Vec<u8>, u64)>);

fn parse_footer(bytes: &mut &[u8]) -> Option<Footer> {
    let tar_size = read_number(bytes).ok()?;
    let bodies = read_number(bytes).ok()?;
    let count = read_number(bytes).ok()?;
    let mut names = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(read_number(bytes).ok()?).ok()?;
        let (name, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        names.push((name.to_vec(), read_number(bytes).ok()?));
    }
    bytes.is_empty().then_some((tar_size, bodies, names))
}

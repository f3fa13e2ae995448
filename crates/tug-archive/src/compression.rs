//! Telling compressed streams apart by their first bytes, and reading them.

use crate::{Error, Result};
use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// A plain tar.
    None,
    /// RFC 1952, one member or several after each other.
    Gzip,
    /// RFC 8878, one frame or several, skippable ones included.
    Zstd,
    /// One stream or several.
    Xz,
    /// One stream or several.
    Bzip2,
}

/// What a decoder may take for its dictionary, in KiB. `xz -9` needs 65 MiB; a header may ask for 4 GiB.
const XZ_MEMORY: u32 = 256 << 10;

/// Bytes needed by [`Compression::detect`].
pub const MAGIC_LENGTH: usize = 6;

impl Compression {
    /// Recognises the first bytes of a stream ([`MAGIC_LENGTH`] of them, fewer if it ends sooner).
    /// Whatever is not known to be compressed is taken as plain.
    pub const fn detect(prefix: &[u8]) -> Self {
        match prefix {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // Skippable frames.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }

    /// The word for progress and errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }
}

/// Compressed input is read in pieces of this size.
const INPUT: usize = 128 << 10;

type Source<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

/// A reader that uncompresses what it reads. It reads its source to the very end, so that a source
/// which verifies itself at its end is verified.
pub struct Decoder<R: Read> {
    inner: Inner<R>,
}

enum Inner<R: Read> {
    Plain(Source<R>),
    Gzip(Members<Source<R>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Source<R>>>),
    Xz(Box<lzma_rust2::XzReader<Source<R>>>),
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<Source<R>>>),
}

/// Looks at the first bytes of `source` and uncompresses accordingly.
///
/// # Errors
/// When the source cannot be read.
pub fn decoder<R: Read>(mut source: R) -> Result<Decoder<R>> {
    let mut prefix = vec![0; MAGIC_LENGTH];
    let mut filled = 0;
    while filled < prefix.len() {
        match source.read(&mut prefix[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Read { source }),
        }
    }
    prefix.truncate(filled);
    let compression = Compression::detect(&prefix);
    let source = BufReader::with_capacity(INPUT, Cursor::new(prefix).chain(source));
    let inner = match compression {
        Compression::None => Inner::Plain(source),
        Compression::Gzip => Inner::Gzip(Members::First(source)),
        Compression::Zstd => Inner::Zstd(Box::new(
            zstd::stream::read::Decoder::with_buffer(source)
                .map_err(|source| Error::StartDecoder { name: "zstd", source })?,
        )),
        Compression::Xz => {
            Inner::Xz(Box::new(lzma_rust2::XzReader::new_mem_limit(source, true, XZ_MEMORY)))
        }
        Compression::Bzip2 => Inner::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(source))),
    };
    Ok(Decoder { inner })
}

impl<R: Read> Decoder<R> {
    /// What was found.
    pub const fn compression(&self) -> Compression {
        match self.inner {
            Inner::Plain(_) => Compression::None,
            Inner::Gzip(_) => Compression::Gzip,
            Inner::Zstd(_) => Compression::Zstd,
            Inner::Xz(_) => Compression::Xz,
            Inner::Bzip2(_) => Compression::Bzip2,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.inner {
            Inner::Plain(source) => source.read(buffer),
            Inner::Gzip(members) => members.read(buffer),
            Inner::Zstd(decoder) => decoder.read(buffer),
            Inner::Xz(decoder) => decoder.read(buffer).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    io::Error::new(error.kind(), "the data ends in the middle of the xz stream")
                }
                _ => error,
            }),
            Inner::Bzip2(decoder) => decoder.read(buffer),
        }
    }
}

/// gzip members one after another. Written out because flate2's own multi-member reader takes the
/// zero bytes some tools pad with for a broken next member.
enum Members<B: BufRead> {
    First(B),
    Inside(Box<GzDecoder<B>>),
    Ended,
}

impl<B: BufRead> Read for Members<B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(self, Self::Ended) {
                Self::Ended => return Ok(0),
                Self::First(source) => *self = Self::Inside(Box::new(GzDecoder::new(source))),
                Self::Inside(mut member) => match member.read(buffer) {
                    Ok(0) => *self = next_member(member.into_inner())?,
                    result => {
                        *self = Self::Inside(member);
                        return result;
                    }
                },
            }
        }
    }
}

/// What follows a finished member: the end, another member, or padding up to the end.
fn next_member<B: BufRead>(mut source: B) -> io::Result<Members<B>> {
    loop {
        let ahead = source.fill_buf()?;
        let Some(first) = ahead.first() else {
            return Ok(Members::Ended);
        };
        if *first == 0x1f {
            return Ok(Members::First(source));
        }
        if ahead.iter().any(|byte| *byte != 0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "data follows the end of the gzip stream",
            ));
        }
        let length = ahead.len();
        source.consume(length);
    }
}

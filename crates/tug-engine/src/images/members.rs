//! Walking the members of an image archive as it streams by. Only headers are interpreted (the `tar`
//! crate parses single blocks); nothing is ever created under a member's name.

use super::error::ImageError;
use std::io::{self, Read};
use tar::{EntryType, Header, PaxExtensions};

const BLOCK: usize = 512;
/// Names and links of image archives are below a hundred bytes; Go's reader allows as much.
const LARGEST_EXTENSION: u64 = 1 << 20;
/// A thousand images of a hundred layers.
const MOST_MEMBERS: usize = 100_000;

/// What a header says about the member it stands before.
#[derive(Debug)]
pub(super) struct Head {
    /// Relative, cleaned.
    pub(super) name: String,
    pub(super) kind: MemberKind,
    /// Bytes of the body.
    pub(super) size: u64,
}

/// What image archives consist of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    Directory,
    /// To another member, by its cleaned name.
    Link(String),
}

/// The members of a tar, in order.
pub(super) struct Members<R> {
    input: R,
    /// Of the current body.
    left: u64,
    padding: u64,
    count: usize,
    /// Bytes of members that may still come.
    room: u64,
    failed: bool,
}

/// What extension headers say about the member after them.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<R: Read> Members<R> {
    /// The members of an archive of no more than `most` bytes.
    pub(super) fn new(input: R, most: u64) -> Self {
        Self { input, left: 0, padding: 0, count: 0, room: most, failed: false }
    }

    /// The next member; what is left of the last one's body is skipped.
    pub(super) fn next(&mut self) -> Result<Option<Head>, ImageError> {
        let mut extension = Extension::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            self.count += 1;
            if self.count > MOST_MEMBERS {
                return Err(ImageError::TooManyMembers { limit: MOST_MEMBERS });
            }
            let size = header.entry_size().map_err(archive)?;
            let kind = header.entry_type();
            self.begin_body(size);
            match kind {
                EntryType::GNULongName => extension.name = Some(self.text(size)?),
                EntryType::GNULongLink => extension.link = Some(self.text(size)?),
                EntryType::XHeader => self.pax(size, &mut extension)?,
                EntryType::XGlobalHeader => {}
                _ => return self.member(&header, extension).map(Some),
            }
        }
    }

    /// The current member's content.
    pub(super) fn body(&mut self) -> Body<'_, R> {
        Body(self)
    }

    /// Whether the archive itself could not be read on: then nothing that follows from it is worth
    /// telling.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    fn member(&mut self, header: &Header, extension: Extension) -> Result<Head, ImageError> {
        if let Some(size) = extension.size {
            self.begin_body(size);
        }
        let raw = extension.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let shown = String::from_utf8_lossy(&raw).into_owned();
        let name = clean("", &shown).ok_or_else(|| ImageError::Escapes { name: shown.clone() })?;
        let Some(room) = self.room.checked_sub(self.left) else {
            return Err(ImageError::MemberTooLarge { name: shown, size: self.left });
        };
        self.room = room;
        let target = || {
            let bytes = extension.link.or_else(|| header.link_name_bytes().map(|b| b.into_owned()));
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        };
        let link = |base: &str, target: String| match clean(base, &target) {
            Some(to) => Ok(MemberKind::Link(to)),
            None => Err(ImageError::LinkEscapes { name: shown.clone(), target }),
        };
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => MemberKind::File,
            EntryType::Directory => MemberKind::Directory,
            EntryType::Link => link("", target())?,
            EntryType::Symlink => {
                link(name.rsplit_once('/').map_or("", |(parent, _)| parent), target())?
            }
            other => {
                let kind = describe(other);
                return Err(ImageError::MemberKind { name: shown, kind });
            }
        };
        Ok(Head { name, kind, size: self.left })
    }

    fn header(&mut self) -> Result<Option<Header>, ImageError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]).map_err(archive)? {
                // Some writers leave the closing zeros out.
                0 if filled == 0 => return Ok(None),
                0 => return Err(archive(io::ErrorKind::UnexpectedEof.into())),
                count => filled += count,
            }
        }
        if block == [0; BLOCK] {
            return Ok(None);
        }
        if !is_header(&block) {
            return Err(archive(io::Error::other("it is not a tar archive, or damaged")));
        }
        Ok(Some(Header::from_byte_slice(&block).clone()))
    }

    fn begin_body(&mut self, size: u64) {
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
    }

    fn skip(&mut self) -> Result<(), ImageError> {
        let wanted = self.left + self.padding;
        let skipped = io::copy(&mut self.input.by_ref().take(wanted), &mut io::sink());
        let skipped = skipped.map_err(archive)?;
        (self.left, self.padding) = (0, 0);
        if skipped < wanted {
            return Err(archive(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    fn text(&mut self, size: u64) -> Result<Vec<u8>, ImageError> {
        if size > LARGEST_EXTENSION {
            let reason = format!("a header of {size} bytes; the limit is {LARGEST_EXTENSION}");
            return Err(archive(io::Error::other(reason)));
        }
        let mut bytes = Vec::new();
        self.body().read_to_end(&mut bytes).map_err(archive)?;
        if bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }

    fn pax(&mut self, size: u64, extension: &mut Extension) -> Result<(), ImageError> {
        let bytes = self.text(size)?;
        for record in PaxExtensions::new(&bytes) {
            let record = record.map_err(archive)?;
            match record.key_bytes() {
                b"path" => extension.name = Some(record.value_bytes().to_vec()),
                b"linkpath" => extension.link = Some(record.value_bytes().to_vec()),
                b"size" => {
                    let size = record.value().ok().and_then(|text| text.parse().ok());
                    let unreadable = || archive(io::Error::other("an unreadable size in a header"));
                    extension.size = Some(size.ok_or_else(unreadable)?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A member's content; an archive that ends within it is an error, not an end.
pub(super) struct Body<'a, R>(&'a mut Members<R>);

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.0.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let count = match self.0.input.read(&mut buffer[..wanted]) {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            other => other,
        };
        let interrupted =
            count.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted);
        let count = count.inspect_err(|_| self.0.failed |= !interrupted)?;
        self.0.left -= count as u64;
        Ok(count)
    }
}

/// Whether a block is a tar header, by its checksum: the only test that holds for all dialects.
pub(super) fn is_header(block: &[u8; BLOCK]) -> bool {
    let header = Header::from_byte_slice(block);
    let sum = |from: usize, to: usize| block[from..to].iter().map(|b| u32::from(*b)).sum::<u32>();
    // The checksum's own eight bytes count as spaces.
    let actual = sum(0, 148) + 8 * u32::from(b' ') + sum(156, BLOCK);
    header.cksum().is_ok_and(|wanted| wanted == actual)
}

/// Joins and cleans by text. `None` when it is absolute or climbs out of the archive.
fn clean(base: &str, name: &str) -> Option<String> {
    if name.starts_with('/') || name.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn describe(kind: EntryType) -> String {
    match kind {
        EntryType::Char | EntryType::Block => "a device".to_owned(),
        EntryType::Fifo => "a named pipe".to_owned(),
        EntryType::GNUSparse => "a sparse file".to_owned(),
        other => format!("of type {:?}", char::from(other.as_byte())),
    }
}

fn archive(source: io::Error) -> ImageError {
    ImageError::Archive { source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_never_climb() {
        for (base, name, wanted) in [
            ("", "./a//b/", Some("a/b")),
            ("a", "../b/layer.tar", Some("b/layer.tar")),
            ("", "", Some("")),
            ("", "..", None),
            ("", "a/../../b", None),
            ("a", "../../b", None),
            ("", "/etc/passwd", None),
            ("", "a\0b", None),
        ] {
            assert_eq!(clean(base, name).as_deref(), wanted, "{base:?} {name:?}");
        }
    }
}

//! Reading a log, while it is written or afterwards.

use super::format::{HEADER, Header, Kind, Stream};
use super::tail::Cuts;
use super::window::Window;
use super::{segments, since, tail};
use crate::Error;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the oldest output kept.
    Start,
    /// After everything there is now.
    End,
    /// At an offset learned from a monitor, a [`crate::RunState`] or [`Reader::offset`]. What of
    /// it is gone is reported as lost.
    Offset(u64),
    /// With the last so many lines, of both streams together; a line without newline counts.
    Tail(u64),
    /// With the first output at or after this time, in nanoseconds since the epoch.
    Since(i64),
}

/// One thing read.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Output.
    Chunk(Chunk<'a>),
    /// Output that is missing here, because it was rotated away before this reader came to it or
    /// because the disk was full.
    Lost {
        /// How much, approximately: record headers may be counted in.
        bytes: u64,
    },
}

/// A piece of output as the container wrote it.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Offset of the record it comes from.
    pub offset: u64,
    /// When the monitor read it, nanoseconds since the epoch. Never decreases.
    pub timestamp: i64,
    /// Where the container wrote it.
    pub stream: Stream,
    /// It continues a line that an earlier chunk of the stream began.
    pub continues: bool,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// [`Item`] for those who can have the kernel move large pieces.
pub(crate) enum Piece<'a> {
    Bytes { stream: Stream, bytes: &'a [u8] },
    Span { stream: Stream, position: u64, length: usize },
    Lost(u64),
}

/// Pieces from this size on are not read ahead.
const SPAN: usize = 32 << 10;

/// A position in a log.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    /// `None` as long as there is no log.
    dir: Option<OwnedFd>,
    /// The segment at hand and its first offset.
    segment: Option<(u64, Window)>,
    /// Later segments held open so that nobody can take them away.
    pinned: VecDeque<(u64, OwnedFd)>,
    /// Offset of the next record.
    offset: u64,
    /// What of the first records is before the beginning asked for.
    cuts: Cuts,
    since: i64,
    until: i64,
    past_until: bool,
}

/// A record worth handing out, or a gap.
enum Found {
    Record { header: Header, stream: Stream, offset: u64, skip: usize },
    Lost(u64),
}

impl Reader {
    /// Opens the log in `dir`. A missing directory is an empty log: it is looked for again at every
    /// attempt to read.
    ///
    /// # Errors
    /// [`Error::Log`] when the files cannot be read.
    pub fn open(dir: &Path, begin: Begin) -> Result<Self, Error> {
        let mut reader = Self {
            path: dir.to_owned(),
            dir: None,
            segment: None,
            pinned: VecDeque::new(),
            offset: 0,
            cuts: Cuts::default(),
            since: i64::MIN,
            until: i64::MAX,
            past_until: false,
        };
        match reader.begin(begin) {
            Ok(()) => Ok(reader),
            Err(source) => Err(reader.failed(source)),
        }
    }

    /// Leaves out what is older (nanoseconds since the epoch), whatever the beginning was.
    #[must_use]
    pub fn since(mut self, timestamp: i64) -> Self {
        self.since = timestamp;
        self
    }

    /// Ends before the first output that is younger (nanoseconds since the epoch).
    #[must_use]
    pub fn until(mut self, timestamp: i64) -> Self {
        self.until = timestamp;
        self
    }

    /// Where the next record begins; everything before was handed out.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the time given to [`Reader::until`] was reached: nothing will follow.
    pub fn is_past_until(&self) -> bool {
        self.past_until
    }

    /// The next piece, or `None` when there is nothing more for now.
    ///
    /// # Errors
    /// [`Error::Log`] when the files cannot be read.
    pub fn next_chunk(&mut self) -> Result<Option<Item<'_>>, Error> {
        let found = match self.find() {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(source) => return Err(self.failed(source)),
        };
        match found {
            Found::Lost(bytes) => Ok(Some(Item::Lost { bytes })),
            Found::Record { header, stream, offset, skip } => {
                // `find` has just had these bytes in the window.
                let Some((start, window)) = &mut self.segment else { return Ok(None) };
                let position = offset - *start + header.payload_at();
                match window.get(position, header.length as usize) {
                    Ok(Some(bytes)) => Ok(Some(Item::Chunk(Chunk {
                        offset,
                        timestamp: header.timestamp,
                        stream,
                        continues: header.continues && skip == 0,
                        bytes: &bytes[skip..],
                    }))),
                    Ok(None) => Ok(None),
                    Err(source) => Err(Error::Log { dir: self.path.clone(), source }),
                }
            }
        }
    }

    /// The next piece, large ones not read but as their place in [`Reader::file`], which stays the same
    /// until the next call.
    ///
    /// # Errors
    /// [`Error::Log`] when the files cannot be read.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Piece<'_>>, Error> {
        match self.find() {
            Ok(None) => Ok(None),
            Ok(Some(Found::Lost(bytes))) => Ok(Some(Piece::Lost(bytes))),
            Ok(Some(Found::Record { header, stream, offset, skip })) => {
                let Some((start, window)) = &mut self.segment else { return Ok(None) };
                let position = offset - *start + header.payload_at() + skip as u64;
                let length = header.length as usize - skip;
                if length >= SPAN {
                    return Ok(Some(Piece::Span { stream, position, length }));
                }
                match window.get(position, length) {
                    Ok(bytes) => Ok(bytes.map(|bytes| Piece::Bytes { stream, bytes })),
                    Err(source) => Err(Error::Log { dir: self.path.clone(), source }),
                }
            }
            Err(source) => Err(self.failed(source)),
        }
    }

    /// The segment at hand.
    pub(crate) fn file(&self) -> Option<&OwnedFd> {
        self.segment.as_ref().map(|(_, window)| window.file())
    }

    /// Part of a [`Piece::Span`], read after all.
    ///
    /// # Errors
    /// [`Error::Log`] when the file cannot be read.
    pub(crate) fn read_span(&mut self, position: u64, length: usize) -> Result<&[u8], Error> {
        let Some((_, window)) = &mut self.segment else { return Ok(&[]) };
        match window.get(position, length) {
            Ok(bytes) => Ok(bytes.unwrap_or_default()),
            Err(source) => Err(Error::Log { dir: self.path.clone(), source }),
        }
    }

    /// Opens every segment up to `end` now, so that the rest can be read even if the container is
    /// removed meanwhile. As far as descriptors reach.
    pub fn pin(&mut self, end: u64) {
        if self.segment.is_none() {
            let _ = self.next_segment();
        }
        let current = self.segment.as_ref().map(|(start, _)| *start);
        let Some(dir) = &self.dir else { return };
        for start in segments::list(dir).unwrap_or_default() {
            let newest = self.pinned.back().map(|(start, _)| *start).or(current);
            let wanted = start < end && newest.is_none_or(|newest| start > newest);
            if wanted && let Ok(Some(file)) = segments::open(dir, start) {
                self.pinned.push_back((start, file));
            }
        }
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Log { dir: self.path.clone(), source }
    }

    fn begin(&mut self, begin: Begin) -> io::Result<()> {
        self.open_dir()?;
        let first = match &self.dir {
            None => 0,
            Some(dir) => segments::list(dir)?.first().copied().unwrap_or(0),
        };
        self.offset = match (begin, &self.dir) {
            (Begin::Offset(offset), _) => offset,
            (Begin::Start, _) | (_, None) => first,
            (Begin::End, Some(dir)) => tail::end(dir)?,
            (Begin::Since(timestamp), Some(dir)) => {
                self.since = timestamp;
                since::find(dir, timestamp)?
            }
            (Begin::Tail(lines), Some(dir)) => {
                let (offset, cuts) = tail::find(dir, lines)?;
                self.cuts = cuts;
                offset
            }
        };
        Ok(())
    }

    fn open_dir(&mut self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(&self.path, flags, Mode::empty()) {
            Ok(dir) => self.dir = Some(dir),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    /// Steps over records nobody asked for.
    fn find(&mut self) -> io::Result<Option<Found>> {
        loop {
            if self.past_until {
                return Ok(None);
            }
            let Some(header) = self.peek()? else {
                match self.next_segment()? {
                    Some(0) => continue,
                    Some(lost) => return Ok(Some(Found::Lost(lost))),
                    None => return Ok(None),
                }
            };
            if header.timestamp > self.until {
                self.past_until = true;
                continue;
            }
            let offset = self.offset;
            let Kind::Output(stream) = header.kind else {
                let lost = self.lost_count(&header)?;
                self.offset += header.record_length();
                return Ok(Some(Found::Lost(lost)));
            };
            self.offset += header.record_length();
            let skip = self.cuts.skip(stream, offset);
            if skip < header.length as usize && header.timestamp >= self.since {
                return Ok(Some(Found::Record { header, stream, offset, skip }));
            }
        }
    }

    /// The header of the record at the current offset, once all of the record is there.
    fn peek(&mut self) -> io::Result<Option<Header>> {
        let Some((start, window)) = &mut self.segment else { return Ok(None) };
        let Some(position) = self.offset.checked_sub(*start) else { return Ok(None) };
        // What is in memory may be the beginning of a torn record that a new writer has replaced: asking
        // for all of it reads the file again, and then the header may be another.
        for _ in 0..2 {
            let Some(header) = window.glance::<HEADER>(position)?.and_then(|b| Header::decode(&b))
            else {
                return Ok(None);
            };
            let length = header.record_length();
            let again = if header.length as usize >= SPAN {
                let complete = segments::size(window.file())? >= position + length;
                window.read_again::<HEADER>(position)?.filter(|_| complete)
            } else {
                let whole = window.get(position, length as usize)?;
                whole.and_then(|bytes| bytes.first_chunk().copied())
            };
            if again.and_then(|bytes| Header::decode(&bytes)) == Some(header) {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    fn lost_count(&mut self, header: &Header) -> io::Result<u64> {
        let Some((start, window)) = &mut self.segment else { return Ok(0) };
        let position = self.offset - *start + header.payload_at();
        let bytes = window.get(position, header.length as usize)?;
        Ok(bytes.and_then(|bytes| bytes.first_chunk()).map_or(0, |n| u64::from_le_bytes(*n)))
    }

    /// Goes on to the segment that follows; the answer is how many bytes are missing between, and
    /// `None` when there is nothing to go on to.
    fn next_segment(&mut self) -> io::Result<Option<u64>> {
        if self.dir.is_none() {
            self.open_dir()?;
        }
        let Some(start) = self.segment.as_ref().map(|(start, _)| *start) else {
            return self.enter_segment_of(self.offset);
        };
        if self.offset != start && self.enter(self.offset)? {
            return Ok(Some(0));
        }
        // Asked only when something is odd: the segment was removed (and perhaps those after it), or
        // it ends in something that is no complete record.
        let Some((_, window)) = &self.segment else { return Ok(None) };
        let stat = rustix::fs::fstat(window.file())?;
        if stat.st_nlink > 0 && stat.st_size as u64 <= self.offset - start {
            return Ok(None);
        }
        let Some(next) = self.starts()?.into_iter().find(|next| *next > start) else {
            return Ok(None);
        };
        // Now that there is a later one, this one is final. It may have grown since we looked.
        if self.peek()?.is_some() {
            return Ok(Some(0));
        }
        let next = next.max(self.offset);
        if !self.enter(next)? {
            return Ok(None);
        }
        let lost = next - self.offset;
        self.offset = next;
        Ok(Some(lost))
    }

    /// Opens the segment that holds `offset`, or the first after it.
    fn enter_segment_of(&mut self, offset: u64) -> io::Result<Option<u64>> {
        let starts = self.starts()?;
        let holding = starts.iter().rev().find(|start| **start <= offset);
        let Some(&start) = holding.or(starts.first()) else { return Ok(None) };
        if !self.enter(start)? {
            return Ok(None);
        }
        let lost = start.saturating_sub(offset);
        self.offset = offset.max(start);
        Ok(Some(lost))
    }

    /// First offsets of what can be opened: what is on disk, and what is held open.
    fn starts(&self) -> io::Result<Vec<u64>> {
        let mut starts = match &self.dir {
            Some(dir) => segments::list(dir)?,
            None => Vec::new(),
        };
        starts.extend(self.pinned.iter().map(|(start, _)| *start));
        starts.sort_unstable();
        starts.dedup();
        Ok(starts)
    }

    fn enter(&mut self, start: u64) -> io::Result<bool> {
        while self.pinned.front().is_some_and(|(pinned, _)| *pinned < start) {
            self.pinned.pop_front();
        }
        let file = match self.pinned.front() {
            Some((pinned, _)) if *pinned == start => self.pinned.pop_front().map(|(_, file)| file),
            _ => match &self.dir {
                Some(dir) => segments::open(dir, start)?,
                None => None,
            },
        };
        let Some(file) = file else { return Ok(false) };
        let window = match self.segment.take() {
            Some((_, window)) => window.reuse(file),
            None => Window::new(file),
        };
        self.segment = Some((start, window));
        Ok(true)
    }
}

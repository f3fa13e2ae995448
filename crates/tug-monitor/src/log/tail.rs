//! Where the last N lines begin, found by walking backwards from the end.
//!
//! Lines are counted by where they end, over both streams. A line's beginning may be far before the
//! end of the line that precedes it in the count, because the other stream printed meanwhile; so each
//! stream gets a beginning of its own.

use super::format::{Header, Kind, Stream};
use super::segments;
use super::window::Window;
use rustix::fd::AsFd;
use std::io;

/// What of each stream is before the beginning: records before `record` entirely, of the record at
/// `record` the first `bytes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cuts([Cut; 2]);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cut {
    record: u64,
    bytes: usize,
}

impl Cuts {
    /// How many bytes of the record at `offset` to leave out.
    pub(crate) fn skip(&self, stream: Stream, offset: u64) -> usize {
        let cut = self.0[stream.index()];
        match offset.cmp(&cut.record) {
            std::cmp::Ordering::Less => usize::MAX,
            std::cmp::Ordering::Equal => cut.bytes,
            std::cmp::Ordering::Greater => 0,
        }
    }
}

/// Offset after the last complete record.
pub(crate) fn end(dir: impl AsFd) -> io::Result<u64> {
    let Some(&start) = segments::list(&dir)?.last() else { return Ok(0) };
    let Some(file) = segments::open(&dir, start)? else { return Ok(start) };
    let size = segments::size(&file)?;
    Ok(start + segments::complete_end(&mut Window::new(file), size)?)
}

/// Where to begin reading for the last `lines` lines, and what to leave out there.
pub(crate) fn find(dir: impl AsFd, lines: u64) -> io::Result<(u64, Cuts)> {
    let starts = segments::list(&dir)?;
    let mut search = Search { wanted: lines, ..Search::default() };
    if lines == 0 {
        let end = end(dir)?;
        return Ok((end, Cuts::default()));
    }
    let mut window: Option<Window> = None;
    for &start in starts.iter().rev() {
        let Some(file) = segments::open(&dir, start)? else { break };
        let size = segments::size(&file)?;
        let mut here = match window.take() {
            Some(window) => window.reuse(file),
            None => Window::new(file),
        };
        let mut end = segments::complete_end(&mut here, size)?;
        while let Some((begin, header)) = segments::record_before(&mut here, end)? {
            if let Kind::Output(stream) = header.kind {
                let payload = here.get_back(begin + header.payload_at(), header.length as usize)?;
                search.record(start + begin, stream, &header, payload.unwrap_or_default());
            }
            if let Some(answer) = search.answer() {
                return Ok(answer);
            }
            end = begin;
        }
        window = Some(here);
    }
    Ok((starts.first().copied().unwrap_or(0), search.everything()))
}

/// One stream while walking backwards.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// A line of it was counted whose beginning has not been met.
    open: bool,
    /// The record met last (the later one) continues a line.
    continued: bool,
    cut: Option<Cut>,
}

#[derive(Debug, Default)]
struct Search {
    wanted: u64,
    counted: u64,
    sides: [Side; 2],
}

impl Search {
    fn record(&mut self, offset: u64, stream: Stream, header: &Header, payload: &[u8]) {
        let side = stream.index();
        if self.sides[side].cut.is_none() {
            let mut rest = payload;
            if payload.last() != Some(&b'\n') && !self.sides[side].continued {
                self.line_ends(side, offset, payload.len());
            }
            while self.sides[side].cut.is_none()
                && let Some(newline) = rest.iter().rposition(|byte| *byte == b'\n')
            {
                self.line_ends(side, offset, newline + 1);
                rest = &rest[..newline];
            }
            if !header.continues && self.counted == self.wanted {
                self.sides[side].cut.get_or_insert(Cut { record: offset, bytes: 0 });
            }
        }
        self.sides[side].continued = header.continues;
    }

    /// A line of the stream ends right before byte `at` of the record, and the next one begins there.
    fn line_ends(&mut self, side: usize, record: u64, at: usize) {
        if self.counted == self.wanted {
            self.sides[side].cut = Some(Cut { record, bytes: at });
            return;
        }
        self.counted += 1;
        self.sides[side].open = true;
        if self.counted == self.wanted {
            let other = &mut self.sides[1 - side];
            if !other.open {
                other.cut = Some(Cut { record, bytes: usize::MAX });
            }
        }
    }

    /// Once both beginnings are known.
    fn answer(&self) -> Option<(u64, Cuts)> {
        let (first, second) = (self.sides[0].cut?, self.sides[1].cut?);
        Some((first.record.min(second.record), Cuts([first, second])))
    }

    /// The log began before the lines ran out: streams without a cut are wanted whole.
    fn everything(&self) -> Cuts {
        Cuts(self.sides.map(|side| side.cut.unwrap_or_default()))
    }
}

//! From the log to the caller's streams.

use super::outlet::{Moved, Outlet, Written};
use crate::Error;
use crate::log::{Piece, Reader, Stream};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

/// Small pieces are put together up to this many bytes before they are written; the kernel moves
/// large ones from the log's file.
const GATHER: usize = 64 << 10;
/// After this many bytes of the log the loop gets to look at other things, and tells the monitor.
const STEP: u64 = 1 << 20;

/// How far printing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Printed {
    /// Everything there is.
    All,
    /// A good part; there is more.
    Some,
    /// The outlet takes no more for now.
    Stuck,
    /// The outlet is closed.
    Closed,
}

/// A part of the log's current file.
#[derive(Clone, Copy, Debug)]
struct Span {
    stream: Stream,
    position: u64,
    length: usize,
}

/// Both outlets, and what they did not take yet.
pub(super) struct Output<'a> {
    outlets: [Option<Outlet<'a>>; 2],
    /// Gathered bytes; the first `done` are written.
    bytes: Vec<u8>,
    done: usize,
    /// Which stream the next so many of them go to.
    runs: VecDeque<(Stream, usize)>,
    /// What comes after them, still in the log's file.
    span: Option<Span>,
    /// Offset that the monitor knows to be printed.
    told: u64,
}

impl<'a> Output<'a> {
    pub(super) fn new(
        stdout: Option<BorrowedFd<'a>>,
        stderr: Option<BorrowedFd<'a>>,
        offset: u64,
    ) -> Self {
        Self {
            outlets: [stdout.map(Outlet::new), stderr.map(Outlet::new)],
            bytes: Vec::new(),
            done: 0,
            runs: VecDeque::new(),
            span: None,
            told: offset,
        }
    }

    /// Prints what the log has until there is no more, an outlet has had enough, or it is the turn
    /// of other things.
    pub(super) fn print(&mut self, log: &mut Reader) -> Result<Printed, Error> {
        let begin = log.offset();
        loop {
            let mut outcome = self.flush()?;
            if outcome == Printed::All {
                outcome = self.flush_span(log)?;
            }
            if outcome != Printed::All {
                return Ok(outcome);
            }
            if log.offset() >= begin + STEP {
                return Ok(Printed::Some);
            }
            if !self.gather(log)? {
                return Ok(Printed::All);
            }
        }
    }

    /// The offset to tell the monitor, when it is time to.
    pub(super) fn progress(&mut self, offset: u64) -> Option<u64> {
        let due = offset >= self.told + STEP;
        due.then(|| {
            self.told = offset;
            offset
        })
    }

    /// The outlet that has to take something before anything goes on.
    pub(super) fn stuck_on(&self) -> Option<BorrowedFd<'_>> {
        let next = self.runs.front().map(|(stream, _)| *stream);
        let stream = next.or(self.span.map(|span| span.stream))?;
        self.outlets[stream.index()].as_ref().map(AsFd::as_fd)
    }

    fn flush(&mut self) -> Result<Printed, Error> {
        while let Some((stream, left)) = self.runs.front_mut() {
            let run = &self.bytes[self.done..self.done + *left];
            match write(&self.outlets[stream.index()], run)? {
                Written::Bytes(count) => {
                    self.done += count;
                    *left -= count;
                    if *left == 0 {
                        self.runs.pop_front();
                    }
                }
                Written::Later => return Ok(Printed::Stuck),
                Written::Closed => return Ok(Printed::Closed),
            }
        }
        self.bytes.clear();
        self.done = 0;
        Ok(Printed::All)
    }

    /// Moves what is left of the span.
    fn flush_span(&mut self, log: &mut Reader) -> Result<Printed, Error> {
        while let Some(span) = self.span {
            let moved = match (&self.outlets[span.stream.index()], log.file()) {
                (Some(outlet), Some(file)) => outlet.move_from(file, span.position, span.length),
                // Nobody wants it.
                _ => Moved::Written(Written::Bytes(span.length)),
            };
            let written = match moved {
                Moved::Written(written) => written,
                Moved::Unable => {
                    let bytes = log.read_span(span.position, span.length)?;
                    write(&self.outlets[span.stream.index()], bytes)?
                }
            };
            match written {
                Written::Bytes(count) => self.span = span.after(count),
                Written::Later => return Ok(Printed::Stuck),
                Written::Closed => return Ok(Printed::Closed),
            }
        }
        Ok(Printed::All)
    }

    /// Takes the next pieces from the log. `false` when there was none.
    fn gather(&mut self, log: &mut Reader) -> Result<bool, Error> {
        let mut any = false;
        while self.bytes.len() < GATHER {
            match log.next_piece()? {
                None => break,
                Some(Piece::Lost(bytes)) => {
                    let note = format!("\n[tug: {bytes} bytes of output were lost here]\n");
                    self.push(Stream::Stderr, note.as_bytes());
                    return Ok(true);
                }
                Some(Piece::Span { stream, position, length }) => {
                    self.span = Some(Span { stream, position, length });
                    return Ok(true);
                }
                Some(Piece::Bytes { stream, bytes }) => self.push(stream, bytes),
            }
            any = true;
        }
        Ok(any)
    }

    fn push(&mut self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        match self.runs.back_mut() {
            Some((last, length)) if *last == stream => *length += bytes.len(),
            _ => self.runs.push_back((stream, bytes.len())),
        }
    }
}

impl Span {
    /// What is left when so many bytes are gone. None gone means that the file is shorter than it was,
    /// and nothing will come.
    fn after(self, count: usize) -> Option<Self> {
        let length = self.length.saturating_sub(count);
        let position = self.position + count as u64;
        (length > 0 && count > 0).then_some(Self { length, position, ..self })
    }
}

fn write(outlet: &Option<Outlet<'_>>, bytes: &[u8]) -> Result<Written, Error> {
    match outlet {
        None => Ok(Written::Bytes(bytes.len())),
        Some(outlet) => outlet.write(bytes).map_err(|errno| Error::Terminal {
            step: "write the container's output",
            source: errno.into(),
        }),
    }
}

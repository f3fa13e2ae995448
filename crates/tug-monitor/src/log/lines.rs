//! Chunks cut into lines, for a reader that puts something in front of each.

use super::format::Stream;
use super::reader::Chunk;

/// A line is handed out unfinished once it is this long, as Docker does.
const LONGEST: usize = 16 << 10;

/// One line, with its newline unless it was cut or is the last and has none.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When its beginning was read, nanoseconds since the epoch.
    pub timestamp: i64,
    /// Where the container wrote it.
    pub stream: Stream,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Puts lines together out of chunks.
#[derive(Debug, Default)]
pub struct Lines {
    pending: [Pending; 2],
}

#[derive(Debug, Default)]
struct Pending {
    timestamp: i64,
    bytes: Vec<u8>,
}

impl Lines {
    /// Nothing pending.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands out the lines that this chunk completes.
    ///
    /// # Errors
    /// The first error `each` answers with; the rest of the chunk is then dropped.
    pub fn push<E>(
        &mut self,
        chunk: &Chunk<'_>,
        mut each: impl FnMut(Line<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (stream, timestamp) = (chunk.stream, chunk.timestamp);
        let pending = &mut self.pending[stream.index()];
        if !chunk.continues && !pending.bytes.is_empty() {
            pending.hand_out(stream, &mut each)?;
        }
        for piece in chunk.bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends = piece.ends_with(b"\n");
            if ends && pending.bytes.is_empty() {
                each(Line { timestamp, stream, bytes: piece })?;
                continue;
            }
            if pending.bytes.is_empty() {
                pending.timestamp = timestamp;
            }
            pending.bytes.extend_from_slice(piece);
            if ends || pending.bytes.len() >= LONGEST {
                pending.hand_out(stream, &mut each)?;
            }
        }
        Ok(())
    }

    /// Hands out what was left without a newline.
    ///
    /// # Errors
    /// The first error `each` answers with.
    pub fn finish<E>(&mut self, mut each: impl FnMut(Line<'_>) -> Result<(), E>) -> Result<(), E> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pending = &mut self.pending[stream.index()];
            if !pending.bytes.is_empty() {
                pending.hand_out(stream, &mut each)?;
            }
        }
        Ok(())
    }
}

impl Pending {
    fn hand_out<E>(
        &mut self,
        stream: Stream,
        each: &mut impl FnMut(Line<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let result = each(Line { timestamp: self.timestamp, stream, bytes: &self.bytes });
        self.bytes.clear();
        result
    }
}

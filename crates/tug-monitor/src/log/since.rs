//! Where the output at or after a time begins. Timestamps never decrease, so the segment is found
//! by the first record of each, and only that one is scanned.

use super::format::{HEADER, Header};
use super::segments;
use super::window::Window;
use rustix::fd::AsFd;
use std::io;

/// The offset of the first record at or after `timestamp`, or the end.
pub(crate) fn find(dir: impl AsFd, timestamp: i64) -> io::Result<u64> {
    let starts = segments::list(&dir)?;
    let mut begin = starts.first().copied().unwrap_or(0);
    let (mut low, mut high) = (0, starts.len());
    // The last segment that begins before the time holds the first record after it, or ends there.
    while low < high {
        let middle = low + (high - low) / 2;
        if first_timestamp(&dir, starts[middle])?.is_some_and(|first| first < timestamp) {
            begin = starts[middle];
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let Some(file) = segments::open(&dir, begin)? else { return Ok(begin) };
    let mut window = Window::new(file);
    let mut position = 0;
    while let Some(header) = window.get(position, HEADER)?.and_then(Header::decode) {
        if header.timestamp >= timestamp {
            break;
        }
        position += header.record_length();
    }
    Ok(begin + position)
}

fn first_timestamp(dir: impl AsFd, start: u64) -> io::Result<Option<i64>> {
    let Some(file) = segments::open(dir, start)? else { return Ok(None) };
    let mut bytes = [0; HEADER];
    let length = rustix::io::pread(&file, &mut bytes, 0)?;
    Ok(Header::decode(&bytes[..length]).map(|header| header.timestamp))
}

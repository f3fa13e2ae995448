//! The files of a log: their names, opening them, and where the last one really ends.

use super::format::{HEADER, Header, TRAILER};
use super::window::Window;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;
use std::io;

/// The name of the segment that begins at `offset`.
pub(crate) fn name(offset: u64) -> String {
    format!("{offset:020}.log")
}

/// First offsets of all segments, ascending.
pub(crate) fn list(dir: impl AsFd) -> io::Result<Vec<u64>> {
    let mut starts = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let number = entry.file_name().to_bytes().strip_suffix(b".log");
        let number = number.and_then(|digits| std::str::from_utf8(digits).ok());
        starts.extend(number.and_then(|digits| digits.parse::<u64>().ok()));
    }
    starts.sort_unstable();
    Ok(starts)
}

/// Opens a segment for reading; `None` when it is not there.
pub(crate) fn open(dir: impl AsFd, offset: u64) -> io::Result<Option<OwnedFd>> {
    match rustix::fs::openat(dir, name(offset), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Bytes in a file.
pub(crate) fn size(file: impl AsFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(file)?.st_size as u64)
}

/// Where the last complete record ends in the first `size` bytes. Looks at the end first; only a
/// segment whose writer was interrupted (or is at work) is walked from its beginning.
pub(crate) fn complete_end(window: &mut Window, size: u64) -> io::Result<u64> {
    if size == 0 || record_before(window, size)?.is_some() {
        return Ok(size);
    }
    let mut end = 0;
    while let Some(header) = window.get(end, HEADER)?.and_then(Header::decode) {
        let next = end + header.record_length();
        if next > size || !trailer_matches(window, next, &header)? {
            break;
        }
        end = next;
    }
    Ok(end)
}

/// The record that ends at `end`, as its position and header.
pub(crate) fn record_before(window: &mut Window, end: u64) -> io::Result<Option<(u64, Header)>> {
    let Some(trailer) = end.checked_sub(TRAILER as u64) else { return Ok(None) };
    let Some(length) = window.get_back(trailer, TRAILER)?.and_then(|bytes| bytes.first_chunk())
    else {
        return Ok(None);
    };
    let length = u64::from(u32::from_le_bytes(*length));
    let Some(begin) = end.checked_sub(length) else { return Ok(None) };
    let header = window.get_back(begin, HEADER)?.and_then(Header::decode);
    Ok(header.filter(|header| header.record_length() == length).map(|header| (begin, header)))
}

fn trailer_matches(window: &mut Window, end: u64, header: &Header) -> io::Result<bool> {
    let trailer = window.get(end - TRAILER as u64, TRAILER)?;
    Ok(trailer == Some(&header.trailer()))
}

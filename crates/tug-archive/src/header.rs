//! Writing header blocks: ustar, with PAX records for what does not fit.

use crate::entry::BLOCK;
use crate::reader::padding;
use crate::xattrs::Xattr;
use rustix::fs::Stat;

/// What an entry is, with what only its kind has.
#[derive(Clone, Copy)]
pub(crate) enum Contents<'c> {
    File { size: u64 },
    Empty,
    Directory,
    HardLink { target: &'c [u8] },
    Symlink { target: &'c [u8] },
    CharacterDevice { device: u64 },
    BlockDevice { device: u64 },
    Fifo,
}

impl Contents<'_> {
    const fn type_flag(&self) -> u8 {
        match self {
            Self::File { .. } | Self::Empty => b'0',
            Self::HardLink { .. } => b'1',
            Self::Symlink { .. } => b'2',
            Self::CharacterDevice { .. } => b'3',
            Self::BlockDevice { .. } => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
        }
    }
}

/// Appends the blocks that go before an entry's body.
pub(crate) fn write_entry(
    out: &mut Vec<u8>,
    path: &[u8],
    stat: &Stat,
    xattrs: &[Xattr],
    contents: Contents<'_>,
    nanoseconds: bool,
) {
    let mut block = Block::new(contents.type_flag());
    let mut records = Records::default();
    block.path(path, &mut records);
    if let Contents::HardLink { target } | Contents::Symlink { target } = contents {
        if target.len() > 100 {
            records.add(b"linkpath", target);
        }
        block.text(157..257, target);
    }
    block.number(100..108, u64::from(stat.st_mode & 0o7777));
    for (place, key, id) in [(108..116, b"uid", stat.st_uid), (116..124, b"gid", stat.st_gid)] {
        if !block.number(place, u64::from(id)) {
            records.add(key, id.to_string().as_bytes());
        }
    }
    if let Contents::File { size } = contents
        && !block.number(124..136, size)
    {
        records.add(b"size", size.to_string().as_bytes());
    }
    block.time(stat, nanoseconds, &mut records);
    if let Contents::CharacterDevice { device } | Contents::BlockDevice { device } = contents {
        block.number(329..337, u64::from(rustix::fs::major(device)));
        block.number(337..345, u64::from(rustix::fs::minor(device)));
    }
    for (name, value) in xattrs {
        records.add(&[b"SCHILY.xattr.", name.as_bytes()].concat(), value);
    }
    records.write(out, path);
    out.extend_from_slice(&block.finish());
}

struct Block([u8; BLOCK]);

impl Block {
    fn new(type_flag: u8) -> Self {
        let mut block = Self([0; BLOCK]);
        block.0[156] = type_flag;
        block.0[257..265].copy_from_slice(b"ustar\x0000");
        for place in [100..108, 108..116, 116..124, 124..136, 136..148, 329..337, 337..345] {
            block.number(place, 0);
        }
        block
    }

    /// As much of the text as fits.
    fn text(&mut self, place: std::ops::Range<usize>, text: &[u8]) {
        let length = text.len().min(place.len());
        self.0[place.start..place.start + length].copy_from_slice(&text[..length]);
    }

    /// An octal number ended by a NUL. Says no, leaving zero, when it does not fit.
    fn number(&mut self, place: std::ops::Range<usize>, number: u64) -> bool {
        let digits = place.len() - 1;
        let fits = number >> (3 * digits) == 0;
        let text = format!("{:0digits$o}\0", if fits { number } else { 0 });
        self.text(place, text.as_bytes());
        fits
    }

    /// A name of up to 100 bytes, or split at a slash into 155 and 100, or a record.
    fn path(&mut self, path: &[u8], records: &mut Records) {
        if path.len() <= 100 {
            return self.text(0..100, path);
        }
        let body = path.strip_suffix(b"/").unwrap_or(path);
        let split = body
            .iter()
            .enumerate()
            .filter(|(place, byte)| **byte == b'/' && *place > 0 && *place <= 155)
            .map(|(place, _)| place)
            .next_back()
            .filter(|place| path.len() - place - 1 <= 100);
        match split {
            Some(place) => {
                self.text(345..500, &path[..place]);
                self.text(0..100, &path[place + 1..]);
            }
            None => {
                records.add(b"path", path);
                self.text(0..100, path);
            }
        }
    }

    fn time(&mut self, stat: &Stat, nanoseconds: bool, records: &mut Records) {
        let seconds = stat.st_mtime;
        let fits = u64::try_from(seconds).is_ok_and(|seconds| self.number(136..148, seconds));
        let fraction = if nanoseconds { stat.st_mtime_nsec } else { 0 };
        if !fits || fraction != 0 {
            records.add(b"mtime", decimal_time(seconds, fraction).as_bytes());
        }
    }

    fn finish(mut self) -> [u8; BLOCK] {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.text(148..156, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

/// `-1.25` for a quarter past two seconds before 1970, without zeros at the end.
fn decimal_time(seconds: i64, nanoseconds: u64) -> String {
    if nanoseconds == 0 {
        return seconds.to_string();
    }
    let (sign, seconds, nanoseconds) = if seconds < 0 {
        ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds)
    } else {
        ("", seconds.unsigned_abs(), nanoseconds)
    };
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').to_owned()
}

/// PAX records in the order they were added.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        // " KEY=VALUE\n" and the length's own digits.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(length.to_string().as_bytes());
        self.0.push(b' ');
        self.0.extend_from_slice(key);
        self.0.push(b'=');
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    fn write(&self, out: &mut Vec<u8>, path: &[u8]) {
        if self.0.is_empty() {
            return;
        }
        let mut block = Block::new(b'x');
        let name = path.strip_suffix(b"/").unwrap_or(path);
        let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
        // Only seen by readers that know no PAX.
        block.text(0..100, &[b"PaxHeaders.0/", &name[..name.len().min(80)]].concat());
        block.number(100..108, 0o644);
        let size = self.0.len() as u64;
        block.number(124..136, size);
        out.extend_from_slice(&block.finish());
        out.extend_from_slice(&self.0);
        out.resize(out.len() + padding(size) as usize, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_lengths_count_their_own_digits() {
        for value in 0..2000 {
            let mut records = Records::default();
            records.add(b"k", &vec![b'v'; value]);
            let space = records.0.iter().position(|byte| *byte == b' ').unwrap();
            let length = std::str::from_utf8(&records.0[..space]).unwrap();
            assert_eq!(length.parse::<usize>().unwrap(), records.0.len());
        }
    }

    #[test]
    fn times_before_1970() {
        assert_eq!(decimal_time(5, 0), "5");
        assert_eq!(decimal_time(5, 250_000_000), "5.25");
        assert_eq!(decimal_time(-2, 750_000_000), "-1.25");
        assert_eq!(decimal_time(-1, 1), "-0.999999999");
    }
}

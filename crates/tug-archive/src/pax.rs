//! PAX records: what an extended header says about the entry behind it.

use crate::entry::Time;

/// The PAX records this crate knows.
#[derive(Debug, Default)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) mtime: Option<Time>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) sparse: PaxSparse,
}

/// GNU's sparse records, in all three versions.
#[derive(Debug, Default)]
pub(crate) struct PaxSparse {
    major: Option<Vec<u8>>,
    minor: Option<Vec<u8>>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    /// 0.0 in pairs of records, 0.1 as one list.
    pub(crate) numbers: Vec<u64>,
    has_map: bool,
}

/// How a sparse file's map is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SparseFormat {
    /// PAX 0.0 and 0.1: in the records.
    Records,
    /// PAX 1.0: in front of the body.
    InBody,
}

impl PaxSparse {
    /// Which version the records are of; `Err` for one that nobody has described.
    pub(crate) fn format(&self) -> std::result::Result<Option<SparseFormat>, ()> {
        match (self.major.as_deref(), self.minor.as_deref()) {
            (Some(b"1"), Some(b"0")) => Ok(Some(SparseFormat::InBody)),
            (Some(b"0"), Some(b"0" | b"1")) => Ok(Some(SparseFormat::Records)),
            (None, None) if self.has_map => Ok(Some(SparseFormat::Records)),
            (None, None) => Ok(None),
            _ => Err(()),
        }
    }
}

/// Reads the records of an extended header. `None` when they are not well formed.
pub(crate) fn parse_pax(mut bytes: &[u8]) -> Option<Pax> {
    let mut pax = Pax::default();
    while !bytes.is_empty() {
        // "LENGTH KEY=VALUE\n", where LENGTH counts the whole record in decimal.
        let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
        let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
        let record = bytes.get(space + 1..length)?;
        let record = record.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        pax.apply(&record[..equals], &record[equals + 1..])?;
        bytes = &bytes[length..];
    }
    Some(pax)
}

impl Pax {
    fn apply(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        // POSIX: an empty value takes the record back.
        let text = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = optional(value, decimal)?,
            b"uid" => self.uid = optional(value, id)?,
            b"gid" => self.gid = optional(value, id)?,
            b"mtime" => self.mtime = optional(value, time)?,
            b"GNU.sparse.major" => self.sparse.major = text(),
            b"GNU.sparse.minor" => self.sparse.minor = text(),
            b"GNU.sparse.name" => self.sparse.name = text(),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                self.sparse.size = optional(value, decimal)?;
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse.has_map = true;
                self.sparse.numbers.push(decimal(value)?);
            }
            b"GNU.sparse.map" => {
                self.sparse.has_map = true;
                self.sparse.numbers = match value {
                    [] => Vec::new(),
                    list => list.split(|byte| *byte == b',').map(decimal).collect::<Option<_>>()?,
                };
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.retain(|(known, _)| known != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Some(())
    }
}

/// An empty value is none; one that cannot be read is an error.
fn optional<T>(value: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if value.is_empty() { Some(None) } else { parse(value).map(Some) }
}

pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

fn id(digits: &[u8]) -> Option<u32> {
    usable_id(decimal(digits)?)
}

/// The highest id means "leave as it is" to chown(2), so nothing can belong to it.
pub(crate) fn usable_id(id: u64) -> Option<u32> {
    u32::try_from(id).ok().filter(|id| *id != u32::MAX)
}

/// `-12.5`, with any number of digits after the point.
fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut halves = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(halves.next()?)?).ok()?;
    let mut nanoseconds = 0;
    if let Some(fraction) = halves.next() {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        for place in 0..9 {
            nanoseconds = nanoseconds * 10 + fraction.get(place).map_or(0, |d| u32::from(d - b'0'));
        }
    }
    Some(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_forwards_before_1970_too() {
        for (text, seconds, nanoseconds) in [
            ("0", 0, 0),
            ("12.5", 12, 500_000_000),
            ("12.123456789123", 12, 123_456_789),
            ("-1", -1, 0),
            ("-1.25", -2, 750_000_000),
        ] {
            assert_eq!(time(text.as_bytes()), Some(Time { seconds, nanoseconds }), "{text}");
        }
        for text in ["", "-", "1.x", "1e3", "99999999999999999999"] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn pax_values_may_hold_newlines_nul_and_equals() {
        let pax = parse_pax(b"12 path=a\nb\n28 SCHILY.xattr.user.k=a=\0\n\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(pax.xattrs, [(b"user.k".to_vec(), b"a=\0\n".to_vec())]);
    }

    #[test]
    fn broken_pax_records_are_refused() {
        for text in [
            &b"x"[..],
            b"5 a=b",
            b"6 a=b\n\n",
            b"0 a=b\n",
            b"999999999999999999999 a=b\n",
            b"7 path\n",
            b"10 size=x\n",
            b"3 \n",
            b"18 uid=4294967295\n",
        ] {
            assert!(parse_pax(text).is_none(), "{}", text.escape_ascii());
        }
    }
}

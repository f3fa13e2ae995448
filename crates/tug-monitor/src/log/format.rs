//! Bytes of a record's header and trailer.

/// Bytes before a payload.
pub(crate) const HEADER: usize = 16;
/// Bytes after a payload.
pub(crate) const TRAILER: usize = 4;
/// Bytes a record takes beyond its payload.
pub(crate) const OVERHEAD: usize = HEADER + TRAILER;
/// No record is bigger: a longer length in a header is damage.
pub(crate) const MAX_PAYLOAD: usize = 1 << 20;

const MAGIC: u16 = 0x7567;
const CONTINUES: u8 = 1;

/// Which of the container's two outputs. A terminal has only the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// 0 or 1, for tables with an entry for each.
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Output(Stream),
    Lost,
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) continues: bool,
    pub(crate) length: u32,
    pub(crate) timestamp: i64,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..2].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[2] = match self.kind {
            Kind::Output(Stream::Stdout) => 1,
            Kind::Output(Stream::Stderr) => 2,
            Kind::Lost => 3,
        };
        bytes[3] = if self.continues { CONTINUES } else { 0 };
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.timestamp.to_le_bytes());
        bytes
    }

    /// `None` when these bytes are no header.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let field = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        if u16::from_le_bytes([bytes[0], bytes[1]]) != MAGIC {
            return None;
        }
        let kind = match bytes[2] {
            1 => Kind::Output(Stream::Stdout),
            2 => Kind::Output(Stream::Stderr),
            3 => Kind::Lost,
            _ => return None,
        };
        let length = u32::from_le_bytes(field(4));
        if length as usize > MAX_PAYLOAD || bytes[3] & !CONTINUES != 0 {
            return None;
        }
        let timestamp = i64::from_le_bytes(*bytes[8..].first_chunk()?);
        Some(Self { kind, continues: bytes[3] & CONTINUES != 0, length, timestamp })
    }

    /// Bytes of the whole record.
    pub(crate) fn record_length(&self) -> u64 {
        u64::from(self.length) + OVERHEAD as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_encoding_and_damage_is_noticed() {
        for kind in [Kind::Output(Stream::Stdout), Kind::Output(Stream::Stderr), Kind::Lost] {
            for continues in [false, true] {
                let header = Header { kind, continues, length: 70_000, timestamp: -5 };
                assert_eq!(Header::decode(&header.encode()), Some(header));
            }
        }
        let good = Header { kind: Kind::Lost, continues: false, length: 8, timestamp: 1 }.encode();
        for (at, value) in [(0, 0), (1, 0), (2, 0), (2, 4), (3, 2), (7, 1)] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(Header::decode(&bad), None, "byte {at} = {value}");
        }
        assert_eq!(Header::decode(&good[..15]), None);
    }
}

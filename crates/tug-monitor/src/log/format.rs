//! Bytes of a record's header and trailer.

/// Bytes before a payload.
pub(crate) const HEADER: usize = 16;
/// Bytes after a payload.
pub(crate) const TRAILER: usize = 4;
/// What large payloads are aligned to.
pub(crate) const ALIGNMENT: usize = 64;
/// Payloads from this size on are aligned.
pub(crate) const LARGE: usize = 16 << 10;
/// No record is bigger: a longer length in a header is damage.
pub(crate) const MAX_PAYLOAD: usize = 1 << 20;

const MAGIC: u16 = 0x7567;
const CONTINUES: u8 = 1;
const PADDING_SHIFT: u32 = 2;

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
    /// Bytes between header and payload, less than [`ALIGNMENT`].
    pub(crate) padding: u8,
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
        bytes[3] = (u8::from(self.continues) * CONTINUES) | (self.padding << PADDING_SHIFT);
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
        let padding = bytes[3] >> PADDING_SHIFT;
        if length as usize > MAX_PAYLOAD || bytes[3] & ((1 << PADDING_SHIFT) - 1) & !CONTINUES != 0
        {
            return None;
        }
        let timestamp = i64::from_le_bytes(*bytes[8..].first_chunk()?);
        let continues = bytes[3] & CONTINUES != 0;
        Some(Self { kind, continues, padding, length, timestamp })
    }

    /// Where in the record its payload begins.
    pub(crate) fn payload_at(&self) -> u64 {
        HEADER as u64 + u64::from(self.padding)
    }

    /// Bytes of the whole record.
    pub(crate) fn record_length(&self) -> u64 {
        self.payload_at() + u64::from(self.length) + TRAILER as u64
    }

    /// What stands at the end of the record.
    pub(crate) fn trailer(&self) -> [u8; TRAILER] {
        (self.record_length() as u32).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_encoding_and_damage_is_noticed() {
        for kind in [Kind::Output(Stream::Stdout), Kind::Output(Stream::Stderr), Kind::Lost] {
            for (continues, padding) in [(false, 0), (true, 0), (true, 63), (false, 4)] {
                let header = Header { kind, continues, padding, length: 70_000, timestamp: -5 };
                assert_eq!(Header::decode(&header.encode()), Some(header));
            }
        }
        let lost =
            Header { kind: Kind::Lost, continues: false, padding: 0, length: 8, timestamp: 1 };
        let good = lost.encode();
        for (at, value) in [(0, 0), (1, 0), (2, 0), (2, 4), (3, 2), (7, 1)] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(Header::decode(&bad), None, "byte {at} = {value}");
        }
        assert_eq!(Header::decode(&good[..15]), None);
    }
}

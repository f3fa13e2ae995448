//! The key sequence that detaches, recognised in what is typed however it is cut into reads.

/// Watches for a sequence of bytes. What may be its beginning is held back until it is clear.
#[derive(Debug)]
pub struct DetachKeys {
    sequence: Vec<u8>,
    matched: usize,
}

/// A list of keys that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown key {key:?} in detach keys {list:?}: give letters or ctrl-a to ctrl-z, ctrl-@, ctrl-[, ctrl-\\, ctrl-], ctrl-^, ctrl-_, separated by commas"
)]
pub struct UnknownKey {
    key: String,
    list: String,
}

impl DetachKeys {
    /// A sequence given as bytes; an empty one is never found.
    pub fn new(sequence: Vec<u8>) -> Self {
        Self { sequence, matched: 0 }
    }

    /// Reads Docker's notation, `ctrl-p,ctrl-q` or `a,b`.
    ///
    /// # Errors
    /// [`UnknownKey`].
    pub fn parse(list: &str) -> Result<Vec<u8>, UnknownKey> {
        let key = |key: &str| match (key.as_bytes(), key.strip_prefix("ctrl-").map(str::as_bytes)) {
            ([one], _) => Some(*one),
            (_, Some([letter @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')])) => {
                Some(letter.to_ascii_uppercase() ^ 0x40)
            }
            (_, Some(b"DEL" | b"?")) => Some(0x7f),
            _ => None,
        };
        let read = |text: &str| {
            key(text).ok_or_else(|| UnknownKey { key: text.to_owned(), list: list.to_owned() })
        };
        list.split(',').filter(|text| !text.is_empty()).map(read).collect()
    }

    /// Appends to `forward` what of `typed` is for the container. `true` when the sequence was
    /// completed; nothing after it is forwarded.
    pub fn filter(&mut self, typed: &[u8], forward: &mut Vec<u8>) -> bool {
        for &byte in typed {
            if self.sequence.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.sequence.len() {
                    self.matched = 0;
                    return true;
                }
                continue;
            }
            // What was held back was typed after all; this byte may begin the sequence anew.
            forward.extend_from_slice(&self.sequence[..self.matched]);
            self.matched = 0;
            if self.sequence.first() == Some(&byte) && self.sequence.len() > 1 {
                self.matched = 1;
            } else {
                forward.push(byte);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str, reads: &[&[u8]]) -> (bool, Vec<u8>) {
        let mut watch = DetachKeys::new(DetachKeys::parse(keys).unwrap());
        let mut forward = Vec::new();
        let found = reads.iter().any(|read| watch.filter(read, &mut forward));
        (found, forward)
    }

    #[test]
    fn the_sequence_is_found_over_any_cut_and_everything_else_passes() {
        let keys = "ctrl-p,ctrl-q";
        assert_eq!(typed(keys, &[b"ab\x10\x11cd"]), (true, b"ab".to_vec()));
        assert_eq!(typed(keys, &[b"ab\x10", b"\x11cd"]), (true, b"ab".to_vec()));
        assert_eq!(typed(keys, &[b"\x10", b"x"]), (false, b"\x10x".to_vec()));
        assert_eq!(typed(keys, &[b"\x10\x10\x11"]), (true, b"\x10".to_vec()));
        assert_eq!(typed(keys, &[b"\xff\x00\x11"]), (false, b"\xff\x00\x11".to_vec()));
        assert_eq!(typed("", &[b"\x10\x11"]), (false, b"\x10\x11".to_vec()));
        assert_eq!(typed("a", &[b"xa"]), (true, b"x".to_vec()));
    }

    #[test]
    fn dockers_notation_is_read() {
        assert_eq!(DetachKeys::parse("ctrl-p,ctrl-q"), Ok(vec![0x10, 0x11]));
        assert_eq!(DetachKeys::parse("a,ctrl-[,ctrl-\\,ctrl-@"), Ok(vec![b'a', 0x1b, 0x1c, 0]));
        assert_eq!(DetachKeys::parse(""), Ok(vec![]));
        let unknown = DetachKeys::parse("ctrl-p,shift-q").unwrap_err();
        assert_eq!(unknown.key, "shift-q");
    }
}

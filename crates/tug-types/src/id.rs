//! Identifiers of containers: 32 random bytes, written as 64 lower-case hex digits.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A container's identifier. Its first twelve digits are its default hostname and what tables show.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// Why a text is no container id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a container id: expected 64 hexadecimal digits")]
pub struct IdError(pub String);

impl ContainerId {
    /// A fresh id from the kernel's random numbers. Digits only in the first twelve are drawn
    /// again, as Docker does, so that a short id is never mistaken for a number.
    ///
    /// # Errors
    /// When `getrandom(2)` fails.
    pub fn random() -> std::io::Result<Self> {
        loop {
            let mut bytes = [0u8; 32];
            let mut filled = 0;
            while filled < bytes.len() {
                filled += rustix::rand::getrandom(
                    &mut bytes[filled..],
                    rustix::rand::GetRandomFlags::empty(),
                )?;
            }
            let text = crate::digest::hex(&bytes);
            if !text.as_bytes()[..12].iter().all(u8::is_ascii_digit) {
                return Ok(Self(text));
            }
        }
    }

    /// Reads a full id.
    ///
    /// # Errors
    /// [`IdError`] unless the text is 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError(text.to_owned()))
        }
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl TryFrom<String> for ContainerId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContainerId({})", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_parse_and_differ() {
        let (a, b) = (ContainerId::random().unwrap(), ContainerId::random().unwrap());
        assert_ne!(a, b);
        assert_eq!(ContainerId::parse(a.as_str()), Ok(a.clone()));
        assert_eq!(a.short().len(), 12);
    }

    #[test]
    fn upper_case_short_and_foreign_digits_are_refused() {
        for text in ["", "abc", &"A".repeat(64), &"g".repeat(64), &"a".repeat(65)] {
            assert_eq!(ContainerId::parse(text), Err(IdError(text.to_string())));
        }
    }
}

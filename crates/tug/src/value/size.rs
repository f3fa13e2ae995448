//! Sizes in bytes as Docker reads them: `512m`, `1.5g`, `64MiB`, binary multiples.

/// Reads a size. The messages are Docker's.
///
/// # Errors
/// One line that quotes what is wrong.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let digits = text.rfind(|c: char| c.is_ascii_digit() || c == '.').map(|at| at + 1);
    let Some(split) = digits else { return Err(invalid()) };
    let (number, suffix) = text.split_at(split);
    let number = number.trim_end();
    let suffix = suffix.trim_start();
    if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(invalid());
    }
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let bytes = number * multiple(suffix).ok_or_else(|| format!("invalid suffix: '{suffix}'"))?;
    // Sizes beyond 2^63 have no meaning for any kernel interface.
    if bytes >= i64::MAX as f64 { Err(invalid()) } else { Ok(bytes as i64) }
}

fn multiple(suffix: &str) -> Option<f64> {
    let lower = suffix.to_ascii_lowercase();
    let mut letters = lower.chars();
    let power = match letters.next() {
        None => return Some(1.0),
        Some('b') => return letters.next().is_none().then_some(1.0),
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        Some(_) => return None,
    };
    matches!(letters.as_str(), "" | "b" | "ib").then(|| 1024f64.powi(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_multiples() {
        for (text, bytes) in [
            ("32", 32),
            ("32b", 32),
            ("32B", 32),
            ("32k", 32 << 10),
            ("32 kB", 32 << 10),
            ("32Mb", 32 << 20),
            ("32mib", 32 << 20),
            ("1.5g", 3 << 29),
            ("1t", 1 << 40),
            (".5k", 512),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_is_quoted() {
        for (text, message) in [
            ("", "invalid size: ''"),
            ("x", "invalid size: 'x'"),
            ("-5", "invalid size: '-5'"),
            ("5x", "invalid suffix: 'x'"),
            ("5mm", "invalid suffix: 'mm'"),
            ("5bb", "invalid suffix: 'bb'"),
            ("1.2.3k", "invalid size: '1.2.3k'"),
            ("9999999p", "invalid size: '9999999p'"),
        ] {
            assert_eq!(parse(text).unwrap_err(), message, "{text}");
        }
    }
}

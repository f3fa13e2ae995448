//! Go's constants: numbers and quoted texts.

/// A constant number as Go reads it: it may be a whole number and a fraction at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Number {
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
}

/// Bytes of a number at the start of a text.
pub(crate) fn length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let hex = starts_with(&bytes[at..], b"0x");
    let digits: &[u8] = if hex {
        b"0123456789abcdefABCDEF_"
    } else if starts_with(&bytes[at..], b"0o") {
        b"01234567_"
    } else if starts_with(&bytes[at..], b"0b") {
        b"01_"
    } else {
        b"0123456789_"
    };
    if digits.len() != 11 {
        at += 2;
    }
    let run = |mut at: usize, digits: &[u8]| {
        while bytes.get(at).is_some_and(|b| digits.contains(b)) {
            at += 1;
        }
        at
    };
    at = run(at, digits);
    if bytes.get(at) == Some(&b'.') {
        at = run(at + 1, digits);
    }
    let exponent: &[u8] = if hex { b"pP" } else { b"eE" };
    if (hex || digits.len() == 11) && bytes.get(at).is_some_and(|b| exponent.contains(b)) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        at = run(at, b"0123456789_");
    }
    at
}

fn starts_with(bytes: &[u8], prefix: &[u8; 2]) -> bool {
    bytes.len() > 2 && bytes[..2].eq_ignore_ascii_case(prefix)
}

/// Reads a number; `None` when it is none.
pub(crate) fn read(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let unsigned = whole(digits);
    if unsigned.is_none() && is_huge(text) {
        return None;
    }
    let mut number = Number { int: None, uint: None, float: None };
    if let Some(value) = unsigned {
        number.uint = (!negative || value == 0).then_some(value);
        number.int = match negative {
            true => 0i64.checked_sub_unsigned(value),
            false => i64::try_from(value).ok(),
        };
        let value = value as f64;
        number.float = Some(if negative { -value } else { value });
        return Some(number);
    }
    let float = fraction(digits)?;
    let float = if negative { -float } else { float };
    number.float = Some(float);
    // `1e3` and `2.0` may stand where a whole number is wanted.
    if float.fract() == 0.0 && float.abs() < 9e18 {
        number.int = Some(float as i64);
        number.uint = (float >= 0.0).then_some(float as u64);
    }
    Some(number)
}

/// Whether it is a whole number that no type holds.
pub(crate) fn is_huge(text: &str) -> bool {
    !text.contains(['.', 'e', 'E', 'p', 'P'])
        && fraction(text.trim_start_matches(['+', '-'])).is_some()
}

/// A whole number by Go's rules: `0x`, `0o`, `0b`, a leading `0`, underscores between digits.
fn whole(digits: &str) -> Option<u64> {
    let lower = digits.to_ascii_lowercase();
    let (radix, body, prefixed) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..], true),
        [b'0', b'o', ..] => (8, &lower[2..], true),
        [b'0', b'b', ..] => (2, &lower[2..], true),
        [b'0', _, ..] => (8, &lower[1..], true),
        _ => (10, lower.as_str(), false),
    };
    let bad = body.ends_with('_') || body.contains("__") || (!prefixed && body.starts_with('_'));
    let plain = body.replace('_', "");
    if bad || plain.is_empty() || plain.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(&plain, radix).ok()
}

fn fraction(digits: &str) -> Option<f64> {
    let lower = digits.to_ascii_lowercase();
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    match lower.strip_prefix("0x") {
        Some(hex) => {
            let (mantissa, exponent) = hex.split_once('p')?;
            let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
            let joined = format!("{before}{after}").replace('_', "");
            let value = u64::from_str_radix(&joined, 16).ok()? as f64;
            let exponent: i32 = exponent.parse().ok()?;
            let shift = i32::try_from(after.len()).ok()?.checked_mul(4)?;
            Some(value * 2f64.powi(exponent.checked_sub(shift)?))
        }
        None => lower.replace('_', "").parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

/// Takes the quotes off and resolves what is escaped: `"…"`, `'…'` or `` `…` ``. `None` for a bad escape.
pub(crate) fn unquote(quoted: &str) -> Option<String> {
    let mark = quoted.chars().next()?;
    let body = quoted.get(1..quoted.len().checked_sub(1)?)?;
    if mark == '`' {
        return Some(body.replace('\r', ""));
    }
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let plain = match rest.next()? {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            c @ ('"' | '\'') if c == mark => c as u8,
            'x' => u8::try_from(coded(&mut rest, 2, 16, 0)?).ok()?,
            digit @ '0'..='7' => u8::try_from(coded(&mut rest, 2, 8, digit.to_digit(8)?)?).ok()?,
            kind @ ('u' | 'U') => {
                let count = if kind == 'u' { 4 } else { 8 };
                let c = char::from_u32(coded(&mut rest, count, 16, 0)?)?;
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        };
        bytes.push(plain);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn coded(rest: &mut std::str::Chars<'_>, count: usize, radix: u32, start: u32) -> Option<u32> {
    (0..count).try_fold(start, |value, _| {
        value.checked_mul(radix)?.checked_add(rest.next()?.to_digit(radix)?)
    })
}

//! The patterns of Go's `filepath.Match`, which `COPY` and `ADD` take.

/// Whether a name holds wildcards of Go's `filepath.Match`.
pub(crate) fn is_wild(name: &str) -> bool {
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => drop(chars.next()),
            _ => {}
        }
    }
    false
}

/// Whether Go's `filepath.Match` takes it for a pattern at all.
pub(crate) fn is_pattern(pattern: &str) -> bool {
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.next().is_none() => return false,
            '[' => {
                rest.next_if_eq(&'^');
                let mut empty = true;
                while empty || rest.next_if_eq(&']').is_none() {
                    empty = false;
                    let low = is_class_end(&mut rest);
                    let high = rest.next_if_eq(&'-').is_none() || is_class_end(&mut rest);
                    if !low || !high {
                        return false;
                    }
                }
            }
            _ => {}
        }
    }
    true
}

/// Takes one end of a range; `-` and `]` only behind a backslash.
fn is_class_end(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    match rest.next() {
        Some('\\') => rest.next().is_some(),
        Some(c) => c != '-' && c != ']',
        None => false,
    }
}

/// Go's `filepath.Match` on one name, whose bytes that are no text count as one character each.
pub(super) fn glob(pattern: &str, name: &[u8]) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let mut chars = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        chars.extend(chunk.valid().chars());
        chars.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    let name = chars;
    glob_at(&pattern, &name)
}

fn glob_at(pattern: &[char], name: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
    match first {
        '*' => (0..=name.len()).any(|skip| glob_at(rest, &name[skip..])),
        '?' => name.split_first().is_some_and(|(_, after)| glob_at(rest, after)),
        '[' => {
            let Some((c, after)) = name.split_first() else { return false };
            let Some((matched, rest)) = class(rest, *c) else { return false };
            matched && glob_at(rest, after)
        }
        '\\' => match (rest.split_first(), name.split_first()) {
            (Some((escaped, rest)), Some((c, after))) => escaped == c && glob_at(rest, after),
            _ => false,
        },
        literal => {
            name.split_first().is_some_and(|(c, after)| c == literal && glob_at(rest, after))
        }
    }
}

/// `a-z]` after its bracket: whether it holds the character, and what follows.
fn class(mut pattern: &[char], c: char) -> Option<(bool, &[char])> {
    let negated = pattern.first() == Some(&'^');
    if negated {
        pattern = &pattern[1..];
    }
    let mut matched = false;
    let mut first = true;
    loop {
        let one = |pattern: &mut &[char]| -> Option<char> {
            let (c, rest) = pattern.split_first()?;
            *pattern = rest;
            if *c == '\\' {
                let (c, rest) = pattern.split_first()?;
                *pattern = rest;
                return Some(*c);
            }
            Some(*c)
        };
        if pattern.first() == Some(&']') && !first {
            return Some((matched != negated, &pattern[1..]));
        }
        first = false;
        let low = one(&mut pattern)?;
        let high = match pattern.first() {
            Some('-') => {
                pattern = &pattern[1..];
                one(&mut pattern)?
            }
            _ => low,
        };
        matched |= (low..=high).contains(&c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name, expected) in [
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*b*c", "axxbyyc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[\\]]", "]", true),
            ("a[", "a[", false),
            ("*.go", ".go", true),
        ] {
            assert_eq!(glob(pattern, name.as_bytes()), expected, "{pattern} {name}");
            assert_eq!(is_pattern(pattern), pattern != "a[", "{pattern}");
        }
        for pattern in ["[]a]", "[-a]", "[a-]", "[a", "[^]", "a\\"] {
            assert!(!is_pattern(pattern), "{pattern}");
        }
    }
}

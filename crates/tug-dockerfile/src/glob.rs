//! Path patterns: Go's `filepath.Match`, and with `**` what ignore files and `COPY --parents` use.
//!
//! A pattern is matched by walking all its states at once, so no pattern is slow on any path, and the
//! same walk answers whether anything below a directory could match.

use std::fmt;

/// What a pattern is made of. A character class may match `/`; `?` and `*` do not.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Many,
    /// With [`Token::Inside`] behind it, `**` or `**/` before something: nothing, or anything that ends
    /// with `/`.
    Fork,
    /// Directories that [`Token::Fork`] has begun.
    Inside,
    /// `**` at the end: anything.
    Anything,
    /// `[…]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// How a pattern is matched; the common forms need no walk.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// No special character.
    Exact,
    /// `dir/**`: what the path starts with.
    Prefix(String),
    /// `**/name`, `**name`: what the path ends with.
    Suffix(String),
    /// Anything else.
    Walk(Walk),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Walk {
    tokens: Vec<Token>,
    /// Plain text at the front and at the back: most paths are told apart by it.
    head: String,
    tail: String,
}

impl Walk {
    fn new(tokens: Vec<Token>) -> Self {
        let plain = |token: &Token| if let Token::Literal(c) = token { Some(*c) } else { None };
        let head = tokens.iter().map_while(plain).collect();
        let mut tail: Vec<char> = tokens.iter().rev().map_while(plain).collect();
        tail.reverse();
        Self { head, tail: tail.into_iter().collect(), tokens }
    }
}

/// One path pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    form: Form,
}

/// A pattern that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct GlobError {
    /// The pattern.
    pub pattern: String,
}

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "syntax error in pattern {:?}", self.pattern)
    }
}

impl Pattern {
    /// A pattern as Go's `filepath.Match` reads it: `**` is the same as `*`. For the sources of `COPY`
    /// and `ADD`.
    ///
    /// # Errors
    /// When a class is not closed or empty, or a backslash ends the pattern.
    pub fn path(text: &str) -> Result<Self, GlobError> {
        let (tokens, special) = tokens(text, false)?;
        let form = if special { Form::Walk(Walk::new(tokens)) } else { Form::Exact };
        Ok(Self { text: text.to_owned(), form })
    }

    /// A pattern as ignore files have them, `**` included.
    ///
    /// # Errors
    /// As for [`Pattern::path`].
    pub fn deep(text: &str) -> Result<Self, GlobError> {
        let (tokens, special) = tokens(text, true)?;
        let plain = |tokens: &[Token]| -> Option<String> {
            tokens
                .iter()
                .map(|token| if let Token::Literal(c) = token { Some(*c) } else { None })
                .collect()
        };
        let escaped = text.contains('\\');
        let form = match tokens.as_slice() {
            _ if !special => Form::Exact,
            _ if text == "**" => Form::Suffix(String::new()),
            // At the start and before plain text it needs no directory's end before it.
            [Token::Fork, Token::Inside, rest @ ..] if !escaped && plain(rest).is_some() => {
                Form::Suffix(text[2..].to_owned())
            }
            [rest @ .., Token::Anything] if !escaped => match plain(rest) {
                Some(prefix) => Form::Prefix(prefix),
                None => Form::Walk(Walk::new(tokens)),
            },
            _ => Form::Walk(Walk::new(tokens)),
        };
        Ok(Self { text: text.to_owned(), form })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it holds no special character: it matches one path.
    pub fn is_plain(&self) -> bool {
        self.form == Form::Exact
    }

    /// Whether it matches the whole of `path`.
    pub fn matches(&self, path: &str) -> bool {
        match &self.form {
            Form::Exact => path == self.text,
            Form::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Form::Suffix(suffix) => {
                path.ends_with(suffix.as_str()) || suffix.strip_prefix('/') == Some(path)
            }
            Form::Walk(form) => {
                path.starts_with(form.head.as_str())
                    && path.ends_with(form.tail.as_str())
                    && walk(&form.tokens, path).end
            }
        }
    }

    /// Whether it can match a path below the directory `dir`. Never wrongly no.
    pub fn may_match_below(&self, dir: &str) -> bool {
        if dir.is_empty() || dir == "." {
            return true;
        }
        let below = |path: &str| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
        match &self.form {
            Form::Exact => below(&self.text),
            Form::Prefix(prefix) => {
                below(prefix)
                    || dir.starts_with(prefix.as_str())
                    || prefix.strip_suffix('/') == Some(dir)
            }
            Form::Suffix(_) => true,
            Form::Walk(form) => walk(&form.tokens, &format!("{dir}/")).more,
        }
    }
}

/// Takes a pattern apart; also says whether anything in it is special.
fn tokens(text: &str, deep: bool) -> Result<(Vec<Token>, bool), GlobError> {
    let bad = || GlobError { pattern: text.to_owned() };
    let mut tokens = Vec::new();
    let mut special = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        special |= matches!(c, '*' | '?' | '[' | '\\');
        let token = match c {
            '*' if deep && chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_some() {
                    tokens.push(Token::Fork);
                    Token::Inside
                } else {
                    Token::Anything
                }
            }
            '*' => Token::Many,
            '?' => Token::One,
            '\\' => Token::Literal(chars.next().ok_or_else(bad)?),
            '[' => class(&mut chars).ok_or_else(bad)?,
            literal => Token::Literal(literal),
        };
        tokens.push(token);
    }
    Ok((tokens, special))
}

/// Behind `[`.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Some(Token::Class { negated, ranges });
        }
        let low = member(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { member(chars)? } else { low };
        ranges.push((low, high));
        // A class ends with `]`, never with the pattern.
        chars.peek()?;
    }
}

/// One character of a class; `-` and `]` only behind a backslash.
fn member(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

/// Where a walk along a path has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reached {
    /// The whole pattern is matched.
    end: bool,
    /// More of the path could be matched.
    more: bool,
}

impl Token {
    /// What a character does to this token's state: stay in it, go on to the next.
    fn step(&self, c: char) -> (bool, bool) {
        match self {
            Self::Literal(literal) => (false, *literal == c),
            Self::One => (false, c != '/'),
            Self::Many => (c != '/', false),
            Self::Anything => (true, false),
            Self::Fork => (false, false),
            Self::Inside => (true, c == '/'),
            Self::Class { negated, ranges } => {
                let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                (false, inside != *negated)
            }
        }
    }

    /// Whether it may match nothing, so that the next state holds too, and the one behind that.
    fn passes(&self) -> (bool, bool) {
        match self {
            Self::Many | Self::Anything => (true, false),
            Self::Fork => (true, true),
            _ => (false, false),
        }
    }
}

/// Walks the pattern along `path`.
fn walk(tokens: &[Token], path: &str) -> Reached {
    if tokens.len() < 128 { walk_bits(tokens, path) } else { walk_list(tokens, path) }
}

/// The states as bits of a number: nothing is allocated, and only those that hold are looked at.
fn walk_bits(tokens: &[Token], path: &str) -> Reached {
    let mut states = pass_over_bits(tokens, 1);
    for c in path.chars() {
        let mut next = 0_u128;
        let mut left = states & !(1 << tokens.len());
        while left != 0 {
            let at = left.trailing_zeros();
            left &= left - 1;
            let (stay, go) = tokens[at as usize].step(c);
            next |= u128::from(stay) << at | u128::from(go) << (at + 1);
        }
        states = pass_over_bits(tokens, next);
        if states == 0 {
            break;
        }
    }
    let end = 1 << tokens.len();
    Reached { end: states & end != 0, more: states & !end != 0 }
}

fn pass_over_bits(tokens: &[Token], mut states: u128) -> u128 {
    let mut left = states & !(1 << tokens.len());
    while left != 0 {
        let at = left.trailing_zeros();
        left &= left - 1;
        let (one, two) = tokens[at as usize].passes();
        let new = u128::from(one) << (at + 1) | u128::from(two) << (at + 2);
        left |= new & !states & !(1 << tokens.len());
        states |= new;
    }
    states
}

/// The same for patterns too long for that.
fn walk_list(tokens: &[Token], path: &str) -> Reached {
    let mut states = vec![false; tokens.len() + 1];
    let mut next = states.clone();
    states[0] = true;
    pass_over_list(tokens, &mut states);
    for c in path.chars() {
        next.fill(false);
        for (at, token) in tokens.iter().enumerate().filter(|(at, _)| states[*at]) {
            let (stay, go) = token.step(c);
            next[at] |= stay;
            next[at + 1] |= go;
        }
        pass_over_list(tokens, &mut next);
        std::mem::swap(&mut states, &mut next);
    }
    Reached { end: states[tokens.len()], more: states[..tokens.len()].contains(&true) }
}

/// All such steps lead forward, so one round is enough.
fn pass_over_list(tokens: &[Token], states: &mut [bool]) {
    for (at, token) in tokens.iter().enumerate() {
        let (one, two) = if states[at] { token.passes() } else { (false, false) };
        if one {
            states[at + 1] = true;
        }
        if two {
            states[at + 2] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_walking_agree() {
        for pattern in ["*", "**/*.txt", "a/**/b*/?", "**/x/**", "[^a]*/**/c", "a**b", "**/tmp*/x?"]
        {
            let (tokens, _) = tokens(pattern, true).unwrap();
            for path in [
                "a",
                "a.txt",
                "x/a.txt",
                "a/b/c",
                "a/x/y/bc/d",
                "b/c",
                "a/b",
                "q/x/r",
                "z/tmpa/xy",
                "",
            ] {
                assert_eq!(
                    walk_bits(&tokens, path),
                    walk_list(&tokens, path),
                    "{pattern} on {path}"
                );
            }
        }
    }

    #[test]
    fn long_patterns_work_too() {
        let pattern = format!("**/{}*", "a?".repeat(80));
        let path = format!("x/y/{}z", "ab".repeat(80));
        assert!(Pattern::deep(&pattern).unwrap().matches(&path));
        assert!(!Pattern::deep(&pattern).unwrap().matches("x/y/ab"));
    }
}

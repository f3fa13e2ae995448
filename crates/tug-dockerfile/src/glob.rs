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
    Walk(Vec<Token>),
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
        let form = if special { Form::Walk(tokens) } else { Form::Exact };
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
                None => Form::Walk(tokens),
            },
            _ => Form::Walk(tokens),
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
            Form::Walk(tokens) => walk(tokens, path).is_some_and(|states| states[tokens.len()]),
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
            Form::Walk(tokens) => match walk(tokens, &format!("{dir}/")) {
                // The end state alone goes nowhere.
                Some(states) => states[..tokens.len()].contains(&true),
                None => false,
            },
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

/// The states the pattern can be in behind `path`, none when it is stuck.
fn walk(tokens: &[Token], path: &str) -> Option<Vec<bool>> {
    let mut states = vec![false; tokens.len() + 1];
    let mut next = states.clone();
    states[0] = true;
    pass_over(tokens, &mut states);
    for c in path.chars() {
        next.fill(false);
        for (at, token) in tokens.iter().enumerate().filter(|(at, _)| states[*at]) {
            match token {
                Token::Literal(literal) => next[at + 1] |= *literal == c,
                Token::One => next[at + 1] |= c != '/',
                Token::Many => next[at] |= c != '/',
                Token::Anything => next[at] = true,
                Token::Fork => {}
                Token::Inside => {
                    next[at] = true;
                    next[at + 1] |= c == '/';
                }
                Token::Class { negated, ranges } => {
                    let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                    next[at + 1] |= inside != *negated;
                }
            }
        }
        pass_over(tokens, &mut next);
        std::mem::swap(&mut states, &mut next);
        if !states.contains(&true) {
            return None;
        }
    }
    Some(states)
}

/// What may match nothing is passed over. All such steps lead forward, so one round is enough.
fn pass_over(tokens: &[Token], states: &mut [bool]) {
    for (at, token) in tokens.iter().enumerate() {
        if !states[at] {
            continue;
        }
        match token {
            Token::Many | Token::Anything => states[at + 1] = true,
            Token::Fork => {
                states[at + 1] = true;
                states[at + 2] = true;
            }
            _ => {}
        }
    }
}

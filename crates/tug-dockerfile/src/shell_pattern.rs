//! The patterns of `${name#…}`, `${name%…}` and `${name/…/…}`: `*`, `?` and escaped characters, no
//! brackets. `*` and `?` do not match a line end.

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct ShellPattern(Vec<Token>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    One,
    Many,
}

/// A pattern that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid escape '\\{}'", .escaped.map(String::from).unwrap_or_default())]
pub struct PatternError {
    /// What the backslash stands before; nothing at the end.
    pub escaped: Option<char>,
}

impl ShellPattern {
    pub(crate) fn new(written: &str) -> Result<Self, PatternError> {
        let mut tokens = Vec::new();
        let mut chars = written.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Token::Literal(escaped),
                    escaped => return Err(PatternError { escaped }),
                },
                literal => Token::Literal(literal),
            });
        }
        // Two stars in a row match what one does.
        tokens.dedup_by(|a, b| *a == Token::Many && *b == Token::Many);
        Ok(Self(tokens))
    }

    pub(crate) fn without_prefix(&self, value: &str, longest: bool) -> String {
        let text: Vec<char> = value.chars().collect();
        match match_end(&self.0, &text, 0, longest) {
            Some(end) => text[end..].iter().collect(),
            None => value.to_owned(),
        }
    }

    pub(crate) fn without_suffix(&self, value: &str, longest: bool) -> String {
        let tokens: Vec<Token> = self.0.iter().rev().copied().collect();
        let text: Vec<char> = value.chars().rev().collect();
        match match_end(&tokens, &text, 0, longest) {
            Some(end) => text[end..].iter().rev().collect(),
            None => value.to_owned(),
        }
    }

    /// The first match, or every match, always the longest from its start, replaced.
    pub(crate) fn replace(&self, value: &str, replacement: &str, all: bool) -> String {
        let text: Vec<char> = value.chars().collect();
        let mut out = String::new();
        let mut at = 0;
        let mut last_end = None;
        while at <= text.len() {
            match match_end(&self.0, &text, at, true) {
                // An empty match right behind a match does not count.
                Some(end) if end > at || last_end != Some(at) => {
                    out.push_str(replacement);
                    last_end = Some(end);
                    if !all {
                        out.extend(&text[end..]);
                        return out;
                    }
                    if end > at {
                        at = end;
                        continue;
                    }
                }
                _ => {}
            }
            out.extend(text.get(at));
            at += 1;
        }
        out
    }
}

/// Where the longest or shortest match from `start` ends. Walks all ends at once: no backtracking.
fn match_end(tokens: &[Token], text: &[char], start: usize, longest: bool) -> Option<usize> {
    let mut ends = vec![false; text.len() + 1];
    ends[start] = true;
    for token in tokens {
        match token {
            Token::Many => {
                for at in start..text.len() {
                    ends[at + 1] |= ends[at] && text[at] != '\n';
                }
            }
            single => {
                for at in (start..text.len()).rev() {
                    let fits = match single {
                        Token::Literal(c) => *c == text[at],
                        _ => text[at] != '\n',
                    };
                    ends[at + 1] = ends[at] && fits;
                }
                ends[start] = false;
            }
        }
    }
    if longest { ends.iter().rposition(|end| *end) } else { ends.iter().position(|end| *end) }
}

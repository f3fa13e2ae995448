//! Word expansion: quotes, escapes and `$variables`, the way BuildKit's frontend does it.
//!
//! The dialect is a shell's with limits: `$name`, `${name}`, `${name:-word}`, `${name-word}`, `:+`, `+`,
//! `:?`, `?`, and the pattern forms `#`, `##`, `%`, `%%`, `/`, `//`, nested where a word may stand.
//! Nothing is executed and no file names are matched.

use std::collections::BTreeSet;

pub use crate::expand_error::{ExpandError, ExpandProblem};
use crate::shell_pattern::ShellPattern;

/// How deep `${a:-${b:-…}}` may go.
const MAX_DEPTH: usize = 100;

/// Whence the values of variables come.
pub trait Variables {
    /// The value, none when the variable is not set.
    fn get(&self, name: &str) -> Option<&str>;
}

/// No variable is set.
pub struct NoVariables;

impl Variables for NoVariables {
    fn get(&self, _name: &str) -> Option<&str> {
        None
    }
}

impl Variables for std::collections::BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        std::collections::BTreeMap::get(self, name).map(String::as_str)
    }
}

/// How a word is expanded.
#[derive(Clone, Copy, Debug)]
pub struct Expander {
    /// The escape character.
    pub escape: char,
    /// Quotes stay in the result.
    pub raw_quotes: bool,
    /// Escape characters stay in the result.
    pub raw_escapes: bool,
    /// Quotes mean nothing.
    pub ignore_quotes: bool,
    /// Variables that are not set stay as they are written.
    pub keep_unset: bool,
}

/// A word after expansion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// All of it as one word.
    pub text: String,
    /// Split at blanks that were not quoted; empty words do not count.
    pub words: Vec<String>,
    /// Variables that were asked for and set.
    pub used: BTreeSet<String>,
    /// Variables that were asked for and not set, a default or not.
    pub unset: BTreeSet<String>,
}

impl Expander {
    /// With `escape` as escape character, quotes and escapes taken away, unset variables empty.
    pub fn new(escape: char) -> Self {
        Self {
            escape,
            raw_quotes: false,
            raw_escapes: false,
            ignore_quotes: false,
            keep_unset: false,
        }
    }

    /// Expands `word`.
    ///
    /// # Errors
    /// When quotes or braces do not match, a form is not known, or `${name?}` finds its variable unset.
    pub fn expand(&self, word: &str, variables: &dyn Variables) -> Result<Expanded, ExpandError> {
        let mut walk = Walk {
            expander: self,
            variables,
            rest: word,
            depth: 0,
            used: BTreeSet::new(),
            unset: BTreeSet::new(),
        };
        match walk.until(None, self.raw_escapes) {
            Ok((text, words)) => Ok(Expanded { text, words, used: walk.used, unset: walk.unset }),
            Err(problem) => Err(ExpandError { word: word.to_owned(), problem }),
        }
    }
}

/// The words of a result as they grow.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    current: String,
}

impl Words {
    /// Unquoted: blanks end the word.
    fn split(&mut self, c: char) {
        if c.is_whitespace() { self.end() } else { self.current.push(c) }
    }

    fn end(&mut self) {
        if !self.current.is_empty() {
            self.done.push(std::mem::take(&mut self.current));
        }
    }
}

struct Walk<'a> {
    expander: &'a Expander,
    variables: &'a dyn Variables,
    rest: &'a str,
    depth: usize,
    used: BTreeSet<String>,
    unset: BTreeSet<String>,
}

impl Walk<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    /// Everything up to `stop`, which is eaten, or up to the end.
    fn until(
        &mut self,
        stop: Option<char>,
        raw: bool,
    ) -> Result<(String, Vec<String>), ExpandProblem> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpandProblem::TooDeep);
        }
        let mut text = String::new();
        let mut words = Words::default();
        loop {
            let Some(c) = self.peek() else {
                if stop.is_some() {
                    return Err(ExpandProblem::MissingBrace);
                }
                break;
            };
            if stop == Some(c) {
                self.next();
                break;
            }
            match c {
                '\'' if !self.expander.ignore_quotes => {
                    self.quoted(Self::single, &mut text, &mut words, raw)?
                }
                '"' if !self.expander.ignore_quotes => {
                    self.quoted(Self::double, &mut text, &mut words, raw)?
                }
                '<' => self.quoted(Self::heredoc_mark, &mut text, &mut words, raw)?,
                '$' => {
                    let value = self.dollar(raw)?;
                    value.chars().for_each(|c| words.split(c));
                    text.push_str(&value);
                }
                _ => {
                    self.next();
                    if c == self.expander.escape {
                        if raw {
                            text.push(c);
                            words.current.push(c);
                        }
                        // At the very end it escapes nothing and goes.
                        if let Some(escaped) = self.next() {
                            text.push(escaped);
                            words.current.push(escaped);
                        }
                    } else {
                        text.push(c);
                        words.split(c);
                    }
                }
            }
        }
        self.depth -= 1;
        words.end();
        Ok((text, words.done))
    }

    /// Runs `part` and takes what it gives as quoted: blanks do not split it.
    fn quoted(
        &mut self,
        part: fn(&mut Self, bool) -> Result<String, ExpandProblem>,
        text: &mut String,
        words: &mut Words,
        raw: bool,
    ) -> Result<(), ExpandProblem> {
        let value = part(self, raw)?;
        words.current.push_str(&value);
        text.push_str(&value);
        Ok(())
    }

    /// `'…'`: everything as it stands.
    fn single(&mut self, _raw: bool) -> Result<String, ExpandProblem> {
        let body = &self.rest[1..];
        let end = body.find('\'').ok_or(ExpandProblem::SingleQuote)?;
        let whole = &self.rest[..end + 2];
        self.rest = &body[end + 1..];
        Ok(if self.expander.raw_quotes { whole.to_owned() } else { body[..end].to_owned() })
    }

    /// `"…"`: variables are replaced, and the escape character escapes `"`, `$` and itself.
    fn double(&mut self, raw: bool) -> Result<String, ExpandProblem> {
        let mut out = String::new();
        self.next();
        if self.expander.raw_quotes {
            out.push('"');
        }
        loop {
            match self.peek().ok_or(ExpandProblem::DoubleQuote)? {
                '"' => {
                    self.next();
                    if self.expander.raw_quotes {
                        out.push('"');
                    }
                    return Ok(out);
                }
                '$' => out.push_str(&self.dollar(raw)?),
                c => {
                    self.next();
                    if c != self.expander.escape {
                        out.push(c);
                        continue;
                    }
                    if raw {
                        out.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(next)
                            if next == '"' || next == '$' || next == self.expander.escape =>
                        {
                            self.next();
                            out.push(next);
                        }
                        Some(_) => out.push(c),
                    }
                }
            }
        }
    }

    /// `<<` and the blanks behind it stay in one word with what follows.
    fn heredoc_mark(&mut self, _raw: bool) -> Result<String, ExpandProblem> {
        if !self.rest.starts_with("<<") {
            self.next();
            return Ok("<".to_owned());
        }
        let blanks = self.rest[2..].trim_start_matches(['\t', '\r', ' ']);
        let (mark, rest) = self.rest.split_at(self.rest.len() - blanks.len());
        self.rest = rest;
        Ok(mark.to_owned())
    }

    fn dollar(&mut self, _raw: bool) -> Result<String, ExpandProblem> {
        self.next();
        if self.peek() == Some('{') {
            self.next();
            return self.braces();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(match self.value(&name) {
            Some(value) => value,
            None if self.expander.keep_unset => format!("${name}"),
            None => String::new(),
        })
    }

    /// Behind `${`.
    fn braces(&mut self) -> Result<String, ExpandProblem> {
        match self.peek() {
            None => return Err(ExpandProblem::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandProblem::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        let modifier = self.next().ok_or(ExpandProblem::MissingBrace)?;
        match modifier {
            '}' => Ok(match self.value(&name) {
                Some(value) => value,
                None if self.expander.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            ':' => {
                let modifier = self.next().ok_or(ExpandProblem::MissingBrace)?;
                if !matches!(modifier, '-' | '+' | '?') {
                    return Err(ExpandProblem::Modifier { modifier: format!(":{modifier}") });
                }
                self.alternative(&name, modifier, true)
            }
            '-' | '+' | '?' => self.alternative(&name, modifier, false),
            '#' | '%' => self.trimmed(&name, modifier),
            '/' => self.replaced(&name),
            _ => Err(ExpandProblem::Modifier { modifier: modifier.to_string() }),
        }
    }

    /// `${name-word}`, `${name+word}`, `${name?word}`, and with `:`, where empty counts as unset.
    fn alternative(
        &mut self,
        name: &str,
        modifier: char,
        colon: bool,
    ) -> Result<String, ExpandProblem> {
        let (word, _) = self.until(Some('}'), false)?;
        let value = self.value(name);
        if value.is_none() && self.expander.keep_unset {
            let colon = if colon { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let present = value.clone().filter(|value| !(colon && value.is_empty()));
        match (modifier, present) {
            ('-', Some(value)) | ('?', Some(value)) => Ok(value),
            ('-', None) | ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            _ => {
                let usual = if value.is_some() {
                    "is not allowed to be empty"
                } else {
                    "is not allowed to be unset"
                };
                let message = if word.is_empty() { usual.to_owned() } else { word };
                Err(ExpandProblem::Required { name: name.to_owned(), message })
            }
        }
    }

    /// `${name#pattern}` and its kin: the shortest, or doubled the longest, match taken off.
    fn trimmed(&mut self, name: &str, modifier: char) -> Result<String, ExpandProblem> {
        let (word, _) = self.until(Some('}'), true)?;
        let value = match self.value(name) {
            None if self.expander.keep_unset => return Ok(format!("${{{name}{modifier}{word}}}")),
            value => value.unwrap_or_default(),
        };
        let longest = word.starts_with(modifier);
        let written = if longest { &word[modifier.len_utf8()..] } else { &word };
        let pattern = compile(written)?;
        Ok(if modifier == '#' {
            pattern.without_prefix(&value, longest)
        } else {
            pattern.without_suffix(&value, longest)
        })
    }

    /// `${name/pattern/replacement}`, and with `//` every match.
    fn replaced(&mut self, name: &str) -> Result<String, ExpandProblem> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let (written, _) = self.until(Some('/'), true).map_err(|problem| match problem {
            ExpandProblem::MissingBrace if self.rest.is_empty() => ExpandProblem::MissingSlash,
            other => other,
        })?;
        let (replacement, _) = self.until(Some('}'), true)?;
        match self.value(name) {
            None if self.expander.keep_unset => {
                let slash = if all { "//" } else { "/" };
                Ok(format!("${{{name}{slash}{written}/{replacement}}}"))
            }
            value => {
                let pattern = compile(&written)?;
                Ok(pattern.replace(&value.unwrap_or_default(), &replacement, all))
            }
        }
    }

    /// Letters, digits and `_`; or only digits; or one of the shell's special characters.
    fn name(&mut self) -> String {
        let first = match self.peek() {
            Some(c) => c,
            None => return String::new(),
        };
        let take = |c: char| {
            if first.is_ascii_digit() {
                c.is_ascii_digit()
            } else {
                c.is_alphanumeric() || c == '_'
            }
        };
        if matches!(first, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
            self.next();
            return first.to_string();
        }
        let end = self.rest.find(|c: char| !take(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name.to_owned()
    }

    fn value(&mut self, name: &str) -> Option<String> {
        match self.variables.get(name) {
            Some(value) => {
                self.used.insert(name.to_owned());
                Some(value.to_owned())
            }
            None => {
                self.unset.insert(name.to_owned());
                None
            }
        }
    }
}

fn compile(written: &str) -> Result<ShellPattern, ExpandProblem> {
    ShellPattern::new(written)
        .map_err(|error| ExpandProblem::Pattern { pattern: written.to_owned(), error })
}

//! The parser directives at the top of a file: `# syntax=`, `# escape=`, `# check=`.

use std::collections::BTreeSet;

use crate::source::Source;
use crate::span::Spanned;

/// Which comment lines hold directives: only an unbroken run of them at the top counts.
#[derive(Debug, Default)]
pub(crate) struct DirectiveReader {
    seen: BTreeSet<&'static str>,
    done: bool,
}

/// One directive line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// No directive, and none can follow.
    Other,
    /// A directive.
    Directive {
        /// In lower case.
        name: &'static str,
        /// Without blanks around it.
        value: String,
    },
    /// A directive for the second time.
    Repeated(&'static str),
}

impl DirectiveReader {
    /// Reads the next line; `comment` starts a directive.
    pub(crate) fn read(&mut self, line: &str, comment: &str) -> Line {
        if self.done {
            return Line::Other;
        }
        match directive(line, comment) {
            None => {
                self.done = true;
                Line::Other
            }
            Some((name, _)) if !self.seen.insert(name) => Line::Repeated(name),
            Some((name, value)) => Line::Directive { name, value: value.to_owned() },
        }
    }
}

/// `# name = value`
fn directive<'a>(line: &'a str, comment: &str) -> Option<(&'static str, &'a str)> {
    let (name, value) = line.strip_prefix(comment)?.trim_start().split_once('=')?;
    let value = value.trim();
    if value.is_empty() {
        return None;
    }
    let name = name.trim_end();
    ["syntax", "escape", "check"]
        .into_iter()
        .find(|known| name.eq_ignore_ascii_case(known))
        .map(|name| (name, value))
}

/// `# name=` anywhere in the run of directives at the top, a `#!` line before it skipped.
pub(crate) fn find(source: &Source, wanted: &str) -> Option<Spanned<String>> {
    find_behind(source, wanted, "#")
}

/// The frontend asked for: `# syntax=`, `// syntax=` or `{"syntax": "…"}`.
pub(crate) fn syntax(source: &Source) -> Option<Spanned<String>> {
    find_behind(source, "syntax", "#").or_else(|| find_behind(source, "syntax", "//")).or_else(
        || {
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(without_shebang(source).1).ok()?;
            Some(Spanned::new(object.get("syntax")?.as_str()?.to_owned(), source.line_span(1)))
        },
    )
}

fn find_behind(source: &Source, wanted: &str, comment: &str) -> Option<Spanned<String>> {
    let mut reader = DirectiveReader::default();
    for number in without_shebang(source).0..=source.line_count() {
        match reader.read(source.line(number), comment) {
            Line::Directive { name, value } if name == wanted => {
                return Some(Spanned::new(value, source.line_span(number)));
            }
            Line::Directive { .. } => {}
            Line::Other | Line::Repeated(_) => return None,
        }
    }
    None
}

/// The first line to look at, and the text from there.
fn without_shebang(source: &Source) -> (u32, &str) {
    if source.text().starts_with("#!") {
        return (2, source.text().split_once('\n').map_or("", |(_, rest)| rest));
    }
    (1, source.text())
}

/// What `# check=` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// No check at all.
    pub skip_all: bool,
    /// Rules not to check.
    pub skip: BTreeSet<String>,
    /// All experimental rules too.
    pub experimental_all: bool,
    /// Experimental rules to check.
    pub experimental: BTreeSet<String>,
    /// A warning fails the build.
    pub error: bool,
}

/// `# check=` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckOptionError {
    /// No `=`, or another name.
    #[error("invalid check option {0:?}")]
    Option(String),
    /// `error=` with neither true nor false.
    #[error("failed to parse check option {0:?}: not a boolean")]
    Boolean(String),
}

impl CheckOptions {
    /// Reads `skip=Rule,Rule;error=true;experimental=all`.
    ///
    /// # Errors
    /// When an option has no `=`, another name, or `error` is no boolean.
    pub fn parse(text: &str) -> Result<Self, CheckOptionError> {
        let mut options = Self::default();
        if text.trim().is_empty() {
            return Ok(options);
        }
        for part in text.trim().splitn(3, ';') {
            let (name, value) =
                part.split_once('=').ok_or_else(|| CheckOptionError::Option(part.to_owned()))?;
            let value = value.trim();
            let list = || value.split(',').map(|rule| rule.trim().to_owned());
            match (name.trim(), value) {
                ("skip", "all") => options.skip_all = true,
                ("skip", _) => options.skip.extend(list()),
                ("experimental", "all") => options.experimental_all = true,
                ("experimental", _) => options.experimental.extend(list()),
                ("error", _) => {
                    options.error =
                        boolean(value).ok_or_else(|| CheckOptionError::Boolean(part.to_owned()))?;
                }
                (name, _) => return Err(CheckOptionError::Option(name.to_owned())),
            }
        }
        Ok(options)
    }

    /// These and `other`'s; whether a warning is an error stays.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        Self {
            skip_all: self.skip_all || other.skip_all,
            skip: self.skip.union(&other.skip).cloned().collect(),
            experimental_all: self.experimental_all || other.experimental_all,
            experimental: self.experimental.union(&other.experimental).cloned().collect(),
            error: self.error,
        }
    }

    /// What the comment lines above an instruction add, `# check=skip=…`.
    pub(crate) fn from_comments(comments: &[String]) -> Option<Self> {
        let value = comments.iter().find_map(|comment| match directive(comment, "") {
            Some(("check", value)) => Some(value),
            _ => None,
        })?;
        // Up to the first blank: the rest of the comment may say why.
        Self::parse(value.split(' ').next().unwrap_or_default()).ok()
    }
}

/// What Go takes for a boolean.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

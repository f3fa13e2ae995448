//! A Dockerfile's text with its name, and how a piece of it is shown to a person.

use std::fmt::Write as _;

use crate::span::{Position, Span};

/// A named text, split into lines once.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
    /// Byte ranges of the lines, line ends not included.
    lines: Vec<(usize, usize)>,
    /// Lines that held bytes that are not UTF-8; they stand as U+FFFD in `text`.
    broken: Vec<u32>,
}

impl Source {
    /// Takes the bytes as they come; a byte order mark is dropped.
    pub fn new(name: impl Into<String>, bytes: &[u8]) -> Self {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut text = String::with_capacity(bytes.len());
        let mut lines = Vec::new();
        let mut broken = Vec::new();
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let start = text.len();
            let decoded = String::from_utf8_lossy(line);
            if matches!(decoded, std::borrow::Cow::Owned(_)) {
                broken.push(index as u32 + 1);
            }
            text.push_str(&decoded);
            lines.push((start, start + decoded.trim_end_matches(['\r', '\n']).len()));
        }
        Self { name: name.into(), text, lines, broken }
    }

    /// The name to show, `Dockerfile`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text, without byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line `number` (from 1) without its line end; empty behind the last.
    pub fn line(&self, number: u32) -> &str {
        let index = (number as usize).wrapping_sub(1);
        self.lines.get(index).map_or("", |(start, end)| &self.text[*start..*end])
    }

    /// Line `number` (from 1) with its line end.
    pub(crate) fn raw_line(&self, number: u32) -> &str {
        let index = (number as usize).wrapping_sub(1);
        let Some((start, _)) = self.lines.get(index) else { return "" };
        let end = self.lines.get(index + 1).map_or(self.text.len(), |(start, _)| *start);
        &self.text[*start..end]
    }

    /// How many lines there are; the empty one behind a final line end is not one.
    pub fn line_count(&self) -> u32 {
        self.lines.len() as u32
    }

    /// The first line of these that is not UTF-8.
    pub(crate) fn broken_line(&self, lines: std::ops::RangeInclusive<u32>) -> Option<u32> {
        self.broken.iter().copied().find(|line| lines.contains(line))
    }

    /// The place of byte `offset` of line `line`.
    pub(crate) fn position(&self, line: u32, offset: usize) -> Position {
        let text = self.line(line);
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Position { line, column: text[..end].chars().count() as u32 + 1 }
    }

    /// All of line `line`, leading and trailing blanks left out.
    pub(crate) fn line_span(&self, line: u32) -> Span {
        let text = self.line(line);
        let start = text.len() - text.trim_start().len();
        Span::new(self.position(line, start), self.position(line, text.trim_end().len()))
    }

    /// Where `needle` is written within the lines of `span`: for pointing at a word known by its text.
    pub fn find(&self, span: Span, needle: &str) -> Option<Span> {
        if needle.is_empty() || needle.contains('\n') {
            return None;
        }
        span.lines().find_map(|number| {
            let at = self.line(number).find(needle)?;
            let (start, end) =
                (self.position(number, at), self.position(number, at + needle.len()));
            Some(Span::new(start, end))
        })
    }

    /// Where `$name` or `${name` stands within the lines of `span`, and not as the start of a longer name.
    pub(crate) fn find_variable(&self, span: Span, name: &str) -> Option<Span> {
        let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        span.lines().find_map(|number| {
            let line = self.line(number);
            line.match_indices('$').find_map(|(at, _)| {
                let behind = line[at + 1..].strip_prefix('{').unwrap_or(&line[at + 1..]);
                let rest = behind.strip_prefix(name).filter(|rest| !goes_on(rest))?;
                let end = line.len() - rest.len();
                Some(Span::new(self.position(number, at), self.position(number, end)))
            })
        })
    }

    /// The lines of `span` with the ones around them, in the form BuildKit prints:
    ///
    /// ```text
    /// Dockerfile:3
    /// --------------------
    ///    2 |
    ///    3 | >>> RUNN true
    ///    4 |
    /// --------------------
    /// ```
    pub fn excerpt(&self, span: Span) -> String {
        self.excerpt_marked(span, None)
    }

    /// [`Source::excerpt`] with carets under `mark`.
    pub fn excerpt_marked(&self, span: Span, mark: Option<Span>) -> String {
        // Behind a final line end there is one more, empty line.
        let count = self.line_count() + u32::from(self.text.ends_with('\n'));
        let (first, last) = (*span.lines().start(), (*span.lines().end()).min(count));
        if first < 1 || first > count {
            return String::new();
        }
        let around = if first == last { 2 } else { 1 };
        let mut out = format!("{}:{first}\n--------------------\n", self.name);
        for number in first.saturating_sub(around).max(1)..=(last + around).min(count) {
            let sign = if (first..=last).contains(&number) { ">>>" } else { "   " };
            let _ = writeln!(out, " {number:3} | {sign} {}", self.line(number));
            if let Some(mark) = mark.filter(|mark| mark.start.line == number) {
                let _ = writeln!(out, "     |     {}", carets(self.line(number), mark));
            }
        }
        out.push_str("--------------------\n");
        out
    }
}

/// Blanks up to the mark's column, tabs kept so that it lines up, then carets to its end.
fn carets(line: &str, mark: Span) -> String {
    let start = mark.start.column.saturating_sub(1) as usize;
    let length = line.chars().count();
    let end = if mark.end.line == mark.start.line { mark.end.column as usize - 1 } else { length };
    let blanks = line.chars().take(start).map(|c| if c == '\t' { '\t' } else { ' ' });
    let carets = end.min(length).saturating_sub(start).max(1);
    blanks.chain(std::iter::repeat_n('^', carets)).collect()
}

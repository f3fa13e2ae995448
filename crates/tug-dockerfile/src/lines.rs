//! From physical lines to instructions: comments, continuations and parser directives.
//!
//! An instruction becomes one line of text; [`Logical`] remembers where each part of it was, so that
//! an error can point at the file.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::directive::{DirectiveReader, Line};
use crate::problem::Problem;
use crate::source::Source;
use crate::span::{Position, Span, Spanned};

/// One instruction's line with its continuations joined.
#[derive(Debug)]
pub(crate) struct Logical {
    /// The text; a continuation's leading blanks are part of it.
    pub(crate) text: String,
    /// Its first line.
    pub(crate) first: u32,
    /// Its last line, comments and empty lines between included.
    pub(crate) last: u32,
    /// The comment lines above it.
    pub(crate) comments: Vec<String>,
    /// Blank lines stand between its continuations.
    pub(crate) has_empty_line: bool,
    pieces: Vec<Piece>,
}

/// Text from `offset` on stands in line `line` from byte `column` on.
#[derive(Clone, Copy, Debug)]
struct Piece {
    offset: usize,
    line: u32,
    column: usize,
}

impl Logical {
    /// Where byte `offset` of the text stands in the file.
    fn position(&self, source: &Source, offset: usize) -> Position {
        let piece = self.pieces.iter().rev().find(|piece| piece.offset <= offset);
        match piece.or(self.pieces.first()) {
            Some(piece) => {
                source.position(piece.line, piece.column + offset.saturating_sub(piece.offset))
            }
            None => source.position(self.first, 0),
        }
    }

    /// Where a range of the text stands in the file.
    pub(crate) fn span(&self, source: &Source, range: &Range<usize>) -> Span {
        let start = self.position(source, range.start);
        // The end is taken from the last character: behind it may be the next line already.
        let last = self.text[..range.end].char_indices().next_back().map_or(0, |(at, _)| at);
        if range.is_empty() || last < range.start {
            return Span::new(start, start);
        }
        let mut end = self.position(source, last);
        end.column += 1;
        Span::new(start, end)
    }

    /// From the first character to the end of line `last`.
    pub(crate) fn whole(&self, source: &Source, last: u32) -> Span {
        let start = self.position(source, self.text.len() - self.text.trim_start().len());
        let end = if last > self.last {
            source.position(last, usize::MAX)
        } else {
            source.position(self.last, source.line(self.last).trim_end().len())
        };
        Span::new(start, end)
    }
}

/// Takes a file apart.
pub(crate) struct Reader {
    source: Arc<Source>,
    /// The line to read next.
    next: u32,
    /// The escape character in force.
    pub(crate) escape: char,
    /// `# escape=`
    pub(crate) escape_directive: Option<Spanned<String>>,
    directives: DirectiveReader,
    comments: Vec<String>,
}

impl Reader {
    pub(crate) fn new(source: &Arc<Source>) -> Self {
        Self {
            source: source.clone(),
            next: 1,
            escape: '\\',
            escape_directive: None,
            directives: DirectiveReader::default(),
            comments: Vec::new(),
        }
    }

    /// The next instruction, none at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Logical>, Diagnostic> {
        while self.next <= self.source.line_count() {
            let number = self.next;
            self.next += 1;
            let source = self.source.clone();
            let line = source.line(number).trim_start();
            if self.directive(number, line)? {
                continue;
            }
            if let Some(comment) = line.strip_prefix('#') {
                match comment.trim() {
                    "" => self.comments.clear(),
                    text => self.comments.push(text.to_owned()),
                }
                continue;
            }
            if !line.is_empty() {
                return Ok(Some(self.joined(&source, number)));
            }
        }
        Ok(None)
    }

    /// The raw line to read next, with its line end: for the content of here-documents.
    pub(crate) fn raw(&mut self) -> Option<(u32, String)> {
        let number = self.next;
        if number > self.source.line_count() {
            return None;
        }
        self.next += 1;
        Some((number, self.source.raw_line(number).to_owned()))
    }

    /// The line read last.
    pub(crate) fn last(&self) -> u32 {
        self.next - 1
    }

    fn directive(&mut self, number: u32, line: &str) -> Result<bool, Diagnostic> {
        let span = self.source.line_span(number);
        let fail = |problem| Err(Diagnostic::parse(problem, &self.source, span).at(Some(span)));
        match self.directives.read(line, "#") {
            Line::Other => Ok(false),
            Line::Repeated(name) => fail(Problem::DirectiveTwice { name: name.to_owned() }),
            Line::Directive { name: "escape", value } => {
                self.escape = match value.as_str() {
                    "\\" => '\\',
                    "`" => '`',
                    _ => return fail(Problem::EscapeToken { token: value }),
                };
                self.escape_directive = Some(Spanned::new(value, span));
                Ok(true)
            }
            Line::Directive { .. } => Ok(true),
        }
    }

    /// The instruction that starts on line `first`.
    fn joined(&mut self, source: &Source, first: u32) -> Logical {
        let line = source.line(first);
        let mut logical = Logical {
            text: String::new(),
            first,
            last: first,
            comments: std::mem::take(&mut self.comments),
            has_empty_line: false,
            pieces: Vec::new(),
        };
        let mut more =
            append(&mut logical, first, line.len() - line.trim_start().len(), line, self.escape);
        while more && self.next <= source.line_count() {
            let number = self.next;
            self.next += 1;
            logical.last = number;
            let line = source.line(number);
            let trimmed = line.trim_start();
            if trimmed.is_empty() {
                logical.has_empty_line = true;
            } else if !trimmed.starts_with('#') {
                more = append(&mut logical, number, 0, line, self.escape);
            }
        }
        logical
    }
}

/// Adds `line` from byte `column` on; says whether the instruction goes on in the next line.
fn append(logical: &mut Logical, number: u32, column: usize, line: &str, escape: char) -> bool {
    let body = &line[column..];
    let continued = continued(body, escape);
    logical.pieces.push(Piece { offset: logical.text.len(), line: number, column });
    logical.text.push_str(continued.unwrap_or(body));
    continued.is_some()
}

/// What stands before a continuation mark at the end of `line`: the escape character with nothing but
/// blanks behind it, unless it is itself escaped.
fn continued(line: &str, escape: char) -> Option<&str> {
    let before = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!before.ends_with(escape)).then_some(before)
}

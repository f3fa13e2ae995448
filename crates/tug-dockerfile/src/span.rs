//! Where a piece of a Dockerfile is: lines and columns as a person counts them.

use serde::Serialize;

/// One place in a source text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1. A leading byte order mark is not counted.
    pub column: u32,
}

/// A stretch of a source text; `end` is the place just behind its last character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Span {
    /// Its first character.
    pub start: Position,
    /// Just behind its last character.
    pub end: Position,
}

impl Span {
    /// From `start` up to, not including, `end`.
    pub fn new(start: Position, end: Position) -> Self {
        Self { start, end: end.max(start) }
    }

    /// The line it starts on.
    pub fn line(&self) -> u32 {
        self.start.line
    }

    /// The lines it covers.
    pub fn lines(&self) -> std::ops::RangeInclusive<u32> {
        self.start.line..=self.end.line.max(self.start.line)
    }
}

/// A value and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value, with quoting as far undone as the field that holds it says.
    pub value: T,
    /// Where it is written.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// `value` written at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

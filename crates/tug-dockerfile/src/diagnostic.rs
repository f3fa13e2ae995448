//! One error of a Dockerfile: what is wrong, where, and what to do about it.

use std::fmt;
use std::sync::Arc;

use tug_types::{Explain, Kind};

use crate::problem::Problem;
use crate::source::Source;
use crate::span::Span;

/// An error in a Dockerfile. `Display` is the one line BuildKit's users know;
/// [`Diagnostic::excerpt`] shows the place.
#[derive(Clone, Debug)]
pub struct Diagnostic(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    problem: Problem,
    stage: Phase,
    source: Arc<Source>,
    span: Span,
    mark: Option<Span>,
}

/// When it was noticed: decides the message's first words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Parse,
    Evaluate,
}

impl Diagnostic {
    /// Noticed while parsing.
    pub(crate) fn parse(problem: Problem, source: &Arc<Source>, span: Span) -> Self {
        Self::new(problem, Phase::Parse, source, span)
    }

    /// Noticed while an instruction was evaluated.
    pub fn evaluate(problem: Problem, source: &Arc<Source>, span: Span) -> Self {
        Self::new(problem, Phase::Evaluate, source, span)
    }

    fn new(problem: Problem, stage: Phase, source: &Arc<Source>, span: Span) -> Self {
        Self(Box::new(Inner { problem, stage, source: source.clone(), span, mark: None }))
    }

    /// The same, pointing at `mark`.
    #[must_use]
    pub fn at(mut self, mark: Option<Span>) -> Self {
        self.0.mark = mark.or(self.0.mark);
        self
    }

    /// What is wrong.
    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }

    /// The text it is in.
    pub fn source_text(&self) -> &Arc<Source> {
        &self.0.source
    }

    /// The instruction.
    pub fn span(&self) -> Span {
        self.0.span
    }

    /// The offending part of it, where that is known.
    pub fn mark(&self) -> Option<Span> {
        self.0.mark
    }

    /// The line to name: the instruction's first, 0 when no instruction is to blame.
    pub fn line(&self) -> u32 {
        self.0.span.line()
    }

    /// The lines concerned, BuildKit's way, with carets under the offending part.
    pub fn excerpt(&self) -> String {
        self.0.source.excerpt_marked(self.0.span, self.0.mark)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.stage == Phase::Parse && self.0.span.line() > 0 {
            write!(f, "dockerfile parse error on line {}: ", self.0.span.line())?;
        }
        write!(f, "{}", self.0.problem)
    }
}

impl std::error::Error for Diagnostic {}

impl Explain for Diagnostic {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }

    fn hint(&self) -> Option<String> {
        self.0.problem.hint()
    }
}

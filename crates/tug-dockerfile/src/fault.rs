//! A problem within one instruction's line, before its place in the file is worked out.

use std::ops::Range;

use crate::problem::Problem;

/// A problem and the bytes of the line that are to blame.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) problem: Problem,
    pub(crate) at: Option<Range<usize>>,
}

impl Fault {
    pub(crate) fn at(problem: impl Into<Problem>, range: Range<usize>) -> Self {
        Self { problem: problem.into(), at: Some(range) }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self { problem, at: None }
    }
}

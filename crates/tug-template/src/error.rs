//! Flaws of templates and failures of filling them in, in Go's words.

use std::fmt;

/// A template that cannot be read or filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is not a template.
    Parse {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// It is a template, but not one of this value.
    Execute {
        /// Of the node, counted from 1.
        line: usize,
        /// Bytes of the line before the node.
        column: usize,
        /// The name of the template the node is in: empty but for those made by `define`.
        template: String,
        /// The node as it was written.
        node: String,
        /// What is wrong.
        message: String,
        /// The field that is not there, where that is what is wrong.
        missing: Option<String>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse { line, message } => write!(f, "template: :{line}: {message}"),
            Self::Execute { line, column, template, node, message, .. } => {
                let template = crate::quote(template);
                write!(f, "template: :{line}:{column}: executing {template} at <{node}>: {message}")
            }
        }
    }
}

impl std::error::Error for Error {}

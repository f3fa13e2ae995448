//! What can be wrong with a word that is to be expanded.

use crate::shell_pattern::PatternError;

/// A word that cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {word:?}: {problem}")]
pub struct ExpandError {
    /// The whole word as written.
    pub word: String,
    /// What is wrong with it.
    pub problem: ExpandProblem,
}

/// What is wrong with a word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandProblem {
    /// `'abc`
    #[error("unexpected end of statement while looking for matching single-quote")]
    SingleQuote,
    /// `"abc`
    #[error("unexpected end of statement while looking for matching double-quote")]
    DoubleQuote,
    /// `${abc`
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    /// `${abc/def`
    #[error("syntax error: missing '/' in ${{}}")]
    MissingSlash,
    /// `${}`
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// `${abc!}`
    #[error("unsupported modifier ({modifier}) in substitution")]
    Modifier {
        /// One or two characters.
        modifier: String,
    },
    /// `${abc?message}`
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// What the Dockerfile says, or the usual sentence.
        message: String,
    },
    /// A pattern that is none.
    #[error("invalid pattern ({pattern}) in substitution: {error}")]
    Pattern {
        /// As written.
        pattern: String,
        /// What is wrong with it.
        error: PatternError,
    },
    /// Too many `${…}` in one another.
    #[error("substitutions are nested too deep")]
    TooDeep,
}

//! Why a repository cannot be had.

use std::path::PathBuf;
use tug_types::{Explain, Kind};

/// A failed fetch.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum Error {
    #[error("talk to the repository")]
    Talk { source: std::io::Error },
    #[error("the repository answers: {message}")]
    Refused { message: String },
    #[error("the server does not speak version 2 of git's protocol")]
    OldProtocol,
    #[error("the repository's objects are named by {format}; tug reads sha1 alone")]
    ObjectFormat { format: String },
    #[error("the repository has no {name}")]
    NoRef { name: String },
    #[error("the answer is broken: {what}")]
    Answer { what: &'static str },
    #[error("the pack is broken: {what}")]
    Pack { what: &'static str },
    #[error("object {id} is missing in what the server sent")]
    Missing { id: String },
    #[error("object {id} is broken: {what}")]
    Object { id: String, what: &'static str },
    #[error("{path:?} is no directory of the repository")]
    NoDirectory { path: String },
    #[error("the repository has a file called {name:?}, which may not be written")]
    Name { name: String },
    #[error("{action} {path}")]
    Files { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{address:?}: {why}")]
    Address { address: String, why: &'static str },
}

impl Error {
    pub(crate) fn talk(source: std::io::Error) -> Self {
        Self::Talk { source }
    }
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Talk { .. } | Self::Refused { .. } => Kind::Unavailable,
            Self::NoRef { .. } | Self::NoDirectory { .. } => Kind::NotFound,
            Self::Files { .. } => Kind::Internal,
            _ => Kind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoRef { .. } => {
                Some("name a branch, a tag, or all 40 digits of a commit".to_owned())
            }
            Self::Address { .. } => Some("HTTPS takes the same repository".to_owned()),
            _ => None,
        }
    }
}

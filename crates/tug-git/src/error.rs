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
    #[error("the server answers {code} {reason}")]
    Status { code: u16, reason: &'static str },
    #[error("the server does not speak git's protocol")]
    NoGit,
    #[error("the server does not hand out commit {commit}, which none of its refs names")]
    Unadvertised { commit: String },
    #[error("invalid checksum {checksum} for Git URL, expected hex commit hash")]
    NoChecksum { checksum: String },
    #[error("expected checksum to match {expected}, got {actual}")]
    Checksum { expected: String, actual: String },
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
    #[error("{problem}")]
    Address { problem: Query },
}

/// What is wrong with an address.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum Query {
    #[error("only https, http, ssh and git:// lead to repositories")]
    Scheme,
    #[error("it names no host, no port or no path that ssh could ask for")]
    Ssh,
    #[error("what follows a % in it is not written in two hexadecimal digits")]
    Escape,
    #[error("invalid git ref")]
    Ref,
    #[error("query {name:?} has no value")]
    Empty { name: String },
    #[error("query {name:?} has multiple values")]
    Twice { name: String },
    #[error("unexpected query {name:?}")]
    Unknown { name: String },
    #[error("invalid {name} value: {value:?}")]
    Switch { name: String, value: String },
    #[error("mtime={value} is not supported by tug: files are as old as their commit")]
    Times { value: String },
    #[error("ref conflicts: {one:?} vs {other:?}")]
    Refs { one: String, other: String },
    #[error("subdir conflicts: {one:?} vs {other:?}")]
    Subdir { one: String, other: String },
    #[error("branch conflicts with tag")]
    BranchAndTag,
    #[error("fetch-by-commit requires all 40 digits of the commit as its checksum")]
    ByCommit,
}

impl Error {
    pub(crate) fn talk(source: std::io::Error) -> Self {
        Self::Talk { source }
    }
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Talk { .. } | Self::Refused { .. } | Self::NoGit | Self::Status { .. } => {
                Kind::Unavailable
            }
            Self::NoRef { .. } | Self::NoDirectory { .. } | Self::Unadvertised { .. } => {
                Kind::NotFound
            }
            Self::Files { .. } => Kind::Internal,
            _ => Kind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoRef { .. } => {
                Some("name a branch, a tag, or all 40 digits of a commit".to_owned())
            }
            Self::Status { code: 401 | 403 | 404, .. } => Some(
                "a private repository opens with --secret id=GIT_AUTH_TOKEN,env=VARIABLE".to_owned(),
            ),
            Self::NoGit => Some(
                "files alone are not enough: the server has to run git (`git http-backend`, a forge)"
                    .to_owned(),
            ),
            Self::Address { problem: Query::Times { .. } } => Some("leave it out".to_owned()),
            _ => None,
        }
    }
}

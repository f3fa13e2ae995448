//! What can be wrong with an archive, a tree or a skeleton.

use std::fmt;
use std::io;
use tug_types::{Explain, Kind};

/// The name of an archive entry or of a file below a root: bytes, not text. Shown with everything
/// that could confuse a terminal escaped.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EntryName(pub Vec<u8>);

impl EntryName {
    /// Takes the name as the archive spells it.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names are an attacker's choice: a megabyte of it helps nobody.
        const SHOWN: usize = 200;
        let shown = &self.0[..self.0.len().min(SHOWN)];
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if self.0.len() > SHOWN {
            write!(f, "... ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A failed archive operation.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum Error {
    #[error("read the archive")]
    Read { source: io::Error },
    #[error("start the {name} decompressor")]
    StartDecoder { name: &'static str, source: io::Error },

    #[error("the archive ends in the middle of {entry}")]
    TruncatedEntry { entry: EntryName },
    #[error("the archive ends in the middle of the header at byte {offset}")]
    TruncatedHeader { offset: u64 },
    #[error("the header at byte {offset} is not a tar header: its checksum does not match")]
    Checksum { offset: u64 },
    #[error("the header of {entry} has an unreadable {field}")]
    HeaderField { entry: EntryName, field: &'static str },
    #[error("the extended header at byte {offset} is {size} bytes long; the limit is {limit}")]
    HeaderTooLarge { offset: u64, size: u64, limit: u64 },
    #[error("the extended header at byte {offset} is not a list of PAX records")]
    PaxRecord { offset: u64 },
    #[error("the sparse map of {entry} is not valid")]
    SparseMap { entry: EntryName },
    #[error("{entry} is of type {kind:?}, which is not supported")]
    UnknownType { entry: EntryName, kind: char },
    #[error("the archive has more than {limit} entries; stopped at {entry}")]
    TooManyEntries { entry: EntryName, limit: u64 },
    #[error("the archive is larger than {limit} bytes; stopped at {entry}")]
    TooLarge { entry: EntryName, limit: u64 },

    #[error("{entry} would be outside the root directory")]
    Escapes { entry: EntryName },
    #[error("{entry} is a hard link to {target}, which would be outside the root directory")]
    LinkEscapes { entry: EntryName, target: EntryName },
    #[error("{entry} is a hard link to {target}, which cannot be linked to")]
    LinkTarget { entry: EntryName, target: EntryName, source: io::Error },
    #[error("{entry} marks something as deleted without naming it")]
    EmptyWhiteout { entry: EntryName },
    #[error("{entry} has an empty link target")]
    EmptyLink { entry: EntryName },
    #[error("{entry} lies below {parent}, which is not a directory")]
    NotADirectory { entry: EntryName, parent: EntryName },
    #[error("{entry} lies behind too many symbolic links")]
    SymlinkLoop { entry: EntryName },
    #[error("{entry} would replace the root directory itself")]
    ReplacesRoot { entry: EntryName },
    #[error("{action} {entry}")]
    Unpack { action: &'static str, entry: EntryName, source: io::Error },

    #[error("write the skeleton")]
    WriteSkeleton { source: io::Error },
    #[error("read the skeleton")]
    ReadSkeleton { source: io::Error },
    #[error("the skeleton is of version {found}; this tug knows version {known}")]
    SkeletonVersion { found: u8, known: u8 },
    #[error("the skeleton is damaged: {what}")]
    SkeletonDamaged { what: &'static str },
    #[error("read {file} of the tree")]
    Body { file: EntryName, source: io::Error },
    #[error("{file} of the tree is shorter than the archive had it")]
    BodyTooShort { file: EntryName },

    #[error("{action} {file}")]
    Pack { action: &'static str, file: EntryName, source: io::Error },
    #[error("write the archive")]
    Write { source: io::Error },
    #[error("{file} has a name that layers reserve for marking deletions")]
    ReservedName { file: EntryName },
    #[error("{file} only refers to another layer's file ({attribute})")]
    Redirected { file: EntryName, attribute: &'static str },
    #[error("{file} changed while it was read")]
    Changed { file: EntryName },

    #[error("copy {file}: {action}")]
    Copy { action: &'static str, file: EntryName, source: io::Error },
}

impl Error {
    /// The failure of the stream the archive came from, when that is what went wrong: callers that
    /// feed a download want to tell a broken connection from a broken archive.
    pub fn stream_error(&self) -> Option<&io::Error> {
        match self {
            Self::Read { source } => Some(source),
            _ => None,
        }
    }
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. }
            | Self::StartDecoder { .. }
            | Self::WriteSkeleton { .. }
            | Self::ReadSkeleton { .. }
            | Self::SkeletonVersion { .. }
            | Self::SkeletonDamaged { .. }
            | Self::Body { .. }
            | Self::BodyTooShort { .. }
            | Self::Pack { .. }
            | Self::Write { .. }
            | Self::Redirected { .. }
            | Self::Changed { .. }
            | Self::Copy { .. } => Kind::Internal,
            Self::Unpack { source, .. } => match source.raw_os_error() {
                Some(code) if code == NO_SPACE || code == QUOTA => Kind::Unavailable,
                _ => Kind::Internal,
            },
            _ => Kind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unpack { source, .. } if source.raw_os_error() == Some(NO_SPACE) => {
                Some("make room, for example with `tug system prune`".to_owned())
            }
            Self::SkeletonDamaged { .. } | Self::BodyTooShort { .. } | Self::Body { .. } => {
                Some("remove the image and pull it again".to_owned())
            }
            _ => None,
        }
    }
}

const NO_SPACE: i32 = rustix::io::Errno::NOSPC.raw_os_error();
const QUOTA: i32 = rustix::io::Errno::DQUOT.raw_os_error();

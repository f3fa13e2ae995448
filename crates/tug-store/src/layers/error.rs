//! What can go wrong with a layer.

use crate::lease::{self, LeaseError};
use std::io;
use std::path::PathBuf;
use tug_types::{DiffId, Explain, Kind};

/// A failed operation on a layer.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum LayerError {
    #[error("no such layer: {layer}")]
    NotFound { layer: DiffId },
    #[error("unpack the layer")]
    Unpack { source: tug_archive::Error },
    /// The stream itself failed: what it was reading from says why.
    #[error("read the layer")]
    Read { source: io::Error },
    #[error("the uncompressed layer should have the digest {expected} but has {actual}")]
    WrongDigest { expected: DiffId, actual: DiffId },
    #[error("make a layer of {path}")]
    Adopt { path: PathBuf, source: io::Error },
    #[error("make a layer")]
    Pack { source: tug_archive::Error },
    #[error("write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("put the layer {layer} in place")]
    Commit { layer: DiffId, source: io::Error },
    #[error("read the record of the layer {layer}")]
    Info { layer: DiffId, source: io::Error },
    #[error("take the layer {layer} out of its place")]
    Detach { layer: DiffId, source: io::Error },
    #[error("check the layer {layer}")]
    Assemble { layer: DiffId, source: tug_archive::Error },
    #[error("check the layer {layer}")]
    Verify { layer: DiffId, source: io::Error },
    #[error("the layer {layer} is damaged: its files make {actual}")]
    Damaged { layer: DiffId, actual: DiffId },
    #[error("sync the file system of {path}")]
    Sync { path: PathBuf, source: io::Error },
    #[error("start a thread for unpacking")]
    Thread { source: io::Error },
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

impl Explain for LayerError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } => Kind::NotFound,
            Self::Unpack { source } | Self::Pack { source } => source.kind(),
            Self::Read { .. } => Kind::Unavailable,
            Self::WrongDigest { .. } => Kind::Invalid,
            Self::Write { source, .. } | Self::Commit { source, .. } => lease::kind_of(source),
            Self::Lease(error) => error.kind(),
            _ => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unpack { source } | Self::Pack { source } => source.hint(),
            Self::Write { source, .. } | Self::Commit { source, .. } => lease::hint_of(source),
            Self::Damaged { .. } | Self::Assemble { .. } => {
                Some("remove the image and pull it again".to_owned())
            }
            Self::Lease(error) => error.hint(),
            _ => None,
        }
    }
}

//! What can go wrong in the store.

use crate::{BlobError, LayerError, LeaseError};
use std::path::PathBuf;
use tug_types::{Explain, Kind};

/// A failed store operation.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum Error {
    #[error("create {path}")]
    CreateDirectory { path: PathBuf, source: std::io::Error },
    #[error("remove {path}")]
    Remove { path: PathBuf, source: std::io::Error },
    #[error("open the database {path}")]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("the database was closed while in use")]
    NotOpen,
    #[error("the database {path} is of version {found}; this tug knows versions up to {known}")]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("database")]
    Database(#[from] rusqlite::Error),
    #[error("the record of {what} in the database cannot be read")]
    Record { what: String, source: serde_json::Error },
    #[error("the id of {what} in the database cannot be read")]
    Identifier { what: String },
    #[error("the container name \"/{name}\" is already in use by container \"{by}\"")]
    NameTaken { name: String, by: String },
    #[error("no addresses left in {network}")]
    NoAddress { network: String },
    #[error("the volume {name} is in use by {}", by.join(", "))]
    VolumeInUse { name: String, by: Vec<String> },
    #[error("no such volume: {name}")]
    NoVolume { name: String },
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NameTaken { .. } | Self::VolumeInUse { .. } => Kind::Conflict,
            Self::NoVolume { .. } => Kind::NotFound,
            Self::NoAddress { .. } => Kind::Unavailable,
            Self::Database(source) if is_full(source) => Kind::Unavailable,
            Self::Layer(error) => error.kind(),
            Self::Blob(error) => error.kind(),
            Self::Lease(error) => error.kind(),
            _ => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NameTaken { name, .. } => Some(format!(
                "remove it with `tug rm {name}`, rename it with `tug rename {name} NEW`, or use another --name"
            )),
            Self::VolumeInUse { by, .. } => {
                Some(format!("remove the containers first: `tug rm {}`", by.join(" ")))
            }
            Self::Newer { .. } => Some("use the newer tug that wrote it".to_owned()),
            Self::Database(source) if is_full(source) => Some(
                "make room on the file system of the data root: `tug image prune`, `tug rm`"
                    .to_owned(),
            ),
            Self::Layer(error) => error.hint(),
            Self::Blob(error) => error.hint(),
            Self::Lease(error) => error.hint(),
            _ => None,
        }
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}

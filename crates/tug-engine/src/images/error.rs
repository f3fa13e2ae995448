//! What can be wrong with an archive handed to `load`, or with a change handed to `import`.

use tug_registry::{ManifestError, PlatformError};
use tug_types::{Digest, Explain, Kind, ReferenceError};

/// Why no image came out of an archive or a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error("read the archive")]
    Archive { source: std::io::Error },
    #[error("read the archive")]
    Compression { source: tug_archive::Error },
    #[error("archive member {name:?} would be outside the archive")]
    Escapes { name: String },
    #[error("archive member {name:?} is a link to {target:?}, which would be outside the archive")]
    LinkEscapes { name: String, target: String },
    #[error("archive member {name:?} is {kind}; image archives hold files and directories only")]
    MemberKind { name: String, kind: String },
    #[error("the archive has more than {limit} members")]
    TooManyMembers { limit: usize },
    #[error(
        "archive member {name:?} has {size} bytes, which makes the archive larger than the disk"
    )]
    MemberTooLarge { name: String, size: u64 },
    #[error("the archive holds more than {limit} bytes of manifests and configurations")]
    TooMuchMetadata { limit: u64 },
    #[error(
        "the archive holds no image: it has neither manifest.json nor index.json nor repositories"
    )]
    NoImage,
    #[error("archive member {name:?} cannot be read as JSON")]
    Json { name: String, source: serde_json::Error },
    #[error("{by} names {name:?}, which the archive does not hold")]
    Missing { by: String, name: String },
    #[error("{by} names {name:?} as a layer, but that is no layer")]
    NotALayer { by: String, name: String },
    #[error("archive member {name:?} does not match its digest: it has {actual}")]
    WrongDigest { name: String, actual: Digest },
    #[error("archive member {name:?}")]
    Layer { name: String, source: tug_store::LayerError },
    #[error("image {id}: it has {layers} layers, its configuration {diff_ids}")]
    LayerCount { id: Digest, layers: usize, diff_ids: usize },
    #[error("image {id}: layer {name:?} should have the digest {expected} but has {actual}")]
    WrongLayer { id: Digest, name: String, expected: Digest, actual: Digest },
    #[error("{name} is not an image")]
    Manifest { name: String, source: ManifestError },
    #[error("{name} is not a container image but an artifact of type {kind}")]
    Artifact { name: String, kind: String },
    #[error("{by} holds an invalid image name")]
    Reference { by: String, source: ReferenceError },
    #[error("no matching manifest for {wanted} in {name}: it has {}", available.join(", "))]
    NoPlatform { name: String, wanted: String, available: Vec<String> },
    #[error("image {id} does not match the specified platform: wanted {wanted}, actual: {actual}")]
    WrongPlatform { id: Digest, wanted: String, actual: String },
    #[error(
        "image {name} was found but does not provide the specified platform ({wanted}): what is here is for {actual}"
    )]
    OtherPlatform { name: String, wanted: String, actual: String },
    #[error("{name} cannot be made from the files of its layer")]
    Unreadable { name: String, source: std::io::Error },
    #[error("{what} {digest} came from no registry, so it cannot be fetched again")]
    NoSource { what: &'static str, digest: Digest },
    #[error("--platform")]
    Platform { source: PlatformError },
    #[error("{instruction} is not a valid change command")]
    UnknownChange { instruction: String },
    #[error("change {change:?}: {why}")]
    BadChange { change: String, why: String },
    #[error("the new image's configuration cannot be written")]
    Write { source: serde_json::Error },
}

impl Explain for ImageError {
    fn kind(&self) -> Kind {
        match self {
            Self::Archive { .. } => Kind::Unavailable,
            Self::Write { .. } => Kind::Internal,
            Self::Compression { source } => source.kind(),
            Self::Layer { source, .. } => source.kind(),
            Self::NoPlatform { .. } | Self::WrongPlatform { .. } | Self::OtherPlatform { .. } => {
                Kind::NotFound
            }
            Self::NoSource { .. } | Self::Unreadable { .. } => Kind::Internal,
            _ => Kind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Compression { source } => source.hint(),
            Self::Layer { source, .. } => source.hint(),
            Self::NoImage => {
                Some("`tug import` makes an image of a bare root filesystem".to_owned())
            }
            Self::NoPlatform { available, .. } => {
                available.first().map(|first| format!("choose one with --platform {first}"))
            }
            Self::OtherPlatform { name, wanted, .. } => {
                Some(format!("`tug pull --platform {wanted} {name}` fetches it"))
            }
            Self::Unreadable { .. } => Some("`tug system check` looks for damage".to_owned()),
            Self::UnknownChange { .. } => Some(format!("use one of {}", super::changes::KNOWN)),
            _ => None,
        }
    }
}

impl From<ImageError> for crate::Error {
    fn from(error: ImageError) -> Self {
        Self::from_explain(&error)
    }
}

//! What can go wrong in a use case. Failures of the crates below pass through with their own words.

use std::path::PathBuf;
use tug_types::{Explain, Failure, Kind};

/// A failed use case.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum Error {
    #[error("No such container: {name}")]
    NoContainer { name: String },
    #[error("multiple containers match the id prefix {prefix:?}: {}", candidates.join(", "))]
    AmbiguousContainer { prefix: String, candidates: Vec<String> },
    #[error("No such image: {name}")]
    NoImage { name: String },
    #[error("An image does not exist locally with the tag: {name}")]
    NotToPush { name: String },
    #[error("multiple images match the id prefix {prefix:?}: {}", candidates.join(", "))]
    AmbiguousImage { prefix: String, candidates: Vec<String> },
    #[error("get {name}: no such volume")]
    NoVolume { name: String },
    #[error("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    BadName { name: String },
    #[error(
        "{name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed"
    )]
    BadVolumeName { name: String },
    #[error("cannot rename {name}: that is its name already")]
    SameName { name: String },
    #[error("no command specified: image {image} has neither ENTRYPOINT nor CMD")]
    NoCommand { image: String },
    #[error("invalid {what}: {value:?}: {why}")]
    BadValue { what: &'static str, value: String, why: String },
    #[error("{flag} is not supported by tug")]
    Unsupported { flag: String, hint: Option<String> },
    #[error("invalid mount config for {destination}: {why}")]
    BadMount { destination: String, why: String },
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {path}")]
    NoBindSource { path: PathBuf },
    #[error("path {source_path} is mounted on {mount_point} but it is not {kind} mount")]
    NotPropagating { source_path: PathBuf, mount_point: String, kind: &'static str },
    #[error("Duplicate mount point: {destination}")]
    DuplicateMount { destination: String },
    #[error("container {name} is not running")]
    NotRunning { name: String },
    #[error("You cannot attach to a stopped container, start it first")]
    AttachStopped { name: String },
    #[error(
        "cannot remove container \"{name}\": container is running: stop the container before removing or force remove"
    )]
    StillRunning { name: String },
    #[error("container {name} is being changed by another command")]
    Busy { name: String },
    #[error("cannot join network namespace of container {name}: it is not running")]
    JoinStopped { name: String },
    #[error(
        "conflict: unable to remove repository reference {reference:?} (must force) - container {container} is using its referenced image {image}"
    )]
    ImageInUse { reference: String, container: String, image: String },
    #[error(
        "conflict: unable to delete {image} (cannot be forced) - image is being used by running container {container}"
    )]
    ImageRunning { image: String, container: String },
    #[error(
        "conflict: unable to delete {image} (must be forced) - image is being used by stopped container {container}"
    )]
    ImageUsed { image: String, container: String },
    #[error(
        "conflict: unable to delete {image} (must be forced) - image is referenced in multiple repositories"
    )]
    ImageShared { image: String },
    #[error(
        "image with reference {name} was found but does not provide the specified platform ({platform})"
    )]
    NoPlatform { name: String, platform: String, here: Vec<String> },
    #[error("image {image} is damaged: {what}")]
    DamagedImage { image: String, what: String },
    #[error("{what} {path}")]
    Files { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{what}")]
    System { what: &'static str, source: std::io::Error },
    #[error("the record of container {id} cannot be read")]
    Record { id: String, source: serde_json::Error },
    #[error(transparent)]
    Store(#[from] tug_store::Error),
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Error {
    /// A file operation that failed.
    pub(crate) fn files(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Files { what, path, source }
    }

    /// A library's failure with all its causes.
    pub(crate) fn from_explain(error: &dyn Explain) -> Self {
        Self::Failed(error.failure())
    }
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NoContainer { .. }
            | Self::NoImage { .. }
            | Self::NotToPush { .. }
            | Self::NoVolume { .. }
            | Self::NoPlatform { .. } => Kind::NotFound,
            Self::AmbiguousContainer { .. }
            | Self::AmbiguousImage { .. }
            | Self::BadName { .. }
            | Self::BadVolumeName { .. }
            | Self::NoCommand { .. }
            | Self::BadValue { .. }
            | Self::Unsupported { .. }
            | Self::BadMount { .. }
            | Self::NoBindSource { .. }
            | Self::NotPropagating { .. }
            | Self::DuplicateMount { .. } => Kind::Invalid,
            Self::NotRunning { .. }
            | Self::AttachStopped { .. }
            | Self::StillRunning { .. }
            | Self::SameName { .. }
            | Self::Busy { .. }
            | Self::JoinStopped { .. }
            | Self::ImageInUse { .. }
            | Self::ImageRunning { .. }
            | Self::ImageUsed { .. }
            | Self::ImageShared { .. } => Kind::Conflict,
            Self::DamagedImage { .. }
            | Self::Files { .. }
            | Self::System { .. }
            | Self::Record { .. } => Kind::Internal,
            Self::Store(error) => error.kind(),
            Self::Failed(failure) => failure.kind,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoContainer { .. } => Some("`tug ps -a` lists all containers".to_owned()),
            Self::NoImage { name } => {
                Some(format!("`tug images` lists local images; `tug pull {name}` fetches it"))
            }
            Self::BadVolumeName { name } if name.contains('/') => {
                Some("for a folder of the host, write its absolute path".to_owned())
            }
            Self::NoVolume { .. } => Some("`tug volume ls` lists all volumes".to_owned()),
            Self::AmbiguousContainer { .. } | Self::AmbiguousImage { .. } => {
                Some("give more digits of the id".to_owned())
            }
            Self::NoCommand { image } => {
                Some(format!("name a command after the image: `tug run {image} COMMAND`"))
            }
            Self::NotRunning { name }
            | Self::AttachStopped { name }
            | Self::JoinStopped { name } => Some(format!("start it with `tug start {name}`")),
            Self::StillRunning { name } => {
                Some(format!("`tug stop {name}` first, or `tug rm -f {name}`"))
            }
            Self::NotPropagating { mount_point, .. } => Some(format!(
                "make it one: `mount --make-rshared {mount_point}`, or leave the propagation out"
            )),
            Self::NoBindSource { path } => {
                Some(format!("create it: `mkdir -p {}`", path.display()))
            }
            Self::ImageInUse { container, .. } | Self::ImageUsed { container, .. } => {
                Some(format!("remove the container first: `tug rm {container}`"))
            }
            Self::ImageRunning { container, .. } => {
                Some(format!("stop and remove the container first: `tug rm -f {container}`"))
            }
            Self::NoPlatform { name, platform, here } => Some(format!(
                "here are: {}; `tug pull --platform {platform} {name}` fetches it",
                here.join(", ")
            )),
            Self::DamagedImage { image, .. } => Some(format!("pull it again: `tug pull {image}`")),
            Self::Unsupported { hint, .. } => hint.clone(),
            Self::Store(error) => error.hint(),
            Self::Failed(failure) => failure.hint.clone(),
            _ => None,
        }
    }
}

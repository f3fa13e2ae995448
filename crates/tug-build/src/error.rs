//! Why a build failed.

use crate::execute::git::SshError;
use crate::files::copy::CopyError;
use crate::files::owner::OwnerError;
use crate::files::tree::TreeError;
use std::path::PathBuf;
use std::sync::Arc;
use tug_dockerfile::{Diagnostic, Source, Span};
use tug_types::{Explain, Kind};

/// A failed build.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum BuildError {
    #[error("failed to read dockerfile: open {path}")]
    ReadDockerfile { path: PathBuf, source: std::io::Error },
    #[error("read {path}")]
    ReadIgnore { path: PathBuf, source: std::io::Error },
    #[error("{path}")]
    Ignore { path: PathBuf, source: tug_dockerfile::IgnoreError },
    #[error("unable to prepare context: path {path:?} not found")]
    NoContext { path: PathBuf },
    #[error("unable to prepare context: open {path:?}")]
    OpenContext { path: PathBuf, source: std::io::Error },
    #[error("{}", one_line(.0))]
    Dockerfile(Box<Diagnostic>),
    #[error("target stage {name:?} could not be found{}", did_you_mean(.close))]
    NoTarget { name: String, names: Vec<String>, close: Option<String> },
    #[error("the Dockerfile has no stage to build")]
    NoStage,
    #[error("invalid SOURCE_DATE_EPOCH: {value}")]
    Epoch { value: String },
    #[error("stage {name:?} needs to be defined before it is used")]
    LaterStage { name: String },
    #[error("git repository {url}")]
    Git { url: String, source: Box<tug_git::Error> },
    #[error("git repository {url}")]
    Ssh { url: String, source: Box<SshError> },
    #[error("git repository {url}: the address and the instruction disagree about {what}")]
    GitTwice { url: String, what: &'static str },
    #[error("git repository {url}: the submodule {path} {why}")]
    Submodule { url: String, path: String, why: &'static str },
    #[error("source can't be a URL for COPY: {url}")]
    CopyUrl { url: String },
    #[error("checksum requires HTTP(S) or Git sources")]
    ChecksumOfFile,
    #[error("checksum can't be specified for multiple sources")]
    ChecksumOfSeveral,
    #[error("syntax error in the pattern {pattern:?}")]
    Pattern { pattern: String },
    #[error(
        "invalid chmod parameter: '{value}'. it should be octal string and between 0 and 07777"
    )]
    Chmod { value: String },
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    #[error("invalid signal: {value}")]
    Signal { value: String },
    #[error("{right} is not allowed")]
    NotAllowed { right: &'static str },
    #[error("RUN --device={name} is not supported by tug yet")]
    Device { name: String },
    #[error("owner and mode of an ssh mount are not supported by tug yet")]
    SshOwner,
    #[error("invalid mount target {target:?}")]
    MountTarget { target: String },
    #[error("secret {id}: not found")]
    NoSecret { id: String },
    #[error("ssh agent {id}: not found")]
    NoSsh { id: String },
    #[error("{path:?}: not found")]
    NotFound { path: String, hint: Option<String> },
    #[error("failed to parse stage name {name:?}")]
    ImageName { name: String, source: tug_types::ReferenceError },
    #[error("{name}")]
    Image { name: String, source: Box<tug_engine::Error>, close: Option<String> },
    #[error("the configuration of the image {name} cannot be read")]
    ImageConfig { name: String, source: serde_json::Error },
    #[error("{action} {path}")]
    Files { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("put layers over each other")]
    Overlay { source: std::io::Error },
    #[error("download {url}: {why}")]
    Download { url: String, why: String },
    #[error("download {url}: its digest is {actual}, not {expected}")]
    Checksum { url: String, expected: String, actual: String },
    #[error("unpack {name}")]
    Unpack { name: String, source: tug_archive::Error },
    #[error("process {command:?} did not complete successfully: exit code: {code}")]
    Command { command: String, code: i32 },
    #[error("the build cache's budget of {budget} bytes is used up by {}", by_whom(*.written))]
    Budget { budget: u64, written: u64 },
    #[error("{0}")]
    Violation(String),
    #[error(
        "this machine cannot run commands of {platform}: no emulator for it is registered with the kernel (binfmt_misc)"
    )]
    NoEmulator { platform: String },
    #[error("index annotations not supported for single platform export")]
    IndexAnnotation,
    #[error(
        "docker exporter does not support exporting manifest lists, use the oci exporter instead"
    )]
    SeveralPlatforms,
    #[error("cannot export annotations with \"oci-mediatypes=false\"")]
    DockerAnnotation,
    #[error("two outputs go to {path}")]
    SamePlace { path: PathBuf },
    #[error("build cache {name}: {why}")]
    Cache { name: String, why: String },
    /// The result that stood on it does not count any more: whoever solves begins again.
    #[error("the layer {layer} of a build cache cannot be had")]
    Lost { layer: tug_types::DiffId },
    #[error("write the archive")]
    Archive { source: tug_archive::Error },
    #[error("the build was cancelled")]
    Cancelled,
    #[error(transparent)]
    Owner(#[from] OwnerError),
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Copy(CopyError),
    #[error(transparent)]
    Engine(#[from] tug_engine::Error),
    #[error(transparent)]
    Store(#[from] tug_store::Error),
    /// With its place in the Dockerfile.
    #[error("{error}")]
    At { error: Box<BuildError>, source_text: Arc<Source>, span: Span },
    /// With the step that failed.
    #[error("{title}: {error}")]
    Step { title: String, error: Box<BuildError>, output: Vec<u8> },
}

fn by_whom(written: u64) -> String {
    match written {
        0 => "what other steps are writing".to_owned(),
        bytes => format!("this step, which needs {bytes} bytes"),
    }
}

fn did_you_mean(close: &Option<String>) -> String {
    close.as_ref().map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

fn one_line(diagnostic: &Diagnostic) -> String {
    diagnostic.to_string()
}

impl From<CopyError> for BuildError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Cancelled => Self::Cancelled,
            error => Self::Copy(error),
        }
    }
}

impl BuildError {
    /// The same with its place, unless it has one.
    pub(crate) fn at(self, source: &Arc<Source>, span: Span) -> Self {
        match self {
            Self::At { .. } | Self::Dockerfile(_) => self,
            error => Self::At { error: Box::new(error), source_text: source.clone(), span },
        }
    }

    /// A repository that cannot be had.
    pub(crate) fn git(url: &str, source: tug_git::Error) -> Self {
        Self::Git { url: tug_git::redacted(url), source: Box::new(source) }
    }

    /// One that cannot be had over ssh.
    pub(crate) fn ssh(url: &str, source: SshError) -> Self {
        Self::Ssh { url: tug_git::redacted(url), source: Box::new(source) }
    }

    /// A file operation that failed.
    pub(crate) fn files(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Files { action, path, source }
    }

    /// The lines of the Dockerfile it is about, marked.
    pub fn excerpt(&self) -> Option<String> {
        match self {
            Self::Dockerfile(diagnostic) => Some(diagnostic.excerpt()),
            Self::At { source_text, span, .. } => Some(source_text.excerpt(*span)),
            Self::Step { error, .. } => error.excerpt(),
            _ => None,
        }
    }

    /// Where in the Dockerfile, where that is known.
    pub fn place(&self) -> Option<Span> {
        match self {
            Self::Dockerfile(diagnostic) => Some(diagnostic.span()),
            Self::At { span, .. } => Some(*span),
            Self::Step { error, .. } => error.place(),
            _ => None,
        }
    }

    /// The failed step's title and the last it printed.
    pub fn step(&self) -> Option<(&str, &[u8])> {
        match self {
            Self::Step { title, output, .. } => Some((title, output)),
            Self::At { error, .. } => error.step(),
            _ => None,
        }
    }

    /// Of an image that was not found: with the name of the stage that may have been meant.
    pub(crate) fn near(self, stage: impl FnOnce() -> Option<String>) -> Self {
        match self {
            Self::Step { title, error, output } => {
                Self::Step { title, error: Box::new(error.near(stage)), output }
            }
            Self::Image { name, source, .. } => Self::Image { name, source, close: stage() },
            other => other,
        }
    }

    /// What is at the bottom of it.
    pub fn root(&self) -> &Self {
        match self {
            Self::At { error, .. } | Self::Step { error, .. } => error.root(),
            other => other,
        }
    }
}

impl Explain for BuildError {
    fn kind(&self) -> Kind {
        match self {
            Self::At { error, .. } | Self::Step { error, .. } => error.kind(),
            Self::Image { source, .. } => source.kind(),
            Self::Git { source, .. } => source.kind(),
            Self::Ssh { source, .. } => source.kind(),
            Self::Engine(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Unpack { source, .. } => source.kind(),
            Self::Cancelled => Kind::Cancelled,
            Self::NotFound { .. } | Self::NoContext { .. } | Self::NoTarget { .. } => {
                Kind::NotFound
            }
            Self::Download { .. } | Self::Budget { .. } => Kind::Unavailable,
            Self::Overlay { .. } | Self::Files { .. } | Self::Copy(_) => Kind::Internal,
            _ => Kind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::At { error, .. } | Self::Step { error, .. } => error.hint(),
            Self::Dockerfile(diagnostic) => diagnostic.problem().hint(),
            Self::Image { close: Some(stage), .. } => Some(format!("did you mean the stage {stage}?")),
            Self::Image { source, .. } => source.hint(),
            Self::Engine(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Unpack { source, .. } => source.hint(),
            Self::NotFound { hint, .. } => hint.clone(),
            Self::NoTarget { names, close: None, .. } if !names.is_empty() => {
                Some(format!("the stages are {}", names.join(", ")))
            }
            Self::CopyUrl { .. } => Some("ADD takes addresses".to_owned()),
            Self::Pattern { .. } => {
                Some("close the bracket, or put a backslash before one that is meant".to_owned())
            }
            Self::NotAllowed { right } => Some(format!("allow it with --allow {right}")),
            Self::NoSecret { id } => Some(format!("give it with --secret id={id},src=FILE")),
            Self::NoSsh { id } => Some(format!("give it with --ssh {id}")),
            Self::Budget { .. } => Some(
                "raise TUG_BUILD_CACHE (or \"build-cache\" in registries.json), or make room with `tug builder prune --all`".to_owned(),
            ),
            Self::Git { source, .. } => source.hint(),
            Self::Ssh { source, .. } => source.hint(),
            Self::ReadDockerfile { .. } => {
                Some("name it with -f when it is called otherwise or is elsewhere".to_owned())
            }
            Self::NoEmulator { .. } => Some(
                "register one (Debian: apt-get install qemu-user-static), or build that stage on this \
                 machine's platform: FROM --platform=$BUILDPLATFORM"
                    .to_owned(),
            ),
            Self::IndexAnnotation => {
                Some("annotate the manifest, or build for several platforms".to_owned())
            }
            Self::SeveralPlatforms => Some("type=oci takes them all".to_owned()),
            Self::Device { .. } | Self::SshOwner => Some("leave it out".to_owned()),
            _ => None,
        }
    }
}

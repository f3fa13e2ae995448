//! What a build is asked for.

use crate::ssh::Ssh;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use tug_dockerfile::Platform;
use tug_engine::{CacheForm, Compression, HostConfig};
use tug_types::{Digest, ImageReference};

/// One build.
#[derive(Clone, Debug, Default)]
pub struct BuildRequest {
    /// The directory of the context; without one it is empty.
    pub context: Option<PathBuf>,
    /// The Dockerfile.
    pub dockerfile: DockerfileSource,
    /// Names for the image.
    pub tags: Vec<ImageReference>,
    /// `--target`
    pub target: Option<String>,
    /// `--build-arg`
    pub build_args: BTreeMap<String, String>,
    /// `--build-context`
    pub contexts: BTreeMap<String, NamedContext>,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`
    pub ssh: Ssh,
    /// `--label`
    pub labels: BTreeMap<String, String>,
    /// `--allow`: rights that `RUN` may ask for.
    pub allow: BTreeSet<String>,
    /// `--no-cache`
    pub no_cache: bool,
    /// `--no-cache-filter`: stages.
    pub no_cache_stages: Vec<String>,
    /// `--pull`: ask the registry although the image is here.
    pub pull: bool,
    /// `--platform`: several make an index. None is this machine's, or what the base images are for.
    pub platforms: Vec<Platform>,
    /// Network, hosts and limits of the commands.
    pub host: HostConfig,
    /// Find out what changed for each step that runs.
    pub explain: bool,
    /// Keep the state of a failed command.
    pub debug: bool,
    /// Bytes the build cache may take; none is a tenth of the file system.
    pub cache_budget: Option<u64>,
    /// Commands at once; none is by the number of processors.
    pub parallel: Option<usize>,
    /// Where the result goes instead of into the store.
    pub outputs: Vec<FilesTo>,
    /// Into the store although it goes elsewhere too.
    pub keep: bool,
    /// Nowhere: only the cache has it (`type=cacheonly`).
    pub discard: bool,
    /// `--annotation`
    pub annotations: Vec<Annotation>,
    /// Those of the image in the store alone (`type=image,annotation.KEY=VALUE`).
    pub own_annotations: Vec<Annotation>,
    /// `--cache-from`
    pub cache_from: Vec<CachePlace>,
    /// `--cache-to`
    pub cache_to: Vec<CacheTo>,
}

/// Where a build cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CachePlace {
    /// In the image itself.
    Inline,
    /// Under a name at a registry; an image with an inline cache is one too.
    Registry(ImageReference),
    /// In a directory.
    Local {
        /// Which.
        dir: PathBuf,
        /// What it is called there: a directory may have several.
        tag: String,
        /// The manifest to take, whatever it is called.
        digest: Option<Digest>,
    },
}

/// A build cache to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheTo {
    /// Where.
    pub place: CachePlace,
    /// Every step's result (`mode=max`), not only those the image is made of.
    pub all: bool,
    /// The build succeeds without it.
    pub ignore_error: bool,
    /// What is written; layers in a directory are plain tars unless a compression is asked for.
    pub form: CacheForm,
    /// A compression was asked for.
    pub compressed: bool,
}

/// A word on an image that is no part of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// What it is written on.
    pub on: AnnotationLevel,
    /// Only for this platform.
    pub platform: Option<Platform>,
    /// `org.opencontainers.image.source`
    pub key: String,
    /// Its text.
    pub value: String,
}

/// What an annotation is written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationLevel {
    /// The manifest of each image.
    Manifest,
    /// The index over several platforms.
    Index,
    /// What the index, or an archive's list, says of a manifest.
    ManifestDescriptor,
    /// What an archive's list says of the index.
    IndexDescriptor,
}

/// Where a Dockerfile is.
#[derive(Clone, Debug, Default)]
pub enum DockerfileSource {
    /// `Dockerfile` in the context.
    #[default]
    Default,
    /// This file.
    Path(PathBuf),
    /// From the standard input.
    Bytes(Vec<u8>),
}

/// Where a result goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesTo {
    /// Its files, into a directory, made when missing.
    Dir {
        /// Where.
        path: PathBuf,
        /// Each platform's into a directory of its own; none is: when there are several.
        split: Option<bool>,
    },
    /// Its files, into a tar archive.
    Tar {
        /// Where.
        path: PathBuf,
        /// As of a directory.
        split: Option<bool>,
    },
    /// The image, into an archive.
    Archive(Archive),
}

/// An image archive: for `load`, or an OCI layout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive {
    /// Where.
    pub path: PathBuf,
    /// With Docker's own list too.
    pub docker: bool,
    /// A directory with its files instead of a tar.
    pub unpacked: bool,
    /// Instead of the image's own names.
    pub names: Vec<ImageReference>,
    /// Of its layers; none is plain tars.
    pub compression: Option<Compression>,
    /// Docker's media types instead of OCI's.
    pub docker_types: bool,
    /// Besides those all images have.
    pub annotations: Vec<Annotation>,
}

/// What stands behind a name of `--build-context`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    /// A directory.
    Dir(PathBuf),
    /// What came of an address, in a directory; ignore files in it mean nothing.
    Fetched(PathBuf),
    /// `docker-image://NAME`
    Image(String),
}

/// Bytes that must not be seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps them.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// For the one place that hands them to a command.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(****)")
    }
}

//! The operations a Dockerfile becomes, and what they result in.

use crate::files::index::Sum;
use crate::files::tree::Tree;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tug_dockerfile::Span;
use tug_solver::{Operation, Weight};
use tug_types::DiffId;

/// One vertex' work. What is in here is its definition; secrets and limits are not.
#[derive(Clone, Debug, Serialize)]
pub(crate) enum Op {
    /// The layers of an image that is here.
    Image { layers: Vec<DiffId> },
    /// The files of a context.
    Context { name: String },
    /// A download.
    Http(Http),
    /// A commit of a repository.
    Git(Git),
    /// Files into a layer.
    Copy(Copy),
    /// A directory into a layer (`WORKDIR`).
    Mkdir { path: String, user: String, epoch: Option<i64> },
    /// A command.
    Exec(Exec),
    /// Layers put on others without looking at them (`COPY --link`).
    Merge,
}

/// `ADD https://…`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Http {
    pub url: String,
    /// What it is called when copied.
    pub file_name: String,
    /// `sha256:…`
    pub checksum: Option<String>,
}

/// `ADD https://….git`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Git {
    pub url: String,
    pub reference: Option<String>,
    pub subdir: String,
    pub keep_git_dir: bool,
    pub no_submodules: bool,
    /// How the commit, or its tag, must begin.
    pub checksum: Option<String>,
    /// The commit is the checksum's.
    pub by_commit: bool,
}

/// `COPY` and `ADD`. Input 0 is what it is copied onto, unless `link`; the others are what `from` numbers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Copy {
    pub sources: Vec<CopySource>,
    /// Absolute; a slash at the end makes it a directory.
    pub destination: String,
    pub chown: Option<String>,
    pub chmod: Option<String>,
    pub parents: bool,
    /// On nothing: a [`Op::Merge`] puts it where it belongs.
    pub link: bool,
    pub excludes: Vec<String>,
    pub epoch: Option<i64>,
}

/// One source of a copy.
#[derive(Clone, Debug, Serialize)]
pub(crate) enum CopySource {
    /// A path or a pattern in an input.
    Files { from: usize, pattern: String, unpack: bool },
    /// A download.
    Download { from: usize, unpack: bool },
    /// A repository's files.
    Git { from: usize },
    /// A here-document.
    Inline { name: String, data: String },
}

/// `RUN`. Input 0 is what it runs on, unless `base` is false: then it runs on nothing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Exec {
    pub base: bool,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub working_dir: String,
    pub user: String,
    pub network: String,
    pub privileged: bool,
    pub hosts: Vec<String>,
    pub mounts: Vec<ExecMount>,
    /// A script of the Dockerfile's own: name and content, found in `/dev/pipes`.
    pub script: Option<(String, String)>,
    pub epoch: Option<i64>,
    /// Proxies: seen by the command, no part of what defines it.
    #[serde(skip)]
    pub proxies: Vec<(String, String)>,
    /// What it is a program of; its files say the same.
    #[serde(skip)]
    pub platform: Box<tug_dockerfile::Platform>,
}

/// `--mount`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ExecMount {
    pub target: String,
    pub readonly: bool,
    pub kind: ExecMountKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum ExecMountKind {
    /// A path in an input.
    Bind {
        from: usize,
        source: String,
    },
    /// A directory that outlives the build.
    Cache {
        id: String,
        sharing: CacheSharing,
        /// What it begins with.
        from: Option<(usize, String)>,
        uid: u32,
        gid: u32,
        mode: u32,
    },
    Tmpfs {
        size: Option<u64>,
    },
    /// The secret's id; its value is never here.
    Secret {
        id: String,
        env: Option<String>,
        required: bool,
        uid: u32,
        gid: u32,
        mode: u32,
    },
    Ssh {
        id: String,
        required: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum CacheSharing {
    Shared,
    Private,
    Locked,
}

impl Operation for Op {
    fn definition(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn weight(&self) -> Weight {
        match self {
            Self::Exec(_) => Weight::Heavy,
            _ => Weight::Light,
        }
    }
}

/// One layer as results list them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    pub diff_id: DiffId,
    /// Bytes of its files.
    pub size: u64,
    /// Nanoseconds since the epoch; none for a base image's.
    pub created: Option<i64>,
}

/// What a vertex results in.
#[derive(Clone)]
pub(crate) enum Output {
    /// Files: layers, base first.
    Layers(Arc<Vec<Layer>>),
    /// A context's files, in place.
    Context(Arc<Tree>),
    /// A downloaded file.
    Download(Arc<Download>),
    /// A commit, whose files are fetched when somebody wants them.
    Git(Arc<Commit>),
}

/// A commit of a repository.
pub(crate) struct Commit {
    pub git: Git,
    pub found: tug_git::Found,
    /// What it is known by: the commit, and with `.git` the ref.
    pub id: String,
    /// Where its files are, once they are.
    pub files: std::sync::Mutex<Option<std::path::PathBuf>>,
}

/// A file on its way into a layer.
pub(crate) struct Download {
    pub path: std::path::PathBuf,
    pub file_name: String,
    pub sum: Sum,
}

/// The layers of files.
pub(crate) fn layers(output: Option<&Output>) -> Vec<Layer> {
    match output {
        Some(Output::Layers(layers)) => layers.to_vec(),
        _ => Vec::new(),
    }
}

/// What is known of a vertex besides its work.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    /// `[2/4] RUN make`
    pub title: String,
    /// Where it stands in the Dockerfile.
    pub span: Option<Span>,
    /// `--no-cache`
    pub ignore_cache: bool,
    /// Names this step over builds, for what changed since the last one.
    pub slot: String,
}

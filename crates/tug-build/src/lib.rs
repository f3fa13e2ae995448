//! Dockerfiles into images.
//!
//! ```text
//! Dockerfile ─tug_dockerfile─► syntax tree ─lower─► graph of operations ─tug_solver─► layers ─export─► image
//!                                             ▲                            │
//!                              base images ───┘        Executor: files, commands, downloads
//! ```
//!
//! Owns the lowering of instructions ([`lower`]), the operations and their cache keys ([`execute`]), the
//! context read in place ([`files`]), and what becomes of the result ([`export`]). It refuses to parse
//! Dockerfiles, to decide what runs when, and to know how a process is isolated: those are the parser's,
//! the solver's and the engine's.
//!
//! Start at [`build`].

mod build;
mod emulator;
mod error;
mod execute;
mod explain;
mod export;
mod files;
mod ignore;
mod image;
mod lower;
mod ops;
mod out;
mod progress;
mod prune;
mod request;
mod share;
mod signal;
mod ssh;

pub use build::{Build, Built, Cancel, Checked, FailedState, is_compressed, unpack_context};
pub use error::BuildError;
pub use execute::git::{Access, Login, SshError, clone, is_git};
pub use execute::web::{Fetched, fetch};
pub use explain::Explanation;
pub use files::copy::CopyError;
pub use files::owner::OwnerError;
pub use files::tree::TreeError;
pub use progress::{Event, LineId, Progress, Silent};
pub use prune::{
    CacheEntry, CacheFilter, PruneOptions, Pruned, cache_entries, mounts_in_use, prune_cache,
};
pub use request::{
    Annotation, AnnotationLevel, Archive, BuildRequest, CachePlace, CacheTo, DockerfileSource,
    FilesTo, NamedContext, Secret,
};
pub use ssh::{Agent, KeyError, Ssh};
pub use tug_dockerfile::{Outline, Platform, Report, Targets, csv_fields};

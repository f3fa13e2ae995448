//! The vocabulary every other crate shares.
//!
//! Owns the nouns that cross a crate or a process boundary: typed identifiers, digests, image
//! references, the [`Failure`] a person gets to read, and paths inside a container. It refuses to
//! own behaviour: nothing here opens a file or makes a system call beyond asking for random bytes.
//!
//! Start at [`Failure`] for how errors travel and at [`ContainerId`] for how identifiers are typed.

mod container_path;
mod digest;
mod failure;
mod id;
mod reference;

pub use container_path::{ContainerPath, ContainerPathError};
pub use digest::{DiffId, Digest, DigestError};
pub use failure::{Explain, Failure, Kind, Subject};
pub use id::{ContainerId, IdError};
pub use reference::{ImageReference, ReferenceError};

//! The client side of the OCI distribution protocol: from an image reference to verified bytes.
//!
//! Owns resolving a reference (manifests and indexes of both families, platform choice),
//! authentication (basic, bearer tokens, identity tokens, Docker's `config.json`), where to ask
//! (mirrors, loopback over plain HTTP), and downloads that verify, retry and resume. It refuses to
//! own anything on disk: what arrives is handed on as bytes whose digest has been checked.
//!
//! Start at [`Client`]; [`Client::resolve`] answers what an image is made of, [`Client::open`]
//! reads one of its layers. The interface is blocking: the runtime that drives the sockets lives
//! inside the client and with it, so that a command that needs no registry never makes one.
//!
//! Written directly on `reqwest`, not on `oci-client`: of that crate only two calls would be left
//! (a manifest, a stream from an offset), and it hides what both need here: the response headers
//! behind `Retry-After` and `Docker-Content-Digest`, the registry's own error text, the exact
//! manifest bytes together with their type, and a say in every redirect. Identity tokens, retries,
//! mirrors in order and resuming would be ours either way.

mod ask;
mod auth;
mod base64;
mod blob;
mod challenge;
mod client;
mod config;
mod credentials;
mod download;
mod endpoint;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod login;
mod manifest;
mod platform;
mod policy;
mod reader;
mod refusal;
mod registries;
mod resolve;
mod search;
mod settings;
mod signature;
mod spool;
mod tls;
mod transport;
mod upload;
mod vault;

pub mod media;

pub use ask::{Access, Ask, What};
pub use blob::BlobEvent;
pub use client::Client;
pub use config::{ConfigHead, RootFs};
pub use credentials::CredentialsError;
pub use download::{Download, DownloadError};
pub use endpoint::Source;
pub use error::{Error, Tried};
pub use login::{Account, Keeper, forget, keep, registry_name};
pub use manifest::{Descriptor, Index, Manifest, ManifestError, Parsed, parse};
pub use platform::{Platform, PlatformError};
pub use policy::Policies;
pub use reader::{BlobReader, Cancel};
pub use registries::{Registries, Registry};
pub use resolve::Resolved;
pub use search::Found;
pub use settings::{Retry, Settings, Vault};
pub use spool::{OpenSpool, Spool};
pub use upload::{Destination, OpenSource, UploadEvent};

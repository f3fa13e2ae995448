//! One commit of a git repository, fetched and written as files. No program is started for it.
//!
//! ```text
//! Remote (address, ref, directory) ─resolve─► commit ─fetch─► Pack ─checkout─► files
//!                                     └── Transport: HTTP or git://, the caller's ──┘
//! ```
//!
//! Owns the addresses BuildKit takes ([`Remote`]), protocol version 2 as far as one shallow fetch needs it
//! ([`resolve`], [`fetch`]), packs ([`Pack`]), and the writing of trees ([`checkout`]) with, if wanted, a `.git` that
//! git itself goes on with. It refuses to open connections: those are the caller's [`Transport`].
//!
//! Its own rather than a library: what a build needs of git is one shallow fetch, and the libraries bring a hundred
//! crates, a second way to speak HTTP, and start `ssh` and credential helpers.

mod checkout;
mod error;
mod index;
mod modules;
mod object;
mod pack;
mod packet;
mod protocol;
mod remote;

pub use checkout::{Checkout, checkout};
pub use error::Error;
pub use modules::{Module, modules};
pub use object::Oid;
pub use pack::Pack;
pub use protocol::{Transport, fetch, resolve};
pub use remote::Remote;

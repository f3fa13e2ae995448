//! One commit of a git repository, fetched and written as files. No program is started for it.
//!
//! ```text
//! Remote (address, ref, directory) ─resolve─► Found ─fetch─► Pack ─checkout─► files
//!                     Session over a Transport: HTTP, ssh or git://, the caller's
//! ```
//!
//! Owns the addresses BuildKit takes ([`Remote`], [`SshAddress`]), the protocol in its versions 2 and 0 as far as one
//! shallow fetch needs it ([`Session`]), packs ([`Pack`]), and the writing of trees ([`checkout`]) with, if wanted, a
//! `.git` that git itself goes on with. It also reads the list of hosts that ssh keeps ([`KnownHosts`]). It refuses to
//! open connections: those are the caller's [`Transport`].
//!
//! Its own rather than a library: what a build needs of git is one shallow fetch, and the libraries bring a hundred
//! crates, a second way to speak HTTP, and start `ssh` and credential helpers.

mod checkout;
mod error;
mod index;
mod known_hosts;
mod modules;
mod object;
mod pack;
mod packet;
mod protocol;
mod remote;

pub use checkout::{Checkout, Kept, Target, checkout, register};
pub use error::{Error, Query};
pub use known_hosts::{Known, KnownHosts, host_name};
pub use modules::{Module, modules};
pub use object::Oid;
pub use pack::Pack;
pub use protocol::{Found, Session, Transport};
pub use remote::{Remote, SshAddress, login, redacted};

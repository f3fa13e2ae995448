//! How images get in and out: from a registry, from an archive, from a bare root filesystem.
//!
//! | file | owns |
//! |---|---|
//! | `pull` | a reference into an image, with the registry |
//! | `fetch` | a pull's layers, several at once |
//! | `push` | an image into a registry, several layers at once |
//! | `cache` | build caches at a registry |
//! | `account` | logging in and out, searching |
//! | `save` | images into an archive |
//! | `save_built` | what a build made into an archive, unrecorded |
//! | `export` | a container's files into a tar |
//! | `commit` | a container's changes into an image |
//! | `load` | `docker save` archives and OCI layouts into images |
//! | `docker_archive`, `oci_layout`, `legacy_archive` | the three tables of contents such archives have |
//! | `archive`, `members` | the members of such an archive, taken as they stream by |
//! | `import` | a root filesystem into an image of one layer |
//! | `changes` | Dockerfile instructions given on the command line |
//! | `intake` | what all of them share: the lease, the recording, the undo |
//! | `check` | proving what is here, fetching again what is broken |
//! | `clearing` | giving space back |
//! | `variants` | the image of a name for a platform |
//! | `error` | what can be wrong with an archive or a change |
//!
//! Every way in follows the same order: layers under a lease, then manifest and config, then one
//! transaction per image; the disk is given its time afterwards. Whatever fails
//! before that transaction leaves nothing.

mod account;
mod archive;
mod cache;
mod changes;
mod check;
mod clearing;
mod commit;
mod compress;
mod docker_archive;
mod error;
mod export;
mod fetch;
mod import;
mod intake;
mod legacy_archive;
mod load;
mod members;
mod oci_layout;
mod pull;
mod push;
mod save;
mod save_built;
#[cfg(test)]
mod tests;
mod variants;

pub use account::LoggedIn;
pub use cache::{CACHE_CONFIG, CacheBlob, CacheForm, RemoteCache};
pub use check::{Broken, Checked, Damage};
pub use clearing::{RECOUNT, SWEEPER};
pub use commit::CommitOptions;
pub use compress::{Compression, Method};
pub use export::Export;
pub use import::ImportOptions;
pub use load::{LoadOptions, Loaded};
pub use pull::{PullOptions, Pulled};
pub use push::{PushEvent, PushOptions, PushProgress, PushState, Pushed};
pub use save::{PendingFile, Save, SaveOptions, Saved, list_in};
pub use save_built::{Labels, PackedLayer, Unsaved};
pub(crate) use variants::best;

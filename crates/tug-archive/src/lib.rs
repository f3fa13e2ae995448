//! Layer tars: taking them apart, putting them together again, and copying trees.
//!
//! | file | owns |
//! |---|---|
//! | [`compression`] | telling gzip, zstd and plain streams apart, and reading them |
//! | [`entry`], [`pax`] | one archive entry as headers, PAX records and GNU extensions describe it |
//! | [`reader`] | walking the blocks of a tar stream |
//! | [`body`] | content of a file on its way to the disk, holes left out |
//! | [`tree`] | a directory below which everything stays: rooted lookups, creation, replacement |
//! | [`unpack`](mod@unpack) | entries into files |
//! | [`skeleton`] | the bytes of a tar that are in no file, so that the exact tar can be made again |
//! | [`member`] | headers of members that are no files |
//! | [`pack`](mod@pack) | a tree into a tar, the same bytes for the same tree |
//! | [`copy`] | a tree into another tree |
//!
//! It refuses to know about images, digests and registries, and never trusts an archive: whatever
//! an entry is called, it ends up below the root or is refused by name. The `tar` crate parses
//! header blocks only; none of its unpacking is used, because it works on paths, follows links and
//! knows no whiteouts.

mod body;
pub mod compression;
pub mod copy;
mod entry;
mod error;
mod header;
mod ids;
pub mod member;
pub mod pack;
mod pax;
mod reader;
pub mod skeleton;
mod tree;
pub mod unpack;
mod walk;
mod xattrs;

pub use compression::{Compression, Decoder, decoder};
pub use copy::{ContentCopier, copy_tree, copy_upper};
pub use error::{EntryName, Error};
pub use ids::IdRange;
pub use pack::{PackOptions, Packed, pack};
pub use skeleton::{Assembler, Recorder, assemble};
pub use tree::remove_tree;
pub use unpack::{Limits, UnpackOptions, Unpacked, Whiteouts, unpack, unpack_recorded};
pub use xattrs::{Xattr, is_left_out, of_file as xattrs_of_file, of_name as xattrs_of_name};

/// Result of every operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

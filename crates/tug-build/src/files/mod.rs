//! Files below a directory that is somebody else's: a context, the files of a stage, the layer being made.
//!
//! | file | owns |
//! |---|---|
//! | [`rooted`] | names below a directory, links resolved inside of it |
//! | [`tree`] | what a pattern selects, and the digests of it |
//! | [`pattern`] | what a pattern matches |
//! | [`index`] | digests remembered by what stat says |
//! | [`target`] | the layer being made, over those below it |
//! | [`copy`] | entries into it: where they go, and directories |
//! | [`file`] | contents and attributes of files |
//! | [`parallel`] | the same work on many of them |
//! | [`mode`], [`owner`] | `--chmod` and `--chown` |

pub(crate) mod copy;
mod file;
pub(crate) mod index;
pub(crate) mod mode;
pub(crate) mod overlay;
pub(crate) mod owner;
mod parallel;
pub(crate) mod pattern;
pub(crate) mod rooted;
pub(crate) mod target;
pub(crate) mod tree;

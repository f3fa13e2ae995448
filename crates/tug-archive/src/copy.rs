//! A tree into another tree.

use crate::{Error, Result};
use std::os::fd::BorrowedFd;

/// Copies what is in the directory `source` into the directory `destination`, including the
/// directory's own owner, mode and times. Symbolic links are copied, not followed; file systems
/// mounted below are not entered. Shares blocks where the file system can.
///
/// # Errors
/// The first file that cannot be copied, by name.
pub fn copy_tree(_source: BorrowedFd<'_>, _destination: BorrowedFd<'_>) -> Result<()> {
    Err(Error::SkeletonDamaged { what: "copying is not written yet" })
}

//! Starting to write a file's dirty pages without waiting for them: `sync_file_range(2)`.

#![expect(unsafe_code, reason = "sync_file_range(2) has no safe wrapper")]

use std::os::fd::{AsRawFd, BorrowedFd};

/// Asks the kernel to start writing out the dirty pages of `file`. Says nothing about durability:
/// it only gives a later sync less to do. Failure is of no consequence, so there is none.
pub fn start(file: BorrowedFd<'_>) {
    // SAFETY: the descriptor is borrowed, hence open, for the length of the call; the call takes no
    // pointers. Offset and length 0 mean the whole file.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE);
    }
}

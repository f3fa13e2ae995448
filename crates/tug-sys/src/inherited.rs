//! Descriptors at agreed numbers, handed down by the process that started this one.

#![expect(unsafe_code, reason = "only a raw number names an inherited descriptor")]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes over the `N` descriptors from number `first` on, marks them close-on-exec, and closes all
/// above them, so that nothing the user's shell had open (a lock file, the end of a pipe) is kept
/// open by a process that outlives the command. To be called first thing in a process whose
/// starter filled exactly these numbers; works once.
///
/// # Errors
/// `EBADF` when one of them is not open, `EALREADY` the second time.
pub fn take<const N: usize>(first: i32) -> io::Result<[OwnedFd; N]> {
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(rustix::io::Errno::ALREADY.into());
    }
    let mut numbers = [0; N];
    for (number, wanted) in numbers.iter_mut().zip(first..) {
        *number = wanted;
        // SAFETY: only used for two fcntl calls, which answer EBADF on a closed number.
        let borrowed = unsafe { BorrowedFd::borrow_raw(wanted) };
        let flags = rustix::io::fcntl_getfd(borrowed)?;
        rustix::io::fcntl_setfd(borrowed, flags | rustix::io::FdFlags::CLOEXEC)?;
    }
    // SAFETY: nothing in this process, which has only begun, owns a descriptor above. The answer does
    // not matter: it fails on no kernel this runs on. musl has no wrapper for it.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, (first + N as i32) as u32, u32::MAX, 0) };
    // SAFETY: all are open, as just seen, and nobody else owns them: the process has only begun,
    // its starter chose these numbers for it, and they are handed out once.
    Ok(numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) }))
}

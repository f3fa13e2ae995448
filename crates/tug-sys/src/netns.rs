//! Network namespaces: `SIOCGSKNS` and `unshare(CLONE_NEWNET)`.

#![expect(unsafe_code, reason = "system calls without a safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The network namespace a socket lives in (`linux/sockios.h`, `SIOCGSKNS`, Linux 4.10): where a
/// thread that is about to enter another one comes back to, without a look at `/proc`.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` over that namespace.
pub fn of_socket(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const SIOCGSKNS: libc::Ioctl = 0x894C;
    // SAFETY: SIOCGSKNS takes no argument and only returns a new descriptor.
    let fd = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just returned this descriptor to us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Moves the calling thread into a new, empty network namespace.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`.
pub fn unshare() -> io::Result<()> {
    // SAFETY: takes a flag and touches no memory; only this thread's view of the network changes.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

//! Signals of the calling process: taking them as events, ignoring them, sending any number of them
//! through a pidfd.
//!
//! rustix has no signalfd, no signal mask, and its `pidfd_send_signal` takes named signals only,
//! while a container's stop signal may be a real-time one (`SIGRTMIN+3`, systemd's).

#![expect(unsafe_code, reason = "signal calls that rustix does not wrap")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A set of signals taken as events instead of by their default action (signalfd(2)). The signals
/// are blocked in the calling thread as long as it lives; dropping it restores the mask, and what
/// arrived unread is then delivered.
#[derive(Debug)]
pub struct SignalFd {
    fd: OwnedFd,
    previous: libc::sigset_t,
}

impl SignalFd {
    /// Blocks `signals` and opens a non-blocking descriptor they are read from.
    ///
    /// # Errors
    /// When a number is no signal, or descriptors run out.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let set = set_of(signals)?;
        let previous = change_mask(libc::SIG_BLOCK, &set)?;
        // SAFETY: `set` is an initialised signal set; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            let error = io::Error::last_os_error();
            let _ = change_mask(libc::SIG_SETMASK, &previous);
            return Err(error);
        }
        // SAFETY: the kernel has just made this descriptor and nobody else knows it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, previous })
    }

    /// The next signal's number, or `None` when none is waiting.
    ///
    /// # Errors
    /// When the read fails for another reason than there being nothing to read.
    pub fn next(&self) -> io::Result<Option<i32>> {
        let mut info = [0u8; std::mem::size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.fd, &mut info) {
            // ssi_signo is the first field, 32 bits.
            Ok(_) => Ok(Some(i32::from_ne_bytes([info[0], info[1], info[2], info[3]]))),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for SignalFd {
    fn drop(&mut self) {
        let _ = change_mask(libc::SIG_SETMASK, &self.previous);
    }
}

/// Ignores the given signals in this process. Ignoring is inherited by what it executes.
///
/// # Errors
/// When a number is no signal that can be ignored.
pub fn ignore(signals: &[i32]) -> io::Result<()> {
    set_disposition(signals, libc::SIG_IGN)
}

/// Gives the signals their default action back.
///
/// # Errors
/// When a number is no signal whose action can be changed.
pub fn restore_default(signals: &[i32]) -> io::Result<()> {
    set_disposition(signals, libc::SIG_DFL)
}

/// Sends a signal by number to the process of a pidfd (pidfd_send_signal(2)).
///
/// # Errors
/// `ESRCH` when it is gone, `EINVAL` when there is no such signal.
pub fn send(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: a null siginfo asks for the one kill(2) would make; the other arguments are plain
    // numbers, and the descriptor is open for the duration of the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0u32,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set_of(signals: &[i32]) -> io::Result<libc::sigset_t> {
    // SAFETY: sigset_t is plain data; sigemptyset initialises it whatever it held.
    let mut set = unsafe { std::mem::zeroed::<libc::sigset_t>() };
    // SAFETY: a valid, exclusive pointer.
    unsafe { libc::sigemptyset(&raw mut set) };
    for &signal in signals {
        // SAFETY: an initialised set; a number out of range is answered with EINVAL.
        if unsafe { libc::sigaddset(&raw mut set, signal) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(set)
}

fn change_mask(how: i32, set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    // SAFETY: plain data, overwritten by the call.
    let mut previous = unsafe { std::mem::zeroed::<libc::sigset_t>() };
    // SAFETY: both pointers are to live signal sets.
    match unsafe { libc::pthread_sigmask(how, set, &raw mut previous) } {
        0 => Ok(previous),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn set_disposition(signals: &[i32], disposition: libc::sighandler_t) -> io::Result<()> {
    for &signal in signals {
        // SAFETY: only SIG_IGN and SIG_DFL are passed: no handler of ours runs in signal context.
        if unsafe { libc::signal(signal, disposition) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read_as_an_event_and_real_time_signals_can_be_sent() {
        let real_time = libc::SIGRTMIN() + 3;
        let signals = SignalFd::new(&[real_time]).unwrap();
        assert_eq!(signals.next().unwrap(), None);
        // SAFETY: sends a signal that this thread blocks to this very thread.
        unsafe { libc::pthread_kill(libc::pthread_self(), real_time) };
        assert_eq!(signals.next().unwrap(), Some(real_time));
        assert_eq!(signals.next().unwrap(), None);
    }

    #[test]
    fn numbers_that_are_no_signals_are_refused() {
        assert!(SignalFd::new(&[4096]).is_err());
        assert!(ignore(&[libc::SIGKILL]).is_err());
    }
}

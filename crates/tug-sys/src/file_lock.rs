//! Locks that belong to an open file description (fcntl_locking(2), "Open file description locks").
//!
//! They are shared by every process the descriptor is handed to and end when the last copy is
//! closed, also by SIGKILL. Unlike flock(2), one can ask whether a lock is held without taking it
//! for a moment, and so without making somebody else's attempt fail.

#![expect(unsafe_code, reason = "rustix has the process-owned fcntl locks only")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Takes the exclusive lock if it is free. `true` as well when this description has it already.
/// The file must be open for writing.
///
/// # Errors
/// Anything but the lock being held.
pub fn try_lock(file: BorrowedFd<'_>) -> io::Result<bool> {
    match control(file, libc::F_OFD_SETLK, libc::F_WRLCK) {
        Ok(_) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Waits for the exclusive lock.
///
/// # Errors
/// `EINTR` when a signal handler ran, and anything else fcntl(2) says.
pub fn lock(file: BorrowedFd<'_>) -> io::Result<()> {
    control(file, libc::F_OFD_SETLKW, libc::F_WRLCK).map(drop)
}

/// Lets the lock go for every process sharing this description.
///
/// # Errors
/// What fcntl(2) says.
pub fn unlock(file: BorrowedFd<'_>) -> io::Result<()> {
    control(file, libc::F_OFD_SETLK, libc::F_UNLCK).map(drop)
}

/// Whether another description holds the lock.
///
/// # Errors
/// What fcntl(2) says.
pub fn is_locked(file: BorrowedFd<'_>) -> io::Result<bool> {
    let answer = control(file, libc::F_OFD_GETLK, libc::F_WRLCK)?;
    Ok(i32::from(answer.l_type) != libc::F_UNLCK)
}

fn control(file: BorrowedFd<'_>, command: i32, kind: i32) -> io::Result<libc::flock> {
    // SAFETY: plain numbers; all zero means the whole file, and l_pid must be zero here.
    let mut range = unsafe { std::mem::zeroed::<libc::flock>() };
    range.l_type = kind as libc::c_short;
    // SAFETY: the descriptor is open for the call, `range` is a live flock structure.
    if unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut range) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn asking_does_not_take_and_copies_share() {
        let path = std::env::temp_dir().join(format!("tug-file-lock-{}", std::process::id()));
        let open = || {
            std::fs::File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)
                .unwrap()
        };
        let (holder, other) = (open(), open());
        assert!(!is_locked(other.as_fd()).unwrap());
        assert!(try_lock(holder.as_fd()).unwrap());
        assert!(is_locked(other.as_fd()).unwrap());
        assert!(!try_lock(other.as_fd()).unwrap());

        let copy = holder.try_clone().unwrap();
        drop(holder);
        assert!(is_locked(other.as_fd()).unwrap(), "a copy keeps the lock");
        assert!(try_lock(copy.as_fd()).unwrap(), "taking it again is no conflict");
        unlock(copy.as_fd()).unwrap();
        lock(other.as_fd()).unwrap();
        assert!(is_locked(copy.as_fd()).unwrap());
        std::fs::remove_file(path).unwrap();
    }
}

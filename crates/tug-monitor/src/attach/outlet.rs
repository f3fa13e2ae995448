//! The caller's stdout and stderr, written without ever blocking the attach loop.

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// One of the two.
#[derive(Debug)]
pub(super) struct Outlet<'a> {
    given: BorrowedFd<'a>,
    /// A description of our own that does not block. The one we were given is shared with the shell,
    /// and its flags are not ours to change.
    own: Option<OwnedFd>,
    socket: bool,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Bytes(usize),
    Later,
    /// Nobody reads this any more.
    Closed,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(given: BorrowedFd<'a>) -> Self {
        let kind = rustix::fs::fstat(given)
            .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode));
        let own = match kind {
            FileType::Fifo | FileType::CharacterDevice => reopen(given),
            _ => None,
        };
        Self { given, own, socket: kind == FileType::Socket }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> Result<Written, Errno> {
        let result = if self.socket {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            rustix::net::send(self.given, bytes, flags)
        } else {
            rustix::io::write(self, bytes)
        };
        match result {
            Ok(count) => Ok(Written::Bytes(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Written::Later),
            // EIO: the terminal hung up.
            Err(Errno::PIPE | Errno::CONNRESET | Errno::IO) => Ok(Written::Closed),
            Err(errno) => Err(errno),
        }
    }
}

/// What came of having the kernel move a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    Written(Written),
    /// This kind of file cannot be moved to: it has to be written.
    Unable,
}

impl Outlet<'_> {
    /// Up to `length` bytes of `file` from `position` on, without a copy through this process.
    pub(super) fn move_from(&self, file: impl AsFd, position: u64, length: usize) -> Moved {
        let mut position = position;
        // A socket of the caller's is one it shares: its flags are not ours, and sendfile has none.
        if self.socket {
            return Moved::Unable;
        }
        match rustix::fs::sendfile(self, file, Some(&mut position), length) {
            Ok(count) => Moved::Written(Written::Bytes(count)),
            Err(Errno::AGAIN | Errno::INTR) => Moved::Written(Written::Later),
            Err(Errno::PIPE | Errno::CONNRESET) => Moved::Written(Written::Closed),
            // Opened for appending, or not made for it; or an error that a write will tell about.
            Err(_) => Moved::Unable,
        }
    }
}

impl AsFd for Outlet<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.own.as_ref().map_or(self.given, AsFd::as_fd)
    }
}

fn reopen(given: BorrowedFd<'_>) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", given.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

//! The line between a new process and its parent until it executes its command.
//!
//! ```text
//! parent                         child
//!   │  ── SetUp [root tree] ──►   │   it is in its cgroups, its ids are mapped
//!   │                             │   mounts, devices, pivot_root, host name
//!   │  ◄── Terminal [master] ──   │   with a terminal
//!   │  ── Go ──►                  │   the network is there
//!   │  ◄── Warning text ──        │   any number
//!   │  ◄── Executing ──           │   just before execve
//!   │  ◄── end of file ──         │   execve closed it: success
//!   │  ◄── Failed failure ──      │   at any point: it ends after it
//! ```

use crate::Error;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tug_types::Failure;

/// One message, either way.
pub(crate) enum Message {
    SetUp(Option<OwnedFd>),
    Go,
    Terminal(OwnedFd),
    Warning(String),
    Executing,
    Failed(Failure),
    /// The other end is closed.
    End,
}

/// One end of the line.
pub(crate) struct Line(OwnedFd);

/// Fits on the stack: a buffer of the heap this size would be a mapping of its own each time.
const LONGEST: usize = 4 << 10;

impl Line {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn pair() -> Result<(Self, Self), Error> {
        let flags = SocketFlags::CLOEXEC;
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map(|(a, b)| (Self(a), Self(b)))
            .map_err(Error::system("make a socket pair"))
    }

    pub(crate) fn send(&self, message: &Message) -> Result<(), Error> {
        match message {
            Message::SetUp(root) => self.send_bytes(b'S', b"", root.as_ref().map(AsFd::as_fd)),
            Message::Go => self.send_bytes(b'G', b"", None),
            Message::Terminal(master) => self.send_bytes(b'T', b"", Some(master.as_fd())),
            Message::Warning(text) => self.send_bytes(b'W', text.as_bytes(), None),
            Message::Executing => self.send_bytes(b'E', b"", None),
            Message::Failed(failure) => {
                let text = serde_json::to_vec(failure).unwrap_or_default();
                self.send_bytes(b'F', &text, None)
            }
            Message::End => Ok(()),
        }
    }

    fn send_bytes(&self, tag: u8, body: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        let body = &body[..body.len().min(LONGEST - 1)];
        let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let tag = [tag];
        let parts = [IoSlice::new(&tag), IoSlice::new(body)];
        rustix::net::sendmsg(&self.0, &parts, &mut control, SendFlags::NOSIGNAL)
            .map(drop)
            .map_err(Error::system("talk to the container's process"))
    }

    pub(crate) fn receive(&self) -> Result<Message, Error> {
        let mut buffer = [0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match rustix::net::recvmsg(&self.0, &mut parts, &mut control, flags) {
                // The other end went without reading all that it was sent. The kernel says so once,
                // ahead of what that end had to say, which is still there.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                other => {
                    break other.map_err(Error::system("hear from the container's process"))?;
                }
            }
        };
        let mut fd = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                fd = fds.into_iter().next().or(fd);
            }
        }
        let body = buffer.get(1..received.bytes).unwrap_or_default();
        Ok(match (buffer[0], received.bytes, fd) {
            (_, 0, _) => Message::End,
            (b'S', _, fd) => Message::SetUp(fd),
            (b'G', ..) => Message::Go,
            (b'T', _, Some(master)) => Message::Terminal(master),
            (b'W', ..) => Message::Warning(String::from_utf8_lossy(body).into_owned()),
            (b'E', ..) => Message::Executing,
            _ => Message::Failed(serde_json::from_slice(body).unwrap_or_else(|_| {
                Failure::new(
                    tug_types::Kind::Internal,
                    "the container's process said something that cannot be read",
                )
            })),
        })
    }
}

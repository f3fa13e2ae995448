//! What a monitor and its clients say to each other.
//!
//! One `SOCK_SEQPACKET` connection per client; a packet is a tag byte and little-endian numbers, or
//! JSON where a record travels. At most one descriptor rides along.
//!
//! ```text
//! client                                  monitor
//! Hello(version)                ───►
//!                               ◄───      Welcome(version, log offsets, tty, stdin)
//! Signal / Stop / Resize        ───►
//!                               ◄───      Done(errno)
//! WantStdin                     ───►
//!                               ◄───      Stdin + descriptor, or NoStdin
//! Hold(offset)                  ───►                         no answer: keep the log from here on,
//!                                                            beyond its limit if need be
//! Want(offset)                  ───►                         and so hold no more than from there
//!                               ◄───      Avail(end)         once end > offset
//! StdinEnd                      ───►
//!                               ◄───      Exit(record, log end), + the lock for the owner
//! owner only:
//! Cleaning                      ───►                         before it touches anything
//! Cleaned                       ───►                         the monitor ends
//! ```
//!
//! The starter's end of the sync socket is the first connection. It says no Hello; it sends the lock
//! and the spec, each with a packet of its own (`tug_monitor::prepare`), and is told `Started` (with `state.json` as the descriptor), or `Exit` when set-up failed. It is the owner: the
//! log is held for it from the beginning of the run, and the Exit hands it the lock of the run
//! directory. If it leaves without `Cleaned`, the monitor becomes the reaper.
//!
//! A client is never waited for. One that does not read its answers is dropped.

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Grows with every incompatible change: monitors outlive the binary that started them.
pub(crate) const VERSION: u8 = 1;

/// No packet is longer. JSON that would be is cut by its sender.
pub(crate) const MAX_PACKET: usize = 16 << 10;

/// From a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Hello {
        version: u8,
    },
    Signal(i32),
    /// A negative time is for ever.
    Stop {
        signal: i32,
        timeout_ms: i64,
    },
    Resize {
        rows: u16,
        columns: u16,
    },
    WantStdin,
    StdinEnd,
    Hold(u64),
    Want(u64),
    Cleaning,
    Cleaned,
}

/// From the monitor. JSON stays bytes here: only a client takes it apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Welcome(Welcome),
    /// 0 or an errno.
    Done(i32),
    Stdin,
    NoStdin,
    Avail(u64),
    /// JSON: the list of warnings.
    Started(Vec<u8>),
    /// JSON of the `ExitRecord`.
    Exit {
        log_end: u64,
        record: Vec<u8>,
    },
}

/// The monitor's first words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Of the protocol.
    pub version: u8,
    /// The container's streams are a terminal.
    pub terminal: bool,
    /// Its stdin is open to clients.
    pub open_stdin: bool,
    /// Log offset where this run began.
    pub log_start: u64,
    /// Log offset after everything printed so far.
    pub log_end: u64,
}

impl Request {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let packet = Packet::new();
        match *self {
            Self::Hello { version } => packet.tag(1).byte(version),
            Self::Signal(signal) => packet.tag(2).int(signal),
            Self::Stop { signal, timeout_ms } => packet.tag(3).int(signal).long(timeout_ms as u64),
            Self::Resize { rows, columns } => packet.tag(4).int(rows.into()).int(columns.into()),
            Self::WantStdin => packet.tag(5),
            Self::StdinEnd => packet.tag(6),
            Self::Hold(offset) => packet.tag(7).long(offset),
            Self::Want(offset) => packet.tag(8).long(offset),
            Self::Cleaning => packet.tag(9),
            Self::Cleaned => packet.tag(10),
        }
        .0
    }

    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        let (tag, mut rest) = Fields::of(packet)?;
        Some(match tag {
            1 => Self::Hello { version: rest.byte()? },
            2 => Self::Signal(rest.int()?),
            3 => Self::Stop { signal: rest.int()?, timeout_ms: rest.long()? as i64 },
            4 => Self::Resize {
                rows: u16::try_from(rest.int()?).ok()?,
                columns: u16::try_from(rest.int()?).ok()?,
            },
            5 => Self::WantStdin,
            6 => Self::StdinEnd,
            7 => Self::Hold(rest.long()?),
            8 => Self::Want(rest.long()?),
            9 => Self::Cleaning,
            10 => Self::Cleaned,
            _ => return None,
        })
    }
}

impl Reply {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let packet = Packet::new();
        match self {
            Self::Welcome(welcome) => packet
                .tag(129)
                .byte(welcome.version)
                .byte(welcome.terminal.into())
                .byte(welcome.open_stdin.into())
                .long(welcome.log_start)
                .long(welcome.log_end),
            Self::Done(errno) => packet.tag(130).int(*errno),
            Self::Stdin => packet.tag(131),
            Self::NoStdin => packet.tag(132),
            Self::Avail(end) => packet.tag(133).long(*end),
            Self::Started(json) => packet.tag(134).bytes(json),
            Self::Exit { log_end, record } => packet.tag(135).long(*log_end).bytes(record),
        }
        .0
    }

    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        let (tag, mut rest) = Fields::of(packet)?;
        Some(match tag {
            129 => Self::Welcome(Welcome {
                version: rest.byte()?,
                terminal: rest.byte()? != 0,
                open_stdin: rest.byte()? != 0,
                log_start: rest.long()?,
                log_end: rest.long()?,
            }),
            130 => Self::Done(rest.int()?),
            131 => Self::Stdin,
            132 => Self::NoStdin,
            133 => Self::Avail(rest.long()?),
            134 => Self::Started(rest.0.to_vec()),
            135 => Self::Exit { log_end: rest.long()?, record: rest.0.to_vec() },
            _ => return None,
        })
    }
}

/// A packet being put together.
struct Packet(Vec<u8>);

impl Packet {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn tag(self, tag: u8) -> Self {
        self.bytes(&[tag])
    }

    fn byte(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    fn int(self, value: i32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    fn long(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }
}

/// A packet being taken apart.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn of(packet: &'a [u8]) -> Option<(u8, Self)> {
        let (tag, rest) = packet.split_first()?;
        Some((*tag, Self(rest)))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn int(&mut self) -> Option<i32> {
        self.take().map(i32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// Sends one packet, and a descriptor with it. `AGAIN` when the peer does not read and `wait` is
/// not asked for.
pub(crate) fn send(
    socket: impl AsFd,
    packet: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
    wait: bool,
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let mut flags = SendFlags::NOSIGNAL;
    if !wait {
        flags |= SendFlags::DONTWAIT;
    }
    loop {
        match rustix::net::sendmsg(&socket, &[IoSlice::new(packet)], &mut ancillary, flags) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Receives one packet into `buffer`. Length 0 is the end of the connection; `AGAIN` says that
/// nothing is there when `wait` is not asked for.
pub(crate) fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
    wait: bool,
) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    if !wait {
        flags |= RecvFlags::DONTWAIT;
    }
    let length = loop {
        let mut parts = [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(&socket, &mut parts, &mut ancillary, flags) {
            Ok(message) => break message.bytes,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    };
    let mut descriptor = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            descriptor = descriptors.last();
        }
    }
    Ok((length, descriptor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_survives_the_wire_and_stumps_are_refused() {
        let requests = [
            Request::Hello { version: VERSION },
            Request::Signal(15),
            Request::Stop { signal: 37, timeout_ms: -1 },
            Request::Resize { rows: 24, columns: 80 },
            Request::WantStdin,
            Request::StdinEnd,
            Request::Hold(7),
            Request::Want(u64::MAX),
            Request::Cleaning,
            Request::Cleaned,
        ];
        for request in requests {
            let packet = request.encode();
            assert_eq!(Request::decode(&packet), Some(request));
            if packet.len() > 1 {
                assert_eq!(Request::decode(&packet[..packet.len() - 1]), None);
            }
        }
        assert_eq!(Request::decode(&[]), None);
        assert_eq!(Request::decode(&[200]), None);
    }

    #[test]
    fn every_reply_survives_the_wire() {
        let replies = [
            Reply::Welcome(Welcome {
                version: VERSION,
                terminal: true,
                open_stdin: false,
                log_start: 3,
                log_end: 1 << 40,
            }),
            Reply::Done(22),
            Reply::Stdin,
            Reply::NoStdin,
            Reply::Avail(9),
            Reply::Started(b"[]".to_vec()),
            Reply::Exit { log_end: 8, record: b"{}".to_vec() },
        ];
        for reply in replies {
            assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        }
    }
}

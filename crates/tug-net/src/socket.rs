//! One synchronous netlink socket: batches answered once, and dumps.
//!
//! A batch goes out in a single datagram and only its last message asks to be acknowledged; the
//! kernel still reports every failure. A batch that works therefore costs one send and one receive,
//! whatever its length. The socket is never bound: the kernel does that on the first send.

use crate::{Error, Result};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use netlink_packet_core::{NetlinkBuffer, NetlinkSerializable};
use netlink_sys::{Socket, SocketAddr, protocols};
use std::cell::Cell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Longest answer taken; dumps come in pieces of at most this.
const ANSWER: usize = 8192;
/// Batches above this do not fit a socket's default send buffer (`net.core.wmem_default`).
const LARGE: usize = 96 * 1024;

/// A socket to one netlink protocol, in the namespace of the thread that opened it.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
    answer: Vec<u8>,
}

thread_local! {
    static NETFILTER: Cell<Option<Netlink>> = const { Cell::new(None) };
}

/// A socket for nftables and connection tracking: the calling thread's own, opened on first use in
/// the namespace the thread was in then, and kept until the thread ends.
///
/// Kept, because closing one waits until the kernel has freed all that was removed in its
/// namespace lately, by whomever: a grace period of about 10 ms after every unpublished port.
pub(crate) fn netfilter() -> io::Result<Kept> {
    let kept = NETFILTER.try_with(Cell::take).ok().flatten();
    Ok(Kept(Some(match kept {
        Some(netlink) => netlink,
        None => Netlink::open(protocols::NETLINK_NETFILTER)?,
    })))
}

/// The thread's netfilter socket while it is in use.
pub(crate) struct Kept(Option<Netlink>);

impl Deref for Kept {
    type Target = Netlink;

    fn deref(&self) -> &Netlink {
        self.0.as_ref().expect("only dropping takes it out")
    }
}

impl DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut Netlink {
        self.0.as_mut().expect("only dropping takes it out")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(mut netlink) = self.0.take() {
            netlink.answer = Vec::new();
            // Fails only while the thread ends.
            let _ = NETFILTER.try_with(|kept| kept.set(Some(netlink)));
        }
    }
}

/// A request and its flags besides `NLM_F_REQUEST` and `NLM_F_ACK`.
pub(crate) type Request<M> = (M, u16);

/// Why the kernel refused the first message of a batch that it refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) errno: i32,
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        Self::from_raw_os_error(refused.errno)
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self { errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }
}

impl Netlink {
    /// A socket for links, addresses and routes.
    pub(crate) fn route() -> Result<Self> {
        Self::open(protocols::NETLINK_ROUTE)
            .map_err(|source| Error::Socket { protocol: "routing", source })
    }

    fn open(protocol: isize) -> io::Result<Self> {
        Ok(Self { socket: Socket::new(protocol)?, sequence: 0, answer: Vec::new() })
    }

    /// Index of a link in this socket's namespace; an ioctl, not a netlink round trip.
    pub(crate) fn link_index(&self, name: &str) -> io::Result<u32> {
        Ok(rustix::net::netdevice::name_to_index(self.as_fd(), name)?)
    }

    /// Sends all requests at once and waits until the last one is answered. Refusals for which
    /// `tolerate(errno)` holds do not count.
    pub(crate) fn batch<M: NetlinkSerializable>(
        &mut self,
        requests: &[Request<M>],
        tolerate: impl Fn(i32) -> bool,
    ) -> Result<(), Refused> {
        let Some(last) = requests.len().checked_sub(1) else { return Ok(()) };
        let first = self.sequence + 1;
        let mut datagram = Vec::new();
        for (index, (message, flags)) in requests.iter().enumerate() {
            let ack = if index == last { NLM_F_ACK } else { 0 };
            self.append(&mut datagram, message, flags | ack);
        }
        self.send(&datagram)?;
        self.acknowledged(None, first, self.sequence, tolerate)
    }

    /// As [`Self::batch`] for a datagram whose last but one message asks for acknowledgement and
    /// whose first one stands for the whole.
    pub(crate) fn transaction<M: NetlinkSerializable>(
        &mut self,
        begin: &M,
        requests: &[Request<M>],
        end: &M,
    ) -> Result<(), Refused> {
        let Some(last) = requests.len().checked_sub(1) else { return Ok(()) };
        let mut datagram = Vec::new();
        self.append(&mut datagram, begin, 0);
        let first = self.sequence + 1;
        for (index, (message, flags)) in requests.iter().enumerate() {
            let ack = if index == last { NLM_F_ACK } else { 0 };
            self.append(&mut datagram, message, flags | ack);
        }
        let acked = self.sequence;
        self.append(&mut datagram, end, 0);
        self.send(&datagram)?;
        self.acknowledged(Some(first - 1), first, acked, |_| false)
    }

    /// Sends one request and hands its only answer to `read` (message type, payload).
    pub(crate) fn get<M: NetlinkSerializable, T>(
        &mut self,
        request: &M,
        read: impl FnOnce(u16, &[u8]) -> T,
    ) -> io::Result<T> {
        let mut datagram = Vec::new();
        self.append(&mut datagram, request, 0);
        self.send(&datagram)?;
        let length = self.receive(self.sequence)?;
        let (message, _) = split(&self.answer[..length])?;
        match message.errno() {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(read(message.kind, message.payload)),
        }
    }

    /// Sends one dump request and hands every answer to `each` (message type, payload). `false`
    /// when the kernel says that the objects changed meanwhile.
    pub(crate) fn dump<M: NetlinkSerializable>(
        &mut self,
        request: &M,
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<bool> {
        let mut datagram = Vec::new();
        self.append(&mut datagram, request, NLM_F_DUMP);
        self.send(&datagram)?;
        let mut consistent = true;
        loop {
            let length = self.receive(self.sequence)?;
            let mut rest = &self.answer[..length];
            while !rest.is_empty() {
                let (message, others) = split(rest)?;
                consistent &= message.flags & NLM_F_DUMP_INTR == 0;
                match (message.kind, message.errno()) {
                    (_, Some(errno)) => return Err(io::Error::from_raw_os_error(errno)),
                    (NLMSG_DONE, None) => return Ok(consistent),
                    (kind, None) => each(kind, message.payload),
                }
                rest = others;
            }
        }
    }

    fn append<M: NetlinkSerializable>(&mut self, out: &mut Vec<u8>, message: &M, flags: u16) {
        self.sequence += 1;
        let (start, length) = (out.len(), HEADER + message.buffer_len());
        out.resize(start + length.next_multiple_of(4), 0);
        let mut header = NetlinkBuffer::new(&mut out[start..start + length]);
        header.set_length(u32::try_from(length).unwrap_or(u32::MAX));
        header.set_message_type(message.message_type());
        header.set_flags(NLM_F_REQUEST | flags);
        header.set_sequence_number(self.sequence);
        header.set_port_number(0);
        message.serialize(header.payload_mut());
    }

    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        if datagram.len() > LARGE {
            // Forced, for the limit net.core.wmem_max is often no larger than the default.
            let _ = rustix::net::sockopt::set_socket_send_buffer_size_force(
                self.as_fd(),
                datagram.len() * 2,
            );
        }
        self.socket.send_to(datagram, &SocketAddr::new(0, 0), 0).map(drop)
    }

    /// Reads the next datagram. What answers a request before number `oldest` is passed over: it is
    /// left from one that was given up.
    fn receive(&mut self, oldest: u32) -> io::Result<usize> {
        loop {
            self.answer.clear();
            self.answer.reserve(ANSWER);
            match self.socket.recv(&mut self.answer, libc::MSG_TRUNC) {
                Ok(length) => {
                    // Only a refusal that quotes a long request is cut off; its head says enough.
                    let length = length.min(self.answer.len());
                    if split(&self.answer[..length])?.0.sequence >= oldest {
                        return Ok(length);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the answer to message number `last`, and reports the first refusal since `first`.
    /// A refusal of message number `begin` stands for the whole: nothing follows it.
    fn acknowledged(
        &mut self,
        begin: Option<u32>,
        first: u32,
        last: u32,
        tolerate: impl Fn(i32) -> bool,
    ) -> Result<(), Refused> {
        let mut refused = None;
        loop {
            let length = self.receive(begin.unwrap_or(first))?;
            let (message, _) = split(&self.answer[..length])?;
            if let Some(errno) = message.errno()
                && !tolerate(errno)
            {
                if Some(message.sequence) == begin {
                    return Err(Refused { errno });
                }
                refused.get_or_insert(Refused { errno });
            }
            if message.sequence == last {
                return refused.map_or(Ok(()), Err);
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// One message of an answer.
struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// Splits the first message off. Only an error may be cut short: it quotes the request.
fn split(bytes: &[u8]) -> io::Result<(Message<'_>, &[u8])> {
    let header = bytes.get(..HEADER).ok_or(io::ErrorKind::UnexpectedEof)?;
    let header = NetlinkBuffer::new(header);
    let (kind, length) = (header.message_type(), header.length() as usize);
    if length < HEADER || (length > bytes.len() && kind != NLMSG_ERROR) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message = Message {
        kind,
        flags: header.flags(),
        sequence: header.sequence_number(),
        payload: &bytes[HEADER..length.min(bytes.len())],
    };
    Ok((message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

impl Message<'_> {
    /// The errno that an error or the end of a dump carries, if it is a failure.
    fn errno(&self) -> Option<i32> {
        if !matches!(self.kind, NLMSG_ERROR | NLMSG_DONE) {
            return None;
        }
        let code = i32::from_ne_bytes(*self.payload.first_chunk()?);
        (code < 0).then_some(-code)
    }
}

//! The connections to a monitor and what each is waiting for.

use crate::protocol::{self, Reply, Request};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

/// More than this many are not let in; the others wait in the socket's queue.
const MOST: usize = 200;

/// Longest request.
const REQUEST: usize = 64;

/// One client.
#[derive(Debug)]
pub(super) struct Peer {
    socket: OwnedFd,
    /// It started the container and is still there.
    owner: bool,
    /// The log is kept from here on for it; `u64::MAX` when it can bear losses.
    hold: u64,
    /// It waits for the log to grow beyond this.
    want: Option<u64>,
    /// It was given the container's stdin and has not ended it.
    has_stdin: bool,
}

/// All of them, each in a place that stays its own.
#[derive(Debug, Default)]
pub(super) struct Clients {
    peers: Vec<Option<Peer>>,
}

impl Clients {
    /// The starter alone, for whom the log is held from `log_start` on.
    pub(super) fn only(starter: OwnedFd, log_start: u64) -> Self {
        let mut clients = Self::default();
        let place = clients.add(starter);
        if let Some(peer) = clients.peers[place].as_mut() {
            peer.owner = true;
            peer.hold = log_start;
        }
        clients
    }

    pub(super) fn add(&mut self, socket: OwnedFd) -> usize {
        let peer = Peer { socket, owner: false, hold: u64::MAX, want: None, has_stdin: false };
        match self.peers.iter().position(Option::is_none) {
            Some(place) => {
                self.peers[place] = Some(peer);
                place
            }
            None => {
                self.peers.push(Some(peer));
                self.peers.len() - 1
            }
        }
    }

    pub(super) fn get(&mut self, place: usize) -> Option<&mut Peer> {
        self.peers.get_mut(place)?.as_mut()
    }

    pub(super) fn remove(&mut self, place: usize) -> Option<Peer> {
        self.peers.get_mut(place)?.take()
    }

    pub(super) fn is_full(&self) -> bool {
        self.peers.iter().flatten().count() >= MOST
    }

    /// From where on the log has to be kept.
    pub(super) fn hold(&self) -> u64 {
        self.peers.iter().flatten().map(|peer| peer.hold).min().unwrap_or(u64::MAX)
    }

    /// Tells those who wait for it that the log ends at `end` now.
    pub(super) fn announce(&mut self, end: u64) {
        for peer in self.peers.iter_mut().flatten() {
            peer.announce(end);
        }
    }

    /// Takes the owner out.
    pub(super) fn take_owner(&mut self) -> Option<OwnedFd> {
        let place =
            self.peers.iter().position(|peer| peer.as_ref().is_some_and(|peer| peer.owner))?;
        self.remove(place).map(|peer| peer.socket)
    }

    /// Says the same to everybody.
    pub(super) fn tell_all(&self, reply: &Reply) {
        let packet = reply.encode();
        for peer in self.peers.iter().flatten() {
            let _ = protocol::send(&peer.socket, &packet, None, false);
        }
    }
}

/// What came from a client.
pub(super) enum Heard {
    Request(Request),
    /// It left, or says things that make no sense.
    Gone,
    Nothing,
}

impl Peer {
    pub(super) fn hear(&self) -> Heard {
        hear(self.socket.as_fd())
    }

    /// A client that does not take its answers will find its connection closed.
    pub(super) fn answer(&self, reply: &Reply, descriptor: Option<BorrowedFd<'_>>) -> bool {
        protocol::send(&self.socket, &reply.encode(), descriptor, false).is_ok()
    }

    pub(super) fn hold_from(&mut self, offset: u64) {
        self.hold = offset;
    }

    pub(super) fn want(&mut self, offset: u64, end: u64) {
        self.want = Some(offset);
        if self.hold != u64::MAX {
            self.hold = self.hold.max(offset);
        }
        self.announce(end);
    }

    pub(super) fn set_stdin(&mut self, has: bool) {
        self.has_stdin = has;
    }

    /// It started the container.
    pub(super) fn is_owner(&self) -> bool {
        self.owner
    }

    pub(super) fn has_stdin(&self) -> bool {
        self.has_stdin
    }

    fn announce(&mut self, end: u64) {
        if self.want.is_some_and(|offset| offset < end) {
            self.want = None;
            self.answer(&Reply::Avail(end), None);
        }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// One packet from a client's socket, if there is one.
pub(super) fn hear(socket: BorrowedFd<'_>) -> Heard {
    let mut buffer = [0; REQUEST];
    match protocol::receive(socket, &mut buffer, false) {
        Ok((0, _)) => Heard::Gone,
        Ok((length, _)) => Request::decode(&buffer[..length]).map_or(Heard::Gone, Heard::Request),
        Err(Errno::AGAIN) => Heard::Nothing,
        Err(_) => Heard::Gone,
    }
}

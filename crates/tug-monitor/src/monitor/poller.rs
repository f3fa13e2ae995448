//! Waiting: one epoll, and names for what it watches.

use crate::log::Stream;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::io;
use std::time::{Duration, Instant};

/// At most so many events are taken at once; the rest is found by the next wait.
const BATCH: usize = 16;
const FIRST_CLIENT: u64 = 16;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The container's PID 1.
    Exit,
    /// New clients.
    Listener,
    /// One of its outputs.
    Output(Stream),
    /// A client, by its place.
    Client(usize),
}

impl Token {
    fn number(self) -> u64 {
        match self {
            Self::Exit => 0,
            Self::Listener => 1,
            Self::Output(Stream::Stdout) => 2,
            Self::Output(Stream::Stderr) => 3,
            Self::Client(place) => FIRST_CLIENT + place as u64,
        }
    }

    fn of(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Exit,
            1 => Self::Listener,
            2 => Self::Output(Stream::Stdout),
            3 => Self::Output(Stream::Stderr),
            place => Self::Client(place.checked_sub(FIRST_CLIENT)? as usize),
        })
    }
}

#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    pub(super) fn add(&self, fd: impl AsFd, token: Token) -> Result<(), Errno> {
        let data = epoll::EventData::new_u64(token.number());
        epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)
    }

    /// Before a descriptor is closed whose description lives on elsewhere (the terminal's).
    pub(super) fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits for something, at most until the deadline. An empty answer says it is reached.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> io::Result<Vec<Token>> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let mut events = Vec::with_capacity(BATCH);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), left.map(timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(events.iter().filter_map(|event| Token::of(event.data.u64())).collect())
    }
}

fn timespec(left: Duration) -> Timespec {
    Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
}

//! What the container prints, on its way into the log.

use crate::log::{ALIGNMENT, Stream, Writer};
use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// First size of the read buffer: enough for containers that print a line now and then.
const SMALL: usize = 16 << 10;
/// Size of a pipe once its container proves to print much. The default of 64 KiB makes it wait.
const BIG_PIPE: usize = 1 << 20;
/// The buffer is given back when nothing was printed for this long.
const KEEP: Duration = Duration::from_secs(1);

/// The outputs and the one buffer they are read through.
#[derive(Debug)]
pub(super) struct Output {
    sources: [Option<Source>; 2],
    /// The other side of the terminal, if there is one.
    peer: Option<OwnedFd>,
    buffer: Vec<u8>,
    last_read: Instant,
}

/// The reading end of a pipe, or a terminal's master.
#[derive(Debug)]
pub(super) struct Source {
    fd: OwnedFd,
    enlarged: bool,
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Bytes,
    Nothing,
    /// Every writer has closed it.
    End,
}

impl Source {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, enlarged: false }
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Output {
    /// Without sources yet; with the terminal's other side, if the container has one.
    pub(super) fn new(peer: Option<OwnedFd>) -> Self {
        Self { sources: [None, None], peer, buffer: Vec::new(), last_read: Instant::now() }
    }

    pub(super) fn set(&mut self, stream: Stream, source: Source) {
        self.sources[stream.index()] = Some(source);
    }

    /// After its end: to be closed once nobody watches it any more.
    pub(super) fn take(&mut self, stream: Stream) -> Option<Source> {
        self.sources[stream.index()].take()
    }

    /// Whether the container's streams are a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.peer.is_some()
    }

    /// When the buffer is due to be given back.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.buffer.capacity() > 0).then(|| self.last_read + KEEP)
    }

    /// Gives the buffer back if it was idle for long enough.
    pub(super) fn rest(&mut self) {
        if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            self.buffer = Vec::new();
        }
    }

    /// Moves one read's worth of a stream into the log.
    pub(super) fn read(&mut self, stream: Stream, log: &mut Writer) -> Came {
        let Some(source) = &mut self.sources[stream.index()] else { return Came::Nothing };
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(SMALL);
        }
        let begin = align(&mut self.buffer, log.phase(stream));
        match rustix::io::read(&source.fd, spare_capacity(&mut self.buffer)) {
            Ok(0) => {}
            Ok(_) => {
                log.append(stream, super::now(), &self.buffer[begin..]);
                self.last_read = Instant::now();
                if self.buffer.len() == self.buffer.capacity() {
                    source.enlarge();
                    self.grow(log.best_read());
                }
                return Came::Bytes;
            }
            Err(Errno::AGAIN | Errno::INTR) => return Came::Nothing,
            // EIO: nobody has the terminal open any more.
            Err(_) => {}
        }
        Came::End
    }

    /// Everything that is still in the pipes after the last process is gone.
    pub(super) fn drain(&mut self, log: &mut Writer) {
        // With it the terminal ends when all its output is read.
        self.peer = None;
        for stream in [Stream::Stdout, Stream::Stderr] {
            // What somebody outside the container keeps open does not end, but nothing is coming.
            while self.read(stream, log) == Came::Bytes {}
        }
    }

    fn grow(&mut self, size: usize) {
        if self.buffer.capacity() < size {
            self.buffer = Vec::with_capacity(size + ALIGNMENT);
        }
    }
}

impl Source {
    /// Refused for terminals, and beyond the user's limit: then it stays as it is.
    fn enlarge(&mut self) {
        if !self.enlarged {
            self.enlarged = true;
            let _ = rustix::pipe::fcntl_setpipe_size(&self.fd, BIG_PIPE);
        }
    }
}

/// Empties the buffer up to the first place that has this phase in a cache line.
fn align(buffer: &mut Vec<u8>, phase: usize) -> usize {
    let place = buffer.as_ptr() as usize % ALIGNMENT;
    let begin = (phase + ALIGNMENT - place) % ALIGNMENT;
    buffer.clear();
    buffer.resize(begin, 0);
    begin
}

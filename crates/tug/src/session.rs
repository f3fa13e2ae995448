//! The streams of an `exec`: between the caller's and the process', until it ends.
//!
//! One thread, one `poll`. Output is copied as it comes, so a caller who does not read holds up the
//! process, as a pipe would. What the process left in its pipes is printed after its end; what its
//! descendants print later is not waited for.

use crate::foreground;
use crate::quit::Quit;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdin, stdout};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tug_engine::ExecSession;
use tug_monitor::{DetachKeys, RawMode};
use tug_sys::signals::SignalFd;

const WINDOW_CHANGED: i32 = 28;
const BLOCK: usize = 64 << 10;

/// Passes the streams on; answers with the process' exit code, or 0 when the keys detached.
///
/// # Errors
/// When a stream fails, or the process cannot be waited for.
pub(crate) fn attend(session: ExecSession, interactive: bool, keys: Vec<u8>) -> Result<u8, Quit> {
    let mut session = session;
    let terminal = session.terminal.take();
    let raw = match (&terminal, interactive) {
        (Some(_), true) => RawMode::enter(stdin())?,
        _ => None,
    };
    let streams = Streams::of(&mut session, terminal, interactive, keys)?;
    let detached = streams.pump(&session);
    drop(raw);
    match detached? {
        true => {
            // The shell's prompt is to begin a line of its own.
            write_all(stderr(), b"\n")?;
            Ok(0)
        }
        false => Ok(foreground::code(session.wait()?)),
    }
}

/// Where bytes come from and go to.
struct Streams {
    /// Into the process: its stdin, or its terminal.
    sink: Option<OwnedFd>,
    /// Out of it, and which stream of the caller's that is.
    sources: Vec<(OwnedFd, BorrowedFd<'static>)>,
    /// The caller's stdin, until its end.
    input: Option<BorrowedFd<'static>>,
    /// Read and not yet taken by the process.
    pending: Vec<u8>,
    keys: DetachKeys,
    is_terminal: bool,
    window: SignalFd,
}

impl Streams {
    fn of(
        session: &mut ExecSession,
        terminal: Option<OwnedFd>,
        interactive: bool,
        keys: Vec<u8>,
    ) -> Result<Self, Quit> {
        let failed = |error: io::Error| Quit::io("prepare the streams", &error);
        let is_terminal = terminal.is_some();
        let mut sources = Vec::new();
        let mut sink = session.stdin.take();
        if let Some(terminal) = terminal {
            sink = Some(terminal.try_clone().map_err(failed)?);
            sources.push((terminal, stdout()));
        }
        sources.extend(session.stdout.take().map(|fd| (fd, stdout())));
        sources.extend(session.stderr.take().map(|fd| (fd, stderr())));
        if let Some(sink) = &sink {
            rustix::io::ioctl_fionbio(sink, true).map_err(|errno| failed(errno.into()))?;
        }
        Ok(Self {
            input: (interactive && sink.is_some()).then(stdin),
            sink,
            sources,
            pending: Vec::new(),
            keys: DetachKeys::new(keys),
            is_terminal,
            window: SignalFd::new(&[WINDOW_CHANGED]).map_err(failed)?,
        })
    }

    /// True when the keys detached.
    fn pump(mut self, session: &ExecSession) -> Result<bool, Quit> {
        let mut buffer = vec![0; BLOCK];
        loop {
            let ready = self.wait(session)?;
            if ready.window {
                self.resize();
            }
            if ready.input && self.take_input(&mut buffer)? {
                return Ok(true);
            }
            if ready.sink {
                self.give_input()?;
            }
            for index in (0..self.sources.len()).rev() {
                if ready.sources[index] && !self.copy(index, &mut buffer)? {
                    self.sources.remove(index);
                }
            }
            if ready.ended {
                self.drain(&mut buffer)?;
                return Ok(false);
            }
        }
    }

    fn wait(&self, session: &ExecSession) -> Result<Ready, Quit> {
        let mut wanted = vec![
            (Some(session.pidfd()), PollFlags::IN),
            (Some(self.window.as_fd()), PollFlags::IN),
            (self.input.filter(|_| self.pending.is_empty()), PollFlags::IN),
            (
                self.sink.as_ref().filter(|_| !self.pending.is_empty()).map(AsFd::as_fd),
                PollFlags::OUT,
            ),
        ];
        wanted.extend(self.sources.iter().map(|(fd, _)| (Some(fd.as_fd()), PollFlags::IN)));
        let mut fds: Vec<PollFd<'_>> = wanted
            .iter()
            .filter_map(|(fd, flags)| fd.map(|fd| PollFd::from_borrowed_fd(fd, *flags)))
            .collect();
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Quit::io("wait for the process", &errno.into())),
        }
        let mut polled = fds.iter();
        let mut found = wanted.iter().map(|(fd, _)| {
            fd.and_then(|_| polled.next()).is_some_and(|fd| !fd.revents().is_empty())
        });
        let mut next = || found.next().unwrap_or(false);
        Ok(Ready {
            ended: next(),
            window: next(),
            input: next(),
            sink: next(),
            sources: self.sources.iter().map(|_| next()).collect(),
        })
    }

    /// Reads what the caller typed. True when that was the keys.
    fn take_input(&mut self, buffer: &mut [u8]) -> Result<bool, Quit> {
        let Some(input) = self.input else { return Ok(false) };
        let detached = match rustix::io::read(input, &mut *buffer) {
            // A terminal that hung up says EIO.
            Ok(0) | Err(Errno::IO) => {
                self.input = None;
                false
            }
            Ok(count) => self.keys.filter(&buffer[..count], &mut self.pending),
            Err(Errno::INTR | Errno::AGAIN) => false,
            Err(errno) => return Err(Quit::io("read the standard input", &errno.into())),
        };
        self.give_input()?;
        Ok(detached)
    }

    /// Gives the process what it takes now; after the last byte, the end.
    fn give_input(&mut self) -> Result<(), Quit> {
        if let Some(sink) = &self.sink
            && !self.pending.is_empty()
        {
            match rustix::io::write(sink, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                // The process has closed its stdin or ended.
                Err(_) => {
                    self.pending.clear();
                    self.input = None;
                }
            }
        }
        if self.input.is_none() && self.pending.is_empty() && !self.is_terminal {
            self.sink = None;
        }
        Ok(())
    }

    /// Copies one block of output. False at its end.
    fn copy(&self, index: usize, buffer: &mut [u8]) -> Result<bool, Quit> {
        let (source, target) = &self.sources[index];
        match rustix::io::read(source, &mut *buffer) {
            // EIO: nobody has the terminal's other side open any more.
            Ok(0) | Err(Errno::IO) => Ok(false),
            Ok(count) => write_all(*target, &buffer[..count]).map(|()| true),
            Err(Errno::INTR | Errno::AGAIN) => Ok(true),
            Err(errno) => Err(Quit::io("read the output of the process", &errno.into())),
        }
    }

    /// What is left after the end, without waiting for more.
    fn drain(&mut self, buffer: &mut [u8]) -> Result<(), Quit> {
        for index in 0..self.sources.len() {
            let has_more = |fd: &OwnedFd| {
                let mut fds = [PollFd::new(fd, PollFlags::IN)];
                let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
                matches!(poll(&mut fds, Some(&now)), Ok(1))
                    && fds[0].revents().contains(PollFlags::IN)
            };
            while has_more(&self.sources[index].0) && self.copy(index, buffer)? {}
        }
        Ok(())
    }

    fn resize(&self) {
        while let Ok(Some(_)) = self.window.next() {}
        if let (true, Some(terminal)) = (self.is_terminal, &self.sink)
            && let Ok(size) = rustix::termios::tcgetwinsize(stdout())
        {
            let _ = rustix::termios::tcsetwinsize(terminal, size);
        }
    }
}

/// What `poll` found.
struct Ready {
    ended: bool,
    window: bool,
    input: bool,
    sink: bool,
    sources: Vec<bool>,
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Quit> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None);
            }
            Err(errno) => return Err(Quit::io("write the output of the process", &errno.into())),
        }
    }
    Ok(())
}

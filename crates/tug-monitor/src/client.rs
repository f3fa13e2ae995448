//! A connection to a container's monitor.

use crate::log::{Item, Reader};
use crate::protocol::{self, MAX_PACKET, Reply, Request, VERSION, Welcome};
use crate::{Error, ExitRecord, layout};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use tug_sys::file_lock;

/// A client of a running container's monitor.
///
/// Calls that ask something wait for the answer; what the monitor says in between (that there is more
/// output, that the container has ended) is remembered and found by the next call that wants it.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    welcome: Welcome,
    /// The last end of the log that was told.
    available: u64,
    /// A `Want` is out whose `Avail` has not come.
    asked: bool,
    ended: Option<Ended>,
}

/// How a run ended, as told by its monitor.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The same as is in `exit.json` by now.
    pub(crate) record: ExitRecord,
    /// Where the run's output ends in the log.
    pub(crate) log_end: u64,
    /// Given to the owner (the one who started the container and is still connected): it is the one
    /// to clean up.
    pub(crate) claim: Option<Claim>,
}

/// The right and the duty to clean up after a run: bring the store up to date, remove the container
/// for `--rm`. Carries the lock of the run directory, so that nobody else does meanwhile. Dropped
/// without [`Claim::done`] it lets the lock go; and when its [`Client`] is dropped too, the monitor
/// starts the reaper.
#[derive(Debug)]
pub struct Claim {
    socket: OwnedFd,
    lock: OwnedFd,
}

impl Claim {
    /// The lock, held as long as the claim or until [`Claim::unlock`].
    pub fn lock(&self) -> &OwnedFd {
        &self.lock
    }

    /// Lets the lock go and keeps the duty: for a clean-up that takes the lock by itself.
    pub fn unlock(&self) {
        let _ = file_lock::unlock(self.lock.as_fd());
    }

    /// Everything is cleaned up: lets the lock go, and the monitor end.
    pub fn done(self) {
        let _ = protocol::send(&self.socket, &Request::Cleaned.encode(), None, false);
    }

    /// Takes the duty over: from here on the monitor waits for the end of it.
    fn take(socket: BorrowedFd<'_>, lock: OwnedFd) -> Option<Self> {
        // The order matters: a monitor that has tired of waiting closes the socket before it lets
        // the lock go, so either this is refused, or it knows and waits.
        protocol::send(socket, &Request::Cleaning.encode(), None, true).ok()?;
        let held = file_lock::try_lock(lock.as_fd()).unwrap_or(false);
        let socket = socket.try_clone_to_owned().ok()?;
        held.then_some(Self { socket, lock })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.unlock();
    }
}

/// What a wait for output ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The log is longer than the offset asked about.
    More,
    /// The container has ended and the log goes no further.
    End,
}

impl Client {
    /// Connects to the monitor of the container whose run directory this is. Waits while the
    /// container is still being set up.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when there is no monitor or the set-up failed, [`Error::Version`] when
    /// it is of another version, [`Error::Connect`] and [`Error::Talk`].
    pub fn connect(run_dir: &Path) -> Result<Self, Error> {
        let path = layout::socket(run_dir);
        let socket = dial(run_dir).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NotRunning,
            _ => Error::Connect { path, source },
        })?;
        let hello = Request::Hello { version: VERSION };
        let nothing = Welcome {
            version: VERSION,
            terminal: false,
            open_stdin: false,
            log_start: 0,
            log_end: 0,
        };
        let mut client = Self::over(socket, nothing);
        let greeted = client.request(&hello).and_then(|()| client.answer());
        match greeted {
            Ok((Reply::Welcome(welcome), _)) if welcome.version == VERSION => {
                client.available = welcome.log_end;
                client.welcome = welcome;
                Ok(client)
            }
            Ok((Reply::Welcome(welcome), _)) => {
                Err(Error::Version { ours: VERSION, theirs: welcome.version })
            }
            Ok(_) => Err(out_of_place()),
            // It ended between the connect and the answer.
            Err(Error::MonitorGone) => Err(Error::NotRunning),
            Err(error) => Err(error),
        }
    }

    /// The connection the starter of a monitor has from the beginning.
    pub(crate) fn over(socket: OwnedFd, welcome: Welcome) -> Self {
        Self { socket, welcome, available: welcome.log_end, asked: false, ended: None }
    }

    /// Where this run's output begins.
    pub(crate) fn begin_at(&mut self, log_start: u64) {
        self.welcome.log_start = log_start;
        self.welcome.log_end = self.welcome.log_end.max(log_start);
        self.available = self.available.max(log_start);
    }

    /// What the monitor said about the container when this began.
    pub fn welcome(&self) -> Welcome {
        self.welcome
    }

    /// Sends a signal to PID 1 of the container, and to nobody else.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when it has ended, [`Error::Signal`] for numbers that are no signals.
    pub fn signal(&mut self, signal: i32) -> Result<(), Error> {
        self.request(&Request::Signal(signal))?;
        self.done(|source| Error::Signal { signal, source })
    }

    /// Begins to stop the container: this signal, then SIGKILL when so many milliseconds are over
    /// (never, when negative), which the monitor sees to by itself from here on. [`Client::wait`]
    /// tells when it has ended. A container in which nobody takes the signal is killed at once.
    ///
    /// # Errors
    /// As [`Client::signal`].
    pub fn stop(&mut self, signal: i32, timeout_ms: i64) -> Result<(), Error> {
        self.request(&Request::Stop { signal, timeout_ms })?;
        self.done(|source| Error::Signal { signal, source })
    }

    /// Sets the size of the container's terminal. Without effect when it has none.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Resize`].
    pub fn resize(&mut self, rows: u16, columns: u16) -> Result<(), Error> {
        self.request(&Request::Resize { rows, columns })?;
        self.done(Error::Resize)
    }

    /// A copy of the write end of the container's stdin, or of its terminal's master, to be written
    /// directly; non-blocking. `None` when the container has no open stdin.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Talk`].
    pub fn take_stdin(&mut self) -> Result<Option<OwnedFd>, Error> {
        self.request(&Request::WantStdin)?;
        match self.answer()? {
            (Reply::Stdin, Some(stdin)) => Ok(Some(stdin)),
            (Reply::NoStdin, _) => Ok(None),
            _ => Err(out_of_place()),
        }
    }

    /// Says that this client has written all it will. The container sees the end of its stdin if
    /// it was started to end with its first client's (`run -i`).
    ///
    /// # Errors
    /// [`Error::Talk`].
    pub fn end_stdin(&mut self) -> Result<(), Error> {
        self.request(&Request::StdinEnd)
    }

    /// Waits for the end of the container. An owner keeps its claim for [`Client::take_claim`].
    ///
    /// # Errors
    /// [`Error::MonitorGone`] when the monitor was killed: reconcile.
    pub fn wait(&mut self) -> Result<ExitRecord, Error> {
        loop {
            if let Some(ended) = &self.ended {
                return Ok(ended.record.clone());
            }
            self.hear(true)?;
        }
    }

    /// The owner's duty to clean up, once the container has ended.
    pub fn take_claim(&mut self) -> Option<Claim> {
        self.ended.as_mut()?.claim.take()
    }

    /// Waits until the log is longer than `offset`, everything before which this client has
    /// printed.
    ///
    /// # Errors
    /// [`Error::MonitorGone`], [`Error::Talk`].
    pub fn wait_for_output(&mut self, offset: u64) -> Result<Wake, Error> {
        loop {
            if self.available > offset {
                return Ok(Wake::More);
            }
            if self.ended.is_some() {
                return Ok(Wake::End);
            }
            self.ask(offset)?;
            self.hear(true)?;
        }
    }

    /// Hands out everything `reader` finds until the container has ended, or the reader is past its
    /// `until`. `None` is handed out before every wait: the moment to flush.
    ///
    /// # Errors
    /// What `each` answers, [`Error::Log`], [`Error::MonitorGone`] after all output.
    pub fn follow<E: From<Error>>(
        &mut self,
        reader: &mut Reader,
        mut each: impl FnMut(Option<Item<'_>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut missing_at = None;
        loop {
            while let Some(item) = reader.next_chunk()? {
                each(Some(item))?;
            }
            each(None)?;
            let offset = reader.offset();
            let missing = missing_at.replace(offset) == Some(offset);
            if reader.is_past_until() || missing && self.ended.is_some() {
                return Ok(());
            }
            if missing && self.available > offset {
                // Somebody took the log away. Only the end is worth waiting for.
                while self.ended.is_none() {
                    self.hear(true)?;
                }
            } else if self.wait_for_output(offset)? == Wake::End {
                return Ok(());
            }
        }
    }

    // ---- for the attach loop, which does the waiting itself ----

    /// Asks to be told once the log is longer than `offset`, unless that is asked already.
    pub(crate) fn ask(&mut self, offset: u64) -> Result<(), Error> {
        if self.asked || self.ended.is_some() {
            return Ok(());
        }
        self.request(&Request::Want(offset))?;
        self.asked = true;
        Ok(())
    }

    /// Has the log kept from `offset` on, and lets rotation take what is before.
    pub(crate) fn hold(&mut self, offset: u64) -> Result<(), Error> {
        if self.ended.is_some() { Ok(()) } else { self.request(&Request::Hold(offset)) }
    }

    /// Sends a signal and does not wait for the answer.
    pub(crate) fn post_signal(&mut self, signal: i32) -> Result<(), Error> {
        self.request(&Request::Signal(signal))
    }

    /// Sets the size and does not wait for the answer.
    pub(crate) fn post_size(&mut self, rows: u16, columns: u16) -> Result<(), Error> {
        self.request(&Request::Resize { rows, columns })
    }

    /// Takes in everything that has arrived. `false` when the monitor is gone.
    pub(crate) fn listen(&mut self) -> Result<bool, Error> {
        loop {
            match self.hear(false) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(true),
                Err(Error::MonitorGone) => return Ok(self.ended.is_some()),
                Err(error) => return Err(error),
            }
        }
    }

    /// How the container ended, once it is known.
    pub(crate) fn ended(&mut self) -> Option<&mut Ended> {
        self.ended.as_mut()
    }

    /// The last known end of the log.
    pub(crate) fn available(&self) -> u64 {
        self.available
    }

    fn request(&mut self, request: &Request) -> Result<(), Error> {
        if self.ended.is_some() {
            return Err(Error::NotRunning);
        }
        match protocol::send(&self.socket, &request.encode(), None, true) {
            Ok(()) => Ok(()),
            // Its last words may still be waiting here.
            Err(Errno::PIPE | Errno::CONNRESET) => match self.hear(false) {
                Ok(_) if self.ended.is_some() => Err(Error::NotRunning),
                _ => Err(Error::MonitorGone),
            },
            Err(errno) => Err(Error::Talk(errno.into())),
        }
    }

    fn done(&mut self, failed: impl Fn(io::Error) -> Error) -> Result<(), Error> {
        match self.answer()? {
            (Reply::Done(0), _) => Ok(()),
            (Reply::Done(errno), _) if errno == Errno::SRCH.raw_os_error() => {
                Err(Error::NotRunning)
            }
            (Reply::Done(errno), _) => Err(failed(io::Error::from_raw_os_error(errno))),
            _ => Err(out_of_place()),
        }
    }

    /// The next reply that is an answer.
    pub(crate) fn answer(&mut self) -> Result<(Reply, Option<OwnedFd>), Error> {
        loop {
            match self.hear(true)? {
                Some((Reply::Avail(_), _)) | None => {}
                Some((Reply::Exit { .. }, _)) => return Err(Error::NotRunning),
                Some(answer) => return Ok(answer),
            }
        }
    }

    /// Takes in one packet; remembers what it says about output and the end.
    fn hear(&mut self, wait: bool) -> Result<Option<(Reply, Option<OwnedFd>)>, Error> {
        let mut buffer = [0; MAX_PACKET];
        let (length, descriptor) = match protocol::receive(&self.socket, &mut buffer, wait) {
            Ok((0, _)) | Err(Errno::CONNRESET) => return Err(Error::MonitorGone),
            Ok(received) => received,
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(Error::Talk(errno.into())),
        };
        let reply = Reply::decode(&buffer[..length]).ok_or_else(out_of_place)?;
        match &reply {
            Reply::Avail(end) => {
                self.available = *end;
                self.asked = false;
            }
            Reply::Exit { log_end, record } => {
                let record =
                    serde_json::from_slice(record).map_err(|error| Error::Talk(error.into()))?;
                let claim = descriptor.and_then(|lock| Claim::take(self.socket.as_fd(), lock));
                self.available = *log_end;
                self.ended = Some(Ended { record, log_end: *log_end, claim });
                return Ok(Some((reply, None)));
            }
            _ => {}
        }
        Ok(Some((reply, descriptor)))
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A reply nobody asked for: a monitor of another version, or a defect.
fn out_of_place() -> Error {
    Error::Talk(io::Error::new(io::ErrorKind::InvalidData, "a reply out of place"))
}

/// Connects through a descriptor of the directory: a socket's name has room for 108 bytes only.
fn dial(run_dir: &Path) -> io::Result<OwnedFd> {
    let dir = std::fs::File::open(run_dir)?;
    let address = socket_address(dir.as_fd())?;
    let flags = SocketFlags::CLOEXEC;
    let family = AddressFamily::UNIX;
    let socket = rustix::net::socket_with(family, SocketType::SEQPACKET, flags, None)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// The socket's address as seen from a descriptor of its directory.
pub(crate) fn socket_address(dir: BorrowedFd<'_>) -> io::Result<SocketAddrUnix> {
    let path = layout::socket(Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())));
    Ok(SocketAddrUnix::new(path)?)
}

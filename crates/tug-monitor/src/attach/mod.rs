//! A container in the foreground: the caller's streams, terminal and signals against the
//! container's.
//!
//! One thread, one `poll`. Output is read from the log, so a caller that cannot print it fast enough
//! holds nobody up; input is written straight into the container's stdin or terminal.

mod keys;
mod outlet;
mod output;
mod terminal;

pub use keys::{DetachKeys, UnknownKey};
pub use terminal::{RawMode, size_of};

use crate::client::{Claim, Client};
use crate::log::Reader;
use crate::{Error, ExitRecord};
use output::{Output, Printed};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tug_sys::signals::SignalFd;

/// Bytes taken from the caller's stdin at once.
const INPUT: usize = 64 << 10;

/// So many SIGINTs and SIGTERMs end the attach itself, as docker does: PID 1 often ignores them.
const MANY_INTERRUPTS: u32 = 3;

const INTERRUPT: i32 = 2;
const TERMINATE: i32 = 15;
const PIPE: i32 = 13;
const WINDOW: i32 = 28;
/// HUP, INT, QUIT, USR1, USR2, ALRM, TERM: what people and supervisors send to a foreground process.
/// Job control (TSTP, TTIN, TTOU, CONT) stays with the caller.
const PROXIED: [i32; 7] = [1, INTERRUPT, 3, 10, 12, 14, TERMINATE];

/// Everything an attach needs to know.
#[derive(Debug)]
pub struct Attach<'a> {
    /// The connection.
    pub client: Client,
    /// The log, at where printing is to begin.
    pub reader: Reader,
    /// Where input comes from, if the container is to get any.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Where the container's stdout (or terminal) goes.
    pub stdout: Option<BorrowedFd<'a>>,
    /// Where its stderr goes.
    pub stderr: Option<BorrowedFd<'a>>,
    /// The container has a terminal: raw mode, sizes, detach keys.
    pub tty: bool,
    /// The keys that detach, as bytes; only looked for with `tty`, empty for none.
    pub detach_keys: Vec<u8>,
    /// Pass signals on to the container instead of ending.
    pub sig_proxy: bool,
    /// Make a program that is running already draw its screen again, by changing the terminal's
    /// size for a moment.
    pub redraw: bool,
}

/// Why an attach ended.
#[derive(Debug)]
pub enum AttachEnd {
    /// The container has ended, and all its output is printed.
    Exited(ExitRecord),
    /// The detach keys were typed.
    Detached,
    /// The monitor was killed: reconcile. What the log has is printed.
    MonitorGone,
    /// Nobody reads the output any more. The container runs on; the connection can still be used.
    OutputClosed,
    /// A signal (without `sig_proxy`), or the third SIGINT or SIGTERM: the caller is to end by it.
    Signalled(i32),
}

impl Attach<'_> {
    /// Runs until there is nothing more to do here. `on_end` is called as soon as the container has
    /// ended (and the rest of its log is held open), before the rest is printed: the place for the
    /// owner's clean-up, which must not wait for a slow reader.
    ///
    /// # Errors
    /// [`Error::Terminal`], [`Error::Talk`], [`Error::Log`].
    pub fn run(
        &mut self,
        on_end: &mut dyn FnMut(&ExitRecord, Option<Claim>),
    ) -> Result<AttachEnd, Error> {
        let signals = self.catch_signals()?;
        let raw = match self.stdin {
            Some(stdin) if self.tty => RawMode::enter(stdin)?,
            _ => None,
        };
        let result = Pump::new(self)?.run(&signals, on_end);
        drop(raw);
        // A SIGPIPE of ours that waits here was answered by `OutputClosed`.
        while let Ok(Some(_)) = signals.next() {}
        result
    }

    fn catch_signals(&self) -> Result<SignalFd, Error> {
        let mut signals = PROXIED.to_vec();
        signals.push(PIPE);
        if self.tty {
            signals.push(WINDOW);
        }
        SignalFd::new(&signals)
            .map_err(|source| Error::Terminal { step: "take signals as events", source })
    }
}

/// The loop's state.
struct Pump<'a, 'b> {
    attach: &'b mut Attach<'a>,
    output: Output<'a>,
    /// Which descriptor input comes from, until its end.
    source: Option<BorrowedFd<'a>>,
    /// The container's end of the input.
    sink: Option<OwnedFd>,
    keys: DetachKeys,
    /// Input that the container did not take yet.
    input: Vec<u8>,
    /// The offset at which the log was said to go on, but did not.
    missing_at: Option<u64>,
    monitor_gone: bool,
    ended: Option<ExitRecord>,
    interrupts: u32,
}

/// What `poll` found.
struct Ready {
    monitor: bool,
    signal: bool,
    input: bool,
    sink: bool,
}

impl<'a, 'b> Pump<'a, 'b> {
    fn new(attach: &'b mut Attach<'a>) -> Result<Self, Error> {
        let mut sink = None;
        if attach.stdin.is_some() {
            sink = match attach.client.take_stdin() {
                Ok(sink) => sink,
                // Its end is known already, or will be to the loop.
                Err(Error::NotRunning | Error::MonitorGone) => None,
                Err(error) => return Err(error),
            };
        }
        let keys = if attach.tty { attach.detach_keys.clone() } else { Vec::new() };
        Ok(Self {
            output: Output::new(attach.stdout, attach.stderr, attach.reader.offset()),
            source: attach.stdin.filter(|_| sink.is_some()),
            sink,
            keys: DetachKeys::new(keys),
            input: Vec::new(),
            missing_at: None,
            monitor_gone: false,
            ended: None,
            interrupts: 0,
            attach,
        })
    }

    fn run(
        mut self,
        signals: &SignalFd,
        on_end: &mut dyn FnMut(&ExitRecord, Option<Claim>),
    ) -> Result<AttachEnd, Error> {
        let offset = self.attach.reader.offset();
        self.tell(|client| client.hold(offset))?;
        self.first_size()?;
        loop {
            self.notice_end(on_end);
            let printed = self.output.print(&mut self.attach.reader)?;
            match printed {
                Printed::Closed => return Ok(AttachEnd::OutputClosed),
                Printed::All if self.ended.is_some() || self.monitor_gone => {
                    return Ok(self.ended.map_or(AttachEnd::MonitorGone, AttachEnd::Exited));
                }
                Printed::All => self.ask_for_more()?,
                Printed::Some => self.report_progress()?,
                Printed::Stuck => {}
            }
            // Asking may have shown that there is nobody to wait for.
            let go_on = self.monitor_gone && printed == Printed::All;
            let ready = self.poll(signals, go_on || printed == Printed::Some)?;
            if ready.signal
                && let Some(end) = self.take_signals(signals)?
            {
                return Ok(end);
            }
            if ready.monitor {
                self.monitor_gone |= !self.attach.client.listen()?;
            }
            if (ready.input || ready.sink) && self.feed(ready.input)? {
                return Ok(AttachEnd::Detached);
            }
        }
    }

    /// Passes the news of the end on, once, with the rest of the log secured before anybody may
    /// remove it.
    fn notice_end(&mut self, on_end: &mut dyn FnMut(&ExitRecord, Option<Claim>)) {
        if self.ended.is_some() {
            return;
        }
        let Some(ended) = self.attach.client.ended() else { return };
        let (record, claim, log_end) = (ended.record.clone(), ended.claim.take(), ended.log_end);
        self.attach.reader.pin(log_end);
        on_end(&record, claim);
        self.ended = Some(record);
        self.source = None;
        self.sink = None;
    }

    fn ask_for_more(&mut self) -> Result<(), Error> {
        let offset = self.attach.reader.offset();
        if self.attach.client.available() > offset && self.missing_at == Some(offset) {
            // Somebody took the log away. Asking again would only turn in circles.
            return Ok(());
        }
        self.missing_at = Some(offset);
        self.tell(|client| client.ask(offset))
    }

    fn report_progress(&mut self) -> Result<(), Error> {
        match self.output.progress(self.attach.reader.offset()) {
            Some(printed) => self.tell(|client| client.hold(printed)),
            None => Ok(()),
        }
    }

    /// A request to a monitor that may just have gone: the loop finds that out by itself.
    fn tell(
        &mut self,
        request: impl FnOnce(&mut Client) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match request(&mut self.attach.client) {
            Err(Error::MonitorGone | Error::NotRunning) => {
                self.monitor_gone = self.attach.client.ended().is_none();
                Ok(())
            }
            other => other,
        }
    }

    /// Waits for something to do; only looks when there is more to print anyway.
    fn poll(&self, signals: &SignalFd, only_look: bool) -> Result<Ready, Error> {
        let connected = !self.monitor_gone && self.ended.is_none();
        let monitor = connected.then(|| self.attach.client.as_fd());
        let source = self.source.filter(|_| self.input.is_empty());
        let to_sink = if self.input.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let sink = self.sink.as_ref().map(AsFd::as_fd);
        let wanted = [
            (Some(signals.as_fd()), PollFlags::IN),
            (monitor, PollFlags::IN),
            (source, PollFlags::IN),
            (sink, to_sink),
            (self.output.stuck_on(), PollFlags::OUT),
        ];
        let mut fds: Vec<PollFd<'_>> = wanted
            .iter()
            .filter_map(|(fd, flags)| fd.map(|fd| PollFd::from_borrowed_fd(fd, *flags)))
            .collect();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match rustix::event::poll(&mut fds, only_look.then_some(&now)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(Error::Terminal { step: "wait for events", source: errno.into() });
            }
        }
        let mut found = fds.iter();
        let ready = wanted.map(|(fd, _)| {
            fd.and_then(|_| found.next()).is_some_and(|fd| !fd.revents().is_empty())
        });
        Ok(Ready { signal: ready[0], monitor: ready[1], input: ready[2], sink: ready[3] })
    }

    /// Moves input on. `true` when the detach keys were typed.
    fn feed(&mut self, readable: bool) -> Result<bool, Error> {
        let mut detached = false;
        if readable && let Some(source) = self.source {
            let mut typed = vec![0; INPUT];
            match rustix::io::read(source, &mut typed[..]) {
                // A terminal that hung up says EIO.
                Ok(0) | Err(Errno::IO) => self.source = None,
                Ok(count) => detached = self.keys.filter(&typed[..count], &mut self.input),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => {
                    let step = "read the standard input";
                    return Err(Error::Terminal { step, source: errno.into() });
                }
            }
        }
        self.write_input();
        if self.source.is_none() && self.input.is_empty() && self.sink.take().is_some() {
            self.tell(Client::end_stdin)?;
        }
        Ok(detached)
    }

    /// Gives the container as much input as it takes now.
    fn write_input(&mut self) {
        let Some(sink) = &self.sink else { return };
        let mut done = 0;
        while done < self.input.len() {
            match rustix::io::write(sink, &self.input[done..]) {
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // It has closed its stdin: what is typed from here on goes nowhere.
                Err(_) => {
                    done = self.input.len();
                    self.source = None;
                }
            }
        }
        self.input.drain(..done);
    }

    /// Passes signals on, or ends by them.
    fn take_signals(&mut self, signals: &SignalFd) -> Result<Option<AttachEnd>, Error> {
        let failed = |source| Error::Terminal { step: "read a signal", source };
        while let Some(signal) = signals.next().map_err(failed)? {
            match signal {
                PIPE => {}
                WINDOW => self.resize(0)?,
                _ => {
                    self.interrupts += u32::from(matches!(signal, INTERRUPT | TERMINATE));
                    if !self.attach.sig_proxy || self.interrupts >= MANY_INTERRUPTS {
                        return Ok(Some(AttachEnd::Signalled(signal)));
                    }
                    self.tell(|client| client.post_signal(signal))?;
                }
            }
        }
        Ok(None)
    }

    /// Tells the container's terminal the size of ours.
    fn first_size(&mut self) -> Result<(), Error> {
        if !self.attach.tty {
            return Ok(());
        }
        if self.attach.redraw {
            self.resize(1)?;
        }
        self.resize(0)
    }

    fn resize(&mut self, more_rows: u16) -> Result<(), Error> {
        let ours = [self.attach.stdout, self.attach.stdin].into_iter().flatten();
        match ours.filter_map(size_of).next() {
            Some((rows, columns)) => {
                let rows = rows.saturating_add(more_rows);
                self.tell(|client| client.post_size(rows, columns))
            }
            None => Ok(()),
        }
    }
}

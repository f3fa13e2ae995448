//! The life of a container, event by event.

use super::clients::{Clients, Heard};
use super::output::{Came, Output};
use super::poller::{Poller, Token};
use super::stop::{KILL, Target};
use super::undo::Ground;
use super::with_teardown;
use crate::log::{Stream, Writer};
use crate::protocol::{MAX_PACKET, Reply, Request, VERSION, Welcome};
use crate::{ExitRecord, layout};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::{WaitId, WaitIdOptions};
use rustix::termios::Winsize;
use std::io;
use std::os::fd::AsFd;
use std::time::Instant;
use tug_types::Failure;

/// A running container and everybody who is interested in it.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) poller: Poller,
    pub(super) listener: OwnedFd,
    /// New clients are let in.
    pub(super) listening: bool,
    pub(super) log: Writer,
    pub(super) output: Output,
    /// The writing end of its stdin, or its terminal.
    pub(super) stdin: Option<OwnedFd>,
    /// stdin ends when the first client that had it leaves.
    pub(super) stdin_once: bool,
    /// It is killed when its owner leaves.
    pub(super) ends_with_owner: bool,
    pub(super) target: Target,
    pub(super) clients: Clients,
    /// When to kill.
    pub(super) deadline: Option<Instant>,
    pub(super) started_at: i64,
    pub(super) log_start: u64,
    pub(super) warnings: Vec<String>,
}

/// Everything that can happen.
#[derive(Debug)]
enum Event {
    /// PID 1 has ended.
    Exited,
    /// Somebody connects.
    Knock,
    /// An output has something to read, or has ended.
    Printed(Stream),
    /// A client says something.
    Said(usize, Request),
    /// A client has left.
    Left(usize),
    /// A time has come.
    Due,
}

/// A container that has ended, before anything is taken down.
#[derive(Debug)]
pub(super) struct Ended {
    exit_code: i32,
    started_at: i64,
    finished_at: i64,
    /// Where its output ends.
    pub(super) log_end: u64,
    /// Those to be told.
    pub(super) clients: Clients,
    /// Open until the end is recorded: whoever connects meanwhile waits for that, and would take a
    /// container that nobody answers for to be starting or stopped.
    pub(super) listener: OwnedFd,
}

impl Watch {
    /// Tells the starter that the container runs, and makes it the owner.
    pub(super) fn introduce(&mut self, ground: &Ground, starter: OwnedFd) {
        self.clients = Clients::only(starter, self.log_start);
        let state = std::fs::File::open(layout::state(&ground.run_dir));
        let mut warnings = serde_json::to_vec(&self.warnings).unwrap_or_default();
        if warnings.len() > MAX_PACKET - 16 {
            warnings = b"[]".to_vec();
        }
        self.warnings = Vec::new();
        let Some(peer) = self.clients.get(0) else { return };
        let descriptor = state.as_ref().ok().map(AsFd::as_fd);
        peer.answer(&Reply::Started(warnings), descriptor);
        if self.poller.add(&*peer, Token::Client(0)).is_err() {
            self.clients.remove(0);
        }
        self.log.hold_from(self.clients.hold());
    }

    /// Until the container's end and the last byte of its output.
    pub(super) fn watch(mut self) -> Ended {
        let mut running = true;
        while running {
            let deadline = [self.deadline, self.output.deadline()].into_iter().flatten().min();
            let tokens = match self.poller.wait(deadline) {
                Ok(tokens) => tokens,
                // It cannot fail on descriptors that are open; if it does, no busy loop.
                Err(_) => break,
            };
            for token in &tokens {
                if let Some(event) = self.event(*token) {
                    running &= self.apply(event);
                }
            }
            if tokens.is_empty() {
                self.apply(Event::Due);
            }
        }
        self.end()
    }

    fn event(&mut self, token: Token) -> Option<Event> {
        Some(match token {
            Token::Exit => Event::Exited,
            Token::Listener => Event::Knock,
            Token::Output(stream) => Event::Printed(stream),
            Token::Client(place) => match self.clients.get(place)?.hear() {
                Heard::Request(request) => Event::Said(place, request),
                Heard::Gone => Event::Left(place),
                Heard::Nothing => return None,
            },
        })
    }

    /// The one place where anything changes. `false` when the container has ended.
    fn apply(&mut self, event: Event) -> bool {
        match event {
            Event::Exited => return false,
            Event::Knock => self.let_in(),
            Event::Printed(stream) => self.printed(stream),
            Event::Said(place, request) => {
                if !self.answer(place, request) {
                    self.left(place);
                }
            }
            Event::Left(place) => self.left(place),
            Event::Due => {
                if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    self.deadline = None;
                    let _ = self.target.signal(KILL);
                }
                self.output.rest();
            }
        }
        true
    }

    fn printed(&mut self, stream: Stream) {
        match self.output.read(stream, &mut self.log) {
            Came::Bytes => self.clients.announce(self.log.end()),
            Came::End => {
                if let Some(source) = self.output.take(stream) {
                    self.poller.remove(&source);
                }
            }
            Came::Nothing => {}
        }
    }

    fn let_in(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match rustix::net::accept_with(&self.listener, flags) {
            Ok(socket) => socket,
            // It has thought better of it.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return,
            // No descriptors, no memory: until somebody leaves.
            Err(_) => return self.set_listening(false),
        };
        let place = self.clients.add(socket);
        let Some(peer) = self.clients.get(place) else { return };
        if self.poller.add(&*peer, Token::Client(place)).is_err() {
            self.clients.remove(place);
        }
        self.set_listening(!self.clients.is_full());
    }

    fn left(&mut self, place: usize) {
        let Some(peer) = self.clients.remove(place) else { return };
        self.log.hold_from(self.clients.hold());
        if peer.has_stdin() && self.stdin_once {
            self.stdin = None;
        }
        if peer.is_owner() && self.ends_with_owner {
            // It may have ended by itself just now.
            let _ = self.target.signal(KILL);
        }
        drop(peer);
        self.set_listening(true);
    }

    /// Others wait in the socket's queue meanwhile.
    fn set_listening(&mut self, listening: bool) {
        match (self.listening, listening) {
            (false, true) => {
                self.listening = self.poller.add(&self.listener, Token::Listener).is_ok();
            }
            (true, false) => {
                self.poller.remove(&self.listener);
                self.listening = false;
            }
            _ => {}
        }
    }

    /// Does what a client asks. `false` when it is to be dropped.
    fn answer(&mut self, place: usize, request: Request) -> bool {
        let log_end = self.log.end();
        let reply = match request {
            Request::Hello { .. } => Reply::Welcome(Welcome {
                version: VERSION,
                terminal: self.output.is_terminal(),
                open_stdin: self.stdin.is_some(),
                log_start: self.log_start,
                log_end,
            }),
            Request::Signal(signal) => done(self.target.signal(signal)),
            Request::Stop { signal, timeout_ms } => done(self.stop(signal, timeout_ms)),
            Request::Resize { rows, columns } => done(self.resize(rows, columns)),
            Request::WantStdin => return self.lend_stdin(place),
            Request::StdinEnd => {
                if self.stdin_once {
                    self.stdin = None;
                }
                return true;
            }
            Request::Hold(offset) | Request::Want(offset) => {
                let Some(peer) = self.clients.get(place) else { return true };
                match request {
                    Request::Want(_) => peer.want(offset, log_end),
                    _ => peer.hold_from(offset),
                }
                self.log.hold_from(self.clients.hold());
                return true;
            }
            // Before the end there is nothing to clean up.
            Request::Cleaning | Request::Cleaned => return true,
        };
        self.clients.get(place).is_none_or(|peer| peer.answer(&reply, None))
    }

    fn stop(&mut self, signal: i32, timeout_ms: i64) -> io::Result<()> {
        let deadline = self.target.stop(signal, timeout_ms)?;
        // Of two stops the more impatient one counts.
        self.deadline = [self.deadline, deadline].into_iter().flatten().min();
        Ok(())
    }

    fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        match &self.stdin {
            Some(master) if self.output.is_terminal() => {
                let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
                Ok(rustix::termios::tcsetwinsize(master, size)?)
            }
            _ => Ok(()),
        }
    }

    fn lend_stdin(&mut self, place: usize) -> bool {
        let Some(peer) = self.clients.get(place) else { return true };
        match &self.stdin {
            Some(stdin) => {
                peer.set_stdin(true);
                peer.answer(&Reply::Stdin, Some(stdin.as_fd()))
            }
            None => peer.answer(&Reply::NoStdin, None),
        }
    }

    fn end(mut self) -> Ended {
        let finished_at = super::now();
        let exit_code = self.exit_code();
        self.stdin = None;
        self.output.drain(&mut self.log);
        let log_end = self.log.end();
        self.clients.announce(log_end);
        let (started_at, clients) = (self.started_at, self.clients);
        Ended { exit_code, started_at, finished_at, log_end, clients, listener: self.listener }
    }

    fn exit_code(&self) -> i32 {
        loop {
            let id = WaitId::PidFd(self.target.pidfd.as_fd());
            match rustix::process::waitid(id, WaitIdOptions::EXITED) {
                Ok(Some(status)) => {
                    let signal = status.terminating_signal().map(|signal| 128 + signal);
                    return status.exit_status().or(signal).unwrap_or(255);
                }
                Err(Errno::INTR) => {}
                // Somebody else reaped it: nobody can, it is our child.
                Ok(None) | Err(_) => return 255,
            }
        }
    }
}

impl Ended {
    /// For `exit.json`, with what teardown could not do.
    pub(super) fn record(&self, oom_killed: bool, teardown: &[Failure]) -> ExitRecord {
        let error = teardown.split_first().map(|(first, rest)| with_teardown(first.clone(), rest));
        ExitRecord {
            exit_code: self.exit_code,
            started_at: self.started_at,
            finished_at: self.finished_at,
            oom_killed,
            error,
        }
    }
}

fn done(result: io::Result<()>) -> Reply {
    Reply::Done(
        result.err().map_or(0, |error| error.raw_os_error().unwrap_or(Errno::IO.raw_os_error())),
    )
}

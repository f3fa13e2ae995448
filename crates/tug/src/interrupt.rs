//! Ctrl-C in the middle of something half-done.
//!
//! What comes into the store is protected by a lease that dies with its process; somebody has to
//! clear away what it protected. So an interrupted command does not just die: it executes itself
//! anew, which ends all its threads and its lease, and then sweeps.

use crate::context::Context;
use crate::quit::Quit;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;
pub(crate) use tug_engine::SWEEPER;
use tug_sys::signals::SignalFd;

/// SIGHUP, SIGINT, SIGTERM.
const SIGNALS: [i32; 3] = [1, 2, 15];

/// Does something that may be interrupted. The signals are taken here, in this thread and in all that
/// it starts, until it is done.
///
/// # Errors
/// What the action answers, or that the signals cannot be taken.
pub(crate) fn sweeping_up<T>(
    ctx: &Context,
    action: impl FnOnce() -> Result<T, Quit>,
) -> Result<T, Quit> {
    let failed = |error: io::Error| Quit::io("take signals", &error);
    let signals = SignalFd::new(&SIGNALS).map_err(failed)?;
    let (ended, end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| failed(errno.into()))?;
    let data_root = &ctx.engine.settings().data_root;
    std::thread::scope(|scope| {
        scope.spawn(|| watch(&signals, ended, data_root));
        let result = action();
        drop(end);
        result
    })
}

/// Does something that ends by itself when it is asked to. The first signal asks; a third means it.
///
/// # Errors
/// As [`sweeping_up`].
pub(crate) fn cancelling<T>(
    ctx: &Context,
    ask: impl Fn() + Sync,
    action: impl FnOnce() -> Result<T, Quit>,
) -> Result<T, Quit> {
    let failed = |error: io::Error| Quit::io("take signals", &error);
    let signals = SignalFd::new(&SIGNALS).map_err(failed)?;
    let (ended, end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| failed(errno.into()))?;
    let data_root = &ctx.engine.settings().data_root;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut count = 0;
            while let Some(signal) = wait(&signals, &ended) {
                count += 1;
                match count {
                    1 | 2 => ask(),
                    _ => become_sweeper(data_root, signal),
                }
            }
        });
        let result = action();
        drop(end);
        result
    })
}

/// The next signal; none when the other end of the pipe is closed.
fn wait(signals: &SignalFd, ended: &OwnedFd) -> Option<i32> {
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::new(ended, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return None,
        }
        if let Ok(Some(signal)) = signals.next() {
            return Some(signal);
        }
        if !fds[1].revents().is_empty() {
            return None;
        }
    }
}

/// Waits for a signal, or for the other end of the pipe to close.
fn watch(signals: &SignalFd, ended: OwnedFd, data_root: &Path) {
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::new(&ended, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        if let Ok(Some(signal)) = signals.next() {
            become_sweeper(data_root, signal);
        }
        if !fds[1].revents().is_empty() {
            return;
        }
    }
}

/// Does not return, unless this program cannot be executed any more; then the command goes on.
#[expect(clippy::disallowed_methods, reason = "the binary starts itself")]
fn become_sweeper(data_root: &Path, signal: i32) {
    let mut sweeper = std::process::Command::new("/proc/self/exe");
    let error = sweeper.arg0(SWEEPER).arg(data_root).arg(signal.to_string()).exec();
    crate::context::report(&Quit::io("clean up after the interrupt", &error));
}

/// The rest of an interrupted command's life.
pub(crate) fn sweep(words: &[OsString]) -> ExitCode {
    let [data_root, signal, more @ ..] = words else { return ExitCode::from(1) };
    let mut settings = crate::context::default_settings();
    settings.data_root = data_root.into();
    let engine = tug_engine::Engine::new(settings);
    // What cannot be done now, the next command finds.
    let _ = match more.first().is_some_and(|word| word == tug_engine::RECOUNT) {
        true => engine.recount(),
        false => engine.tidy(),
    };
    match signal.to_string_lossy().parse().unwrap_or(2) {
        // Nobody was interrupted: a removal left its files to be deleted.
        0 => ExitCode::SUCCESS,
        signal => ExitCode::from(128u8.saturating_add(signal)),
    }
}

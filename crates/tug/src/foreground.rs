//! A container in the foreground, for `run`, `start -a` and `attach`: its streams, its end, and what
//! its owner has to do then.

use crate::context::Context;
use crate::flags::Parsed;
use crate::quit::Quit;
use rustix::stdio::{stderr, stdin, stdout};
use tug_engine::Started;
use tug_monitor::log::{Begin, Reader};
use tug_monitor::{Attach, AttachEnd, DetachKeys};

/// Docker's keys that detach.
const DETACH_KEYS: &str = "ctrl-p,ctrl-q";

/// Exit code when the container's supervisor was killed and took the answer with it.
const KILLED: u8 = 137;

/// Which of the caller's streams are given to the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// How to attach.
#[derive(Debug)]
pub(crate) struct Manner {
    /// What is given.
    pub streams: Streams,
    /// As bytes.
    pub detach_keys: Vec<u8>,
    /// Signals go to the container.
    pub sig_proxy: bool,
    /// Where in its output to begin.
    pub begin: Begin,
    /// Its program has drawn its screen before and is to do it again.
    pub redraw: bool,
}

/// Stays with the container until its end or until the keys; answers with the exit code.
///
/// # Errors
/// When the streams fail, or the end could not be recorded.
pub(crate) fn attend(ctx: &Context, started: Started, manner: Manner) -> Result<u8, Quit> {
    let (id, name) = (started.id.clone(), started.name);
    let reader = Reader::open(&started.log_dir, manner.begin)?;
    let streams = manner.streams;
    let mut attach = Attach {
        client: started.client,
        reader,
        stdin: streams.stdin.then(stdin),
        stdout: streams.stdout.then(stdout),
        stderr: streams.stderr.then(stderr),
        tty: started.tty,
        detach_keys: manner.detach_keys,
        sig_proxy: manner.sig_proxy,
        redraw: manner.redraw,
    };
    let mut finished = Ok(());
    let end = attach.run(&mut |_, claim| {
        // Only the owner has a claim. The engine takes the lock by itself.
        if let Some(claim) = claim {
            claim.unlock();
            finished = ctx.engine.finish(&id);
            claim.done();
        }
    })?;
    finished?;
    match end {
        AttachEnd::Exited(record) => {
            if let Some(failure) = &record.error {
                ctx.say(format!("WARNING: {}", failure.message));
            }
            Ok(code(record.exit_code))
        }
        AttachEnd::Detached => {
            // The shell's prompt is to begin a line of its own.
            ctx.say("");
            Ok(0)
        }
        AttachEnd::OutputClosed => Err(Quit::io("", &std::io::ErrorKind::BrokenPipe.into())),
        AttachEnd::Signalled(signal) if manner.sig_proxy => Err(interrupted(&name, signal)),
        AttachEnd::Signalled(signal) => Ok(code(128 + signal)),
        AttachEnd::MonitorGone => {
            drop(attach);
            ctx.say(format!("WARNING: the monitor of container {} was killed", id.short()));
            // Cleans up after it. A container that removes itself is gone then.
            let exit_code = ctx.engine.wait(id.as_str()).unwrap_or_default();
            Ok(if exit_code == 0 { KILLED } else { code(exit_code) })
        }
    }
}

/// The user has insisted on leaving, and the container does not mind.
fn interrupted(name: &str, signal: i32) -> Quit {
    let message = format!("got 3 SIGTERM/SIGINTs, forcefully exiting: container {name} runs on");
    Quit::invalid(message)
        .with_hint(format!("end it with `tug stop {name}`"))
        .with_code(code(128 + signal))
}

/// An exit code as this process can end with it.
pub(crate) fn code(exit_code: i32) -> u8 {
    u8::try_from(exit_code & 0xff).unwrap_or(u8::MAX)
}

/// Docker's refusal to give a container's terminal something that is none.
///
/// # Errors
/// `the input device is not a TTY`
pub(crate) fn check_terminal(attach_stdin: bool, tty: bool) -> Result<(), Quit> {
    if attach_stdin && tty && !rustix::termios::isatty(stdin()) {
        return Err(Quit::invalid("the input device is not a TTY")
            .with_hint("leave out -t: input that is piped needs -i only"));
    }
    Ok(())
}

/// The keys that detach: the flag's, Docker's configuration's, or the default.
///
/// # Errors
/// When a key is not known.
pub(crate) fn detach_keys(ctx: &Context, parsed: &Parsed<'_>, tty: bool) -> Result<Vec<u8>, Quit> {
    if let Some(list) = parsed.text("detach-keys") {
        return DetachKeys::parse(list).map_err(|error| parsed.wrong(error.to_string()));
    }
    if !tty {
        return Ok(Vec::new());
    }
    let list = ctx.docker_setting("detachKeys");
    let list = list.as_deref().unwrap_or(DETACH_KEYS);
    DetachKeys::parse(list)
        .map_err(|error| Quit::invalid(format!("detachKeys of Docker's config.json: {error}")))
}

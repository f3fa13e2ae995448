//! `exec`: the caller itself enters the container; the monitor has no part in it.

use crate::model::ExecRequest;
use crate::record::Record;
use crate::{Engine, Error, spec};
use std::os::fd::OwnedFd;
use tug_runtime::{ExecSpec, Running, Stdio};
use tug_types::{Explain, Kind};

/// A process started in a running container, and the caller's ends of its streams.
pub struct ExecSession {
    process: Running,
    /// Write end of its stdin, when asked for and not a terminal.
    pub stdin: Option<OwnedFd>,
    /// Read end of its stdout, unless a terminal or detached.
    pub stdout: Option<OwnedFd>,
    /// Read end of its stderr, unless a terminal or detached.
    pub stderr: Option<OwnedFd>,
    /// The terminal's master.
    pub terminal: Option<OwnedFd>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl ExecSession {
    /// Its pid on the host.
    pub fn pid(&self) -> i32 {
        self.process.pid
    }

    /// Readable when it has ended (pidfd_open(2)).
    pub fn pidfd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.process.pidfd)
    }

    /// Waits for its end: 0-255, or 128+n for a signal.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(&self) -> Result<i32, Error> {
        self.process.wait().map_err(|error| Error::from_explain(&error))
    }
}

impl Engine {
    /// Starts a process in a running container.
    ///
    /// # Errors
    /// When the container does not run, or the command cannot be executed in it.
    pub fn exec(&self, name: &str, request: &ExecRequest) -> Result<ExecSession, Error> {
        let row = self.container(name)?;
        let record = Record::read(&row)?;
        let not_running = || Error::NotRunning { name: row.name.clone() };
        let state = self.run_state(&row)?.ok_or_else(not_running)?;
        let spec = exec_spec(&row.id, state.pid, &record, request)?;
        let (ours, theirs) = streams(request)?;
        let mut process = tug_runtime::exec(&spec, theirs).map_err(|error| match error.kind() {
            // The process we were to join went away meanwhile.
            Kind::NotFound => not_running(),
            _ => Error::from_explain(&error),
        })?;
        let [stdin, stdout, stderr] = ours;
        let terminal = process.terminal.take();
        let warnings = std::mem::take(&mut process.warnings);
        Ok(ExecSession { process, stdin, stdout, stderr, terminal, warnings })
    }
}

/// The container's own process with the request's wishes over it.
fn exec_spec(
    id: &tug_types::ContainerId,
    pid: i32,
    record: &Record,
    request: &ExecRequest,
) -> Result<ExecSpec, Error> {
    let mut record = record.clone();
    record.config.entrypoint = None;
    record.config.cmd = Some(request.command.clone());
    record.config.tty = request.tty;
    record.host.privileged |= request.privileged;
    record.host.console_size =
        request.terminal_size.map_or([0, 0], |(rows, columns)| [rows, columns]);
    if let Some(user) = &request.user {
        record.config.user.clone_from(user);
    }
    if let Some(dir) = &request.working_dir {
        record.config.working_dir.clone_from(dir);
    }
    record.config.env.extend(request.env.iter().cloned());
    let privileged = record.host.privileged;
    let security = spec::security(&record)?;
    Ok(ExecSpec {
        id: id.clone(),
        cgroup_parent: spec::cgroup_parent(&record),
        pid,
        process: spec::process(&record, security.no_new_privileges)?,
        seccomp: if privileged { tug_runtime::Seccomp::Unconfined } else { security.seccomp },
        privileged,
        user_namespace: !matches!(record.host.userns_mode.as_str(), "" | "host"),
    })
}

type Ends = [Option<OwnedFd>; 3];

/// Pipes, or /dev/null where nobody listens: ours and the process'.
fn streams(request: &ExecRequest) -> Result<(Ends, Stdio), Error> {
    if request.tty {
        return Ok(([None, None, None], Stdio::Terminal));
    }
    let system = |source: rustix::io::Errno| Error::System {
        what: "make the streams of the process",
        source: source.into(),
    };
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(system);
    let null = || {
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty()).map_err(system)
    };
    let (stdin, our_stdin) = match request.interactive && !request.detach {
        true => pipe().map(|(read, write)| (read, Some(write)))?,
        false => (null()?, None),
    };
    if request.detach {
        let theirs = Stdio::Pipes { stdin, stdout: null()?, stderr: null()? };
        return Ok(([None, None, None], theirs));
    }
    let ((our_stdout, stdout), (our_stderr, stderr)) = (pipe()?, pipe()?);
    let theirs = Stdio::Pipes { stdin, stdout, stderr };
    Ok(([our_stdin, Some(our_stdout), Some(our_stderr)], theirs))
}

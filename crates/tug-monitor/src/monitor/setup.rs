//! From a spec to a running container.

use super::clients::Clients;
use super::output::{Output, Source};
use super::poller::{Poller, Token};
use super::stop::Target;
use super::undo::{Ground, Undo};
use super::watch::Watch;
use crate::client::socket_address;
use crate::error::StepError;
use crate::log::{Stream, Writer};
use crate::{MonitorSpec, NetworkSpec, RunState, layout, record};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::OpenptFlags;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use tug_net::PublishedPort;
use tug_runtime::{Created, Namespace, Stdio};
use tug_types::{Explain, Failure};

/// The connections that may wait before the first event is looked at.
const BACKLOG: i32 = 64;

/// The steps, in order; what each leaves behind is pushed to the ground before it is tried.
pub(super) struct Setup<'a> {
    spec: &'a MonitorSpec,
    ground: &'a mut Ground,
}

/// The monitor's ends of the container's streams.
struct Streams {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// The terminal's other side, kept open so that the container closing its own does not end it.
    terminal: Option<OwnedFd>,
}

impl<'a> Setup<'a> {
    /// Does it all; on failure the caller takes the ground down.
    pub(super) fn run(spec: &'a MonitorSpec, ground: &'a mut Ground) -> Result<Watch, Failure> {
        let mut setup = Setup { spec, ground };
        let listener = setup.listen()?;
        let log_dir = layout::log(&spec.container_dir);
        let log = Writer::open(&log_dir, &spec.log).map_err(step("open the log in", &log_dir))?;
        let (mut streams, stdio) = setup.streams()?;
        // From here on the container's child works on its root filesystem beside us.
        let created = setup.create(stdio)?;
        let ports = setup.connect(&created)?;
        let running = created.start().map_err(|error| error.failure())?;
        if let Some(master) = running.terminal {
            streams.attach_terminal(master).map_err(step("use the terminal of", &log_dir))?;
        }
        let state = RunState {
            pid: running.pid,
            monitor_pid: std::process::id() as i32,
            started_at: super::now(),
            ports,
            log_start: log.end(),
        };
        let state_path = layout::state(&spec.run_dir);
        record::write(&state_path, &state).map_err(|error| error.failure())?;
        setup.watch(listener, log, streams, state, (running.pidfd, running.warnings))
    }

    /// The socket is there before the container is: who finds the lock held can connect and wait.
    fn listen(&self) -> Result<OwnedFd, Failure> {
        let run_dir = &self.spec.run_dir;
        let path = layout::socket(run_dir);
        record::remove(&path).map_err(|error| error.failure())?;
        let attempt = || -> io::Result<OwnedFd> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = rustix::fs::open(run_dir, flags, Mode::empty())?;
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let family = AddressFamily::UNIX;
            let socket = rustix::net::socket_with(family, SocketType::SEQPACKET, flags, None)?;
            rustix::net::bind(&socket, &socket_address(dir.as_fd())?)?;
            rustix::fs::chmod(&path, Mode::RUSR | Mode::WUSR)?;
            rustix::net::listen(&socket, BACKLOG)?;
            Ok(socket)
        };
        attempt().map_err(step("listen at", &path))
    }

    fn streams(&self) -> Result<(Streams, Stdio), Failure> {
        let nothing = Streams { stdin: None, stdout: None, stderr: None, terminal: None };
        if self.spec.container.process.terminal {
            return Ok((nothing, Stdio::Terminal));
        }
        let attempt = || -> io::Result<(Streams, Stdio)> {
            let (ours_in, stdin) = match self.spec.open_stdin {
                true => {
                    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                    set_nonblocking(write.as_fd())?;
                    (Some(write), read)
                }
                false => (
                    None,
                    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?,
                ),
            };
            let (ours_out, stdout) = output_pipe()?;
            let (ours_err, stderr) = output_pipe()?;
            let ours = Streams {
                stdin: ours_in,
                stdout: Some(ours_out),
                stderr: Some(ours_err),
                terminal: None,
            };
            Ok((ours, Stdio::Pipes { stdin, stdout, stderr }))
        };
        attempt().map_err(step("make the pipes of", &self.spec.container_dir))
    }

    fn create(&mut self, stdio: Stdio) -> Result<Created, Failure> {
        self.ground.push(Undo::Cgroup);
        tug_runtime::spawn(&self.spec.container, stdio).map_err(|error| error.failure())
    }

    /// Puts the new network namespace where it belongs.
    fn connect(&mut self, created: &Created) -> Result<Vec<PublishedPort>, Failure> {
        let failure = |error: tug_net::Error| error.failure();
        let own_namespace = self.spec.container.namespaces.net == Namespace::New;
        let Some(NetworkSpec { bridge, endpoint, ports }) = &self.spec.network else {
            if own_namespace {
                let namespace = created.network_namespace().map_err(|error| error.failure())?;
                tug_net::loopback_up(namespace.as_fd()).map_err(failure)?;
            }
            return Ok(Vec::new());
        };
        let namespace = created.network_namespace().map_err(|error| error.failure())?;
        tug_net::ensure_bridge(bridge).map_err(failure)?;
        self.ground.push(Undo::Link);
        tug_net::attach(bridge, endpoint, namespace.as_fd()).map_err(failure)?;
        if ports.is_empty() {
            return Ok(Vec::new());
        }
        let (published, reservation) =
            tug_net::publish(bridge, endpoint.address, ports).map_err(failure)?;
        self.ground.push(Undo::Ports(published.clone(), reservation));
        Ok(published)
    }

    fn watch(
        &self,
        listener: OwnedFd,
        log: Writer,
        streams: Streams,
        state: RunState,
        (pidfd, warnings): (OwnedFd, Vec<String>),
    ) -> Result<Watch, Failure> {
        let spec = self.spec;
        let attempt = || -> io::Result<Watch> {
            let poller = Poller::new()?;
            poller.add(&pidfd, Token::Exit)?;
            poller.add(&listener, Token::Listener)?;
            let mut output = Output::new(streams.terminal);
            for (stream, fd) in [(Stream::Stdout, streams.stdout), (Stream::Stderr, streams.stderr)]
            {
                if let Some(fd) = fd {
                    poller.add(&fd, Token::Output(stream))?;
                    output.set(stream, Source::new(fd));
                }
            }
            let target = Target {
                id: spec.container.id.clone(),
                cgroup_parent: spec.container.cgroup_parent.clone(),
                pid: state.pid,
                pidfd,
                own_pid_namespace: spec.container.namespaces.pid == Namespace::New,
            };
            Ok(Watch {
                poller,
                listener,
                listening: true,
                log,
                output,
                stdin: streams.stdin,
                stdin_once: spec.stdin_once && !spec.container.process.terminal,
                ends_with_owner: spec.ends_with_owner,
                target,
                clients: Clients::default(),
                deadline: None,
                started_at: state.started_at,
                log_start: state.log_start,
                warnings,
            })
        };
        attempt().map_err(step("watch", &spec.container_dir))
    }
}

impl Streams {
    /// The master is what the container prints to, and what is typed into.
    fn attach_terminal(&mut self, master: OwnedFd) -> io::Result<()> {
        set_nonblocking(master.as_fd())?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        self.terminal = Some(rustix::pty::ioctl_tiocgptpeer(&master, flags)?);
        self.stdin = Some(master.try_clone()?);
        self.stdout = Some(master);
        Ok(())
    }
}

/// The monitor's end does not block; the container's does.
fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    set_nonblocking(read.as_fd())?;
    Ok((read, write))
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::io::ioctl_fionbio(fd, true)
}

fn step(step: &'static str, path: &Path) -> impl Fn(io::Error) -> Failure {
    let path = path.to_owned();
    move |source| StepError { step, path: path.clone(), source }.failure()
}

//! Starting another process in a running container. The caller does it itself: its child joins the
//! container's cgroup and namespaces and executes; no other process is involved.

use crate::root::Root;
use crate::spawn::{Running, clone_among, end, open_process, until_executing};
use crate::spec::{Process, Seccomp};
use crate::sync::Line;
use crate::{Error, Stdio, cgroup, process, seccomp};
use rustix::fs::{Mode, OFlags};
use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use tug_sys::process::{self as sys, Cloned, flags};
use tug_sys::seccomp::Instruction;
use tug_types::ContainerId;

/// A process to start in a running container.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecSpec {
    /// The container.
    pub id: ContainerId,
    /// As in the container's own description.
    pub cgroup_parent: String,
    /// The container's first process.
    pub pid: i32,
    /// What to run.
    pub process: Process,
    /// Which system call filter.
    pub seccomp: Seccomp,
    /// All capabilities the container may have.
    pub privileged: bool,
    /// The container has a user namespace of its own.
    pub user_namespace: bool,
}

/// Starts it, and returns once it executes.
///
/// # Errors
/// [`Error::Gone`] when the container has ended; what the process says stopped it.
pub fn exec(spec: &ExecSpec, stdio: Stdio) -> Result<Running, Error> {
    let target = open_process(spec.pid)?;
    let filter = seccomp::program(&spec.seccomp, &spec.process.capabilities)?;
    let (line, childs_line) = Line::pair()?;
    let into = cgroup::into(&spec.id, &spec.cgroup_parent)?;
    let enter = || sys::enter(target.as_fd(), flags::NEWPID);
    let cloned = clone_among(Some(enter), 0, into.as_ref().map(AsFd::as_fd))?;
    let Cloned::Parent { pid, pidfd } = cloned else {
        drop(line);
        run(spec, stdio, childs_line, filter, target)
    };
    drop((childs_line, stdio));
    let mut warnings = Vec::new();
    let started = until_executing(&line, &mut warnings, Ok(()));
    match started {
        Ok(terminal) => Ok(Running { pid, pidfd, terminal, warnings }),
        Err(error) => {
            end(pidfd.as_fd());
            Err(error)
        }
    }
}

fn run(
    spec: &ExecSpec,
    stdio: Stdio,
    line: Line,
    filter: Option<Cow<'_, [Instruction]>>,
    target: OwnedFd,
) -> ! {
    sys::set_dumpable(false);
    let start = process::Start {
        process: &spec.process,
        filter,
        log_refusals: crate::seccomp::logs(&spec.seccomp),
        line,
        init: false,
        make_cwd: false,
        end_with_parent: false,
    };
    match join(spec, stdio, &start, &target) {
        Err(error) => process::report(&start.line, &error),
        Ok(never) => match never {},
    }
}

fn join(
    spec: &ExecSpec,
    stdio: Stdio,
    start: &process::Start<'_>,
    target: &OwnedFd,
) -> Result<std::convert::Infallible, Error> {
    cgroup::enter(&spec.id, &spec.cgroup_parent)?;
    let mut namespaces =
        flags::NEWNS | flags::NEWNET | flags::NEWIPC | flags::NEWUTS | flags::NEWCGROUP;
    if spec.user_namespace {
        namespaces |= flags::NEWUSER;
    }
    sys::enter(target.as_fd(), namespaces).map_err(|_| Error::Gone)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty())
        .map(Root::new)
        .map_err(Error::system("open the container's root"))?;
    let slave = match stdio {
        Stdio::Terminal => Some(process::terminal(start, &root, false)?),
        Stdio::Pipes { .. } => None,
    };
    process::streams(stdio, slave)?;
    process::execute(start, &root)
}

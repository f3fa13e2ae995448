//! Starting a container: the child's side, from clone to execve. Single-threaded, cut off from the
//! host step by step; whatever fails is told to the parent.

use crate::root::Root;
use crate::spawn::Joined;
use crate::spec::{ContainerSpec, Namespace};
use crate::sync::{Line, Message};
use crate::{Error, Stdio, mounts, process, sysctl};
use rustix::fs::Mode;
use std::borrow::Cow;
use std::os::fd::AsFd;
use tug_sys::process as sys;
use tug_sys::seccomp::Instruction;

/// Becomes the container's process.
pub(crate) fn run(
    spec: &ContainerSpec,
    stdio: Stdio,
    line: Line,
    filter: Option<Cow<'_, [Instruction]>>,
    namespaces: &Joined,
) -> ! {
    // Until execve this is tug's own program: nobody in the container may look into it.
    sys::set_dumpable(spec.namespaces.user.is_some());
    let start = process::Start {
        process: &spec.process,
        filter,
        log_refusals: crate::seccomp::logs(&spec.seccomp),
        line,
        init: spec.init,
        make_cwd: true,
        end_with_parent: true,
    };
    match become_container(spec, stdio, &start, namespaces) {
        Err(error) => process::report(&start.line, &error),
        Ok(never) => match never {},
    }
}

fn become_container(
    spec: &ContainerSpec,
    stdio: Stdio,
    start: &process::Start<'_>,
    namespaces: &Joined,
) -> Result<std::convert::Infallible, Error> {
    // Modes of what is made are meant as they are written.
    rustix::process::umask(Mode::empty());
    for namespace in &namespaces.existing {
        sys::enter_file(namespace.as_fd())
            .map_err(|source| Error::System { what: "join a namespace", source })?;
    }
    let mapped = spec.namespaces.user.is_some();
    let composed = if mapped { wait_for_set_up(&start.line)? } else { None };
    let sources = mounts::sources(spec)?;
    mounts::separate()?;
    let root = mounts::root(spec, composed)?;
    if mapped {
        // Only now: user 0 of the namespace may not enter tug's directories on the host, and what is
        // made from here on must belong to it.
        sys::become_user(0, 0, &[]).map_err(|source| Error::Credentials {
            uid: 0,
            gid: 0,
            source,
        })?;
        sys::set_dumpable(false);
    }
    mounts::standard(spec, &root)?;
    if !mapped {
        wait_for_set_up(&start.line)?;
        crate::cgroup::enter(&spec.id, &spec.cgroup_parent)?;
    }
    if namespaces.fresh_cgroup {
        sys::unshare_cgroup()
            .map_err(|source| Error::System { what: "make a cgroup namespace", source })?;
    }
    mounts::cgroups(spec, &root)?;
    for (mount, source) in spec.mounts.iter().zip(sources) {
        mounts::user(&root, mount, source)?;
    }
    let slave = match stdio {
        Stdio::Terminal => Some(process::terminal(start, &root, true)?),
        Stdio::Pipes { .. } => None,
    };
    host_name(spec)?;
    let settings = sysctl::prepare(spec, &root)?;
    mounts::restrict(spec, &root)?;
    process::streams(stdio, slave)?;
    make_working_directory(start, &root)?;
    mounts::enter(spec, &root)?;
    wait_for(&start.line, |message| matches!(message, Message::Go))?;
    sysctl::apply(spec, settings)?;
    process::execute(start, &root)
}

/// Before the root may turn read-only.
fn make_working_directory(start: &process::Start<'_>, root: &Root) -> Result<(), Error> {
    process::working_directory(start, root)
}

fn wait_for_set_up(line: &Line) -> Result<Option<std::os::fd::OwnedFd>, Error> {
    match line.receive()? {
        Message::SetUp(root) => Ok(root),
        _ => Err(Error::Vanished),
    }
}

fn wait_for(line: &Line, wanted: impl Fn(&Message) -> bool) -> Result<(), Error> {
    if wanted(&line.receive()?) { Ok(()) } else { Err(Error::Vanished) }
}

fn host_name(spec: &ContainerSpec) -> Result<(), Error> {
    if spec.namespaces.uts != Namespace::New {
        return Ok(());
    }
    rustix::system::sethostname(spec.hostname.as_bytes())
        .map_err(Error::system("set the container's host name"))?;
    match &spec.domainname {
        Some(name) => rustix::system::setdomainname(name.as_bytes())
            .map_err(Error::system("set the container's domain name")),
        None => Ok(()),
    }
}

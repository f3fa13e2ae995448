//! Stand-in for the runtime until it compiles; the same names and shapes.

use std::os::fd::OwnedFd;
use tug_runtime::ContainerSpec;
use tug_types::{ContainerId, Failure, Kind};

type Result<T> = std::result::Result<T, Failure>;

pub(crate) enum Stdio {
    Pipes { stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd },
    Terminal,
}

pub(crate) struct Created(std::convert::Infallible);

pub(crate) struct Running {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) warnings: Vec<String>,
}

impl Created {
    pub(crate) fn network_namespace(&self) -> Result<OwnedFd> {
        match self.0 {}
    }

    pub(crate) fn start(self) -> Result<Running> {
        match self.0 {}
    }
}

pub(crate) fn spawn(_: &ContainerSpec, _: Stdio) -> Result<Created> {
    Err(Failure::new(Kind::Internal, "the runtime is not there yet"))
}

pub(crate) mod cgroup {
    use super::*;

    pub(crate) fn kill_all(_: &ContainerId, _: &str) -> Result<()> {
        Ok(())
    }

    pub(crate) fn remove(_: &ContainerId, _: &str) -> Result<()> {
        Ok(())
    }

    pub(crate) fn oom_killed(_: &ContainerId, _: &str) -> bool {
        false
    }
}

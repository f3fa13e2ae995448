//! What can go wrong between a description and a running process. Errors raised inside the new
//! process cross to its parent as a [`Failure`] and come out as [`Error::Inside`].

use crate::cgroup::CgroupError;
use crate::seccomp::SeccompError;
use std::io;
use tug_types::{Explain, Failure, Kind};

/// Why a container or an exec did not start, or could not be waited for.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the names the message shows")]
pub enum Error {
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    /// The new process said so.
    #[error(transparent)]
    Inside(Failure),
    #[error("{what}")]
    System { what: &'static str, source: io::Error },
    #[error("create the container's process")]
    Clone { source: io::Error },
    #[error("join the {kind} namespace {path}")]
    Namespace { kind: &'static str, path: String, source: io::Error },
    #[error("write {file} of the container's user namespace")]
    IdMap { file: &'static str, source: io::Error },
    #[error("mount {what} on {destination} of the container")]
    Mount { what: String, destination: String, source: io::Error },
    #[error("create {path} in the container")]
    Create { path: String, source: io::Error },
    #[error("{path} of the image is not a directory that can be mounted on")]
    NotADirectory { path: String },
    #[error("{path} of the image is a directory: a file cannot be mounted on it")]
    IsADirectory { path: String },
    #[error("{path} is inside /proc: nothing can be mounted there")]
    InsideProc { path: String },
    #[error("open {path}")]
    Open { path: String, source: io::Error },
    #[error("make device {path} in the container")]
    Device { path: String, source: io::Error },
    #[error("no such device: {path}")]
    NoDevice { path: String },
    #[error("{path} is not a device")]
    NotADevice { path: String },
    #[error("bad tmpfs option {option:?} for {destination}")]
    TmpfsOption { option: String, destination: String },
    #[error("set sysctl {name}={value}")]
    Sysctl { name: String, value: String, source: io::Error },
    #[error("sysctl {name} is not in a namespace of the container's own")]
    HostSysctl { name: String },
    #[error("set limit {name}")]
    Limit { name: String, source: io::Error },
    #[error("unable to find user {user}: no matching entries in passwd file")]
    NoUser { user: String },
    #[error("unable to find group {group}: no matching entries in group file")]
    NoGroup { group: String },
    #[error("become user {uid} and group {gid}")]
    Credentials { uid: u32, gid: u32, source: io::Error },
    #[error("set capabilities")]
    Capabilities { source: io::Error },
    #[error("change to working directory {path:?}")]
    WorkingDirectory { path: String, source: io::Error },
    #[error("an argument or variable holds a NUL byte: {text:?}")]
    Nul { text: String },
    #[error("{message}")]
    Exec { message: String, kind: Kind, hint: Option<String> },
    #[error("the container's process ended before it could execute its command")]
    Vanished,
    #[error("the process to join has ended")]
    Gone,
}

impl Error {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::System { what, source: errno.into() }
    }
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Cgroup(error) => error.kind(),
            Self::Seccomp(error) => error.kind(),
            Self::Inside(failure) => failure.kind,
            Self::Exec { kind, .. } => *kind,
            // Docker's codes: 127 for a missing one, 126 for one that cannot be entered.
            Self::WorkingDirectory { source, .. }
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Kind::CommandNotFound
            }
            Self::WorkingDirectory { .. } => Kind::NotExecutable,
            Self::NoDevice { .. } | Self::NotADevice { .. } | Self::TmpfsOption { .. } => {
                Kind::Invalid
            }
            Self::HostSysctl { .. } | Self::NoUser { .. } | Self::NoGroup { .. } => Kind::Invalid,
            Self::NotADirectory { .. } | Self::IsADirectory { .. } => Kind::Invalid,
            Self::InsideProc { .. } | Self::Nul { .. } => Kind::Invalid,
            Self::Gone => Kind::NotFound,
            _ => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Cgroup(error) => error.hint(),
            Self::Seccomp(error) => error.hint(),
            Self::Inside(failure) => failure.hint.clone(),
            Self::Exec { hint, .. } => hint.clone(),
            Self::NoUser { .. } => {
                Some("give a number, or a name that is in the image's /etc/passwd".to_owned())
            }
            Self::NoGroup { .. } => {
                Some("give a number, or a name that is in the image's /etc/group".to_owned())
            }
            Self::WorkingDirectory { .. } => {
                Some("give a directory that exists in the container with -w".to_owned())
            }
            Self::NotADirectory { .. } | Self::IsADirectory { .. } => Some(
                "a directory goes on a directory, a file on a file: check what is on the host"
                    .to_owned(),
            ),
            Self::HostSysctl { .. } => Some("set it on the host with sysctl(8)".to_owned()),
            _ => None,
        }
    }
}

//! What can go wrong on this side of a monitor's socket, and how it is explained.

use std::io;
use std::path::PathBuf;
use tug_types::{Explain, Failure, Kind, Subject};

/// Errors of starting, finding, asking and cleaning up after monitors, and of reading logs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lock file could not be opened or asked.
    #[error("use the lock {path}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process holds the container's lock: its monitor, or a command changing it.
    #[error("the container is in use by another tug process (lock {path})")]
    Held {
        /// The lock file.
        path: PathBuf,
    },
    /// No monitor listens: the container does not run (any more).
    #[error("the container is not running")]
    NotRunning,
    /// The monitor's socket exists but cannot be used.
    #[error("connect to the monitor at {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Talking over an established connection failed.
    #[error("talk to the monitor")]
    Talk(#[source] io::Error),
    /// The monitor answered something this version does not understand.
    #[error("the monitor speaks version {theirs} of its protocol, this tug speaks {ours}")]
    Version {
        /// What this binary speaks.
        ours: u8,
        /// What the monitor speaks.
        theirs: u8,
    },
    /// The connection ended without the exit having been told: the monitor was killed.
    #[error("the monitor ended without saying how the container did")]
    MonitorGone,
    /// The monitor process could not be started.
    #[error("start the monitor: {step}")]
    Spawn {
        /// What was being prepared.
        step: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The container could not be started; everything is undone.
    #[error("{failure}")]
    Setup {
        /// What failed and why, from the process in which it did.
        failure: Failure,
        /// 125, 126 or 127: Docker's code for it.
        exit_code: i32,
    },
    /// The kernel did not take the signal.
    #[error("send signal {signal} to the container")]
    Signal {
        /// Its number.
        signal: i32,
        /// Why not.
        source: io::Error,
    },
    /// The terminal's size could not be set.
    #[error("resize the container's terminal")]
    Resize(#[source] io::Error),
    /// One of the files a run leaves behind could not be read, written or removed.
    #[error("{verb} {path}")]
    File {
        /// `read`, `write`, `remove`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The log could not be read.
    #[error("read the log in {dir}")]
    Log {
        /// Its directory.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The caller's own terminal or standard streams failed.
    #[error("{step}")]
    Terminal {
        /// What was attempted.
        step: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Cleaning up after a run left something behind.
    #[error("clean up after the container: {}", join(.0))]
    Cleanup(Vec<Failure>),
}

fn join(failures: &[Failure]) -> String {
    failures.iter().map(|failure| failure.message.as_str()).collect::<Vec<_>>().join("; ")
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Held { .. } | Self::NotRunning => Kind::Conflict,
            Self::Signal { source, .. } if source.raw_os_error() == Some(22) => Kind::Invalid,
            Self::Version { .. } => Kind::Unavailable,
            Self::Setup { failure, .. } => failure.kind,
            Self::Cleanup(failures) => failures.first().map_or(Kind::Internal, |first| first.kind),
            _ => Kind::Internal,
        }
    }

    fn subject(&self) -> Option<Subject> {
        match self {
            Self::Setup { failure, .. } => failure.subject,
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Setup { failure, .. } => failure.hint.clone(),
            Self::Held { .. } => Some("wait for the other command to end, then try again".into()),
            Self::Version { .. } => {
                Some("restart the container, it was started by another version of tug".into())
            }
            Self::MonitorGone => {
                Some("`tug ps -a` cleans up after it, `tug start` starts it anew".into())
            }
            _ => None,
        }
    }
}

/// Why a step of set-up or teardown failed, when it is neither the runtime's nor the network's.
#[derive(Debug, thiserror::Error)]
#[error("{step} {path}")]
pub(crate) struct StepError {
    pub(crate) step: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl Explain for StepError {
    fn kind(&self) -> Kind {
        Kind::Internal
    }

    fn hint(&self) -> Option<String> {
        (self.source.kind() == io::ErrorKind::StorageFull)
            .then(|| "free some space on that filesystem".into())
    }
}

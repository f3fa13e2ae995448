//! What a monitor is told when it starts, and what it leaves behind for others to read.
//!
//! ```text
//! <exec-root>/containers/<id>/   lock        held (flock) by the monitor as long as it lives; the
//!                                            starter takes it and hands the descriptor down
//!                                monitor.sock SOCK_SEQPACKET, see `protocol`
//!                                state.json  RunState, written once the process runs
//!                                rootfs/     mount point, empty outside of the container
//! <data-root>/containers/<id>/   exit.json   ExitRecord of the last run, written (beside, then
//!                                            renamed) before the lock is let go
//!                                log/        see `log`
//! ```

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tug_net::{BridgeConfig, Endpoint, PortRequest, PublishedPort};
use tug_runtime::ContainerSpec;
use tug_types::Failure;

/// Everything a monitor needs to set up, watch and take down one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonitorSpec {
    /// The container itself.
    pub container: ContainerSpec,
    /// `None` for `--network none|host|container:ID` (the namespace is in `container`).
    pub network: Option<NetworkSpec>,
    /// `<exec-root>/containers/<id>`; exists.
    pub run_dir: PathBuf,
    /// `<data-root>/containers/<id>`; exists.
    pub container_dir: PathBuf,
    /// Keep the container's stdin open for clients (`-i`); otherwise it is /dev/null.
    pub open_stdin: bool,
    /// Close stdin when the first client that had it leaves (`run -i`).
    pub stdin_once: bool,
    /// Log limits.
    pub log: LogConfig,
    /// What the monitor turns into (execve of /proc/self/exe with these arguments, argv[0] included)
    /// after it has torn everything down, when no owner is connected to do it: brings the store up to
    /// date, removes the container for `--rm`.
    pub reaper: Vec<String>,
    /// Signal number of `docker stop` (STOPSIGNAL, `--stop-signal`).
    pub stop_signal: i32,
    /// Milliseconds from the stop signal to SIGKILL; negative waits forever.
    pub stop_timeout_ms: i64,
    /// The container is of no use without who started it (a build's step): it is killed when the starter's
    /// connection closes.
    #[serde(default)]
    pub ends_with_owner: bool,
}

/// The container's place on the default bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The bridge; created with its table when missing.
    pub bridge: BridgeConfig,
    /// The container's end.
    pub endpoint: Endpoint,
    /// Ports to publish.
    pub ports: Vec<PortRequest>,
}

/// How much of a container's output is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// Bytes over all segments; 100 MB unless the user says otherwise; `u64::MAX` for no limit.
    pub max_size: u64,
}

/// `state.json`: what runs. Only to be believed while the lock is held by a monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    /// PID 1 of the container, in the host's numbering.
    pub pid: i32,
    /// The monitor.
    pub monitor_pid: i32,
    /// Nanoseconds since the epoch.
    pub started_at: i64,
    /// Ports as published, with chosen host ports filled in.
    pub ports: Vec<PublishedPort>,
    /// Log offset at which this run began (`start -a` shows only this run).
    pub log_start: u64,
}

/// `exit.json`: how the last run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// 0-255, 128+n for a signal; 125, 126, 127 when it never ran.
    pub exit_code: i32,
    /// Nanoseconds since the epoch; 0 when it never ran.
    pub started_at: i64,
    /// Nanoseconds since the epoch.
    pub finished_at: i64,
    /// The kernel killed a process of the container for memory.
    pub oom_killed: bool,
    /// Why it never ran, or what failed in teardown.
    pub error: Option<Failure>,
}

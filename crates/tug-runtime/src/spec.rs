//! A container's description: what the executor needs and nothing of how it was asked for.
//!
//! The shapes follow the OCI runtime specification (`config.md`, `config-linux.md`); paths on the
//! host are `PathBuf`, paths inside the container are [`ContainerPath`]. The engine makes a
//! [`ContainerSpec`], the monitor hands it to [`crate::spawn`].

use crate::defaults;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tug_types::{ContainerId, ContainerPath};

/// One container as the runtime sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Names the cgroup.
    pub id: ContainerId,
    /// UTS name inside; ignored in the host's UTS namespace.
    pub hostname: String,
    /// NIS domain name inside, if set.
    pub domainname: Option<String>,
    /// Where the root filesystem comes from.
    pub rootfs: Rootfs,
    /// Remounts the root read-only once everything is in place.
    pub readonly_rootfs: bool,
    /// Which namespaces are new, shared or the host's.
    pub namespaces: Namespaces,
    /// The process to become PID 1 (or the child of the init).
    pub process: Process,
    /// Mounts beyond the standard ones (/proc, /sys, /dev, /dev/pts, /dev/shm, /dev/mqueue,
    /// /sys/fs/cgroup, which the runtime knows), in the order they are made.
    pub mounts: Vec<Mount>,
    /// Device nodes beyond the default ones, created in /dev and allowed in the cgroup.
    pub devices: Vec<Device>,
    /// Extra device cgroup rules (`--device-cgroup-rule`), as the kernel reads them: `c 1:3 rwm`.
    pub device_rules: Vec<String>,
    /// Limits.
    pub resources: Resources,
    /// `sysctl` name (dots) to value, written inside the new namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Size of /dev/shm in bytes.
    pub shm_size: u64,
    /// Run an init of tug's own as PID 1 that forwards signals and reaps (`--init`).
    pub init: bool,
    /// `--privileged`: all capabilities the host can give, all host devices, nothing masked,
    /// /sys and /sys/fs/cgroup writable, no seccomp.
    pub privileged: bool,
    /// Which system call filter.
    pub seccomp: Seccomp,
    /// Paths covered with an empty read-only tmpfs or /dev/null. Missing ones are skipped.
    pub masked_paths: Vec<ContainerPath>,
    /// Paths made read-only. Missing ones are skipped.
    pub readonly_paths: Vec<ContainerPath>,
    /// cgroup parent below each hierarchy's root; `tug` by default, so `tug/<id>`.
    pub cgroup_parent: String,
}

impl ContainerSpec {
    /// A container as Docker makes it where nobody says otherwise, below the cgroup `cgroup_parent`: a
    /// start for tests and measurements. The engine says everything itself.
    pub fn plain(id: ContainerId, rootfs: Rootfs, args: &[&str], cgroup_parent: &str) -> Self {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            hostname: id.short().to_owned(),
            id,
            domainname: None,
            rootfs,
            readonly_rootfs: false,
            namespaces: Namespaces {
                net: Namespace::New,
                pid: Namespace::New,
                ipc: Namespace::New,
                uts: Namespace::New,
                cgroup: Namespace::New,
                user: None,
            },
            process: Process {
                args: all(args),
                env: vec!["PATH=/bin".to_owned()],
                cwd: ContainerPath::root(),
                user: String::new(),
                additional_groups: Vec::new(),
                terminal: false,
                terminal_size: None,
                capabilities: all(defaults::capabilities()),
                rlimits: Vec::new(),
                no_new_privileges: false,
                oom_score_adj: None,
            },
            mounts: Vec::new(),
            devices: Vec::new(),
            device_rules: Vec::new(),
            resources: Resources::default(),
            sysctls: BTreeMap::new(),
            shm_size: 64 << 20,
            init: false,
            privileged: false,
            seccomp: Seccomp::Default,
            masked_paths: defaults::masked_paths(),
            readonly_paths: defaults::readonly_paths(),
            cgroup_parent: cgroup_parent.to_owned(),
        }
    }
}

/// The root filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Rootfs {
    /// An overlay composed in the container's own mount namespace: nothing to unmount outside.
    Overlay {
        /// Read-only trees, uppermost first. Never empty: an image without layers gets an empty
        /// directory.
        lowers: Vec<PathBuf>,
        /// The container's writable layer.
        upper: PathBuf,
        /// Overlayfs' work directory, on the same filesystem as `upper`.
        work: PathBuf,
        /// An empty directory to mount on (needed for `pivot_root`), outside of the overlay. Made
        /// when missing.
        mount_point: PathBuf,
        /// The upper layer dies with the container (`--rm`): nothing of it is ever synced, neither
        /// by a program inside nor by the kernel at unmount. Such an upper layer is used once.
        #[serde(default)]
        volatile: bool,
    },
    /// A directory used as it is (an OCI bundle's rootfs).
    Directory {
        /// The tree.
        path: PathBuf,
    },
}

/// Namespaces of the container (`clone(2)`, namespaces(7)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Network.
    pub net: Namespace,
    /// Process ids.
    pub pid: Namespace,
    /// System V IPC and POSIX message queues.
    pub ipc: Namespace,
    /// Host and domain name.
    pub uts: Namespace,
    /// The cgroup root seen inside.
    pub cgroup: Namespace,
    /// User and group ids; `None` shares the host's.
    pub user: Option<UserNamespace>,
}

/// One namespace of a container. The mount namespace is always new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// A fresh one.
    New,
    /// The one tug itself runs in.
    Host,
    /// The one named by this file, `/proc/PID/ns/net` for `--network container:ID`.
    Path(PathBuf),
}

/// Id mappings of a new user namespace (user_namespaces(7)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNamespace {
    /// Lines of `uid_map`.
    pub uid_map: Vec<IdMap>,
    /// Lines of `gid_map`.
    pub gid_map: Vec<IdMap>,
}

/// One line of an id map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// A process inside the container: PID 1's, or an exec's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments. The program is looked up in the PATH of `env`, inside.
    pub args: Vec<String>,
    /// `NAME=value`. HOME is added by the runtime from the image's passwd when absent.
    pub env: Vec<String>,
    /// Working directory; created (owned by root, 0755, as Docker) when missing for PID 1, an
    /// error for an exec.
    pub cwd: ContainerPath,
    /// `--user` as written: `name`, `uid`, `name:group`, `uid:gid`; empty is root. Resolved against
    /// /etc/passwd and /etc/group inside the root filesystem.
    pub user: String,
    /// `--group-add` as written.
    pub additional_groups: Vec<String>,
    /// A controlling terminal is set up (see [`crate::Stdio::Terminal`]).
    pub terminal: bool,
    /// Rows and columns the terminal starts with.
    pub terminal_size: Option<(u16, u16)>,
    /// Capability names (`CAP_CHOWN`), as bounding, permitted, effective set (and inheritable
    /// empty, ambient empty) as Docker sets them. Those the host lacks are left out with a warning.
    pub capabilities: Vec<String>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// `no_new_privs` (prctl(2)).
    pub no_new_privileges: bool,
    /// oom_score_adj, if it is to be changed.
    pub oom_score_adj: Option<i32>,
}

/// One resource limit (setrlimit(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Lower-case name without prefix, `nofile`.
    pub name: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
}

/// A mount made inside the container's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, inside. Created when missing: a directory, or an empty file for a file bind.
    pub destination: ContainerPath,
    /// What.
    pub source: MountSource,
    /// `ro`.
    pub readonly: bool,
    /// Also make mounts below a bind's source read-only (`rro`), where the kernel can.
    pub recursive_readonly: bool,
    /// Propagation of a bind: `rprivate` when none is given.
    pub propagation: Option<Propagation>,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MountSource {
    /// A file or directory of the host (also a volume's `_data`), with what is mounted below it.
    Bind {
        /// Resolved by the engine, exists.
        path: PathBuf,
    },
    /// A fresh tmpfs.
    Tmpfs {
        /// Mount options as the user wrote them: `rw,size=64m,mode=1777,noexec`. Docker's defaults
        /// `noexec,nosuid,nodev` apply to those not written.
        options: String,
    },
    /// Layers put over each other in the container's own mount namespace, or what is at a path in them.
    Layers {
        /// Trees, uppermost first, at least one.
        lowers: Vec<PathBuf>,
        /// Where what is written goes, and overlayfs' work directory beside it. Read-only without.
        upper: Option<(PathBuf, PathBuf)>,
        /// An empty directory of the host to compose them at. Made when missing.
        at: PathBuf,
        /// What of them is shown.
        path: ContainerPath,
    },
}

/// Mount propagation (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum Propagation {
    Private,
    Rprivate,
    Slave,
    Rslave,
    Shared,
    Rshared,
}

/// `--device HOST:CONTAINER:rwm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The node on the host. A directory stands for every device below it.
    pub host: PathBuf,
    /// Where the node appears inside.
    pub container: ContainerPath,
    /// Subset of `rwm` for the cgroup.
    pub permissions: String,
}

/// cgroup limits. `None` leaves the kernel's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together, as Docker counts; `-1` unlimited.
    pub memory_swap: Option<i64>,
    /// Bytes, soft.
    pub memory_reservation: Option<u64>,
    /// Thousand-millionths of a CPU (`--cpus 1.5` is 1_500_000_000).
    pub nano_cpus: Option<u64>,
    /// cgroup v1 scale, 2 to 262144; converted for v2.
    pub cpu_shares: Option<u64>,
    /// Microseconds per period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// `0-1,3`.
    pub cpuset_cpus: Option<String>,
    /// NUMA nodes, `0`.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; 0 or -1 unlimited.
    pub pids_limit: Option<i64>,
}

/// The system call filter of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    /// Docker's default profile as it reads for the process' capabilities.
    Default,
    /// None (`--security-opt seccomp=unconfined`, `--privileged`).
    Unconfined,
    /// A profile of the user's, Docker's JSON format.
    Profile(String),
}
